// Any text as a tokenizer.json. What is accepted must encode and decode, every id it knows included.
#include <cstdlib>
#include <numeric>

#include "genkit/text/tokenizer.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

constexpr int kIds = 600;  // enough for the seeds' vocabularies

void use(const genkit::text::Tokenizer& tokenizer) {
  for (const char* text : {"", "Hello, world 12345", "  \n\t<s>a\u00e9\U0001F600\u2581b</s>"}) {
    const auto ids = tokenizer.encode(text);
    if (tokenizer.encode_with_offsets(text).first != ids) std::abort();
    tokenizer.decode(ids);
    tokenizer.decode(ids, true, true);
  }
  std::vector<int32_t> all(kIds);
  std::iota(all.begin(), all.end(), -2);
  for (const int32_t id : all) {
    tokenizer.id_to_token(id);
    tokenizer.token_bytes(id);
    tokenizer.is_special(id);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const genkit::fuzz::ScratchFolder folder;
  return genkit::fuzz::run([&] {
    folder.write("tokenizer.json", genkit::fuzz::as_text(data, size));
    use(*genkit::text::Tokenizer::load(folder.path()));
  });
}
