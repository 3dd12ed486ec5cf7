// Any text: JSON with paths. What is accepted must be what nlohmann/json prints and reads back.
#include <cstdlib>

#include "genkit/base/json_reader.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return genkit::fuzz::run([&] {
    const nlohmann::json value = genkit::parse_json(genkit::fuzz::as_text(data, size), "input.json");
    if (genkit::parse_json(value.dump(), "printed.json") != value) std::abort();
  });
}
