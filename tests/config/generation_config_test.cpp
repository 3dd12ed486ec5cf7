#include "genkit/config/generation_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "genkit/base/error.h"

namespace genkit::config {
namespace {

using nlohmann::json;
using testing::HasSubstr;

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no exception)";
}

std::string caller_error(const std::string& text) {
  return error_of([&] { GenerationConfig::from_caller(json::parse(text), "--generation-config"); });
}

GenerationConfig caller(const std::string& text) {
  return GenerationConfig::from_caller(json::parse(text), "");
}
GenerationConfig model(const std::string& text) { return GenerationConfig::from_model(json::parse(text)); }

TEST(GenerationConfig, ReadsEveryFieldTypeAndAlias) {
  const GenerationConfig config =
      caller(R"({"max_tokens": 7, "temp": 0.5, "eos_token_id": 2, "seed": 18446744073709551615,
      "stop_sequences": "END", "sequence_bias": [[[1, 2], -1.5]], "bad_words_ids": [[3], [4, 5]],
      "exponential_decay_length_penalty": [5, 1.1], "suppress_tokens": [9], "top_p": null})");
  EXPECT_EQ(config.max_new_tokens, 7);
  EXPECT_EQ(config.temperature, 0.5);
  EXPECT_EQ(config.eos_token_id, std::vector<int32_t>{2});
  EXPECT_EQ(config.seed, UINT64_MAX);
  EXPECT_EQ(config.stop_strings, std::vector<std::string>{"END"});
  EXPECT_EQ(config.sequence_bias, (std::vector<SequenceBias>{{{1, 2}, -1.5}}));
  EXPECT_EQ(config.bad_words_ids, (std::vector<std::vector<int32_t>>{{3}, {4, 5}}));
  EXPECT_EQ(config.exponential_decay_length_penalty, (LengthDecay{5, 1.1}));
  EXPECT_FALSE(config.top_p.has_value());
}

TEST(GenerationConfig, PrintsWhatItReads) {
  const std::string text =
      R"({"eos_token_id":[2,3],"max_new_tokens":7,"sequence_bias":[[[1,2],-1.5]],"temperature":0.5})";
  EXPECT_EQ(caller(text).to_json().dump(), text);
}

TEST(GenerationConfig, NamesTheFieldOfABadValue) {
  EXPECT_EQ(caller_error(R"({"top_p": 1.7})"),
            "--generation-config: top_p: expected a number in (0, 1], got 1.7");
  EXPECT_EQ(caller_error(R"({"max_new_tokens": 0})"),
            "--generation-config: max_new_tokens: expected an integer in [1, 2147483647], got 0");
  EXPECT_EQ(caller_error(R"({"temperature": "hot"})"),
            "--generation-config: temperature: expected a number, got a string");
  EXPECT_EQ(caller_error(R"({"top_k": 2.5})"), "--generation-config: top_k: expected an integer, got 2.5");
  EXPECT_EQ(caller_error(R"({"bad_words_ids": [[1, -1]]})"),
            "--generation-config: bad_words_ids: expected an integer in [0, 2147483647], got -1");
  EXPECT_EQ(caller_error(R"({"sequence_bias": [[1, 2]]})"),
            "--generation-config: sequence_bias[0][0]: expected a list, got 1");
  EXPECT_EQ(error_of([] {
              GenerationConfig c;
              c.top_p = 1.7;
              c.validate();
            }),
            "top_p: expected a number in (0, 1], got 1.7");
  EXPECT_EQ(error_of([] {
              GenerationConfig c;
              c.stop_strings = {{""}};
              c.validate();
            }),
            "stop_strings: an empty string would end every row at once");
}

TEST(GenerationConfig, ChecksTheWatermark) {
  EXPECT_EQ(caller(R"({"watermarking_config": {"bias": 1.5, "seeding_scheme": "lefthash"}})")
                .watermarking_config->bias,
            1.5);
  EXPECT_EQ(caller_error(R"({"watermarking_config": {"greenlist_ratio": 1.0}})"),
            "--generation-config: watermarking_config.greenlist_ratio: expected a number in (0, 1), got 1.0");
  EXPECT_EQ(caller_error(R"({"watermarking_config": {"seeding_scheme": "otherhash"}})"),
            "--generation-config: watermarking_config.seeding_scheme: expected \"lefthash\" or \"selfhash\", "
            "got a string");
  EXPECT_EQ(caller_error(R"({"watermarking_config": {"green_list_ratio": 0.5}})"),
            "--generation-config: watermarking_config.green_list_ratio: unknown key; did you mean "
            "`greenlist_ratio`?");
}

TEST(GenerationConfig, SuggestsTheNearestOption) {
  EXPECT_EQ(caller_error(R"({"temprature": 1})"),
            "--generation-config: temprature: unknown option; did you mean `temperature`?");
  EXPECT_EQ(caller_error(R"({"max_tokens": 1, "max_new_tokens": 2})"),
            "--generation-config: max_tokens: means the same option as `max_new_tokens`, which is given too");
}

TEST(GenerationConfig, AModelsFileMayHoldBookkeepingAndUnknownKeys) {
  const GenerationConfig config =
      model(R"({"_from_model_config": true, "transformers_version": "5", "eos_token_id": [1, 106],
      "pad_token_id": -1, "chat_format": "chatml", "cache_implementation": "hybrid"})");
  EXPECT_EQ(config.unknown, std::vector<std::string>{"chat_format"});
  EXPECT_THAT(resolve(config, {}).explain(), HasSubstr("chat_format (model) is no option that is known"));
  EXPECT_EQ(error_of([] { model(R"({"top_p": true})"); }),
            "generation_config.json: top_p: expected a number, got true");
}

TEST(GenerationConfig, SetsOptionsFromText) {
  GenerationConfig config;
  config.set("temp", "0.7");
  config.set("eos_token_ids", "1,2");
  config.set("stop", "a,b");
  config.set("do_sample", "true");
  EXPECT_EQ(config.temperature, 0.7);
  EXPECT_EQ(config.eos_token_id, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(config.stop_strings, std::vector<std::string>{"a,b"});
  EXPECT_EQ(config.do_sample, true);
  config.set("stop", R"(["x", "y"])");
  EXPECT_EQ(config.stop_strings, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(error_of([&] { config.set("top_k", "many"); }), "top_k: expected an integer, got a string");
  EXPECT_EQ(error_of([&] { config.set("top_hh", "1"); }), "top_hh: unknown option; did you mean `top_h`?");
}

TEST(Resolve, EachLayerOverridesTheNextAndKeepsItsOrigin) {
  const GenerationConfig row = caller(R"({"top_p": 0.5})");
  const EffectiveConfig out =
      resolve(model(R"({"do_sample": true, "top_p": 0.7, "top_k": 64, "temperature": 0.6})"),
              caller(R"({"top_p": 0.6, "temperature": 0.9})"), &row);
  EXPECT_EQ(out.mode, GenerationMode::kSampling);
  EXPECT_EQ(*out.values.top_p, 0.5);
  EXPECT_EQ(*out.values.temperature, 0.9);
  EXPECT_EQ(*out.values.top_k, 64);
  EXPECT_EQ(*out.values.repetition_penalty, 1.0);
  EXPECT_THAT(out.explain(), HasSubstr("top_p = 0.5 (row)\n"));
  EXPECT_THAT(out.explain(), HasSubstr("temperature = 0.9 (request)\n"));
  EXPECT_THAT(out.explain(), HasSubstr("top_k = 64 (model)\n"));
  EXPECT_THAT(out.explain(), HasSubstr("typical_p = 1.0 (default)\n"));
}

TEST(Resolve, SamplingAloneSwitchesTopKOn) {
  EXPECT_EQ(*resolve({}, caller(R"({"do_sample": true})")).values.top_k, 50);
  EXPECT_FALSE(resolve({}, {}).values.top_k.has_value());
}

TEST(Resolve, TheCallersOptionsChooseTheModeWhereDoSampleIsNotSaid) {
  EXPECT_EQ(resolve({}, {}).mode, GenerationMode::kGreedy);
  EXPECT_EQ(resolve({}, caller(R"({"temperature": 0.7})")).mode, GenerationMode::kSampling);
  EXPECT_EQ(resolve({}, caller(R"({"temperature": 1.0, "top_p": 1.0})")).mode, GenerationMode::kGreedy);
  EXPECT_EQ(resolve(model(R"({"do_sample": true})"), caller(R"({"temperature": 0})")).mode,
            GenerationMode::kGreedy);
  EXPECT_THAT(resolve({}, caller(R"({"top_p": 0.9})")).explain(), HasSubstr("do_sample = true (implied)"));
}

TEST(Resolve, RefusesWhatTheModeCannotHonour) {
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"do_sample": false, "top_p": 0.9})")); }),
            "top_p: 0.9 has no effect in greedy decoding; set do_sample to true");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"num_beam_groups": 4})")); }),
            "num_beam_groups: 4 has no effect in greedy decoding; it acts in diverse beam decoding");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"token_healing": true})")); }),
            "token_healing: true asks for token healing, which greedy decoding does not do");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"length_penalty": 2})")); }),
            "length_penalty: 2.0 has no effect in greedy decoding; set num_beams above 1");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"num_return_sequences": 2})")); }),
            "num_return_sequences: 2 has no effect in greedy decoding; set do_sample to true");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"num_return_sequences": 5, "num_beams": 4})")); }),
            "num_return_sequences: expected at most num_beams (4), got 5");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"num_beams": 2, "do_sample": false, "top_k": 3})")); }),
            "top_k: 3 has no effect in beam decoding; set do_sample to true");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"do_sample": true, "temperature": 0})")); }),
            "temperature: sampling needs a number above 0, got 0; for greedy decoding leave do_sample out");
  EXPECT_NO_THROW(resolve({}, caller(R"({"num_beams": 1, "use_cache": true, "guidance_scale": 1.0})")));
}

TEST(Resolve, ABoundedRowKeepsFourOfItsFirstPositionsUnlessItIsTold) {
  const auto sinks = [](const char* text) { return resolve({}, caller(text)).values.num_sink_tokens; };
  EXPECT_EQ(sinks("{}"), std::nullopt);
  EXPECT_EQ(sinks(R"({"max_kv_size": 100})"), 4);
  EXPECT_EQ(sinks(R"({"max_kv_size": 3})"), 2);
  EXPECT_EQ(sinks(R"({"max_kv_size": 3, "max_kv_keep": 0})"), 0);
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"max_kv_size": 3, "num_sink_tokens": 3})")); }),
            "num_sink_tokens: expected fewer than max_kv_size (3), got 3");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"num_sink_tokens": 3})")); }),
            "num_sink_tokens: 3 has no effect without max_kv_size");
  EXPECT_THAT(resolve(model(R"({"num_sink_tokens": 3})"), {}).explain(),
              HasSubstr("num_sink_tokens (model) does not apply without max_kv_size"));
  EXPECT_EQ(error_of([] { caller(R"({"max_kv_size": 0})"); }),
            "max_kv_size: expected an integer in [1, 2147483647], got 0");
}

TEST(Resolve, CachesThatHoldOtherNumbersAreRefused) {
  for (const char* same : {"dynamic", "static", "offloaded", "hybrid", "sliding_window", "paged"}) {
    EXPECT_NO_THROW(resolve({}, caller(fmt::format(R"({{"cache_implementation": "{}"}})", same))));
  }
  for (const char* other : {"quantized", "something"}) {
    EXPECT_EQ(
        error_of([&] { resolve({}, caller(fmt::format(R"({{"cache_implementation": "{}"}})", other))); }),
        fmt::format("cache_implementation: \"{}\" asks for a quantised or unknown cache, which greedy "
                    "decoding does not do",
                    other));
  }
}

TEST(Resolve, BeamsAreTheirOwnModes) {
  EXPECT_EQ(resolve({}, caller(R"({"num_beams": 2})")).mode, GenerationMode::kBeam);
  EXPECT_EQ(resolve({}, caller(R"({"num_beams": 2, "top_p": 0.9})")).mode, GenerationMode::kBeamSampling);
  EXPECT_EQ(resolve(model(R"({"num_beams": 4})"), {}).mode, GenerationMode::kBeam);
  EXPECT_EQ(resolve(model(R"({"num_beams": 4, "length_penalty": 2})"), caller(R"({"num_beams": 1})")).mode,
            GenerationMode::kGreedy);
}

TEST(Resolve, TheModesThatDrawNothingFollowFromTheirOptions) {
  const auto mode = [](const char* text) { return resolve({}, caller(text)).mode; };
  EXPECT_EQ(mode(R"({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5})"),
            GenerationMode::kDiverseBeam);
  EXPECT_EQ(mode(R"({"num_beams": 4, "force_words_ids": [[5], [[6, 7], [8]]]})"),
            GenerationMode::kConstrainedBeam);
  EXPECT_EQ(mode(R"({"force_words_ids": [[5]]})"), GenerationMode::kGreedy);
  EXPECT_EQ(mode(R"({"force_words_ids": [[5]], "do_sample": true})"), GenerationMode::kSampling);
  EXPECT_EQ(mode(R"({"penalty_alpha": 0.6})"), GenerationMode::kContrastive);
  EXPECT_EQ(mode(R"({"penalty_alpha": 0.6, "top_k": 4})"), GenerationMode::kContrastive);
  EXPECT_EQ(mode(R"({"dola_layers": "low"})"), GenerationMode::kDola);
  EXPECT_EQ(mode(R"({"dola_layers": [0, 2], "temperature": 0.7})"), GenerationMode::kDolaSampling);
  // A model that samples by default does not keep a caller from asking for something else.
  const GenerationConfig sampling = model(R"({"do_sample": true, "top_k": 64, "top_p": 0.95})");
  EXPECT_EQ(resolve(sampling, caller(R"({"penalty_alpha": 0.6})")).mode, GenerationMode::kContrastive);
  EXPECT_EQ(resolve(sampling, caller(R"({"num_beams": 2, "force_words_ids": [[5]]})")).mode,
            GenerationMode::kConstrainedBeam);
  EXPECT_EQ(resolve(sampling, caller(R"({"dola_layers": "high"})")).mode, GenerationMode::kDolaSampling);
}

TEST(Resolve, RefusesWhatThoseModesCannotHonour) {
  const auto error = [](const char* text) { return error_of([&] { resolve({}, caller(text)); }); };
  EXPECT_EQ(error(R"({"num_beams": 4, "num_beam_groups": 3, "diversity_penalty": 0.5})"),
            "num_beam_groups: expected a divisor of num_beams (4), got 3");
  EXPECT_EQ(error(R"({"num_beams": 4, "num_beam_groups": 2})"),
            "diversity_penalty: expected a number above 0 in diverse beam decoding, where without it all "
            "groups are the same");
  EXPECT_EQ(error(R"({"num_beams": 4, "diversity_penalty": 0.5})"),
            "diversity_penalty: 0.5 has no effect in beam decoding; it acts in diverse beam decoding");
  EXPECT_EQ(error(R"({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1, "do_sample": true})"),
            "do_sample: true has no effect in diverse beam decoding, which draws nothing; leave "
            "num_beam_groups out");
  EXPECT_EQ(
      error(R"({"num_beams": 4, "force_words_ids": [[5]], "num_beam_groups": 2})"),
      "num_beam_groups: 2 has no effect in constrained beam decoding; it acts in diverse beam decoding");
  EXPECT_EQ(error(R"({"penalty_alpha": 0.6, "top_k": 1})"),
            "top_k: expected at least 2 in contrastive decoding, got 1");
  EXPECT_EQ(error(R"({"penalty_alpha": 0.6, "temperature": 0.7})"),
            "temperature: 0.7 has no effect in contrastive decoding; set do_sample to true");
  EXPECT_EQ(error(R"({"penalty_alpha": 0.6, "do_sample": true})"),
            "penalty_alpha: 0.6 has no effect in sampling decoding; it acts in contrastive decoding");
  EXPECT_EQ(error(R"({"penalty_alpha": 0.6, "dola_layers": "low"})"),
            "dola_layers: \"low\" has no effect in contrastive decoding; it acts in DoLa, DoLa sampling "
            "decoding");
  EXPECT_EQ(error(R"({"force_words_strictly": false})"),
            "force_words_strictly: false has no effect in greedy decoding; it acts in constrained beam "
            "decoding");
}

TEST(GenerationConfig, ReadsForcedWordsAndDolaLayers) {
  const GenerationConfig config =
      caller(R"({"force_words_ids": [[1, 2], [[3], [4, 5]]], "dola_layers": [0, 2]})");
  EXPECT_EQ(config.force_words_ids, (std::vector<ForcedWord>{{{{1, 2}}}, {{{3}, {4, 5}}}}));
  EXPECT_EQ(config.dola_layers, (DolaLayers{DolaLayers::Kind::kList, {0, 2}}));
  EXPECT_EQ(config.to_json().dump(), R"({"dola_layers":[0,2],"force_words_ids":[[1,2],[[3],[4,5]]]})");
  EXPECT_EQ(caller_error(R"({"dola_layers": "middle"})"),
            "--generation-config: dola_layers: expected \"low\", \"high\" or a list of layers, got a string");
  EXPECT_EQ(caller_error(R"({"dola_layers": []})"),
            "--generation-config: dola_layers: expected at least one layer");
  EXPECT_EQ(caller_error(R"({"force_words_ids": [5]})"),
            "--generation-config: force_words_ids[0]: expected a list of ids, or of lists of ids, got 5");
  EXPECT_EQ(error_of([] { resolve({}, caller(R"({"force_words_ids": [[[1], [1, 2]]]})")); }),
            "force_words_ids: of the alternatives [1] and [1, 2] one begins the other");
}

TEST(Resolve, MoreBeamsThanMemoryBearsAreRefused) {
  EXPECT_EQ(error_of([] { caller(R"({"num_beams": 4097})"); }),
            "num_beams: expected an integer in [1, 4096], got 4097");
  EXPECT_NO_THROW(caller(R"({"num_beams": 4096})"));
}

TEST(Resolve, EarlyStoppingIsABooleanOrNever) {
  const auto stopping = [](const std::string& value) {
    GenerationConfig config;
    config.set("num_beams", "2");
    config.set("early_stopping", value);
    return resolve({}, config).values;
  };
  EXPECT_EQ(stopping("true").early_stopping, EarlyStopping::kTrue);
  EXPECT_EQ(stopping("false").early_stopping, EarlyStopping::kFalse);
  EXPECT_EQ(stopping("never").early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(stopping("never").to_json().at("early_stopping"), "never");
  EXPECT_EQ(error_of([&] { stopping("maybe"); }),
            "early_stopping: expected true, false or \"never\", got a string");
}

TEST(Resolve, AModelsSamplingDefaultsDoNotForbidGreedyDecoding) {
  const EffectiveConfig out =
      resolve(model(R"({"do_sample": true, "top_p": 0.7})"), caller(R"({"do_sample": false})"));
  EXPECT_EQ(out.mode, GenerationMode::kGreedy);
  EXPECT_FALSE(out.values.top_p.has_value());
  EXPECT_EQ(out.notes, std::vector<std::string>{"top_p = 0.7 (model) does not apply to greedy decoding"});
}

TEST(Resolve, WhatNoModeHonoursInAModelsFileIsAnErrorThatSaysTheWayOut) {
  EXPECT_EQ(error_of([] { resolve(model(R"({"token_healing": true})"), {}); }),
            "token_healing: true asks for token healing, which greedy decoding does not do; the model's "
            "generation_config.json says so, set it to false to run without");
  EXPECT_NO_THROW(resolve(model(R"({"token_healing": true})"), caller(R"({"token_healing": false})")));
}

TEST(FieldTable, NamesAndAliasesAreUniqueAndDefaultsAreInRange) {
  std::set<std::string_view> names;
  for (const FieldInfo& field : generation_fields()) {
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
    for (const std::string_view alias : field.aliases) EXPECT_TRUE(names.insert(alias).second) << alias;
    EXPECT_FALSE(field.help.empty()) << field.name;
    EXPECT_NE(field.modes, 0) << field.name;
  }
  EXPECT_NO_THROW(resolve({}, {}));
}

}  // namespace
}  // namespace genkit::config
