#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "genkit/generate/beam_choice.h"
#include "genkit/generate/generation_config.h"
#include "genkit/logits/processor.h"
#include "genkit/models/model.h"
#include "genkit/text/tokenizer.h"

namespace genkit::generate {

/// What time it is.
using Clock = std::function<std::chrono::steady_clock::time_point()>;

enum class FinishReason : uint8_t { kEos, kStopString, kLength, kCancelled };
const char* to_string(FinishReason reason);

struct TokenLogprob {
  int32_t id;
  float logprob;  ///< natural logarithm, of the model's distribution before any processor
};

/// What a caller sees as soon as it is final. With beams no token is before the prompt's end, so that
/// one event brings the best sequence's whole text.
struct StreamEvent {
  size_t row = 0;
  size_t sequence = 0;  ///< of those that num_return_sequences draws for the row; each ends by itself
  int32_t token = -1;   ///< -1: none, this event only ends the row
  std::string text;     ///< newly certain text; may be empty, never half a character
  bool finished = false;
};

/// At most `most` tokens that may follow, by the row and what it has so far (padding included).
using ProposeTokens = std::function<std::vector<int32_t>(size_t row, std::span<const int32_t> ids, int most)>;

/// One prompt of a batch.
struct Prompt {
  std::vector<int32_t> ids;
  std::optional<GenerationConfig> config = {};  ///< this row's own options, over the request's
  /// One 0 or 1 an id, where 0 is padding. Empty: as transformers infers it, all ones unless the pad
  /// id occurs in the prompt and is no EOS id.
  std::vector<int32_t> attention_mask = {};
  /// What guidance_scale leads away from; empty: the prompt's last token alone.
  std::vector<int32_t> negative_prompt_ids = {};
  /// What stands for the row in the sampling key (seed, row, position); nothing: its place in the batch.
  std::optional<uint64_t> row_key = {};
  /// What hooks know the row as (models::RowSpan::row); nothing: its place in the batch.
  std::optional<int64_t> hook_row = {};
};

class PrefixStore;
struct GeneratedRow;
struct Timings;

struct GenerationRequest {
  std::vector<Prompt> prompts;
  GenerationConfig config;
  /// The model's own defaults: GenerationConfig::from_model(checkpoint.generation_config()).
  GenerationConfig model_defaults;
  std::vector<models::ForwardHook*> hooks;
  std::vector<logits::UserProcessor> processors;  ///< run after the library's, before the warpers
  /// The only ids that may come next, by row and what it has so far (padding included).
  logits::PrefixAllowed prefix_allowed_tokens_fn;
  /// Stands in for the draws of beam sampling where it is set, to compare with recorded runs.
  ChooseContinuations choose_continuations;
  /// A smaller model of the same vocabulary that goes ahead, for greedy decoding and sampling; see
  /// num_assistant_tokens. Greedy tokens stay the same, and drawn ones keep their distribution.
  const models::Model* assistant_model = nullptr;
  /// A caller's own guesses of what follows (a text that is known to come again), for greedy decoding
  /// and sampling. The tokens stay the same, drawn ones too.
  ProposeTokens propose_tokens;
  /// Called on the generating thread, between steps. Returning false cancels that row.
  std::function<bool(const StreamEvent&)> on_token;
  /// Called during long prefills with (tokens done, tokens in all).
  std::function<void(size_t, size_t)> on_prefill;
  /// Set from any thread to end all rows with what they have.
  const std::atomic<bool>* cancel = nullptr;
  /// Rows that have run, which these begin from and are added to. @see PrefixStore
  std::shared_ptr<PrefixStore> prefixes = {};
  /// Rows that run at a time; the next prompt joins when one leaves. 0: all of them.
  size_t max_rows = 0;
  /// Called with each prompt's result, in their order, as soon as it and those before it have ended, and
  /// with the timings so far. GenerationResult::rows then stays empty.
  std::function<void(size_t, const GeneratedRow&, const Timings&)> on_result;
  Clock clock = std::chrono::steady_clock::now;  ///< that max_time goes by
  int prefill_chunk = 512;                       ///< tokens of one forward pass over the prompts
  bool skip_special_tokens = true;               ///< in texts
  /// Rows that a stop string has ended go on until every row has ended, into GeneratedRow::overrun,
  /// as transformers goes on where no EOS id is set. For comparing sequences with it.
  bool overrun = false;
};

struct Timings {
  double prefill_s = 0, decode_s = 0, first_token_s = 0;
  size_t prompt_tokens = 0, new_tokens = 0;
  size_t reused_tokens = 0;  ///< of the prompts, whose keys and values were there
};

struct GeneratedRow {
  std::vector<int32_t> prompt_ids;  ///< as given, padding included
  std::vector<int32_t> ids;         ///< new tokens, EOS included
  std::string text;                 ///< decoded, without EOS, trimmed at a stop string
  FinishReason finish_reason = FinishReason::kLength;
  std::string stop_string;                              ///< the one that matched
  std::vector<float> logprobs;                          ///< one a new token, where top_logprobs is set
  std::vector<std::vector<TokenLogprob>> top_logprobs;  ///< best first
  std::vector<std::vector<float>> scores;               ///< [new tokens][vocab], where output_scores is set
  std::vector<std::vector<float>> logits;               ///< [new tokens][vocab], where output_logits is set
  std::vector<int32_t> overrun;                         ///< @see GenerationRequest::overrun
  bool speculative = false;                             ///< something guessed; without it the counts are 0
  size_t drafted = 0;                                   ///< tokens that were guessed before they were chosen
  size_t accepted = 0;                                  ///< and of those, the ones that were chosen
  uint64_t seed = 0;                                    ///< that was used; gives the same tokens again
  /// Where output_transition_scores is set, one a new token: its processed score, and that after a
  /// log-softmax over the step's scores. With beams without the beam's earlier tokens.
  /// @source transformers 5.23 compute_transition_scores, normalize_logits false and true.
  std::vector<float> transition_scores = {}, normalized_transition_scores = {};
  /// Where prompt_logprobs is set, one a token of the prompt without its padding: its log-probability after
  /// the tokens before it, and the best ones at its place. NaN and none for the first, which nothing
  /// precedes.
  std::vector<float> prompt_logprobs = {};
  std::vector<std::vector<TokenLogprob>> prompt_top_logprobs = {};
  /// With beams: the sum of processed log-probabilities, divided by the length penalty.
  std::optional<float> sequence_score = {};
  /// With beams: which of the prompt's beams each new token continued, from 0.
  std::vector<int32_t> beam_indices = {};
  /// With constrained beams: whether the words of force_words_ids are all there, the prompt counted in.
  std::optional<bool> holds_forced_words = {};
  /// The further sequences that num_return_sequences asks for. Of beams the best first, fewer where
  /// processors leave no more; of sampling in the order of their keys.
  std::vector<GeneratedRow> others = {};
};

struct GenerationResult {
  std::vector<GeneratedRow> rows;
  Timings timings;
};

/// Continues the prompts. Rows are independent: what one of them gets does not depend on the
/// others, on chunking, or on threads.
/// @param tokenizer needed for stop_strings and text; may be null.
/// @throws ArgumentError naming the option and the mode for what cannot be honoured, and the prompt
///         that is empty, too long for the model's context, or holds an id outside the vocabulary.
GenerationResult generate(const models::Model& model, const text::Tokenizer* tokenizer,
                          const GenerationRequest& request);

/// Prompts and new tokens as transformers returns them: equally long rows, filled on the right with
/// the pad id, or the first EOS id where there is no pad id (-1 where there is neither). A prompt's
/// further sequences follow its first; rows of beams are filled with the pad id only where that is
/// above 0 and there is an EOS id (-1 where there is none), as it is in transformers. Needs
/// prompts of one length, padding included.
/// @throws ArgumentError when they are not.
std::vector<std::vector<int32_t>> padded_sequences(const GenerationResult& result,
                                                   const EffectiveConfig& config);

}  // namespace genkit::generate
