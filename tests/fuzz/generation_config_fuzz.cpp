// Any text as a generation_config.json, of a caller and of a model. What is accepted is printed and read
// back.
#include <cstdlib>

#include "genkit/base/json_reader.h"
#include "genkit/config/generation_config.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using genkit::config::GenerationConfig;

void read_as_caller(const nlohmann::json& json) {
  GenerationConfig config;
  try {
    config = GenerationConfig::from_caller(json, "--generation-config");
    config.validate();
  } catch (const genkit::Error&) {
    return;  // what a caller may not write, a model's file may still hold
  }
  const nlohmann::json printed = config.to_json();
  if (GenerationConfig::from_caller(printed, "printed").to_json() != printed) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return genkit::fuzz::run([&] {
    const nlohmann::json json =
        genkit::parse_json(genkit::fuzz::as_text(data, size), "generation_config.json");
    read_as_caller(json);
    GenerationConfig::from_model(json, "generation_config.json");
  });
}
