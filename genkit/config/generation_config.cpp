#include "genkit/config/generation_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"
#include "genkit/base/nearest.h"
#include "genkit/config/generation_fields.h"

namespace genkit::config {
namespace {

using nlohmann::json;

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Calls visit(member) with the row's pointer to member of its real type.
template <class Visit>
decltype(auto) with_member(const OptionRow& row, Visit visit) {
  return std::visit(visit, row.member);
}

template <class T>
struct type_name;
template <>
struct type_name<int> {
  static constexpr auto value = "integer";
};
template <>
struct type_name<uint64_t> {
  static constexpr auto value = "integer";
};
template <>
struct type_name<double> {
  static constexpr auto value = "number";
};
template <>
struct type_name<bool> {
  static constexpr auto value = "boolean";
};
template <>
struct type_name<std::vector<int32_t>> {
  static constexpr auto value = "list of integers";
};
template <>
struct type_name<std::vector<std::string>> {
  static constexpr auto value = "list of strings";
};
template <>
struct type_name<std::vector<std::vector<int32_t>>> {
  static constexpr auto value = "list of lists of integers";
};
template <>
struct type_name<std::vector<SequenceBias>> {
  static constexpr auto value = "list of [ids, bias]";
};
template <>
struct type_name<LengthDecay> {
  static constexpr auto value = "[start, factor]";
};

template <>
struct type_name<EarlyStopping> {
  static constexpr auto value = "true, false or \"never\"";
};
template <>
struct type_name<Watermark> {
  static constexpr auto value = "object";
};

template <class T>
T value_type_of(Member<T>);

/// Reads one value into its member, the range included: a file's message should name the path.
void read_row(const OptionRow& row, const JsonView& view, GenerationConfig& out) {
  with_member(row, [&](auto member) {
    using T = decltype(value_type_of(member));
    T value{};
    using field::read_field;
    read_field(view, value);
    if (const std::string text = field::complaint(value, row.range); !text.empty()) view.fail(text);
    // transformers writes -1 where there is no such token.
    if constexpr (std::is_same_v<T, std::vector<int32_t>>) std::erase(value, -1);
    out.*member = std::move(value);
  });
}

GenerationConfig parse(const json& source, const std::string& name, JsonView::Blame blame) {
  GenerationConfig out;
  if (source.is_null()) return out;
  const JsonView view(source, name, blame);
  if (!view.is_object()) view.fail_expected("an object");
  std::map<std::string_view, std::string> given;
  view.for_each([&](const std::string& key, const JsonView& value) {
    if (const OptionRow* row = find_option(key)) {
      const auto [earlier, first] = given.emplace(row->name, key);
      if (!first)
        value.fail(fmt::format("means the same option as `{}`, which is given too", earlier->second));
      if (!value.is_null()) read_row(*row, value, out);
    } else if (find_unsupported(key)) {
      if (!value.is_null()) out.unsupported.emplace(key, value.json());
    } else if (contains(bookkeeping_keys(), key)) {
      return;
    } else if (blame == JsonView::Blame::kFile) {
      out.unknown.push_back(printable(key));
    } else {
      value.fail("unknown option" + suggestion(key, all_field_names()));
    }
  });
  return out;
}

/// Takes what `from` sets and `to` does not, and notes where it came from.
void fill(GenerationConfig& to, const GenerationConfig& from, Origin origin, EffectiveConfig& config) {
  for (const OptionRow& row : option_rows()) {
    with_member(row, [&](auto member) {
      if ((to.*member) || !(from.*member)) return;
      to.*member = from.*member;
      config.origins.emplace(row.name, origin);
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
    if (!(field.modes & static_cast<uint8_t>(GenerationMode::kSampling))) continue;
    if (field.modes & static_cast<uint8_t>(GenerationMode::kGreedy)) continue;
    if (acts(field, request) || (row && acts(field, *row))) return &field;
  }
  return nullptr;
}

/// The mode, and do_sample and temperature where they follow from each other.
void choose_mode(EffectiveConfig& out, const GenerationConfig& request, const GenerationConfig* row) {
  GenerationConfig& values = out.values;
  const auto said = [&](std::string_view name) {
    const Origin origin = out.origins.find(name)->second;
    return origin == Origin::kRequest || origin == Origin::kRow;
  };
  const auto imply = [&](bool sample) {
    values.do_sample = sample;
    out.origins["do_sample"] = Origin::kImplied;
  };
  const bool zero = *values.temperature == 0;
  if (!said("do_sample")) {
    if (zero && said("temperature"))
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
  if (*values.num_beams > 1)
    out.mode = *values.do_sample ? GenerationMode::kBeamSampling : GenerationMode::kBeam;
  else
    out.mode = *values.do_sample ? GenerationMode::kSampling : GenerationMode::kGreedy;
}

void check_against_mode(EffectiveConfig& out) {
  const char* mode = to_string(out.mode);
  for (const OptionRow& row : option_rows()) {
    if ((row.modes & static_cast<uint8_t>(out.mode)) || !acts(row, out.values)) continue;
    const Origin origin = out.origins.find(row.name)->second;
    const std::string value =
        with_member(row, [&](auto member) { return field::write_field(*(out.values.*member)).dump(); });
    if (origin == Origin::kRequest || origin == Origin::kRow) {
      const bool drawn = row.modes & static_cast<uint8_t>(GenerationMode::kSampling);
      throw ArgumentError(fmt::format("{}: {} has no effect in {} decoding; set {}", row.name, value, mode,
                                      drawn ? "do_sample to true" : "num_beams above 1"));
    }
    if (origin == Origin::kModel) {
      out.notes.push_back(
          fmt::format("{} = {} (model) does not apply to {} decoding", row.name, value, mode));
    }
    with_member(row, [&](auto member) { (out.values.*member).reset(); });
    out.origins.erase(out.origins.find(row.name));
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

}  // namespace

GenerationConfig GenerationConfig::from_caller(const json& source, const std::string& name) {
  return parse(source, name, JsonView::Blame::kCaller);
}

GenerationConfig GenerationConfig::from_model(const json& source, const std::string& file) {
  return parse(source, file, JsonView::Blame::kFile);
}

json GenerationConfig::to_json() const {
  json out = json::object();
  for (const OptionRow& row : option_rows()) {
    with_member(row, [&](auto member) {
      if (this->*member) out[std::string(row.name)] = field::write_field(*(this->*member));
    });
  }
  for (const auto& [name, value] : unsupported) out[name] = value;
  return out;
}

void GenerationConfig::validate() const {
  for (const OptionRow& row : option_rows()) {
    with_member(row, [&](auto member) {
      if (!(this->*member)) return;
      const std::string text = field::complaint(*(this->*member), row.range);
      if (!text.empty()) throw ArgumentError(fmt::format("{}: {}", row.name, text));
    });
  }
  for (const SequenceBias& entry : sequence_bias.value_or(std::vector<SequenceBias>{})) {
    if (entry.ids.empty()) throw ArgumentError("sequence_bias: expected at least one id in every entry");
    const std::string text = field::complaint(entry.ids, Range{.min = 0});
    if (!text.empty()) throw ArgumentError("sequence_bias: " + text);
  }
  for (const auto& word : bad_words_ids.value_or(std::vector<std::vector<int32_t>>{})) {
    if (word.empty()) throw ArgumentError("bad_words_ids: expected at least one id in every entry");
  }
  if (watermarking_config) {
    const std::string text = field::complaint(watermarking_config->greenlist_ratio,
                                              Range{.min = 0, .max = 1, .min_open = true, .max_open = true});
    if (!text.empty()) throw ArgumentError("watermarking_config: greenlist_ratio: " + text);
  }
  for (const std::string& text : stop_strings.value_or(std::vector<std::string>{})) {
    if (text.empty()) throw ArgumentError("stop_strings: an empty string would end every row at once");
  }
}

void GenerationConfig::set(std::string_view name, const std::string& text) {
  const OptionRow* row = find_option(name);
  if (!row && !find_unsupported(name)) {
    throw ArgumentError(
        fmt::format("{}: unknown option{}", printable(name), suggestion(name, all_field_names())));
  }
  const bool is_string_list = row && std::holds_alternative<Member<std::vector<std::string>>>(row->member);
  const bool is_id_list = row && std::holds_alternative<Member<std::vector<int32_t>>>(row->member);
  json value;
  if (is_string_list && !text.starts_with('[')) {
    value = json::array({text});
  } else {
    // "1,2,3" is how lists of ids are written on command lines.
    const bool plain_list = is_id_list && !text.starts_with('[');
    try {
      value = parse_json(plain_list ? "[" + text + "]" : text, std::string(name));
    } catch (const FormatError&) {
      value = text;  // a word: the reader says what it expected instead
    }
  }
  const GenerationConfig parsed = from_caller(json{{std::string(name), value}}, "");
  if (row) {
    with_member(*row, [&](auto member) { this->*member = parsed.*member; });
  } else {
    unsupported[std::string(name)] = value;
  }
}

const char* to_string(GenerationMode mode) {
  switch (mode) {
    case GenerationMode::kGreedy:
      return "greedy";
    case GenerationMode::kSampling:
      return "sampling";
    case GenerationMode::kBeam:
      return "beam";
    case GenerationMode::kBeamSampling:
      return "beam sampling";
  }
  return "";
}

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

const std::vector<FieldInfo>& generation_fields() {
  static const std::vector<FieldInfo> fields = [] {
    std::vector<FieldInfo> out;
    for (const OptionRow& row : option_rows()) {
      const size_t aliases = static_cast<size_t>(
          std::find(row.aliases.begin(), row.aliases.end(), std::string_view()) - row.aliases.begin());
      FieldInfo info{row.name,
                     std::span(row.aliases).first(aliases),
                     "",
                     "",
                     std::string(row.fallback),
                     std::string(row.help),
                     row.modes};
      with_member(row, [&](auto member) {
        using T = decltype(value_type_of(member));
        info.type = type_name<T>::value;
        if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
          info.range = field::describe(row.range, std::is_integral_v<T>);
        }
      });
      out.push_back(std::move(info));
    }
    return out;
  }();
  return fields;
}

std::string EffectiveConfig::explain() const {
  std::string out = fmt::format("mode = {}\n", to_string(mode));
  const json shown = values.to_json();
  for (const OptionRow& row : option_rows()) {
    const auto origin = origins.find(row.name);
    if (origin == origins.end()) continue;
    out += fmt::format("{} = {} ({})\n", row.name, shown.at(std::string(row.name)).dump(),
                       to_string(origin->second));
  }
  for (const std::string& note : notes) out += note + "\n";
  return out;
}

EffectiveConfig resolve(const GenerationConfig& model, const GenerationConfig& request,
                        const GenerationConfig* row) {
  if (row) row->validate();
  request.validate();
  model.validate();
  EffectiveConfig out;
  if (row) fill(out.values, *row, Origin::kRow, out);
  fill(out.values, request, Origin::kRequest, out);
  fill(out.values, model, Origin::kModel, out);
  fill(out.values, defaults(), Origin::kDefault, out);
  choose_mode(out, request, row);
  check_against_mode(out);
  check_unsupported(out, model, request, row);
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
