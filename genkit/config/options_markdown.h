#pragma once

#include <string>

namespace genkit::config {

/// docs/options.md: the field table, a section a topic.
std::string options_markdown();

}  // namespace genkit::config
