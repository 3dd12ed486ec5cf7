#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "genkit/generate/generation_config.h"
#include "genkit/models/model.h"
#include "genkit/text/tokenizer.h"

namespace genkit::generate {

enum class FinishReason : uint8_t { kEos, kStopString, kLength, kCancelled };
const char* to_string(FinishReason reason);

struct TokenLogprob {
  int32_t id;
  float logprob;  ///< natural logarithm, of the model's distribution before any processor
};

/// What a caller sees as soon as it is final.
struct StreamEvent {
  size_t row = 0;
  int32_t token = -1;
  std::string text;      ///< newly certain text; may be empty, never half a character
  bool finished = false;
};

/// One prompt of a batch.
struct Prompt {
  std::vector<int32_t> ids;
  std::optional<GenerationConfig> config;  ///< this row's own options, over the request's
};

struct GenerationRequest {
  std::vector<Prompt> prompts;
  GenerationConfig config;
  std::vector<models::ForwardHook*> hooks;
  /// Called on the generating thread, between steps. Returning false cancels that row.
  std::function<bool(const StreamEvent&)> on_token;
  /// Called during long prefills with (tokens done, tokens in all).
  std::function<void(size_t, size_t)> on_prefill;
  /// Set from any thread to end all rows with what they have.
  const std::atomic<bool>* cancel = nullptr;
  int prefill_chunk = 512;  ///< tokens of one forward pass over the prompts
};

struct Timings {
  double prefill_s = 0, decode_s = 0, first_token_s = 0;
  size_t prompt_tokens = 0, new_tokens = 0;
};

struct GeneratedRow {
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> ids;                           ///< new tokens, EOS included
  std::string text;                                   ///< decoded, trimmed at a stop string
  FinishReason finish_reason = FinishReason::kLength;
  std::string stop_string;                            ///< the one that matched
  std::vector<float> logprobs;                        ///< one a new token, where asked for
  std::vector<std::vector<TokenLogprob>> top_logprobs;
};

struct GenerationResult {
  std::vector<GeneratedRow> rows;
  Timings timings;
};

/// Continues the prompts. Rows are independent: what one of them gets does not depend on the
/// others, on chunking, or on threads.
/// @param tokenizer needed for stop_strings and text; may be null.
/// @throws ArgumentError naming the option and the mode for what cannot be honoured.
GenerationResult generate(const models::Model& model, const text::Tokenizer* tokenizer,
                          const GenerationRequest& request);

}  // namespace genkit::generate
