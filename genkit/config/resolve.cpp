#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/config/generation_config.h"
#include "genkit/config/generation_fields.h"

namespace genkit::config {
namespace {

using nlohmann::json;

/// Takes what `from` sets and `to` does not, and notes where it came from.
void fill(GenerationConfig& to, const GenerationConfig& from, Origin origin, EffectiveConfig& config) {
  for (const OptionRow& row : option_rows()) {
    with_member(row, [&](auto member) {
      if ((to.*member) || !(from.*member)) return;
      to.*member = from.*member;
      config.origins.emplace(row.name, origin);
      if (const auto found = from.sources.find(row.name); found != from.sources.end())
        config.sources.emplace(row.name, found->second);
    });
  }
}

const GenerationConfig& defaults() {
  static const GenerationConfig config = [] {
    GenerationConfig out;
    for (const OptionRow& row : option_rows()) {
      const json value = json::parse(row.fallback);
      if (!value.is_null()) read_row(row, JsonView(value, std::string(row.name)), out);
    }
    return out;
  }();
  return config;
}

/// True where the field is set to something that changes the result.
bool acts(const OptionRow& row, const GenerationConfig& config) {
  return with_member(row, [&](auto member) {
    if (!(config.*member)) return false;
    if (row.neutral.empty()) return true;
    return field::write_field(*(config.*member)) != json::parse(row.neutral);
  });
}

bool is_neutral(const UnsupportedOption& row, const json& value) {
  const json neutral = json::parse(row.neutral);
  return value.is_null() || std::find(neutral.begin(), neutral.end(), value) != neutral.end();
}

/// The first option that only sampling honours and that the caller has set to something.
const OptionRow* sampling_option(const GenerationConfig& request, const GenerationConfig* row) {
  for (const OptionRow& field : option_rows()) {
    if (!contains(field.modes, GenerationMode::kSampling)) continue;
    if (contains(field.modes, GenerationMode::kGreedy) || contains(field.modes, GenerationMode::kBeam))
      continue;
    if (acts(field, request) || (row && acts(field, *row))) return &field;
  }
  return nullptr;
}

bool said_by_caller(const EffectiveConfig& config, std::string_view name) {
  const auto found = config.origins.find(name);
  return found != config.origins.end() &&
         (found->second == Origin::kRequest || found->second == Origin::kRow);
}

bool forces_words(const GenerationConfig& values) {
  return values.force_words_ids && !values.force_words_ids->empty();
}

/// The option of the caller that selects a mode in which nothing is drawn; empty where there is none.
std::string_view undrawn_option(const EffectiveConfig& config) {
  const GenerationConfig& values = config.values;
  const bool beams = *values.num_beams > 1;
  if (beams && forces_words(values) && said_by_caller(config, "force_words_ids")) return "force_words_ids";
  if (beams && *values.num_beam_groups > 1 && said_by_caller(config, "num_beam_groups"))
    return "num_beam_groups";
  const bool contrasts = values.penalty_alpha.value_or(0) > 0 && said_by_caller(config, "penalty_alpha");
  return !beams && contrasts ? "penalty_alpha" : "";
}

/// @source transformers 4.55.4 GenerationConfig.get_generation_mode; without beams force_words_ids leaves
/// the mode as it is.
GenerationMode mode_of(const GenerationConfig& values) {
  const bool sample = *values.do_sample;
  if (*values.num_beams > 1) {
    if (forces_words(values)) return GenerationMode::kConstrainedBeam;
    if (*values.num_beam_groups > 1) return GenerationMode::kDiverseBeam;
    return sample ? GenerationMode::kBeamSampling : GenerationMode::kBeam;
  }
  if (!sample && *values.top_k > 1 && values.penalty_alpha.value_or(0) > 0)
    return GenerationMode::kContrastive;
  if (values.dola_layers) return sample ? GenerationMode::kDolaSampling : GenerationMode::kDola;
  return sample ? GenerationMode::kSampling : GenerationMode::kGreedy;
}

/// What the modes ask of several options together.
void check_mode(EffectiveConfig& out) {
  GenerationConfig& values = out.values;
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw ArgumentError(what);
  };
  if (out.mode == GenerationMode::kDiverseBeam) {
    const int beams = *values.num_beams, groups = *values.num_beam_groups;
    require(beams % groups == 0,
            fmt::format("num_beam_groups: expected a divisor of num_beams ({}), got {}", beams, groups));
    require(*values.diversity_penalty > 0,
            "diversity_penalty: expected a number above 0 in diverse beam decoding, where without it all "
            "groups are the same");
  }
  if (!has_beams(out.mode) && values.penalty_alpha.value_or(0) > 0 && said_by_caller(out, "penalty_alpha")) {
    require(*values.do_sample || *values.top_k > 1,
            fmt::format("top_k: expected at least 2 in contrastive decoding, got {}", *values.top_k));
  }
  const bool dola = out.mode == GenerationMode::kDola || out.mode == GenerationMode::kDolaSampling;
  if (dola && *values.repetition_penalty < 1.2) {
    out.notes.push_back(
        "dola_layers: with a repetition_penalty below 1.2 the output is likely to repeat itself");
  }
}

/// From a plain mode to its speculative form, where there is something that drafts.
void speculate(EffectiveConfig& out, bool assistant) {
  const bool sampling = out.mode == GenerationMode::kSampling;
  const bool plain = sampling || out.mode == GenerationMode::kGreedy;
  if (assistant && !plain) {
    throw ArgumentError(
        fmt::format("assistant_model: a draft model has no effect in {} decoding; it acts in "
                    "greedy decoding and sampling",
                    to_string(out.mode)));
  }
  if (assistant && out.values.prompt_lookup_num_tokens) {
    throw ArgumentError(
        "prompt_lookup_num_tokens: drafts come from a draft model (assistant_model) or from the prompt, not "
        "from both");
  }
  if (assistant)
    out.mode = sampling ? GenerationMode::kAssistedSampling : GenerationMode::kAssisted;
  else if (plain && out.values.prompt_lookup_num_tokens)
    out.mode = sampling ? GenerationMode::kPromptLookupSampling : GenerationMode::kPromptLookup;
}

/// The mode, and do_sample and temperature where they follow from each other.
void choose_mode(EffectiveConfig& out, const GenerationConfig& request, const GenerationConfig* row,
                 bool assistant) {
  GenerationConfig& values = out.values;
  const auto said = [&](std::string_view name) { return said_by_caller(out, name); };
  const auto imply = [&](bool sample) {
    values.do_sample = sample;
    out.origins["do_sample"] = Origin::kImplied;
  };
  const bool zero = *values.temperature == 0;
  const std::string_view undrawn = undrawn_option(out);
  if (!said("do_sample")) {
    if ((zero && said("temperature")) || !undrawn.empty())
      imply(false);
    else if (!*values.do_sample && sampling_option(request, row))
      imply(true);
  }
  if (zero && *values.do_sample) {
    throw ArgumentError(
        "temperature: sampling needs a number above 0, got 0; for greedy decoding leave do_sample out");
  }
  if (zero) {
    values.temperature = 1.0;
    out.origins["temperature"] = Origin::kImplied;
  }
  out.mode = mode_of(values);
  if (*values.do_sample && !draws(out.mode)) {
    if (said("do_sample")) {
      throw ArgumentError(
          fmt::format("do_sample: true has no effect in {} decoding, which draws nothing; leave {} out",
                      to_string(out.mode), undrawn.empty() ? "it" : undrawn));
    }
    imply(false);
  }
  check_mode(out);
  speculate(out, assistant);
}

/// How to get to a mode in which the option acts.
std::string way_in(const OptionRow& row, GenerationMode mode) {
  if (contains(row.modes, GenerationMode::kSampling) && !draws(mode)) return "set do_sample to true";
  if (contains(row.modes, GenerationMode::kBeam) && !has_beams(mode)) return "set num_beams above 1";
  std::string names;
  for (Modes left = row.modes; left != 0; left &= left - 1) {
    const auto next = static_cast<GenerationMode>(left & (~left + 1));
    names += (names.empty() ? "" : ", ") + std::string(to_string(next));
  }
  return "it acts in " + names + " decoding";
}

void check_against_mode(EffectiveConfig& out) {
  for (const OptionRow& row : option_rows()) {
    if (contains(row.modes, out.mode) || !acts(row, out.values)) continue;
    const Origin origin = out.origins.find(row.name)->second;
    const std::string value =
        with_member(row, [&](auto member) { return field::write_field(*(out.values.*member)).dump(); });
    if (origin == Origin::kRequest || origin == Origin::kRow) {
      throw ArgumentError(fmt::format("{}: {} has no effect in {} decoding; {}", row.name, value,
                                      to_string(out.mode), way_in(row, out.mode)));
    }
    if (origin == Origin::kModel) {
      out.notes.push_back(
          fmt::format("{} = {} (model) does not apply to {} decoding", row.name, value, to_string(out.mode)));
    }
    with_member(row, [&](auto member) { (out.values.*member).reset(); });
    out.origins.erase(out.origins.find(row.name));
  }
}

/// Whether one of the options that this one needs is set to something.
bool has_needed(const OptionRow& row, const GenerationConfig& config) {
  if (row.needs[0].empty()) return true;
  return std::any_of(row.needs.begin(), row.needs.end(), [&](std::string_view name) {
    return !name.empty() && acts(*find_option(name), config);
  });
}

/// What acts only beside another option that is not there is refused like what the mode does not honour.
void check_needs(EffectiveConfig& out) {
  for (const OptionRow& row : option_rows()) {
    if (!acts(row, out.values) || has_needed(row, out.values)) continue;
    const Origin origin = out.origins.find(row.name)->second;
    if (origin == Origin::kDefault) continue;
    const std::string what =
        fmt::format("{} without {}", to_string(out.mode) + std::string(" decoding"),
                    row.needs[1].empty() ? std::string(row.needs[0])
                                         : fmt::format("{} or {}", row.needs[0], row.needs[1]));
    const std::string value =
        with_member(row, [&](auto member) { return field::write_field(*(out.values.*member)).dump(); });
    if (origin == Origin::kRequest || origin == Origin::kRow) {
      throw ArgumentError(fmt::format("{}: {} has no effect in {}", row.name, value, what));
    }
    out.notes.push_back(fmt::format("{} = {} (model) does not apply to {}", row.name, value, what));
    with_member(row, [&](auto member) { (out.values.*member).reset(); });
    out.origins.erase(out.origins.find(row.name));
  }
}

/// Mirostat truncates by itself: beside it only what the caller asks for does so too.
void leave_truncation_to_mirostat(EffectiveConfig& out) {
  if (!out.values.mirostat_tau) return;
  for (const std::string_view name :
       {"top_h", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"}) {
    const OptionRow& row = *find_option(name);
    const auto origin = out.origins.find(name);
    if (origin == out.origins.end() || !acts(row, out.values)) continue;
    if (origin->second != Origin::kModel && origin->second != Origin::kDefault) continue;
    out.notes.push_back(
        fmt::format("{} ({}) does not apply beside mirostat_tau", name, to_string(origin->second)));
    with_member(row, [&](auto member) { (out.values.*member).reset(); });
    out.origins.erase(origin);
  }
}

void check_unsupported(const EffectiveConfig& out, const GenerationConfig& model,
                       const GenerationConfig& request, const GenerationConfig* row) {
  std::map<std::string, std::pair<json, Origin>> merged;
  if (row) {
    for (const auto& [name, value] : row->unsupported) merged.emplace(name, std::pair(value, Origin::kRow));
  }
  for (const auto& [name, value] : request.unsupported)
    merged.emplace(name, std::pair(value, Origin::kRequest));
  for (const auto& [name, value] : model.unsupported) merged.emplace(name, std::pair(value, Origin::kModel));
  for (const auto& [name, entry] : merged) {
    const UnsupportedOption* known = find_unsupported(name);
    if (is_neutral(*known, entry.first)) continue;
    const std::string what = fmt::format("{}: {} asks for {}, which {} decoding does not do", name,
                                         printable(entry.first.dump()), known->help, to_string(out.mode));
    if (entry.second != Origin::kModel) throw ArgumentError(what);
    const json neutral = json::parse(known->neutral);
    throw ArgumentError(
        fmt::format("{}; the model's generation_config.json says so, set it to {} to run without", what,
                    neutral.empty() ? "null" : neutral[0].dump()));
  }
}

/// The positions that a bounded row keeps of its beginning.
void check_bound(EffectiveConfig& out) {
  constexpr int kDefaultSinks = 4;  // mlx-lm's
  GenerationConfig& values = out.values;
  if (!values.max_kv_size) {
    if (!values.num_sink_tokens) return;
    const Origin origin = out.origins.find("num_sink_tokens")->second;
    if (origin != Origin::kModel) {
      throw ArgumentError(
          fmt::format("num_sink_tokens: {} has no effect without max_kv_size", *values.num_sink_tokens));
    }
    out.notes.push_back("num_sink_tokens (model) does not apply without max_kv_size");
    values.num_sink_tokens.reset();
    out.origins.erase(out.origins.find("num_sink_tokens"));
    return;
  }
  if (!values.num_sink_tokens) {
    values.num_sink_tokens = std::min(kDefaultSinks, *values.max_kv_size - 1);
    out.origins["num_sink_tokens"] = Origin::kDefault;
  }
  if (*values.num_sink_tokens >= *values.max_kv_size) {
    throw ArgumentError(fmt::format("num_sink_tokens: expected fewer than max_kv_size ({}), got {}",
                                    *values.max_kv_size, *values.num_sink_tokens));
  }
}

}  // namespace

const char* to_string(Origin origin) {
  switch (origin) {
    case Origin::kDefault:
      return "default";
    case Origin::kModel:
      return "model";
    case Origin::kRequest:
      return "request";
    case Origin::kRow:
      return "row";
    case Origin::kImplied:
      return "implied";
  }
  return "";
}

std::string EffectiveConfig::explain() const {
  std::string out = fmt::format("mode = {}\n", to_string(mode));
  const json shown = values.to_json();
  const auto said = [&](std::string_view name, Origin origin) -> std::string {
    const auto source = sources.find(name);
    const bool callers = origin == Origin::kRequest || origin == Origin::kRow;
    return callers && source != sources.end() ? source->second : to_string(origin);
  };
  for (const OptionRow& row : option_rows()) {
    const auto origin = origins.find(row.name);
    if (origin == origins.end()) continue;
    out += fmt::format("{} = {} ({})\n", row.name, shown.at(std::string(row.name)).dump(),
                       said(row.name, origin->second));
  }
  for (const std::string& note : notes) out += note + "\n";
  return out;
}

EffectiveConfig resolve(const GenerationConfig& model, const GenerationConfig& request,
                        const GenerationConfig* row, bool assistant) {
  if (row) row->validate();
  request.validate();
  model.validate();
  EffectiveConfig out;
  if (row) fill(out.values, *row, Origin::kRow, out);
  fill(out.values, request, Origin::kRequest, out);
  fill(out.values, model, Origin::kModel, out);
  fill(out.values, defaults(), Origin::kDefault, out);
  choose_mode(out, request, row, assistant);
  check_against_mode(out);
  check_needs(out);
  leave_truncation_to_mirostat(out);
  check_unsupported(out, model, request, row);
  check_bound(out);
  if (has_beams(out.mode) && *out.values.num_return_sequences > *out.values.num_beams) {
    throw ArgumentError(fmt::format("num_return_sequences: expected at most num_beams ({}), got {}",
                                    *out.values.num_beams, *out.values.num_return_sequences));
  }
  for (const std::string& key : model.unknown) {
    out.notes.push_back(fmt::format("{} (model) is no option that is known, and is ignored", key));
  }
  return out;
}

}  // namespace genkit::config
