#include "genkit/config/generation_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

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
struct type_name<std::vector<ForcedWord>> {
  static constexpr auto value = "list of lists of integers, or of lists of those";
};
template <>
struct type_name<DolaLayers> {
  static constexpr auto value = "\"low\", \"high\" or list of integers";
};
template <>
struct type_name<DraftTokens> {
  static constexpr auto value = "integer or \"auto\"";
};
template <>
struct type_name<DraftSchedule> {
  static constexpr auto value = "constant, heuristic or heuristic_transient";
};
template <>
struct type_name<LogitBias> {
  static constexpr auto value = "object of numbers by id";
};
template <>
struct type_name<std::vector<ForcedToken>> {
  static constexpr auto value = "list of [position, id]";
};
template <>
struct type_name<Watermark> {
  static constexpr auto value = "object";
};

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
      if (value.is_null()) return;
      read_row(*row, value, out);
      if (blame == JsonView::Blame::kCaller && !name.empty()) out.sources[std::string(row->name)] = name;
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

void check_word(const ForcedWord& word) {
  if (word.alternatives.empty())
    throw ArgumentError("force_words_ids: expected at least one id in every entry");
  for (const auto& ids : word.alternatives) {
    if (ids.empty()) throw ArgumentError("force_words_ids: expected at least one id in every entry");
    const std::string text = field::complaint(ids, Range{.min = 0});
    if (!text.empty()) throw ArgumentError("force_words_ids: " + text);
  }
  // Whoever has the longer one has the shorter one too, and which of them is meant stays open.
  for (const auto& a : word.alternatives) {
    for (const auto& b : word.alternatives) {
      if (&a == &b || a.size() > b.size() || !std::equal(a.begin(), a.end(), b.begin())) continue;
      throw ArgumentError(
          fmt::format("force_words_ids: of the alternatives [{}] and [{}] one begins the other",
                      fmt::join(a, ", "), fmt::join(b, ", ")));
    }
  }
}

}  // namespace

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
  if (num_assistant_tokens && num_assistant_tokens->count) {
    const std::string text =
        field::complaint(*num_assistant_tokens->count, Range{.min = 1, .max = DraftTokens::kMost});
    if (!text.empty()) throw ArgumentError("num_assistant_tokens: " + text);
  }
  for (const SequenceBias& entry : sequence_bias.value_or(std::vector<SequenceBias>{})) {
    if (entry.ids.empty()) throw ArgumentError("sequence_bias: expected at least one id in every entry");
    const std::string text = field::complaint(entry.ids, Range{.min = 0});
    if (!text.empty()) throw ArgumentError("sequence_bias: " + text);
  }
  for (const auto& word : bad_words_ids.value_or(std::vector<std::vector<int32_t>>{})) {
    if (word.empty()) throw ArgumentError("bad_words_ids: expected at least one id in every entry");
  }
  for (const ForcedWord& word : force_words_ids.value_or(std::vector<ForcedWord>{})) check_word(word);
  if (dola_layers) {
    const std::string text = field::complaint(dola_layers->layers, Range{.min = 0});
    if (!text.empty()) throw ArgumentError("dola_layers: " + text);
  }
  if (watermarking_config) {
    const std::string text = field::complaint(watermarking_config->greenlist_ratio,
                                              Range{.min = 0, .max = 1, .min_open = true, .max_open = true});
    if (!text.empty()) throw ArgumentError("watermarking_config: greenlist_ratio: " + text);
    const SynthId& synthid = watermarking_config->synthid;
    if (watermarking_config->scheme == Watermark::Scheme::kSynthId &&
        (synthid.ngram_len < 2 || synthid.keys.empty() || synthid.sampling_table_size < 1 ||
         synthid.sampling_table_size > 1 << 24 || synthid.context_history_size < 1)) {
      throw ArgumentError(
          "watermarking_config: SynthID needs an ngram_len of at least 2, keys, and tables of at least one "
          "entry");
    }
  }
  if (logit_bias) {
    for (const auto& [id, bias] : logit_bias->by_id) {
      std::string text = field::complaint(id, Range{.min = 0});
      if (text.empty()) text = field::complaint(bias, Range{});
      if (!text.empty()) throw ArgumentError("logit_bias: " + text);
    }
  }
  for (const ForcedToken& token : forced_decoder_ids.value_or(std::vector<ForcedToken>{})) {
    std::string text = field::complaint(token.position, Range{.min = 0});
    if (text.empty()) text = field::complaint(token.id, Range{.min = 0});
    if (!text.empty()) throw ArgumentError("forced_decoder_ids: " + text);
  }
  for (const std::string& text : dry_sequence_breakers.value_or(std::vector<std::string>{})) {
    if (text.empty()) throw ArgumentError("dry_sequence_breakers: an empty string would break everywhere");
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
    sources.erase(std::string(row->name));
  } else {
    unsupported[std::string(name)] = value;
  }
}

namespace {

FieldInfo info_of(const OptionRow& row, std::string_view group) {
  const size_t aliases = static_cast<size_t>(
      std::find(row.aliases.begin(), row.aliases.end(), std::string_view()) - row.aliases.begin());
  FieldInfo info{.name = row.name,
                 .group = group,
                 .aliases = std::span(row.aliases).first(aliases),
                 .type = "",
                 .range = "",
                 .default_value = std::string(row.fallback),
                 .help = std::string(row.help),
                 .modes = row.modes};
  with_member(row, [&](auto member) {
    using T = decltype(value_type_of(member));
    info.type = type_name<T>::value;
    if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
      info.range = field::describe(row.range, std::is_integral_v<T>);
    }
  });
  return info;
}

}  // namespace

const std::vector<FieldInfo>& generation_fields() {
  static const std::vector<FieldInfo> fields = [] {
    std::vector<FieldInfo> out;
    for (const OptionGroup& group : option_groups()) {
      for (const OptionRow& row : group.rows) out.push_back(info_of(row, group.title));
    }
    return out;
  }();
  return fields;
}

}  // namespace genkit::config
