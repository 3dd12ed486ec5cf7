#include "genkit/generate/row_setup.h"

namespace genkit::generate {

logits::TokenBytes RowSetup::token_bytes() const {
  if (!tokenizer) return {};
  return [tokenizer = tokenizer](int32_t id) {
    return id < tokenizer->vocab_size() ? tokenizer->token_bytes(id) : std::string();
  };
}

logits::DrawKey RowSetup::key_after(size_t ids) const {
  return {.seed = key.seed, .row = key.row, .step = ids - static_cast<size_t>(prompt.padding)};
}

logits::Chain RowSetup::chain(int min_tokens_to_keep) const {
  return logits::Chain({.config = config.values,
                        .mode = config.mode,
                        .prompt = prompt.ids,
                        .padding = prompt.padding,
                        .max_length = prompt.max_length,
                        .vocab_size = vocab_size,
                        .min_tokens_to_keep = min_tokens_to_keep,
                        .user_processors = user_processors,
                        .prefix_allowed = prefix_allowed,
                        .row = row,
                        .key = key,
                        .token_bytes = token_bytes()});
}

}  // namespace genkit::generate
