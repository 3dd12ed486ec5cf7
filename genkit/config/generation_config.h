#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "genkit/config/generation_mode.h"

namespace genkit::config {

/// One entry of `sequence_bias`: added to the score of the last id after the others.
struct SequenceBias {
  std::vector<int32_t> ids;
  double bias = 0;
  bool operator==(const SequenceBias&) const = default;
};

/// `exponential_decay_length_penalty`: (start, factor).
struct LengthDecay {
  int start = 0;      ///< new tokens before it begins
  double factor = 1;  ///< > 0
  bool operator==(const LengthDecay&) const = default;
};

/// `logit_bias`: added to the scores of single ids.
struct LogitBias {
  std::map<int32_t, double> by_id;
  bool operator==(const LogitBias&) const = default;
};

/// One entry of `forced_decoder_ids`.
struct ForcedToken {
  int position = 0;  ///< of the new tokens, from 0
  int32_t id = 0;
  bool operator==(const ForcedToken&) const = default;
};

/// `watermarking_config` with the keys of SynthID.
/// @source Dathathri et al. 2024; transformers 5.23 SynthIDTextWatermarkingConfig.
struct SynthId {
  int ngram_len = 5;          ///< ids that are hashed together, the new one included; at least 2
  std::vector<int64_t> keys;  ///< one a round of the tournament
  int context_history_size = 1024;
  uint64_t sampling_table_seed = 0;
  int sampling_table_size = 65536;      ///< at most 2^24
  bool skip_first_ngram_calls = false;  ///< no watermark before there are ngram_len - 1 new tokens
  bool operator==(const SynthId&) const = default;
};

/// `watermarking_config`.
/// @source Kirchenbauer et al. 2023; transformers 5.23 WatermarkingConfig.
struct Watermark {
  enum class Scheme : uint8_t { kLeftHash, kSelfHash, kSynthId };
  Scheme scheme = Scheme::kLeftHash;
  double greenlist_ratio = 0.25;  ///< (0, 1): share of the vocabulary that is favoured
  double bias = 2.0;              ///< added to the favoured scores
  uint64_t hashing_key = 15485863;
  int context_width = 1;  ///< no watermark before the context is that long
  SynthId synthid = {};   ///< what kSynthId goes by, and nothing else
  bool operator==(const Watermark&) const = default;
};

/// One entry of `force_words_ids`: the output holds one of the alternatives, its ids in a row.
/// JSON: a list of ids (one phrase), or a list of such lists (any of them).
struct ForcedWord {
  std::vector<std::vector<int32_t>> alternatives;
  bool operator==(const ForcedWord&) const = default;
};

/// `dola_layers`: whose early output DoLa contrasts with the last layer's.
struct DolaLayers {
  enum class Kind : uint8_t {
    kLow,   ///< the lower half, every second one
    kHigh,  ///< the upper half, every second one
    kList,  ///< `layers`
  };
  Kind kind = Kind::kLow;
  std::vector<int> layers;  ///< 0: the embedding, i: what block i is given
  bool operator==(const DolaLayers&) const = default;
};

/// `early_stopping` of beams: when a prompt is done that has num_beams ended beams.
enum class EarlyStopping : uint8_t {
  kFalse,  ///< when the best running beam, at its present length, is no better than the worst ended one
  kTrue,   ///< at once
  kNever,  ///< when no running beam can get better, at any length
};

/// `num_assistant_tokens`: how many tokens a draft model goes ahead.
struct DraftTokens {
  static constexpr int kMost = 512;  ///< each has logits for the whole vocabulary
  std::optional<int> count = {};     ///< [1, kMost]; nothing: "auto", by how many come true
  bool operator==(const DraftTokens&) const = default;
};

/// `num_assistant_tokens_schedule`: what becomes of the count after each draft.
enum class DraftSchedule : uint8_t {
  kConstant,            ///< nothing
  kHeuristic,           ///< 2 more after a draft that came true whole, else 1 less
  kHeuristicTransient,  ///< the same; transformers forgets it between calls, and so do rows here
};

/// Options of a generation, under transformers' names. A field left empty takes the next layer's
/// value: a row's own, the request's, the model's generation_config.json, the library's default.
/// Every option has a row in the field table (genkit/config/options/), which parsing, printing,
/// help and validation read; numbers are doubles because transformers compares in Python's.
struct GenerationConfig {
  // Length and ends.
  std::optional<int> max_new_tokens;
  std::optional<int> max_length;
  std::optional<int> min_length;
  std::optional<int> min_new_tokens;
  std::optional<double> max_time;  ///< seconds
  std::optional<std::vector<int32_t>> eos_token_id;
  std::optional<int32_t> pad_token_id;  ///< -1: none
  std::optional<int32_t> bos_token_id;  ///< -1: none
  std::optional<std::vector<std::string>> stop_strings;
  std::optional<int32_t> forced_bos_token_id;
  std::optional<std::vector<int32_t>> forced_eos_token_id;
  std::optional<LengthDecay> exponential_decay_length_penalty;

  // How tokens are chosen.
  std::optional<bool> do_sample;
  std::optional<uint64_t> seed;
  std::optional<double> temperature;
  std::optional<double> top_h;
  std::optional<int> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> typical_p;
  std::optional<double> epsilon_cutoff;
  std::optional<double> eta_cutoff;
  std::optional<double> xtc_probability;
  std::optional<double> xtc_threshold;
  std::optional<double> dynatemp_range;
  std::optional<double> dynatemp_exponent;
  std::optional<double> mirostat_tau;
  std::optional<double> mirostat_eta;

  // Processors of every mode.
  std::optional<std::vector<SequenceBias>> sequence_bias;
  std::optional<LogitBias> logit_bias;
  std::optional<double> encoder_repetition_penalty;
  std::optional<double> repetition_penalty;
  std::optional<int> repetition_context_size;
  std::optional<double> frequency_penalty;
  std::optional<double> presence_penalty;
  std::optional<bool> penalties_include_prompt;
  std::optional<double> dry_multiplier;
  std::optional<double> dry_base;
  std::optional<int> dry_allowed_length;
  std::optional<int> dry_penalty_last_n;
  std::optional<std::vector<std::string>> dry_sequence_breakers;
  std::optional<int> no_repeat_ngram_size;
  std::optional<int> encoder_no_repeat_ngram_size;
  std::optional<std::vector<std::vector<int32_t>>> bad_words_ids;
  std::optional<bool> remove_invalid_values;
  std::optional<std::vector<int32_t>> suppress_tokens;
  std::optional<std::vector<int32_t>> begin_suppress_tokens;
  std::optional<std::vector<ForcedToken>> forced_decoder_ids;
  std::optional<bool> renormalize_logits;
  std::optional<double> guidance_scale;
  std::optional<double> penalty_alpha;
  std::optional<DolaLayers> dola_layers;
  std::optional<std::vector<ForcedWord>> force_words_ids;
  std::optional<bool> force_words_strictly;
  std::optional<Watermark> watermarking_config;

  // Beams.
  std::optional<int> num_beams;
  std::optional<int> num_beam_groups;
  std::optional<double> diversity_penalty;
  std::optional<double> length_penalty;
  std::optional<EarlyStopping> early_stopping;
  std::optional<int> num_return_sequences;

  // Speculation.
  std::optional<int> prompt_lookup_num_tokens;
  std::optional<int> max_matching_ngram_size;
  std::optional<DraftTokens> num_assistant_tokens;
  std::optional<DraftSchedule> num_assistant_tokens_schedule;
  std::optional<double> assistant_confidence_threshold;

  // How it is computed.
  std::optional<bool> use_cache;
  std::optional<int> max_kv_size;
  std::optional<int> num_sink_tokens;  ///< counts only beside max_kv_size

  // What is returned beside the tokens.
  std::optional<int> top_logprobs;
  std::optional<int> prompt_logprobs;
  std::optional<bool> output_transition_scores;
  std::optional<bool> output_scores;
  std::optional<bool> output_logits;

  /// Options that transformers has and no mode here honours yet, as they were given: kept so that
  /// resolve() can refuse the ones that are not neutral, naming where they came from.
  std::map<std::string, nlohmann::json> unsupported;
  /// Where fields of the caller were read, by their first names: a file, "command line". For explain().
  std::map<std::string, std::string, std::less<>> sources;
  /// Keys of a model's file that transformers does not know either; reported by explain().
  std::vector<std::string> unknown;

  /// A caller's options: `--generation-config FILE`, a goldens case, a request's body.
  /// @throws ArgumentError "NAME: KEY: ..." for an unknown key, suggesting the nearest one, for a
  ///         wrong type and for a value out of range.
  static GenerationConfig from_caller(const nlohmann::json& json, const std::string& name);
  /// A model's generation_config.json, or null where there is none. Keys that nobody knows are
  /// kept in `unknown`: transformers ignores them, and models carry many.
  /// @throws FormatError naming file and field.
  static GenerationConfig from_model(const nlohmann::json& json,
                                     const std::string& file = "generation_config.json");

  /// The fields that are set, under their first names.
  nlohmann::json to_json() const;
  /// @throws ArgumentError "top_p: expected a number in (0, 1], got 1.7" for a value out of range.
  void validate() const;
  /// Sets one option from text, as a command line has it: "0.7", "true", "1,2,3" or JSON.
  /// @param name any of its names. @throws ArgumentError naming the option.
  void set(std::string_view name, const std::string& text);
};

/// One row of the field table, for help texts, documentation and bindings.
struct FieldInfo {
  std::string_view name;
  std::string_view group;  ///< title of its topic
  std::span<const std::string_view> aliases;
  std::string type;           ///< "integer", "number", "boolean", "list of integers", ...
  std::string range;          ///< "a number in (0, 1]"; empty where every value is allowed
  std::string default_value;  ///< JSON; "null" where there is none
  std::string help;
  Modes modes;  ///< that it acts in
};
const std::vector<FieldInfo>& generation_fields();

enum class Origin : uint8_t { kDefault, kModel, kRequest, kRow, kImplied };
const char* to_string(Origin origin);

/// A row's options with every default filled in, and where each came from.
struct EffectiveConfig {
  GenerationConfig values;
  GenerationMode mode = GenerationMode::kGreedy;
  std::map<std::string, Origin, std::less<>> origins;  ///< of the fields that are set
  /// Of fields of the caller whose source is known. @see GenerationConfig::sources
  std::map<std::string, std::string, std::less<>> sources;
  std::vector<std::string> notes;  ///< what the model's file asks for to no effect

  /// "temperature = 0.7 (request)" and so on, one line a field, then the notes. In place of "request" stands
  /// the source where it is known.
  std::string explain() const;
};

/// Merges row <- request <- model <- defaults and checks the result against the mode it selects.
///
/// The mode follows from do_sample, num_beams, num_beam_groups, force_words_ids, penalty_alpha with top_k,
/// and dola_layers, as in transformers. Where the caller says nothing about do_sample, an option of the
/// caller that only sampling honours (temperature 0.7) selects sampling; temperature 0 selects none, and
/// so does an option that selects a mode without draws (penalty_alpha, num_beam_groups, forced words of
/// beams).
/// prompt_lookup_num_tokens and `assistant` select the speculative forms of greedy decoding and sampling.
/// What the caller sets and the mode cannot honour is an error. What the model's file sets and only
/// the other mode honours does not apply and becomes a note; what no mode honours is an error that
/// says how to run the model without it.
/// @param assistant there is a draft model.
/// @throws ArgumentError naming the option and the mode.
EffectiveConfig resolve(const GenerationConfig& model, const GenerationConfig& request,
                        const GenerationConfig* row = nullptr, bool assistant = false);

}  // namespace genkit::config
