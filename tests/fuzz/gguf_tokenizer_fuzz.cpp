// A file as a GGUF with a vocabulary inside.
#include "genkit/text/tokenizer.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const genkit::fuzz::ScratchFolder folder;
  return genkit::fuzz::run([&] {
    const auto tokenizer =
        genkit::text::Tokenizer::load(folder.write("model.gguf", genkit::fuzz::as_text(data, size)));
    const auto ids = tokenizer->encode("ab  <s>\u00e9\n1234");
    tokenizer->decode(ids);
    for (int32_t id = -1; id < tokenizer->vocab_size() && id < 400; ++id) tokenizer->token_bytes(id);
  });
}
