// A file as safetensors: header, every tensor over the mapping, read whole; then written and read again.
#include <cstdlib>
#include <cstring>

#include "genkit/io/safetensors.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

namespace mx = mlx::core;

bool same_bytes(mx::array a, mx::array b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  mx::eval(a, b);
  return a.nbytes() == b.nbytes() && std::memcmp(a.data<uint8_t>(), b.data<uint8_t>(), a.nbytes()) == 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const genkit::fuzz::ScratchFolder folder;
  return genkit::fuzz::run([&] {
    const auto path = folder.write("model.safetensors", genkit::fuzz::as_text(data, size));
    const auto tensors = genkit::io::load_safetensors(path);
    const auto metadata = genkit::io::SafetensorsFile::open(path)->metadata();
    const auto copy = folder.path() / "copy.safetensors";
    genkit::io::save_safetensors(copy, tensors, metadata);
    const auto again = genkit::io::load_safetensors(copy);
    if (again.size() != tensors.size()) std::abort();
    for (const auto& [name, array] : tensors) {
      if (again.count(name) == 0 || !same_bytes(array, again.at(name))) std::abort();
    }
  });
}
