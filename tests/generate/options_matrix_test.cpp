// Every option in every mode: it changes what its definition says, or an error names both. The rows are those
// of the field table; one without an entry here fails.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "genkit/base/error.h"
#include "genkit/config/generation_fields.h"
#include "genkit/generate/generate.h"
#include "genkit/io/checkpoint.h"
#include "genkit/logits/chain.h"
#include "genkit/models/registry.h"
#include "genkit/text/tokenizer.h"

namespace genkit::generate {
namespace {

using config::Modes;
using nlohmann::json;
using Ids = std::vector<int32_t>;

/// What selects a mode.
struct Selection {
  GenerationMode mode;
  json options;
  bool assistant = false;  ///< there is a draft model
};
const std::vector<Selection>& selections() {
  using M = GenerationMode;
  static const std::vector<Selection> table = {
      {M::kGreedy, {{"do_sample", false}}},
      {M::kSampling, {{"do_sample", true}, {"seed", 7}, {"top_k", 0}}},
      {M::kBeam, {{"num_beams", 3}, {"do_sample", false}}},
      {M::kBeamSampling, {{"num_beams", 3}, {"do_sample", true}, {"seed", 7}, {"top_k", 0}}},
      {M::kDiverseBeam,
       {{"num_beams", 4}, {"num_beam_groups", 2}, {"diversity_penalty", 0.5}, {"do_sample", false}}},
      {M::kConstrainedBeam,
       {{"num_beams", 3},
        {"force_words_ids", {{33}}},
        {"force_words_strictly", false},
        {"do_sample", false}}},
      {M::kContrastive, {{"penalty_alpha", 0.6}, {"top_k", 4}, {"do_sample", false}}},
      {M::kPromptLookup, {{"prompt_lookup_num_tokens", 3}, {"do_sample", false}}},
      {M::kPromptLookupSampling,
       {{"prompt_lookup_num_tokens", 3}, {"do_sample", true}, {"seed", 7}, {"top_k", 0}}},
      {M::kAssisted, {{"do_sample", false}}, true},
      {M::kAssistedSampling, {{"do_sample", true}, {"seed", 7}, {"top_k", 0}}, true},
      {M::kDola, {{"dola_layers", {0, 1}}, {"do_sample", false}}},
      {M::kDolaSampling, {{"dola_layers", {0, 1}}, {"do_sample", true}, {"seed", 7}, {"top_k", 0}}},
  };
  return table;
}

/// The rows of a run, or why there is none.
struct Outcome {
  std::vector<GeneratedRow> rows;
  std::string error;
};

bool same_ids(const Outcome& a, const Outcome& b) {
  return std::equal(a.rows.begin(), a.rows.end(), b.rows.begin(), b.rows.end(),
                    [](const GeneratedRow& x, const GeneratedRow& y) { return x.ids == y.ids; });
}

/// Whether tokens, processed scores or how a row ended differ: what every processor and end shows in.
bool differs(const Outcome& a, const Outcome& b) {
  if (!a.error.empty() || !b.error.empty() || !same_ids(a, b)) return a.error != b.error || !same_ids(a, b);
  for (size_t i = 0; i < a.rows.size(); ++i) {
    const GeneratedRow &x = a.rows[i], &y = b.rows[i];
    if (x.scores != y.scores || x.sequence_score != y.sequence_score || x.finish_reason != y.finish_reason ||
        x.text != y.text || x.beam_indices != y.beam_indices)
      return true;
  }
  return false;
}

template <class Holds>
bool every_row(const Outcome& run, Holds holds) {
  return run.error.empty() && std::all_of(run.rows.begin(), run.rows.end(), holds);
}

struct Entry {
  /// The option's value, from the mode's run without it.
  std::function<json(const Outcome& plain)> value;
  /// What is set in both runs; null takes a setting away.
  json with = json::object();
  /// Whether the option did what it says.
  std::function<bool(const Outcome& without, const Outcome& got)> acted = differs;
  std::vector<Ids> prompts = {};  ///< empty: the usual ones
  bool first_end = false;         ///< in both runs the first new tokens of the plain one are EOS ids
};

std::function<json(const Outcome&)> fixed(json value) {
  return [value = std::move(value)](const Outcome&) { return value; };
}

constexpr int kNewTokens = 6;
constexpr int kVocab = 440;  ///< of the golden llama

json first_ids(const Outcome& plain) {
  json ids = json::array();
  for (const GeneratedRow& row : plain.rows) ids.push_back(row.ids.at(0));
  return ids;
}
/// All but 33, which constrained beams are to hold before they may end.
json nearly_all_ids(const Outcome&) {
  json ids = json::array();
  for (int id = 0; id < kVocab; ++id) {
    if (id != 33) ids.push_back(id);
  }
  return ids;
}

bool none_of_first(const Outcome& without, const Outcome& got) {
  const std::vector<int32_t> ids = first_ids(without).get<Ids>();
  return every_row(got, [&](const GeneratedRow& row) {
    return std::none_of(row.ids.begin(), row.ids.end(),
                        [&](int32_t id) { return std::count(ids.begin(), ids.end(), id) > 0; });
  });
}

const std::vector<Ids> kPrompts = {
    {5, 17, 33, 40, 5, 17, 33}, {61, 62, 63, 9, 61, 62, 63}, {100, 9, 101, 120, 100, 9, 101}};

std::map<std::string, Entry> length_entries() {
  const auto ends_at = [](size_t n) {
    return [n](const Outcome&, const Outcome& got) {
      return every_row(got, [n](const GeneratedRow& row) { return row.ids.size() == n; });
    };
  };
  const auto no_end_before = [](size_t n) {
    return [n](const Outcome& without, const Outcome& got) {
      return differs(without, got) &&
             every_row(got, [n](const GeneratedRow& row) { return row.ids.size() >= n; });
    };
  };
  const auto first_is = [](int32_t id) {
    return [id](const Outcome&, const Outcome& got) {
      return every_row(got, [id](const GeneratedRow& row) { return row.ids.at(0) == id; });
    };
  };
  return {
      {"max_new_tokens", {fixed(3), {{"max_new_tokens", nullptr}}, ends_at(3)}},
      {"max_length", {fixed(11), {{"max_new_tokens", nullptr}}, ends_at(4)}},
      {"min_length", {fixed(11), {}, no_end_before(4), {}, true}},
      {"min_new_tokens", {fixed(4), {}, no_end_before(4), {}, true}},
      {"max_time",
       {fixed(0),
        {},
        [](const Outcome&, const Outcome& got) {
          return every_row(got, [](const GeneratedRow& row) { return row.ids.size() < kNewTokens; });
        }}},
      {"eos_token_id",
       {nearly_all_ids,
        {},
        [](const Outcome& without, const Outcome& got) {
          return differs(without, got) && std::any_of(got.rows.begin(), got.rows.end(), [](const auto& row) {
                   return row.finish_reason == FinishReason::kEos;
                 });
        }}},
      {"pad_token_id", {fixed(0), {}, differs, {{0, 0, 0, 5, 17, 33}}}},
      {"bos_token_id",
       {fixed(1), {}, [](const Outcome& without, const Outcome& got) { return !differs(without, got); }}},
      {"stop_strings",
       {[](const Outcome&) {
          json characters = json::array();  // one of them is in the text soon
          for (char c = '!'; c < 127; ++c) characters.push_back(std::string(1, c));
          return characters;
        },
        {},
        [](const Outcome&, const Outcome& got) {
          return std::any_of(got.rows.begin(), got.rows.end(), [](const GeneratedRow& row) {
            return row.finish_reason == FinishReason::kStopString;
          });
        }}},
      {"forced_bos_token_id", {fixed(19), {}, first_is(19), {{5}}}},
      {"forced_eos_token_id",
       {fixed(19),
        {},
        [](const Outcome&, const Outcome& got) {
          return every_row(got, [](const GeneratedRow& row) { return row.ids.back() == 19; });
        }}},
      {"exponential_decay_length_penalty", {fixed({0, 5.0}), {{"eos_token_id", {40, 9, 21, 17}}}}},
  };
}

std::map<std::string, Entry> sampling_entries() {
  const json four = {{"top_k", 4}};
  return {
      {"do_sample",
       {fixed(true), {}, [](const Outcome&, const Outcome&) { return true; }}},  // a mode's own selection
      {"seed",
       {fixed(8),
        {},
        [](const Outcome&, const Outcome& got) {
          return every_row(got, [](const GeneratedRow& row) { return row.seed == 8; });
        }}},
      {"temperature", {fixed(0.3)}},
      {"top_h", {fixed(0.3)}},
      {"top_k", {fixed(40)}},
      {"top_p", {fixed(0.3)}},
      {"min_p", {fixed(0.5)}},
      {"typical_p", {fixed(0.3)}},
      {"epsilon_cutoff", {fixed(0.02)}},
      {"eta_cutoff", {fixed(0.02)}},
      {"xtc_probability", {fixed(1.0), four}},
      {"xtc_threshold", {fixed(0.25), {{"top_k", 4}, {"xtc_probability", 1.0}}}},
      {"dynatemp_range", {fixed(0.5)}},
      {"dynatemp_exponent", {fixed(3.0), {{"dynatemp_range", 0.5}}}},
      {"mirostat_tau", {fixed(2.0)}},
      {"mirostat_eta", {fixed(3.0), {{"mirostat_tau", 2.0}}}},
  };
}

std::map<std::string, Entry> penalty_entries() {
  const json dry = {{"dry_multiplier", 5.0}};
  return {
      {"encoder_repetition_penalty", {fixed(3.0)}},
      {"repetition_penalty", {fixed(3.0)}},
      {"repetition_context_size", {fixed(2), {{"repetition_penalty", 3.0}}}},
      {"frequency_penalty", {fixed(2.0)}},
      {"presence_penalty", {fixed(2.0)}},
      {"penalties_include_prompt", {fixed(true), {{"presence_penalty", 2.0}}}},
      {"dry_multiplier", {fixed(5.0)}},
      {"dry_base", {fixed(4.0), dry}},
      {"dry_allowed_length", {fixed(4), dry}},
      {"dry_penalty_last_n", {fixed(2), dry}},
      {"dry_sequence_breakers",
       {[](const Outcome&) {
          json characters = json::array();  // of which one is in every token
          for (char c = 1; c < 127; ++c) characters.push_back(std::string(1, c));
          return characters;
        },
        {{"dry_multiplier", 5.0}, {"dry_sequence_breakers", json::array()}}}},
      {"no_repeat_ngram_size", {fixed(2)}},
      {"encoder_no_repeat_ngram_size", {fixed(2)}},
  };
}

std::map<std::string, Entry> bias_entries() {
  const json banned = {{"bad_words_ids", {{9}}}};
  const auto all_hold = [](int32_t id) {
    return [id](const Outcome&, const Outcome& got) {
      return every_row(
          got, [id](const GeneratedRow& row) { return std::count(row.ids.begin(), row.ids.end(), id) > 0; });
    };
  };
  return {
      {"sequence_bias", {[](const Outcome& plain) {
         json entries = json::array();
         for (const json& id : first_ids(plain)) entries.push_back({{id}, -30.0});
         return entries;
       }}},
      {"logit_bias", {[](const Outcome& plain) {
         json entries = json::object();
         for (const json& id : first_ids(plain)) entries[id.dump()] = -30.0;
         return entries;
       }}},
      {"bad_words_ids",
       {[](const Outcome& plain) {
          json words = json::array();
          for (const json& id : first_ids(plain)) words.push_back({id});
          return words;
        },
        {},
        none_of_first}},
      {"suppress_tokens", {first_ids, {}, none_of_first}},
      {"begin_suppress_tokens",
       {first_ids,
        {},
        [](const Outcome& without, const Outcome& got) {
          const Ids ids = first_ids(without).get<Ids>();
          return every_row(got, [&](const GeneratedRow& row) {
            return std::count(ids.begin(), ids.end(), row.ids.at(0)) == 0;
          });
        }}},
      {"forced_decoder_ids",
       {fixed({{1, 19}}),
        {},
        [](const Outcome&, const Outcome& got) {
          return every_row(got, [](const GeneratedRow& row) { return row.ids.at(1) == 19; });
        }}},
      {"force_words_ids", {fixed({{19}}), {}, all_hold(19)}},
      // One token has no room for a word of two.
      {"force_words_strictly",
       {fixed(true),
        {{"force_words_ids", {{19, 20}}}, {"max_new_tokens", 1}},
        [](const Outcome& without, const Outcome& got) {
          return without.error.empty() && (!got.error.empty() || differs(without, got));
        }}},
      {"remove_invalid_values", {fixed(true), banned}},
      {"renormalize_logits", {fixed(true), banned}},
      {"watermarking_config", {fixed({{"bias", 5.0}})}},
  };
}

std::map<std::string, Entry> search_entries() {
  // A draft model decides how fast greedy tokens come, never which; of drawn ones the distribution stays.
  const auto drafts = [](const Outcome& without, const Outcome& got) {
    const bool drawn = got.error.empty() && got.rows.at(0).seed == 7;
    return got.error.empty() && (drawn || same_ids(without, got)) &&
           every_row(got, [](const GeneratedRow& row) { return row.speculative; });
  };
  return {
      {"guidance_scale", {fixed(3.0)}},
      // Guesses decide how fast tokens come, never which.
      {"prompt_lookup_num_tokens", {fixed(1), {}, same_ids}},
      {"max_matching_ngram_size", {fixed(1), {}, same_ids}},
      {"num_assistant_tokens", {fixed(1), {}, drafts}},
      {"num_assistant_tokens_schedule", {fixed("heuristic"), {}, drafts}},
      {"assistant_confidence_threshold", {fixed(0.0), {}, drafts}},
      {"penalty_alpha", {fixed(0.9)}},
      {"dola_layers", {fixed({1, 2})}},
      {"num_beams", {fixed(8)}},
      {"num_beam_groups", {fixed(4)}},
      {"diversity_penalty", {fixed(5.0)}},
      {"length_penalty", {fixed(3.0)}},
      {"early_stopping", {fixed(true), {{"length_penalty", 3.0}, {"max_new_tokens", 12}}, differs, {}, true}},
      {"num_return_sequences",
       {fixed(2),
        {},
        [](const Outcome&, const Outcome& got) {
          return every_row(got, [](const GeneratedRow& row) { return row.others.size() == 1; });
        }}},
  };
}

std::map<std::string, Entry> result_entries() {
  return {
      {"use_cache",
       {fixed(false), {}, [](const Outcome& without, const Outcome& got) { return same_ids(without, got); }}},
      {"max_kv_size", {fixed(4)}},
      {"num_sink_tokens", {fixed(1), {{"max_kv_size", 6}}}},
      {"top_logprobs",
       {fixed(2),
        {},
        [](const Outcome&, const Outcome& got) {
          return every_row(got, [](const GeneratedRow& row) {
            return row.logprobs.size() == row.ids.size() && row.top_logprobs.size() == row.ids.size() &&
                   row.top_logprobs[0].size() == 2;
          });
        }}},
      {"prompt_logprobs",
       {fixed(2),
        {},
        [](const Outcome&, const Outcome& got) {
          return every_row(got, [](const GeneratedRow& row) {
            return row.prompt_logprobs.size() == row.prompt_ids.size() &&
                   row.prompt_top_logprobs.back().size() == 2 && std::isfinite(row.prompt_logprobs.back());
          });
        }}},
      {"output_transition_scores",
       {fixed(true),
        {},
        [](const Outcome&, const Outcome& got) {
          return every_row(got, [](const GeneratedRow& row) {
            bool same = row.transition_scores.size() == row.ids.size() && row.scores.size() == row.ids.size();
            for (size_t i = 0; same && i < row.ids.size(); ++i) {
              same =
                  std::fabs(row.transition_scores[i] - row.scores[i][static_cast<size_t>(row.ids[i])]) < 1e-5;
            }
            return same && row.normalized_transition_scores.size() == row.ids.size();
          });
        }}},
      {"output_scores",
       {fixed(true),
        {{"output_scores", nullptr}},
        [](const Outcome& without, const Outcome& got) {
          return without.rows.at(0).scores.empty() &&
                 every_row(got, [](const GeneratedRow& row) { return row.scores.size() == row.ids.size(); });
        }}},
      {"output_logits",
       {fixed(true),
        {},
        [](const Outcome& without, const Outcome& got) {
          return without.rows.at(0).logits.empty() &&
                 every_row(got, [](const GeneratedRow& row) { return row.logits.size() == row.ids.size(); });
        }}},
  };
}

const std::map<std::string, Entry>& entries() {
  static const std::map<std::string, Entry> all = [] {
    std::map<std::string, Entry> out;
    for (auto part : {length_entries(), sampling_entries(), penalty_entries(), bias_entries(),
                      search_entries(), result_entries()}) {
      out.merge(part);
    }
    return out;
  }();
  return all;
}

class OptionsMatrix : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto goldens = std::filesystem::path(MLXGK_TEST_DATA).parent_path() / "goldens";
    io::Checkpoint checkpoint = io::Checkpoint::open(goldens / "models" / "llama");
    model_ = models::load_model(checkpoint);
    io::Checkpoint draft = io::Checkpoint::open(goldens / "models" / "llama_draft");
    draft_ = models::load_model(draft);
    tokenizer_ = text::Tokenizer::load(goldens / "tokenizers" / "spbpe_gemma");
  }
  static void TearDownTestSuite() {
    model_.reset();
    draft_.reset();
    tokenizer_.reset();
  }

  /// The mode's selection, then these; null takes a setting away.
  static json settings(const json& selection, const json& with) {
    json out = {{"max_new_tokens", kNewTokens}, {"output_scores", true}};
    out.update(selection);
    if (!with.is_null()) out.update(with);
    return out;
  }
  static Outcome run(const json& config, const std::vector<Ids>& prompts, bool assistant) {
    GenerationRequest request;
    if (assistant) request.assistant_model = draft_.get();
    for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
    Outcome out;
    try {
      request.config = GenerationConfig::from_caller(config, "");
      out.rows = generate(*model_, tokenizer_.get(), request).rows;
    } catch (const Error& error) {
      out.error = error.what();
    }
    return out;
  }
  /// The mode's run without the option; many entries share it.
  static const Outcome& without(const json& config, const std::vector<Ids>& prompts, bool assistant) {
    static std::map<std::string, Outcome> runs;
    const std::string key = config.dump() + json(prompts).dump() + (assistant ? "a" : "");
    const auto found = runs.find(key);
    return found != runs.end() ? found->second
                               : runs.emplace(key, run(config, prompts, assistant)).first->second;
  }

  static std::shared_ptr<const models::Model> model_, draft_;
  static std::shared_ptr<const text::Tokenizer> tokenizer_;
};
std::shared_ptr<const models::Model> OptionsMatrix::model_, OptionsMatrix::draft_;
std::shared_ptr<const text::Tokenizer> OptionsMatrix::tokenizer_;

/// What the row's chain makes of scores that nothing was removed from, after a text that repeats itself.
std::vector<float> through_chain(const json& options, GenerationMode mode) {
  const auto effective = config::resolve({}, GenerationConfig::from_caller(options, ""));
  EXPECT_EQ(effective.mode, mode);
  const Ids prompt = {3, 40, 21, 33, 40, 21, 33};
  Ids context = prompt;
  context.insert(context.end(), {40, 21, 33});
  std::vector<float> values(kVocab);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7919 % kVocab) / 60;
  logits::Scores scores(values);
  logits::Chain({.config = effective.values,
                 .mode = mode,
                 .prompt = prompt,
                 .max_length = 13,
                 .vocab_size = kVocab,
                 .token_bytes = [](int32_t) { return std::string("b"); }})
      .apply({context}, scores);
  return values;
}

TEST_F(OptionsMatrix, EveryOptionHasAnEntryAndEveryEntryAnOption) {
  std::set<std::string> names;
  for (const config::OptionRow& row : config::option_rows()) names.insert(std::string(row.name));
  for (const std::string& name : names) EXPECT_TRUE(entries().contains(name)) << name << " has no entry";
  for (const auto& [name, entry] : entries()) EXPECT_TRUE(names.contains(name)) << name << " is no option";
}

TEST_F(OptionsMatrix, EveryModeIsSelectedByItsOptions) {
  Modes all = 0;
  for (const Selection& selection : selections()) all |= config::modes(selection.mode);
  EXPECT_EQ(all, config::kAllModes);
  for (const auto& [mode, selection, assistant] : selections()) {
    EXPECT_EQ(config::resolve({}, GenerationConfig::from_caller(selection, ""), nullptr, assistant).mode,
              mode)
        << selection;
  }
}

TEST_F(OptionsMatrix, AnOptionActsInTheModesThatItNames) {
  for (const config::OptionRow& row : config::option_rows()) {
    const auto found = entries().find(std::string(row.name));
    if (found == entries().end()) continue;
    const Entry& entry = found->second;
    const std::vector<Ids>& prompts = entry.prompts.empty() ? kPrompts : entry.prompts;
    for (const auto& [mode, selection, assistant] : selections()) {
      if (!config::contains(row.modes, mode)) continue;
      const std::string what = fmt::format("{} in {} decoding", row.name, to_string(mode));
      const Outcome& plain = without(settings(selection, json::object()), prompts, assistant);
      ASSERT_EQ(plain.error, "") << what;
      json config = settings(selection, entry.with);
      if (entry.first_end) config["eos_token_id"] = first_ids(plain);
      const Outcome& base = without(config, prompts, assistant);
      config[found->first] = entry.value(plain);
      const Outcome got = run(config, prompts, assistant);
      // DoLa removes most tokens before any processor sees them: what one does to the others shows in the
      // chain, which the mode takes from the same place as all.
      const bool dola = mode == GenerationMode::kDola || mode == GenerationMode::kDolaSampling;
      const auto* acted = entry.acted.target<bool (*)(const Outcome&, const Outcome&)>();
      if (dola && acted && *acted == differs && got.error.empty() && !differs(base, got)) {
        json before = settings(selection, entry.with);
        EXPECT_NE(through_chain(before, mode), through_chain(config, mode)) << what << " changed nothing";
        continue;
      }
      EXPECT_TRUE(entry.acted(base, got)) << what << " changed nothing: " << config << " " << got.error;
    }
  }
}

TEST_F(OptionsMatrix, AnOptionIsRefusedByNameInEveryOtherMode) {
  for (const config::OptionRow& row : config::option_rows()) {
    const auto found = entries().find(std::string(row.name));
    if (found == entries().end()) continue;
    for (const auto& [mode, selection, assistant] : selections()) {
      if (config::contains(row.modes, mode)) continue;
      const std::string what = fmt::format("{} in {} decoding", row.name, to_string(mode));
      const Outcome& plain = without(settings(selection, json::object()), kPrompts, assistant);
      json config = selection;
      config[found->first] = found->second.value(plain);
      if (config[found->first].dump() == row.neutral) continue;  // asks for nothing
      try {
        // What selects another mode acts in that.
        const auto effective =
            config::resolve({}, GenerationConfig::from_caller(config, ""), nullptr, assistant);
        EXPECT_NE(effective.mode, mode) << what << " was accepted";
        EXPECT_TRUE(config::contains(row.modes, effective.mode)) << what;
      } catch (const ArgumentError& error) {
        // What selects a mode by itself may leave the other's own options without one.
        const std::string message = error.what();
        bool named = message.find(row.name) != std::string::npos;
        named |= assistant && message.find("assistant_model") != std::string::npos;
        for (const auto& [name, value] : selection.items()) named |= message.find(name) != std::string::npos;
        EXPECT_TRUE(named) << what << ": " << message;
        if (message.starts_with(std::string(row.name)) && message.find("has no effect") != std::string::npos)
          EXPECT_THAT(message, testing::HasSubstr(fmt::format("{} decoding", to_string(mode)))) << what;
      }
    }
  }
}

TEST_F(OptionsMatrix, WhatNoModeHonoursIsRefusedByNameInEach) {
  for (const config::UnsupportedOption& row : config::unsupported_options()) {
    for (const auto& [mode, selection, assistant] : selections()) {
      json config = selection;
      config[std::string(row.name)] = "something";
      try {
        config::resolve({}, GenerationConfig::from_caller(config, ""), nullptr, assistant);
        ADD_FAILURE() << row.name << " was accepted in " << to_string(mode) << " decoding";
      } catch (const ArgumentError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr(std::string(row.name)));
        EXPECT_THAT(error.what(), testing::HasSubstr(std::string(to_string(mode)) + " decoding"));
      }
    }
  }
}

TEST_F(OptionsMatrix, NeutralValuesAreBitIdenticalToNone) {
  for (const config::OptionRow& row : config::option_rows()) {
    if (row.neutral.empty()) continue;
    for (const auto& [mode, selection, assistant] : selections()) {
      if (selection.contains(std::string(row.name))) continue;
      // top_k at 0 takes its default away, which is no neutral change.
      if (row.name == "top_k" || row.name == "output_scores") continue;
      json config = settings(selection, json::object());
      const Outcome& plain = without(config, kPrompts, assistant);
      config[std::string(row.name)] = json::parse(row.neutral);
      const Outcome got = run(config, kPrompts, assistant);
      EXPECT_EQ(got.error, "") << row.name;
      EXPECT_FALSE(differs(plain, got)) << row.name << " at its neutral value in " << to_string(mode);
    }
  }
}

TEST_F(OptionsMatrix, UserProcessorsReachEveryMode) {
  for (const auto& [mode, selection, assistant] : selections()) {
    GenerationRequest request;
    if (assistant) request.assistant_model = draft_.get();
    request.prompts.push_back({.ids = kPrompts[0]});
    request.config = GenerationConfig::from_caller(settings(selection, json::object()), "");
    request.processors.push_back([](std::span<const int32_t>, std::span<float> scores) { scores[19] = 100; });
    const GeneratedRow row = generate(*model_, tokenizer_.get(), request).rows.at(0);
    EXPECT_GE(std::count(row.ids.begin(), row.ids.end(), 19), 1) << to_string(mode);
  }
}

}  // namespace
}  // namespace genkit::generate
