// A file as a prompt cache of a model with a full layer and one with a window: what is read is kept, gone on
// from, written, and read again.
#include <cstdlib>

#include "genkit/generate/prefix_file.h"
#include "mlx/ops.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using genkit::generate::KeptPrefix;

/// What the reader asks a model: its vocabulary, its layers, and what tells it from others.
class TwoLayers : public genkit::models::Model {
 public:
  TwoLayers() : Model(make_config()) {
    set_fingerprint([] { return std::string("fuzz"); });
  }
  std::vector<genkit::ops::KvShape> cache_layers() const override {
    return {{.kv_heads = 2, .head_dim = 2, .value_dim = 3},
            {.kv_heads = 1, .head_dim = 2, .value_dim = 2, .window = 8}};
  }
  genkit::models::Components components() const override { return {}; }
  mlx::core::array head(const mlx::core::array& states) const override { return states; }
  int rotated_alike(int, int, int length) const override { return length; }
  genkit::models::ForwardOutput forward(const genkit::models::ForwardInput&, genkit::cache::KvCache*,
                                        const std::vector<genkit::models::ForwardHook*>&) const override {
    return {};
  }

 private:
  static genkit::config::ModelConfig make_config() {
    genkit::config::ModelConfig config;
    config.model_type = "fuzz";
    config.vocab_size = 100;
    return config;
  }
};

/// A row that begins from what was read, and is fed `more` positions.
void go_on(const TwoLayers& model, const KeptPrefix& kept, int most, int more) {
  genkit::generate::PrefixStore store(model);
  store.put(kept);
  genkit::cache::KvCache cache = model.make_cache();
  const int slot = store.open(
      cache, {.tokens = kept.tokens, .bound = kept.row.bound, .rope_length = kept.rope_length, .most = most});
  if (cache.length(slot) > most) std::abort();
  const std::vector<float> numbers(static_cast<size_t>(more) * 6, 1.0f);
  for (int layer = 0; layer < cache.num_layers(); ++layer) {
    cache.store(slot, layer)->append(numbers.data(), numbers.data(), more);
  }
  cache.trim(slot);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const genkit::fuzz::ScratchFolder folder;
  static const TwoLayers model;
  return genkit::fuzz::run([&] {
    const auto path = folder.write("row", genkit::fuzz::as_text(data, size));
    const KeptPrefix kept = genkit::generate::load_prefix(path, model);
    const int length = static_cast<int>(kept.tokens.size());
    for (const int most : {length, length - 1, length / 2}) go_on(model, kept, most, 70);
    const auto copy = folder.path() / "copy", again = folder.path() / "again";
    genkit::generate::save_prefix(copy, kept, model);
    const KeptPrefix read = genkit::generate::load_prefix(copy, model);
    if (read.tokens != kept.tokens || read.row.bound != kept.row.bound) std::abort();
    genkit::generate::save_prefix(again, read, model);
    if (genkit::fuzz::read(copy) != genkit::fuzz::read(again)) std::abort();
  });
}
