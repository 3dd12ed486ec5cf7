// A file as steering vectors, of either format; what is read is written in both and read again.
#include <cstdlib>

#include "genkit/steering/vector_file.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const genkit::fuzz::ScratchFolder folder;
  return genkit::fuzz::run([&] {
    const auto path = folder.write("vectors", genkit::fuzz::as_text(data, size));
    genkit::steering::VectorSet set = genkit::steering::read_vectors(path);
    const auto copy = folder.path() / "copy.safetensors", gguf = folder.path() / "copy.gguf";
    genkit::steering::write_vectors(copy, set);
    if (genkit::steering::read_vectors(copy).directions != set.directions) std::abort();
    if (set.any_block || (set.directions.size() == 1 && set.directions.contains(0))) return;
    genkit::steering::write_vectors(gguf, set);
    set.directions.erase(0);
    if (genkit::steering::read_vectors(gguf).directions != set.directions) std::abort();
  });
}
