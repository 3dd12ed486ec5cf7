// A file as GGUF: header, every metadata value by every getter, the first and last byte of every tensor.
#include "genkit/io/gguf_reader.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

template <typename Get>
void attempt(Get&& get) {
  try {
    get();
  } catch (const genkit::FormatError&) {
  }
}

void read_value(const genkit::io::GgufFile& file, std::string_view key) {
  attempt([&] { file.find_string(key); });
  attempt([&] { file.find_integer(key); });
  attempt([&] { file.find_number(key); });
  attempt([&] { file.find_bool(key); });
  attempt([&] { file.find_strings(key); });
  attempt([&] { file.find_integers(key); });
  attempt([&] { file.find_numbers(key); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const genkit::fuzz::ScratchFolder folder;
  return genkit::fuzz::run([&] {
    const auto file =
        genkit::io::GgufFile::open(folder.write("model.gguf", genkit::fuzz::as_text(data, size)));
    for (const auto& [key, value] : file->metadata()) read_value(*file, key);
    for (const auto& tensor : file->tensors()) {
      if (tensor.data == nullptr || tensor.bytes == 0) continue;
      static volatile uint8_t sink;
      sink = tensor.data[0];
      sink = tensor.data[tensor.bytes - 1];
    }
  });
}
