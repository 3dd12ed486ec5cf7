#include "genkit/logits/chain.h"

#include "genkit/base/error.h"

namespace genkit::logits {
namespace {

class Callable : public Processor {
 public:
  explicit Callable(UserProcessor function) : function_(std::move(function)) {}
  std::string_view name() const override { return "UserProcessor"; }
  void apply(const Context& context, Scores& scores) const override {
    function_(context.ids, scores.values());
  }

 private:
  UserProcessor function_;
};

template <class T>
bool given(const std::optional<std::vector<T>>& list) {
  return list && !list->empty();
}

DryOptions dry_options(const config::GenerationConfig& c, const ChainInput& in) {
  DryOptions out{.multiplier = *c.dry_multiplier,
                 .base = c.dry_base.value_or(1.75),
                 .allowed_length = c.dry_allowed_length.value_or(2),
                 .last_n = c.dry_penalty_last_n.value_or(-1),
                 .breakers = c.dry_sequence_breakers.value_or(std::vector<std::string>{})};
  if (!out.breakers.empty() && !in.token_bytes) {
    throw ArgumentError("dry_sequence_breakers: need the model's tokenizer; set them to [] to do without");
  }
  return out;
}

}  // namespace

// The only place that knows the order. @source transformers 5.23, _get_logits_processor; docs/parity.md says
// where what transformers does not have stands, and why.
Chain::Chain(const ChainInput& in) {
  const config::GenerationConfig& c = in.config;
  const int prompt_length = static_cast<int>(in.prompt.size());
  const std::vector<int32_t> eos = c.eos_token_id.value_or(std::vector<int32_t>{});
  const auto differs = [](const std::optional<double>& value, double neutral) {
    return value && *value != neutral;
  };
  const auto add = [this](ProcessorPtr processor) { processors_.push_back(std::move(processor)); };

  if (given(c.sequence_bias)) add(sequence_bias(*c.sequence_bias, in.vocab_size));
  if (differs(c.diversity_penalty, 0)) add(diversity(*c.diversity_penalty));
  if (c.logit_bias && !c.logit_bias->by_id.empty()) add(logit_bias(*c.logit_bias, in.vocab_size));
  if (differs(c.encoder_repetition_penalty, 1)) {
    add(encoder_repetition_penalty(*c.encoder_repetition_penalty, in.prompt));
  }
  if (differs(c.repetition_penalty, 1)) {
    add(repetition_penalty(*c.repetition_penalty, in.padding, c.repetition_context_size.value_or(0)));
  }
  if (differs(c.frequency_penalty, 0) || differs(c.presence_penalty, 0)) {
    const int from = c.penalties_include_prompt.value_or(false) ? in.padding : prompt_length;
    add(frequency_penalty(c.frequency_penalty.value_or(0), c.presence_penalty.value_or(0), from));
  }
  if (c.dry_multiplier.value_or(0) > 0) add(dry(dry_options(c, in), in.padding, in.token_bytes));
  if (c.no_repeat_ngram_size.value_or(0) > 0) add(no_repeat_ngram(*c.no_repeat_ngram_size));
  if (c.encoder_no_repeat_ngram_size.value_or(0) > 0) {
    add(encoder_no_repeat_ngram(*c.encoder_no_repeat_ngram_size, in.prompt));
  }
  if (given(c.bad_words_ids)) add(bad_words(*c.bad_words_ids, eos, in.vocab_size));
  const int new_tokens = c.min_new_tokens.value_or(0);
  const int least = resolved_min_length(c, prompt_length);
  if (least > 0 && !eos.empty()) add(min_length(least, eos));
  if (new_tokens > 0 && !eos.empty()) add(min_new_tokens(new_tokens, prompt_length, eos));
  if (in.prefix_allowed) add(prefix_constraint(in.prefix_allowed, in.row));
  // With beams the search itself sees to the words.
  if (given(c.force_words_ids) && !config::has_beams(in.mode)) {
    add(forced_words(*c.force_words_ids, eos, prompt_length, in.max_length, in.vocab_size));
  }
  if (c.forced_bos_token_id) add(forced_bos(*c.forced_bos_token_id, in.vocab_size));
  if (given(c.forced_eos_token_id)) add(forced_eos(*c.forced_eos_token_id, in.max_length, in.vocab_size));
  if (c.remove_invalid_values.value_or(false)) add(remove_invalid_values());
  if (c.exponential_decay_length_penalty) {
    add(exponential_decay(*c.exponential_decay_length_penalty, prompt_length, eos, in.vocab_size));
  }
  if (given(c.suppress_tokens)) add(suppress_tokens(*c.suppress_tokens));
  if (given(c.begin_suppress_tokens)) {
    const bool forced_first = prompt_length <= 1 && c.forced_bos_token_id.has_value();
    add(suppress_tokens_at(*c.begin_suppress_tokens, prompt_length + (forced_first ? 1 : 0)));
  }
  if (given(c.forced_decoder_ids)) {
    add(forced_tokens(*c.forced_decoder_ids, prompt_length, in.vocab_size));
  }
  for (const UserProcessor& processor : in.user_processors) add(std::make_unique<Callable>(processor));

  if (config::draws(in.mode)) {
    const int keep = in.min_tokens_to_keep;
    // Dynamic temperature comes last, as in llama.cpp: it goes by what the others leave.
    const bool dynamic = c.dynatemp_range.value_or(0) > 0;
    if (differs(c.temperature, 1) && !dynamic) add(temperature(*c.temperature));
    if (c.top_h) add(top_h(*c.top_h));
    if (c.top_k.value_or(0) > 0) add(top_k(*c.top_k, keep));
    if (c.top_p.value_or(1) < 1) add(top_p(*c.top_p, keep));
    if (c.min_p) add(min_p(*c.min_p, keep));
    if (c.typical_p.value_or(1) < 1) add(typical_p(*c.typical_p, keep));
    if (c.epsilon_cutoff.value_or(0) > 0) add(epsilon_cutoff(*c.epsilon_cutoff, keep));
    if (c.eta_cutoff.value_or(0) > 0) add(eta_cutoff(*c.eta_cutoff, keep));
    if (c.xtc_probability.value_or(0) > 0) {
      add(xtc(*c.xtc_probability, c.xtc_threshold.value_or(0.1), in.key, in.padding));
    }
    if (dynamic) {
      add(dynamic_temperature(c.temperature.value_or(1), *c.dynatemp_range, c.dynatemp_exponent.value_or(1)));
    }
    if (c.mirostat_tau) add(mirostat(*c.mirostat_tau, c.mirostat_eta.value_or(0.1)));
  }
  if (c.watermarking_config) {
    const config::Watermark& w = *c.watermarking_config;
    add(w.scheme == config::Watermark::Scheme::kSynthId ? synthid_watermark(w.synthid, prompt_length)
                                                        : watermark(w));
  }
  if (c.renormalize_logits.value_or(false)) add(renormalize());
}

int resolved_min_length(const config::GenerationConfig& config, int prompt_length) {
  return config.min_new_tokens ? prompt_length + *config.min_new_tokens : config.min_length.value_or(0);
}

void Chain::apply(const Context& context, Scores& scores) const {
  for (const ProcessorPtr& processor : processors_) processor->apply(context, scores);
}

void Chain::apply(std::span<const Context> contexts, std::span<Scores> scores) const {
  for (const ProcessorPtr& processor : processors_) processor->apply_to_beams(contexts, scores);
}

void Chain::observe(const Scores& scores, int32_t id) {
  for (const ProcessorPtr& processor : processors_) processor->observe(scores, id);
}

std::vector<std::string_view> Chain::names() const {
  std::vector<std::string_view> out;
  for (const ProcessorPtr& processor : processors_) out.push_back(processor->name());
  return out;
}

}  // namespace genkit::logits
