#include <cstdio>

#include "genkit/generate/generate.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "genkit/text/tokenizer.h"

int main(int argc, char** argv) try {
  if (argc != 3) return std::fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]), 2;
  auto checkpoint = genkit::io::Checkpoint::open(argv[1]);
  const auto model = genkit::models::load_model(checkpoint);
  const auto tokenizer = genkit::text::Tokenizer::load(argv[1]);

  genkit::generate::GenerationRequest request;
  request.prompts = {{.ids = tokenizer->encode(argv[2])}};
  request.config.max_new_tokens = 24;
  request.on_token = [](const genkit::generate::StreamEvent& event) {
    std::fputs(event.text.c_str(), stdout);
    std::fflush(stdout);
    return true;  // false would end this row
  };
  const auto result = genkit::generate::generate(*model, tokenizer.get(), request);
  std::printf("\n[%s]\n", genkit::generate::to_string(result.rows[0].finish_reason));
} catch (const genkit::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
