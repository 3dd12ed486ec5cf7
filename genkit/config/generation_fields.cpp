#include "genkit/config/generation_fields.h"

#include <algorithm>

namespace genkit::config {
namespace {

using C = GenerationConfig;

constexpr uint8_t bits(GenerationMode a, GenerationMode b) {
  return static_cast<uint8_t>(static_cast<uint8_t>(a) | static_cast<uint8_t>(b));
}
constexpr uint8_t kSampling = bits(GenerationMode::kSampling, GenerationMode::kBeamSampling);
constexpr uint8_t kBeams = bits(GenerationMode::kBeam, GenerationMode::kBeamSampling);
constexpr uint8_t kAll = kSampling | bits(GenerationMode::kGreedy, GenerationMode::kBeam);

constexpr double kMaxInt = 2147483647.0;
constexpr Range kAny{};
constexpr Range kPositive{.min = 0, .min_open = true};
constexpr Range kFromZero{.min = 0};
constexpr Range kCount{.min = 0, .max = kMaxInt};
constexpr Range kCountFromOne{.min = 1, .max = kMaxInt};
// Each beam has scores for the whole vocabulary: a file must not ask for more than there is memory.
constexpr Range kBeamCount{.min = 1, .max = 4096};
constexpr Range kId{.min = 0, .max = kMaxInt};
constexpr Range kIdOrNone{.min = -1, .max = kMaxInt};
constexpr Range kUnit{.min = 0, .max = 1};
constexpr Range kUnitAboveZero{.min = 0, .max = 1, .min_open = true};
constexpr Range kUnitBelowOne{.min = 0, .max = 1, .max_open = true};

// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kRows[] = {
    {"max_new_tokens",
     {"max_tokens"},
     &C::max_new_tokens,
     kAll,
     kCountFromOne,
     "null",
     "",
     "Most tokens to generate. Without it and max_length: 20, within the model's context."},
    {"max_length",
     {},
     &C::max_length,
     kAll,
     kCountFromOne,
     "null",
     "",
     "Most tokens in all, prompt and its padding included; max_new_tokens beats it."},
    {"min_length",
     {},
     &C::min_length,
     kAll,
     kCount,
     "0",
     "0",
     "No EOS before the sequence, prompt included, is that long; min_new_tokens overwrites it."},
    {"min_new_tokens",
     {"min_tokens"},
     &C::min_new_tokens,
     kAll,
     kCount,
     "null",
     "0",
     "No EOS before that many new tokens."},
    {"max_time",
     {},
     &C::max_time,
     kAll,
     kFromZero,
     "null",
     "",
     "Seconds after which a row ends at its next token."},
    {"eos_token_id",
     {"eos_token_ids"},
     &C::eos_token_id,
     kAll,
     kIdOrNone,
     "null",
     "",
     "Id or ids that end a row; an empty list: none does."},
    {"pad_token_id",
     {},
     &C::pad_token_id,
     kAll,
     kIdOrNone,
     "null",
     "",
     "Id that fills rectangular results, and marks padding in prompts; -1: none."},
    {"bos_token_id",
     {},
     &C::bos_token_id,
     kAll,
     kIdOrNone,
     "null",
     "",
     "Id that begins a text; for the caller, nothing is added to a prompt of ids."},
    {"stop_strings",
     {"stop", "stop_sequences"},
     &C::stop_strings,
     kAll,
     kAny,
     "null",
     "[]",
     "Texts that end a row, found across token borders and cut from its text."},
    {"forced_bos_token_id",
     {},
     &C::forced_bos_token_id,
     kAll,
     kId,
     "null",
     "",
     "The token after a prompt of one token."},
    {"forced_eos_token_id",
     {},
     &C::forced_eos_token_id,
     kAll,
     kId,
     "null",
     "",
     "The last token when max_length is reached; of several ids the lowest."},
    {"exponential_decay_length_penalty",
     {},
     &C::exponential_decay_length_penalty,
     kAll,
     kAny,
     "null",
     "",
     "[start, factor]: EOS becomes exponentially more likely after `start` new tokens."},

    {"do_sample", {}, &C::do_sample, kAll, kAny, "false", "", "Draw the next token; false: take the best."},
    {"seed",
     {},
     &C::seed,
     kAll,
     kAny,
     "null",
     "",
     "Key of the draws; a row's tokens depend on (seed, row, step) alone. Unset: a new one each time."},
    {"temperature",
     {"temp"},
     &C::temperature,
     kSampling,
     kFromZero,
     "1.0",
     "1.0",
     "Divides the scores; 0 given without do_sample: greedy."},
    {"top_h",
     {},
     &C::top_h,
     kSampling,
     kUnitAboveZero,
     "null",
     "",
     "Keep the best tokens that carry this share of the entropy of the best 100."},
    {"top_k",
     {},
     &C::top_k,
     kSampling,
     kCount,
     "50",
     "0",
     "Keep the k best tokens, and those tied with the last."},
    {"top_p",
     {},
     &C::top_p,
     kSampling,
     kUnitAboveZero,
     "1.0",
     "1.0",
     "Keep the fewest best tokens whose probabilities reach it."},
    {"min_p",
     {},
     &C::min_p,
     kSampling,
     kUnit,
     "null",
     "0.0",
     "Drop tokens less probable than this share of the best one's probability."},
    {"typical_p",
     {},
     &C::typical_p,
     kSampling,
     kUnitAboveZero,
     "1.0",
     "1.0",
     "Keep the most typical tokens (surprise nearest the entropy) up to this mass."},
    {"epsilon_cutoff",
     {},
     &C::epsilon_cutoff,
     kSampling,
     kUnitBelowOne,
     "0.0",
     "0.0",
     "Drop tokens less probable than this."},
    {"eta_cutoff",
     {},
     &C::eta_cutoff,
     kSampling,
     kUnitBelowOne,
     "0.0",
     "0.0",
     "Drop tokens less probable than min(eta, sqrt(eta) * exp(-entropy))."},

    {"sequence_bias",
     {},
     &C::sequence_bias,
     kAll,
     kAny,
     "null",
     "[]",
     "[[[ids], bias], ...]: added to the score of a sequence's last id where the others precede it."},
    {"encoder_repetition_penalty",
     {},
     &C::encoder_repetition_penalty,
     kAll,
     kPositive,
     "1.0",
     "1.0",
     "Above 1: favours the tokens of the prompt."},
    {"repetition_penalty",
     {},
     &C::repetition_penalty,
     kAll,
     kPositive,
     "1.0",
     "1.0",
     "Above 1: disfavours tokens of prompt and output."},
    {"no_repeat_ngram_size",
     {},
     &C::no_repeat_ngram_size,
     kAll,
     kCount,
     "0",
     "0",
     "No n-gram of that size occurs twice, the prompt included."},
    {"encoder_no_repeat_ngram_size",
     {},
     &C::encoder_no_repeat_ngram_size,
     kAll,
     kCount,
     "0",
     "0",
     "No n-gram of that size of the prompt occurs in the output."},
    {"bad_words_ids",
     {},
     &C::bad_words_ids,
     kAll,
     kId,
     "null",
     "[]",
     "Sequences of ids that are never completed."},
    {"remove_invalid_values",
     {},
     &C::remove_invalid_values,
     kAll,
     kAny,
     "false",
     "false",
     "Replace NaN and infinite scores by finite ones."},
    {"suppress_tokens", {}, &C::suppress_tokens, kAll, kId, "null", "[]", "Ids that are never chosen."},
    {"begin_suppress_tokens",
     {},
     &C::begin_suppress_tokens,
     kAll,
     kId,
     "null",
     "[]",
     "Ids that are not chosen as the first new token."},
    {"renormalize_logits",
     {},
     &C::renormalize_logits,
     kAll,
     kAny,
     "false",
     "false",
     "Log-softmax after all other processors."},

    {"guidance_scale",
     {},
     &C::guidance_scale,
     kAll,
     kAny,
     "null",
     "1.0",
     "Classifier-free guidance: above 1, away from the negative prompt."},
    {"watermarking_config",
     {},
     &C::watermarking_config,
     kAll,
     kAny,
     "null",
     "",
     "{greenlist_ratio, bias, hashing_key, context_width}: favours ids that the one before them selects."},
    {"num_beams",
     {},
     &C::num_beams,
     kBeams,
     kBeamCount,
     "1",
     "1",
     "Continuations of each prompt that are followed at a time; above 1: beam search."},
    {"length_penalty",
     {},
     &C::length_penalty,
     kBeams,
     kAny,
     "1.0",
     "1.0",
     "A beam's score is divided by its new tokens to this power: above 0 favours long ones."},
    {"early_stopping",
     {},
     &C::early_stopping,
     kBeams,
     kAny,
     "false",
     "false",
     "true: stop at num_beams ended beams; false: when better ones are unlikely; \"never\": impossible."},
    {"num_return_sequences",
     {},
     &C::num_return_sequences,
     kBeams,
     kCountFromOne,
     "1",
     "1",
     "How many of the best beams to return, at most num_beams."},
    {"use_cache",
     {},
     &C::use_cache,
     kAll,
     kAny,
     "true",
     "true",
     "Keep keys and values between steps; false: the same tokens, by computing all again."},

    {"top_logprobs",
     {"logprobs"},
     &C::top_logprobs,
     kAll,
     Range{.min = 0, .max = 1000},
     "null",
     "",
     "Return each token's log-probability and those of the n best."},
    {"output_scores",
     {},
     &C::output_scores,
     kAll,
     kAny,
     "false",
     "false",
     "Return the processed scores of each step."},
    {"output_logits",
     {},
     &C::output_logits,
     kAll,
     kAny,
     "false",
     "false",
     "Return the model's logits of each step."},
};

constexpr UnsupportedOption kUnsupported[] = {
    {"num_beam_groups", "[1]", "diverse beam search"},
    {"diversity_penalty", "[0.0]", "diverse beam search"},
    {"penalty_alpha", "[0.0]", "contrastive search"},
    {"dola_layers", "[]", "DoLa"},
    {"force_words_ids", "[[]]", "constrained beam search"},
    {"constraints", "[[]]", "constrained beam search"},
    {"token_healing", "[false]", "token healing"},
    {"prompt_lookup_num_tokens", "[]", "prompt lookup"},
    {"max_matching_ngram_size", "[]", "prompt lookup"},
    {"is_assistant", "[false]", "assisted generation"},
    {"num_assistant_tokens", "[20]", "assisted generation"},
    {"num_assistant_tokens_schedule", "[\"constant\"]", "assisted generation"},
    {"assistant_confidence_threshold", "[0.4]", "assisted generation"},
    {"assistant_lookbehind", "[10]", "assisted generation"},
    {"target_lookbehind", "[10]", "assisted generation"},
    {"assistant_early_exit", "[]", "assisted generation"},
    {"assistant_ensemble_weight", "[]", "assisted generation"},
    {"speculation_type", "[]", "assisted generation"},
    {"use_mtp", "[false]", "multi-token prediction"},
    {"output_attentions", "[false]", "returning attention weights"},
    {"output_hidden_states", "[false]", "returning hidden states"},
    {"decoder_start_token_id", "[]", "encoder-decoder models"},
    {"forced_decoder_ids", "[[]]", "forced tokens by position"},
    // The layouts hold the same numbers; the quantised one does not.
    {"cache_implementation",
     "[\"dynamic\", \"dynamic_full\", \"static\", \"offloaded\", \"offloaded_static\", \"hybrid\", "
     "\"hybrid_chunked\", "
     "\"sliding_window\", \"offloaded_hybrid\", \"offloaded_hybrid_chunked\", \"paged\"]",
     "quantised caches"},
};

constexpr std::string_view kBookkeeping[] = {
    "_from_model_config", "_commit_hash",       "transformers_version", "return_dict_in_generate",
    "low_memory",         "prefill_chunk_size", "compile_config",       "disable_compile",
    "max_cache_len",      "cache_config",       "return_legacy_cache",  "continuous_batching_config",
};

}  // namespace

std::span<const OptionRow> option_rows() { return kRows; }
std::span<const UnsupportedOption> unsupported_options() { return kUnsupported; }
std::span<const std::string_view> bookkeeping_keys() { return kBookkeeping; }

const OptionRow* find_option(std::string_view name) {
  for (const OptionRow& row : kRows) {
    if (row.name == name) return &row;
    if (!name.empty() && std::find(row.aliases.begin(), row.aliases.end(), name) != row.aliases.end())
      return &row;
  }
  return nullptr;
}

const UnsupportedOption* find_unsupported(std::string_view name) {
  const auto found = std::find_if(std::begin(kUnsupported), std::end(kUnsupported),
                                  [&](const UnsupportedOption& row) { return row.name == name; });
  return found == std::end(kUnsupported) ? nullptr : found;
}

std::span<const std::string_view> all_field_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> out;
    for (const OptionRow& row : kRows) {
      out.push_back(row.name);
      for (const std::string_view alias : row.aliases) {
        if (!alias.empty()) out.push_back(alias);
      }
    }
    for (const UnsupportedOption& row : kUnsupported) out.push_back(row.name);
    return out;
  }();
  return names;
}

void read_field(const JsonView& view, SequenceBias& out) {
  if (!view.is_array() || view.size() != 2) view.fail_expected("a pair of a list of ids and a bias");
  out.ids = view.at(0).integers<int32_t>(0);
  if (out.ids.empty()) view.at(0).fail("expected at least one id");
  out.bias = view.at(1).number();
}

void read_field(const JsonView& view, LengthDecay& out) {
  if (!view.is_array() || view.size() != 2) view.fail_expected("a pair of a start and a factor");
  out.start = view.at(0).integer<int>(0);
  out.factor = view.at(1).number(0, std::numeric_limits<double>::max());
}

void read_field(const JsonView& view, Watermark& out) {
  view.refuse_unknown_keys({"greenlist_ratio", "bias", "hashing_key", "seeding_scheme", "context_width"});
  out.greenlist_ratio = view.number_or("greenlist_ratio", out.greenlist_ratio);
  if (!(out.greenlist_ratio > 0 && out.greenlist_ratio < 1)) {
    view.at("greenlist_ratio").fail_expected("a number in (0, 1)");
  }
  out.bias = view.number_or("bias", out.bias);
  out.hashing_key = view.integer_or<uint64_t>("hashing_key", out.hashing_key);
  out.context_width = view.integer_or<int>("context_width", out.context_width, 1);
  if (view.string_or("seeding_scheme", "lefthash") != "lefthash") {
    view.at("seeding_scheme").fail("only \"lefthash\" is honoured");
  }
}

void read_field(const JsonView& view, EarlyStopping& out) {
  if (view.is_string() && view.string() == "never") {
    out = EarlyStopping::kNever;
  } else if (view.json().is_boolean()) {
    out = view.boolean() ? EarlyStopping::kTrue : EarlyStopping::kFalse;
  } else {
    view.fail_expected("true, false or \"never\"");
  }
}

void to_json(nlohmann::json& json, const EarlyStopping& value) {
  if (value == EarlyStopping::kNever)
    json = "never";
  else
    json = value == EarlyStopping::kTrue;
}

void to_json(nlohmann::json& json, const Watermark& value) {
  json = {{"greenlist_ratio", value.greenlist_ratio},
          {"bias", value.bias},
          {"hashing_key", value.hashing_key},
          {"seeding_scheme", "lefthash"},
          {"context_width", value.context_width}};
}

void to_json(nlohmann::json& json, const SequenceBias& value) { json = {value.ids, value.bias}; }
void to_json(nlohmann::json& json, const LengthDecay& value) { json = {value.start, value.factor}; }

}  // namespace genkit::config
