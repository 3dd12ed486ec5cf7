// Drafts decide how fast tokens come, never which.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "genkit/base/error.h"
#include "genkit/generate/generate.h"
#include "genkit/generate/session.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "tests/generate/fake_model.h"

namespace genkit::generate {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

GenerationConfig config_of(const std::string& text) {
  return GenerationConfig::from_caller(json::parse(text), "");
}

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no exception)";
}

std::vector<Ids> random_prompts(size_t count, int vocab, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<Ids> out(count);
  for (Ids& ids : out) {
    ids.resize(2 + generator() % 20);
    for (int32_t& id : ids) id = 3 + static_cast<int32_t>(generator() % static_cast<unsigned>(vocab - 3));
  }
  return out;
}

GenerationRequest request_of(const std::vector<Ids>& prompts, const std::string& config) {
  GenerationRequest request;
  for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
  request.config = config_of(config);
  return request;
}

/// Guesses of any quality: a part of what will follow, then anything.
ProposeTokens random_guesses(const GenerationResult& truth, int vocab, unsigned seed) {
  auto generator = std::make_shared<std::mt19937>(seed);
  return [=, rows = truth.rows](size_t row, std::span<const int32_t> ids, int most) {
    const GeneratedRow& r = rows.at(row);
    const size_t done = ids.size() - r.prompt_ids.size();
    const unsigned right = (*generator)() % 6, wrong = (*generator)() % 4;
    Ids guess;
    for (size_t i = done; i < std::min<size_t>(r.ids.size(), done + right); ++i) guess.push_back(r.ids[i]);
    for (unsigned i = 0; i < wrong; ++i) {
      guess.push_back(static_cast<int32_t>((*generator)() % static_cast<unsigned>(vocab)));
    }
    guess.resize(std::min(guess.size(), static_cast<size_t>(most)));
    return guess;
  };
}

/// Everything but how it came about.
void expect_same(const GenerationResult& got, const GenerationResult& want, const std::string& what) {
  ASSERT_EQ(got.rows.size(), want.rows.size());
  for (size_t i = 0; i < want.rows.size(); ++i) {
    const GeneratedRow &a = got.rows[i], &b = want.rows[i];
    EXPECT_EQ(a.ids, b.ids) << what << ", row " << i;
    EXPECT_EQ(a.finish_reason, b.finish_reason) << what << ", row " << i;
    EXPECT_EQ(a.logprobs, b.logprobs) << what << ", row " << i;
    EXPECT_EQ(a.scores, b.scores) << what << ", row " << i;
    EXPECT_EQ(a.logits, b.logits) << what << ", row " << i;
    EXPECT_LE(a.accepted, a.drafted);
  }
}

const std::string kOptions[] = {
    R"({"max_new_tokens": 24})",
    R"({"max_new_tokens": 24, "eos_token_id": [5, 9, 30], "min_new_tokens": 6})",
    R"({"max_new_tokens": 24, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "output_scores": true,
        "output_logits": true, "top_logprobs": 2})",
    R"({"max_new_tokens": 1})",
    R"({"max_new_tokens": 17, "guidance_scale": 1.5, "forced_eos_token_id": 7, "eos_token_id": 7})",
    R"({"max_new_tokens": 24, "do_sample": true, "seed": 7, "top_k": 0, "top_p": 0.9})",
    R"({"max_new_tokens": 24, "do_sample": true, "seed": 8, "top_k": 12, "repetition_penalty": 1.2,
        "eos_token_id": 11})",
};

TEST(Speculative, GuessesOfAnyQualityChangeNothing) {
  const FakeModel model;
  const std::vector<Ids> prompts = random_prompts(5, FakeModel::kVocab, 3);
  for (const std::string& options : kOptions) {
    GenerationRequest request = request_of(prompts, options);
    const GenerationResult plain = generate(model, nullptr, request);
    for (unsigned seed = 1; seed <= 4; ++seed) {
      request.propose_tokens = random_guesses(plain, FakeModel::kVocab, seed);
      request.prefill_chunk = seed == 4 ? 3 : 512;
      const GenerationResult speculative = generate(model, nullptr, request);
      expect_same(speculative, plain, options);
      if (plain.rows[0].ids.size() > 8) EXPECT_GT(speculative.rows[0].accepted, 0u) << options;
    }
  }
}

TEST(Speculative, PromptLookupIsPlainDecodingInFewerPasses) {
  FakeModel model;
  model.period = 6;  // from some place on the row repeats itself
  const std::vector<Ids> prompts = random_prompts(4, FakeModel::kVocab, 5);
  for (const char* options :
       {R"({"max_new_tokens": 120})",
        R"({"max_new_tokens": 120, "do_sample": true, "seed": 3, "temperature": 0.1})"}) {
    GenerationRequest request = request_of(prompts, options);
    model.pass_sizes.clear();
    const GenerationResult plain = generate(model, nullptr, request);
    const size_t passes = model.pass_sizes.size();
    request.config.prompt_lookup_num_tokens = 8;
    model.pass_sizes.clear();
    const GenerationResult lookup = generate(model, nullptr, request);
    expect_same(lookup, plain, options);
    EXPECT_LT(model.pass_sizes.size(), passes * 2 / 3);
    EXPECT_GT(lookup.rows[0].accepted, 30u);
    for (size_t i = 0; i < prompts.size(); ++i) {
      GenerationRequest alone = request_of({prompts[i]}, options);
      alone.prompts[0].row_key = i;
      alone.config.prompt_lookup_num_tokens = 3;
      EXPECT_EQ(generate(model, nullptr, alone).rows[0].ids, plain.rows[i].ids);
    }
  }
}

TEST(Speculative, ADraftModelChangesNoGreedyToken) {
  const FakeModel model;
  FakeModel draft;
  const std::vector<Ids> prompts = random_prompts(5, FakeModel::kVocab, 3);
  for (const std::string& options : kOptions) {
    if (options.find("do_sample") != std::string::npos) continue;
    GenerationRequest request = request_of(prompts, options);
    const GenerationResult plain = generate(model, nullptr, request);
    request.assistant_model = &draft;
    for (const double wrong : {0.0, 0.3, 1.0}) {
      draft.noise = wrong;
      for (const char* count : {"auto", "1", "4", "30"}) {
        request.config.set("num_assistant_tokens", count);
        const GenerationResult assisted = generate(model, nullptr, request);
        expect_same(assisted, plain, fmt::format("{} {} {}", options, wrong, count));
        const bool alike = wrong == 0 && options.find("guidance") == std::string::npos;
        if (alike && plain.rows[0].ids.size() > 8) EXPECT_GT(assisted.rows[0].accepted, 0u) << options;
      }
      request.config.num_assistant_tokens_schedule = config::DraftSchedule::kHeuristic;
      request.config.num_assistant_tokens.reset();
      expect_same(generate(model, nullptr, request), plain, options + " heuristic");
      request.config.num_assistant_tokens_schedule.reset();
    }
  }
}

TEST(Speculative, TheDraftsOfAllRowsRunTogether) {
  const FakeModel model, draft;
  GenerationRequest request = request_of(random_prompts(6, FakeModel::kVocab, 9),
                                         R"({"max_new_tokens": 21, "num_assistant_tokens": 4,
                                             "assistant_confidence_threshold": 0})");
  request.assistant_model = &draft;
  generate(model, nullptr, request);
  // The same model as a draft is always right: after the prompt, 4 rounds of 4 guesses and one token more.
  EXPECT_EQ(model.pass_sizes.size(), 5u);
  EXPECT_EQ(draft.pass_sizes.size(), 16u);
  EXPECT_EQ(draft.pass_sizes.back(), 6);
}

TEST(Speculative, DrawnTokensDependOnSeedRowAndPositionAloneWithADraftModelToo) {
  const FakeModel model;
  FakeModel draft;
  draft.noise = 0.5;
  const std::vector<Ids> prompts = random_prompts(4, FakeModel::kVocab, 4);
  const std::string options = R"({"max_new_tokens": 20, "do_sample": true, "top_k": 0, "seed": 42,
                                  "num_assistant_tokens": 3})";
  GenerationRequest request = request_of(prompts, options);
  request.assistant_model = &draft;
  const GenerationResult batch = generate(model, nullptr, request);
  EXPECT_GT(batch.rows[0].accepted, 0u);
  EXPECT_LT(batch.rows[0].accepted, batch.rows[0].drafted);
  request.prefill_chunk = 3;
  expect_same(generate(model, nullptr, request), batch, "chunks of 3");
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerationRequest alone = request_of({prompts[i]}, options);
    alone.prompts[0].row_key = i;
    alone.assistant_model = &draft;
    EXPECT_EQ(generate(model, nullptr, alone).rows[0].ids, batch.rows[i].ids) << i;
  }
}

/// Softmax of the processed scores of the next token.
std::vector<double> next_distribution(const FakeModel& model, const Ids& ids, const std::string& options) {
  GenerationRequest request = request_of({ids}, options);
  request.config.max_new_tokens = 1;
  request.config.output_scores = true;
  const std::vector<float> scores = generate(model, nullptr, request).rows[0].scores[0];
  std::vector<double> out;
  double total = 0;
  for (const float score : scores) total += out.emplace_back(std::exp(static_cast<double>(score)));
  for (double& p : out) p /= total;
  return out;
}

// The pairs of a row's second and third token, which drafts have a part in, against the exact
// probabilities of the plain chain of conditional distributions.
TEST(Speculative, ADraftModelKeepsTheDistribution) {
  const FakeModel model;
  FakeModel draft;
  const std::string options =
      R"({"do_sample": true, "top_k": 3, "temperature": 2.5, "repetition_penalty": 1.2})";
  const Ids prompt = {4, 9, 17};
  for (const double noise : {0.4, 1.0}) {
    draft.noise = noise;
    constexpr int kRows = 6000;
    GenerationRequest request = request_of({}, options);
    request.config.max_new_tokens = 3;
    request.config.seed = 11;
    request.config.num_assistant_tokens.emplace().count = 2;
    request.assistant_model = &draft;
    std::map<Ids, int> counts;
    for (int begin = 0; begin < kRows; begin += 500) {
      request.prompts.clear();
      for (int i = begin; i < begin + 500; ++i) {
        request.prompts.push_back({.ids = prompt, .row_key = static_cast<uint64_t>(i)});
      }
      for (const GeneratedRow& row : generate(model, nullptr, request).rows) ++counts[row.ids];
    }
    double sum = 0, seen = 0;
    int outcomes = 0;
    const auto each = [](const std::vector<double>& p, auto visit) {
      for (size_t id = 0; id < p.size(); ++id) {
        if (p[id] > 0) visit(static_cast<int32_t>(id), p[id]);
      }
    };
    each(next_distribution(model, prompt, options), [&](int32_t a, double pa) {
      each(next_distribution(model, {4, 9, 17, a}, options), [&](int32_t b, double pb) {
        each(next_distribution(model, {4, 9, 17, a, b}, options), [&](int32_t c, double pc) {
          const double expected = pa * pb * pc * kRows;
          const int count = counts[{a, b, c}];
          seen += count;
          sum += (count - expected) * (count - expected) / expected;
          ++outcomes;
        });
      });
    });
    EXPECT_EQ(seen, kRows) << "nothing else may come";
    EXPECT_EQ(outcomes, 27);
    EXPECT_LT(sum, 60.1) << "99.99% of 26 degrees of freedom; noise " << noise;
  }
}

TEST(Speculative, TheCallbackEndsARowInsideADraft) {
  const FakeModel model;
  GenerationRequest request =
      request_of(random_prompts(2, FakeModel::kVocab, 12), R"({"max_new_tokens": 30})");
  const GenerationResult plain = generate(model, nullptr, request);
  request.propose_tokens = [&](size_t row, std::span<const int32_t> ids, int most) {
    const GeneratedRow& r = plain.rows[row];
    const auto done = static_cast<std::ptrdiff_t>(ids.size() - r.prompt_ids.size());
    Ids rest(r.ids.begin() + done, r.ids.end());
    rest.resize(std::min(rest.size(), static_cast<size_t>(most)));
    return rest;
  };
  std::vector<Ids> seen(2);
  request.on_token = [&](const StreamEvent& event) {
    if (event.token >= 0) seen[event.row].push_back(event.token);
    return !(event.row == 0 && seen[0].size() == 4);
  };
  const GenerationResult result = generate(model, nullptr, request);
  EXPECT_EQ(result.rows[0].ids, Ids(plain.rows[0].ids.begin(), plain.rows[0].ids.begin() + 4));
  EXPECT_EQ(result.rows[0].finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(result.rows[1].ids, plain.rows[1].ids);
  EXPECT_EQ(seen[0], result.rows[0].ids);
  EXPECT_EQ(seen[1], result.rows[1].ids);
}

TEST(Speculative, TheCachesHoldNothingAfterwards) {
  const FakeModel model, draft;
  GenerationSession session(model, nullptr, {.assistant_model = &draft});
  const auto config = config_of(R"({"max_new_tokens": 9})");
  const size_t first = session.add({.ids = {1, 2}}, config), second = session.add({.ids = {3}}, config);
  session.step();
  session.step();
  session.cancel(first);
  while (session.step()) {
  }
  EXPECT_EQ(session.take(second).ids.size(), 9u);
  EXPECT_EQ(session.cache().bytes(), 0u);
  EXPECT_EQ(session.draft_cache()->bytes(), 0u);
}

TEST(Speculative, ADraftModelReadsLongPromptsAPassAStep) {
  const FakeModel model, draft;
  const std::vector<Ids> prompts = {Ids(330, 4), Ids(150, 9), {5, 6, 7}};
  const std::string options = R"({"max_new_tokens": 20, "num_assistant_tokens": 4})";
  const GenerationResult plain = generate(model, nullptr, request_of(prompts, R"({"max_new_tokens": 20})"));
  GenerationRequest request = request_of(prompts, options);
  request.assistant_model = &draft;
  for (const int chunk : {100, 7, 1}) {
    request.prefill_chunk = chunk;
    draft.pass_sizes.clear();
    expect_same(generate(model, nullptr, request), plain, "in chunks");
    const int longest = *std::max_element(draft.pass_sizes.begin(), draft.pass_sizes.end());
    EXPECT_LE(longest, std::max(chunk, 2 * 3)) << "a token of each row goes in any case";
  }
  // Every step is one pass, so that a row can be ended between two of them.
  GenerationSession session(model, nullptr, {.assistant_model = &draft, .prefill_chunk = 50});
  const size_t row = session.add({.ids = prompts[0]}, config_of(options));
  const size_t other = session.add({.ids = prompts[2]}, config_of(options));
  draft.pass_sizes.clear();
  size_t other_before = 0;
  for (int step = 0; draft.pass_sizes.size() < 4; ++step) {
    const size_t before = draft.pass_sizes.size();
    ASSERT_TRUE(session.step());
    if (draft.pass_sizes.size() > before + 6) ADD_FAILURE() << "the whole prompt in one step";
    for (const StreamEvent& event : session.events()) other_before += event.row == other;
    ASSERT_LT(step, 100);
  }
  EXPECT_GT(other_before, 1u) << "a row that has nothing to catch up with goes on meanwhile";
  EXPECT_FALSE(session.ended(row));
  session.cancel(row);
  while (session.step()) {
  }
  EXPECT_EQ(session.take(row).finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(session.take(other).ids, plain.rows[2].ids);
  EXPECT_EQ(session.draft_cache()->bytes(), 0u);
}

TEST(Speculative, PastTheBorderOfLongRopeTheTokensAreThoseOfPlainDecoding) {
  FakeModel model;
  FakeModel draft;
  for (const int border : {8, 10, 13}) {
    model.border = border;
    draft.border = border + 1;
    GenerationRequest request = request_of({{1, 2, 3, 4, 5, 6, 7}, {9, 8}}, R"({"max_new_tokens": 16})");
    const GenerationResult plain = generate(model, nullptr, request);
    for (unsigned seed = 1; seed < 4; ++seed) {
      request.propose_tokens = random_guesses(plain, FakeModel::kVocab, seed);
      expect_same(generate(model, nullptr, request), plain, "guesses");
    }
    request.propose_tokens = nullptr;
    request.assistant_model = &draft;
    expect_same(generate(model, nullptr, request), plain, "draft model");
  }
}

TEST(Speculative, ADraftModelWithFewerPositionsDraftsUpToThem) {
  const FakeModel model, draft(20);
  GenerationRequest request =
      request_of({{1, 2, 3}},
                 R"({"max_new_tokens": 60, "num_assistant_tokens": 5, "assistant_confidence_threshold": 0})");
  const GenerationResult plain =
      generate(model, nullptr, request_of({{1, 2, 3}}, R"({"max_new_tokens": 60})"));
  request.assistant_model = &draft;
  const GenerationResult assisted = generate(model, nullptr, request);
  expect_same(assisted, plain, "20 positions");
  EXPECT_GT(assisted.rows[0].accepted, 5u);
  EXPECT_LE(assisted.rows[0].drafted, 20u);
}

TEST(Speculative, RefusesByName) {
  const FakeModel model;
  const FakeModel other(4096, 40);
  GenerationRequest request = request_of({{1, 2}}, R"({"max_new_tokens": 4})");
  const auto refused = [&](const std::string& config) {
    return error_of([&] {
      request.config = config_of(config);
      generate(model, nullptr, request);
    });
  };
  EXPECT_EQ(
      refused(R"({"num_assistant_tokens": 5})"),
      "num_assistant_tokens: 5 has no effect in greedy decoding; it acts in assisted, assisted sampling "
      "decoding");
  EXPECT_EQ(
      refused(R"({"max_matching_ngram_size": 3})"),
      "max_matching_ngram_size: 3 has no effect in greedy decoding; it acts in prompt lookup, prompt lookup "
      "sampling decoding");
  EXPECT_THAT(refused(R"({"prompt_lookup_num_tokens": 4, "num_beams": 2})"),
              HasSubstr("prompt_lookup_num_tokens: 4 has no effect in beam decoding"));
  EXPECT_EQ(refused(R"({"num_assistant_tokens": 600})"),
            "num_assistant_tokens: expected an integer from 1 to 512, got 600");
  EXPECT_THAT(refused(R"({"num_assistant_tokens": "many"})"), HasSubstr("expected an integer or \"auto\""));
  EXPECT_THAT(refused(R"({"prompt_lookup_num_tokens": 0})"),
              HasSubstr("expected an integer in [1, 512], got 0"));
  request.propose_tokens = [](size_t, std::span<const int32_t>, int) { return Ids{48}; };
  EXPECT_EQ(refused(R"({"max_new_tokens": 4})"), "propose_tokens: id 48 is outside the vocabulary of 48");
  EXPECT_EQ(refused(R"({"num_beams": 2})"),
            "propose_tokens: has no effect in beam decoding; it acts in greedy decoding and sampling");
  request.propose_tokens = nullptr;
  request.assistant_model = &model;
  EXPECT_EQ(refused(R"({"num_beams": 2})"),
            "assistant_model: a draft model has no effect in beam decoding; it acts in greedy decoding and "
            "sampling");
  EXPECT_EQ(refused(R"({"prompt_lookup_num_tokens": 4})"),
            "prompt_lookup_num_tokens: drafts come from a draft model (assistant_model) or from the prompt, "
            "not from "
            "both");
  request.assistant_model = &other;
  EXPECT_EQ(refused(R"({"max_new_tokens": 4})"),
            "assistant_model: its vocabulary of 40 is not the model's of 48; drafts must be made of the "
            "model's own "
            "tokens");
}

TEST(Speculative, AStopStringEndsARowInsideADraft) {
  const fs::path goldens = fs::path(MLXGK_TEST_DATA).parent_path() / "goldens";
  io::Checkpoint checkpoint = io::Checkpoint::open(goldens / "models" / "llama");
  const auto model = models::load_model(checkpoint);
  const auto tokenizer = text::Tokenizer::load(goldens / "tokenizers" / "bytebpe_chatml");
  GenerationRequest request = request_of({{5, 60, 70}}, R"({"max_new_tokens": 30})");
  const GenerationResult whole = generate(*model, tokenizer.get(), request);
  const std::string text = whole.rows[0].text;
  ASSERT_GT(text.size(), 24u);
  const auto ascii = [&](size_t i) { return static_cast<unsigned char>(text[i]) < 0x80; };
  for (size_t begin : {text.size() / 3, text.size() / 2}) {
    while (begin + 2 < text.size() && !(ascii(begin) && ascii(begin + 1))) ++begin;
    request.config.stop_strings = {text.substr(begin, 2)};
    request.propose_tokens = nullptr;
    const GenerationResult plain = generate(*model, tokenizer.get(), request);
    ASSERT_EQ(plain.rows[0].finish_reason, FinishReason::kStopString);
    for (unsigned seed = 1; seed < 4; ++seed) {
      request.propose_tokens = random_guesses(whole, 400, seed);
      const GenerationResult guessed = generate(*model, tokenizer.get(), request);
      expect_same(guessed, plain, "stop string");
      EXPECT_EQ(guessed.rows[0].text, plain.rows[0].text);
      EXPECT_EQ(guessed.rows[0].stop_string, plain.rows[0].stop_string);
    }
  }
}

/// Families with sliding windows, phi3's border, learned positions and mixtures of experts among them.
class Families : public testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<models::Model> load(const std::string& name) {
    io::Checkpoint checkpoint =
        io::Checkpoint::open(fs::path(MLXGK_TEST_DATA).parent_path() / "goldens" / "models" / name);
    return models::load_model(checkpoint);
  }
};

TEST_P(Families, SpeculationChangesNothing) {
  const auto model = load(GetParam());
  const int vocab = model->config().vocab_size;
  const std::vector<Ids> prompts = random_prompts(3, vocab, 21);
  for (const char* options :
       {R"({"max_new_tokens": 28, "top_logprobs": 1})",
        R"({"max_new_tokens": 28, "do_sample": true, "seed": 5, "temperature": 0.7})"}) {
    GenerationRequest request = request_of(prompts, options);
    const GenerationResult plain = generate(*model, nullptr, request);
    for (unsigned seed = 1; seed <= 2; ++seed) {
      request.propose_tokens = random_guesses(plain, vocab, seed);
      const GenerationResult guessed = generate(*model, nullptr, request);
      expect_same(guessed, plain, "guesses");
      EXPECT_GT(guessed.rows[0].accepted, 0u);
    }
    request.propose_tokens = nullptr;
    request.config.prompt_lookup_num_tokens = 6;
    expect_same(generate(*model, nullptr, request), plain, "prompt lookup");
  }
}

INSTANTIATE_TEST_SUITE_P(Speculative, Families,
                         testing::Values("llama", "mistral", "mixtral", "qwen2", "gemma2", "gemma3_text",
                                         "phi3", "llama_rope_dynamic", "gpt2", "starcoder2", "cohere"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace genkit::generate
