#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "genkit/config/generation_config.h"
#include "genkit/logits/processor.h"

namespace genkit::logits {

/// What a row's chain is built from. Lengths are tokens, padding included.
struct ChainInput {
  const config::GenerationConfig& config;  ///< of a row, resolved: defaults filled in
  config::GenerationMode mode = config::GenerationMode::kGreedy;
  std::span<const int32_t> prompt;
  int padding = 0;     ///< leading positions of the prompt that are padding
  int max_length = 0;  ///< resolved: prompt and new tokens
  int vocab_size = 0;
  int min_tokens_to_keep = 1;  ///< with sampling beams: the number of EOS ids + 1
  std::span<const UserProcessor> user_processors = {};
  PrefixAllowed prefix_allowed = {};
  size_t row = 0;               ///< that prefix_allowed is asked about
  DrawKey key = {};             ///< seed and row, for warpers that draw
  TokenBytes token_bytes = {};  ///< null without a tokenizer
};

/// The length, prompt included, before which no EOS comes: min_new_tokens overwrites min_length.
/// @source transformers 5.23, _prepare_generated_length.
int resolved_min_length(const config::GenerationConfig& config, int prompt_length);

/// The processors of one row, in transformers' order. Options at their neutral values add none.
class Chain {
 public:
  explicit Chain(const ChainInput& input);
  void apply(const Context& context, Scores& scores) const;
  /// All beams of one prompt. @param scores one a context.
  void apply(std::span<const Context> contexts, std::span<Scores> scores) const;
  /// Told what was drawn from the scores that apply() left. @see Processor::observe
  void observe(const Scores& scores, int32_t id);
  bool empty() const { return processors_.empty(); }
  std::vector<std::string_view> names() const;

 private:
  std::vector<ProcessorPtr> processors_;
};

}  // namespace genkit::logits
