#pragma once

namespace genkit {

/// "MAJOR.MINOR.PATCH" of this library.
const char* version();

}  // namespace genkit
