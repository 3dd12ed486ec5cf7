#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gguf_builder.h"

namespace genkit::io::testing {

/// A golden model's folder as a GGUF file: names from data/gguf_names.json (made with the gguf
/// package), layouts and metadata as llama.cpp's converter writes them, all tensors in fp32.
/// @param family a folder of tests/goldens/models that gguf_names.json knows.
/// @param quantised matrices become Q8_0 and Q4_0 in turn, where blocks of 32 fit; routers and learned
///        positions stay as they are.
GgufBuilder gguf_of_golden(const std::filesystem::path& models, const std::string& family,
                           bool quantised = false);

/// The families of gguf_names.json.
std::vector<std::string> gguf_golden_families();

}  // namespace genkit::io::testing
