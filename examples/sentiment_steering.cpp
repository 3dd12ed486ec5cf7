// Eight pairs of sentences make a direction; twenty prompts show what it does.
//
//   sentiment_steering MODEL [PICTURE.svg]
//
// Prints the mean log-odds of pleasant against unpleasant words right after the prompt, for a range of alpha,
// and how many of twenty short answers differ from the unsteered ones. Ends with 1 where the log-odds do not
// rise with alpha all the way, or fewer than 95% of the answers at the largest alpha differ.

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "genkit/generate/generate.h"
#include "genkit/io/checkpoint.h"
#include "genkit/models/registry.h"
#include "genkit/steering/extraction.h"
#include "genkit/steering/hooks.h"
#include "genkit/steering/scores.h"
#include "genkit/steering/svg_chart.h"

namespace {

using namespace genkit;
using Ids = std::vector<int32_t>;

const std::vector<std::pair<const char*, const char*>> kPairs = {
    {"The movie was wonderful and I loved every minute of it.",
     "The movie was terrible and I hated every minute of it."},
    {"What a beautiful, happy, delightful day.", "What an ugly, sad, miserable day."},
    {"The food was delicious and the staff were kind.", "The food was disgusting and the staff were rude."},
    {"I feel great, everything is going well.", "I feel awful, everything is going wrong."},
    {"This book is brilliant; I recommend it to everyone.",
     "This book is dreadful; I warn everyone against it."},
    {"She met us with a warm smile and made us feel welcome.",
     "She met us with a cold stare and made us feel unwanted."},
    {"The trip was a joy from beginning to end.", "The trip was a nightmare from beginning to end."},
    {"Our team played superbly and won with ease.", "Our team played poorly and lost badly."}};

const std::vector<const char*> kPrompts = {"The film was",
                                           "The food at the restaurant was",
                                           "My day has been",
                                           "The weather this morning is",
                                           "I think this book is",
                                           "The hotel room was",
                                           "Her voice sounded",
                                           "The service was",
                                           "Our holiday was",
                                           "The new phone is",
                                           "The concert last night was",
                                           "My neighbours are",
                                           "The lecture was",
                                           "His cooking is",
                                           "The city at night is",
                                           "The match was",
                                           "This song makes me feel",
                                           "The letter made her feel",
                                           "I woke up feeling",
                                           "The garden looks"};

const std::vector<std::string> kPleasant = {"good",  "great",     "wonderful", "beautiful",
                                            "happy", "excellent", "amazing",   "nice"};
const std::vector<std::string> kUnpleasant = {"bad", "terrible", "awful",    "ugly",
                                              "sad", "poor",     "horrible", "boring"};

constexpr int kLayer = 10;
const std::vector<double> kAlphas = {-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2};
constexpr double kDocumentedAlpha = 2;

steering::TokenSequence sentence(const text::Tokenizer& tokenizer, const char* text) {
  return {.ids = tokenizer.encode(text), .begin = 1, .where = text};  // after BOS
}

std::vector<Ids> answers(const models::Model& model, const std::vector<Ids>& prompts,
                         const std::vector<models::ForwardHook*>& hooks) {
  generate::GenerationRequest request;
  for (const Ids& ids : prompts) request.prompts.push_back({.ids = ids});
  request.config.max_new_tokens = 16;
  request.config.do_sample = false;
  request.hooks = hooks;
  std::vector<Ids> out;
  for (const auto& row : generate::generate(model, nullptr, request).rows) out.push_back(row.ids);
  return out;
}

double mean_log_odds(const models::Model& model, const std::vector<Ids>& prompts,
                     const std::vector<models::ForwardHook*>& hooks, const steering::WordLists& words) {
  double sum = 0;
  steering::next_token_logprobs(model, prompts, hooks, [&](size_t, std::span<const float> logprobs) {
    sum += steering::log_odds(logprobs, words);
  });
  return sum / static_cast<double>(prompts.size());
}

void write_picture(const char* path, const std::vector<std::pair<double, double>>& points) {
  steering::Chart chart{.title = "Mean log-odds of pleasant words by alpha",
                        .x_label = "alpha (times the vector)"};
  chart.style =
      "text{font:12px "
      "sans-serif;fill:#666}.grid{stroke:#8884}.axis,.zero{stroke:#888}.zero{stroke-dasharray:1 3}"
      "polyline{fill:none;stroke-width:2.2}.base{stroke:#888;stroke-dasharray:7 4}";
  chart.lines.push_back({.name = "log-odds", .stroke = "#2b7fc3", .points = points});
  for (const auto& [alpha, odds] : points) {
    if (alpha == 0) chart.levels.push_back({.name = "no steering", .css_class = "base", .value = odds});
  }
  std::ofstream(path) << steering::svg(chart) << "\n";
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) return std::fprintf(stderr, "usage: %s MODEL [PICTURE.svg]\n", argv[0]), 2;
  auto checkpoint = io::Checkpoint::open(argv[1]);
  const auto model = models::load_model(checkpoint);
  const auto tokenizer = text::Tokenizer::load(argv[1]);

  steering::ContrastSet texts{.positive = {}, .negative = {}, .paired = true};
  for (const auto& [pleasant, unpleasant] : kPairs) {
    texts.positive.push_back(sentence(*tokenizer, pleasant));
    texts.negative.push_back(sentence(*tokenizer, unpleasant));
  }
  steering::ExtractOptions how;
  how.position.kind = steering::TokenChoice::Kind::kMean;
  how.blocks = {kLayer};
  const steering::VectorSet vectors = steering::extract_vectors(*model, texts, how);

  std::vector<Ids> prompts;
  for (const char* prompt : kPrompts) prompts.push_back(tokenizer->encode(prompt));
  const steering::WordLists words = steering::word_lists(*tokenizer, kPleasant, kUnpleasant);
  const std::vector<Ids> unsteered = answers(*model, prompts, {});

  std::vector<std::pair<double, double>> points;
  bool rises = true;
  std::printf("alpha  mean log-odds\n");
  for (const double alpha : kAlphas) {
    steering::ResidualInjectionHook hook(kLayer, vectors.vector(kLayer), alpha);
    const double odds = mean_log_odds(*model, prompts, {&hook}, words);
    rises = rises && (points.empty() || odds > points.back().second);
    points.emplace_back(alpha, odds);
    std::printf("%5.1f  %8.3f\n", alpha, odds);
  }
  steering::ResidualInjectionHook hook(kLayer, vectors.vector(kLayer), kDocumentedAlpha);
  const std::vector<Ids> steered = answers(*model, prompts, {&hook});
  size_t changed = 0;
  for (size_t i = 0; i < prompts.size(); ++i) changed += steered[i] != unsteered[i];
  std::printf("The log-odds %s with alpha; at alpha %g %zu of %zu answers differ from the unsteered ones.\n",
              rises ? "rise" : "do not always rise", kDocumentedAlpha, changed, prompts.size());
  std::printf("  %s ...%s\n  %s ...%s\n", kPrompts[0], tokenizer->decode(unsteered[0], true).c_str(),
              kPrompts[0], tokenizer->decode(steered[0], true).c_str());
  if (argc == 3) write_picture(argv[2], points);
  return rises && changed * 100 > prompts.size() * 95 ? 0 : 1;
} catch (const genkit::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
