// Any text as a config.json.
#include "genkit/base/json_reader.h"
#include "genkit/config/model_config.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return genkit::fuzz::run([&] {
    genkit::config::ModelConfig::from_json(
        genkit::parse_json(genkit::fuzz::as_text(data, size), "config.json"));
  });
}
