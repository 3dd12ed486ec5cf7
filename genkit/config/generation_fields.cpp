#include "genkit/config/generation_fields.h"

#include <algorithm>
#include <charconv>

#include "genkit/config/options/rows.h"

namespace genkit::config {
namespace {

constexpr std::string_view kBookkeeping[] = {
    "_from_model_config", "_commit_hash",       "transformers_version", "return_dict_in_generate",
    "low_memory",         "prefill_chunk_size", "compile_config",       "disable_compile",
    "max_cache_len",      "cache_config",       "return_legacy_cache",  "continuous_batching_config",
};

}  // namespace

std::span<const OptionGroup> option_groups() {
  static const OptionGroup groups[] = {
      options::lengths(),     options::sampling(), options::penalties(),
      options::biases(),      options::contrast(), options::beams(),
      options::speculation(), options::cache(),    options::output(),
  };
  return groups;
}

std::span<const OptionRow> option_rows() {
  static const std::vector<OptionRow> rows = [] {
    std::vector<OptionRow> out;
    for (const OptionGroup& group : option_groups())
      out.insert(out.end(), group.rows.begin(), group.rows.end());
    return out;
  }();
  return rows;
}

std::span<const UnsupportedOption> unsupported_options() {
  static const std::vector<UnsupportedOption> rows = [] {
    std::vector<UnsupportedOption> out;
    for (const OptionGroup& group : option_groups())
      out.insert(out.end(), group.unsupported.begin(), group.unsupported.end());
    return out;
  }();
  return rows;
}

std::span<const std::string_view> bookkeeping_keys() { return kBookkeeping; }

const OptionRow* find_option(std::string_view name) {
  for (const OptionRow& row : option_rows()) {
    if (row.name == name) return &row;
    if (!name.empty() && std::find(row.aliases.begin(), row.aliases.end(), name) != row.aliases.end())
      return &row;
  }
  return nullptr;
}

const UnsupportedOption* find_unsupported(std::string_view name) {
  const auto rows = unsupported_options();
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const UnsupportedOption& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

std::span<const std::string_view> all_field_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> out;
    for (const OptionRow& row : option_rows()) {
      out.push_back(row.name);
      for (const std::string_view alias : row.aliases) {
        if (!alias.empty()) out.push_back(alias);
      }
    }
    for (const UnsupportedOption& row : unsupported_options()) out.push_back(row.name);
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

void read_field(const JsonView& view, LogitBias& out) {
  out.by_id.clear();
  if (view.is_array()) {
    for (size_t i = 0; i < view.size(); ++i) {
      const JsonView entry = view.at(i);
      if (!entry.is_array() || entry.size() != 2) entry.fail_expected("a pair of an id and a bias");
      out.by_id[entry.at(0).integer<int32_t>(0)] = entry.at(1).number();
    }
    return;
  }
  if (!view.is_object()) view.fail_expected("an object of biases by id");
  view.for_each([&](const std::string& key, const JsonView& value) {
    int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0) {
      value.fail("expected a token id as its key");
    }
    out.by_id[id] = value.number();
  });
}

void read_field(const JsonView& view, ForcedToken& out) {
  if (!view.is_array() || view.size() != 2) view.fail_expected("a pair of a position and an id");
  out.position = view.at(0).integer<int>(0);
  out.id = view.at(1).integer<int32_t>(0);
}

namespace {

void read_synthid(const JsonView& view, SynthId& out) {
  view.refuse_unknown_keys({"ngram_len", "keys", "context_history_size", "sampling_table_seed",
                            "sampling_table_size", "skip_first_ngram_calls", "debug_mode"});
  constexpr int kLongest = 1024;
  out.ngram_len = view.at("ngram_len").integer<int>(2, kLongest);
  out.keys = view.at("keys").integers<int64_t>();
  if (out.keys.empty()) view.at("keys").fail("expected at least one key");
  out.context_history_size =
      view.integer_or<int>("context_history_size", out.context_history_size, 1, 1 << 24);
  out.sampling_table_seed = view.integer_or<uint64_t>("sampling_table_seed", out.sampling_table_seed);
  out.sampling_table_size = view.integer_or<int>("sampling_table_size", out.sampling_table_size, 1, 1 << 24);
  out.skip_first_ngram_calls = view.boolean_or("skip_first_ngram_calls", out.skip_first_ngram_calls);
  if (view.boolean_or("debug_mode", false)) view.at("debug_mode").fail("only false is honoured");
}

}  // namespace

void read_field(const JsonView& view, Watermark& out) {
  if (view.is_object() && (view.has("ngram_len") || view.has("keys"))) {
    out.scheme = Watermark::Scheme::kSynthId;
    read_synthid(view, out.synthid);
    return;
  }
  view.refuse_unknown_keys({"greenlist_ratio", "bias", "hashing_key", "seeding_scheme", "context_width"});
  out.greenlist_ratio = view.number_or("greenlist_ratio", out.greenlist_ratio);
  if (!(out.greenlist_ratio > 0 && out.greenlist_ratio < 1)) {
    view.at("greenlist_ratio").fail_expected("a number in (0, 1)");
  }
  out.bias = view.number_or("bias", out.bias);
  out.hashing_key = view.integer_or<uint64_t>("hashing_key", out.hashing_key);
  out.context_width = view.integer_or<int>("context_width", out.context_width, 1);
  const std::string scheme = view.string_or("seeding_scheme", "lefthash");
  if (scheme == "selfhash") {
    out.scheme = Watermark::Scheme::kSelfHash;
  } else if (scheme != "lefthash") {
    view.at("seeding_scheme").fail_expected("\"lefthash\" or \"selfhash\"");
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

void read_field(const JsonView& view, ForcedWord& out) {
  if (!view.is_array() || view.size() == 0) view.fail_expected("a list of ids, or of lists of ids");
  const auto ids = [](const JsonView& list) { return list.integers<int32_t>(0); };
  if (view.at(0).is_array())
    out.alternatives = view.array_of(ids);
  else
    out.alternatives = {ids(view)};
}

void read_field(const JsonView& view, DolaLayers& out) {
  out.layers.clear();
  if (view.is_array()) {
    out.kind = DolaLayers::Kind::kList;
    out.layers = view.integers<int>(0);
    if (out.layers.empty()) view.fail("expected at least one layer");
  } else if (view.is_string() && (view.string() == "low" || view.string() == "high")) {
    out.kind = view.string() == "low" ? DolaLayers::Kind::kLow : DolaLayers::Kind::kHigh;
  } else {
    view.fail_expected("\"low\", \"high\" or a list of layers");
  }
}

void to_json(nlohmann::json& json, const ForcedWord& value) {
  if (value.alternatives.size() == 1)
    json = value.alternatives.front();
  else
    json = value.alternatives;
}

void to_json(nlohmann::json& json, const DolaLayers& value) {
  if (value.kind == DolaLayers::Kind::kList)
    json = value.layers;
  else
    json = value.kind == DolaLayers::Kind::kLow ? "low" : "high";
}

void to_json(nlohmann::json& json, const EarlyStopping& value) {
  if (value == EarlyStopping::kNever)
    json = "never";
  else
    json = value == EarlyStopping::kTrue;
}

void read_field(const JsonView& view, DraftTokens& out) {
  if (view.is_string()) {
    if (view.string() != "auto") view.fail_expected("an integer or \"auto\"");
    out.count.reset();
  } else {
    out.count = view.integer<int>(1, DraftTokens::kMost);
  }
}

void to_json(nlohmann::json& json, const DraftTokens& value) {
  if (value.count)
    json = *value.count;
  else
    json = "auto";
}

namespace {

constexpr std::array<std::pair<std::string_view, DraftSchedule>, 3> kSchedules = {
    {{"constant", DraftSchedule::kConstant},
     {"heuristic", DraftSchedule::kHeuristic},
     {"heuristic_transient", DraftSchedule::kHeuristicTransient}}};

}  // namespace

void read_field(const JsonView& view, DraftSchedule& out) {
  for (const auto& [name, value] : kSchedules) {
    if (!view.is_string() || view.string() != name) continue;
    out = value;
    return;
  }
  view.fail_expected("\"constant\", \"heuristic\" or \"heuristic_transient\"");
}

void to_json(nlohmann::json& json, const DraftSchedule& value) {
  for (const auto& [name, schedule] : kSchedules) {
    if (schedule == value) json = name;
  }
}

void to_json(nlohmann::json& json, const Watermark& value) {
  if (value.scheme == Watermark::Scheme::kSynthId) {
    const SynthId& synthid = value.synthid;
    json = {{"ngram_len", synthid.ngram_len},
            {"keys", synthid.keys},
            {"context_history_size", synthid.context_history_size},
            {"sampling_table_seed", synthid.sampling_table_seed},
            {"sampling_table_size", synthid.sampling_table_size},
            {"skip_first_ngram_calls", synthid.skip_first_ngram_calls}};
    return;
  }
  json = {{"greenlist_ratio", value.greenlist_ratio},
          {"bias", value.bias},
          {"hashing_key", value.hashing_key},
          {"seeding_scheme", value.scheme == Watermark::Scheme::kSelfHash ? "selfhash" : "lefthash"},
          {"context_width", value.context_width}};
}

void to_json(nlohmann::json& json, const SequenceBias& value) { json = {value.ids, value.bias}; }
void to_json(nlohmann::json& json, const ForcedToken& value) { json = {value.position, value.id}; }

void to_json(nlohmann::json& json, const LogitBias& value) {
  json = nlohmann::json::object();
  for (const auto& [id, bias] : value.by_id) json[std::to_string(id)] = bias;
}

void to_json(nlohmann::json& json, const LengthDecay& value) { json = {value.start, value.factor}; }

}  // namespace genkit::config
