// A file as a whole model in GGUF: configuration, names, shapes, and one forward pass when all of it is
// accepted.
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "mlx/transforms.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const genkit::fuzz::ScratchFolder folder;
  return genkit::fuzz::run([&] {
    auto checkpoint =
        genkit::io::Checkpoint::open(folder.write("model.gguf", genkit::fuzz::as_text(data, size)));
    const auto model = genkit::models::load_model(checkpoint);
    genkit::models::ForwardInput input;
    input.tokens = mlx::core::array({0, 0, 0});
    input.rows = {{.length = 3}};
    auto logits = model->forward(input).logits;
    mlx::core::eval(*logits);
  });
}
