// speculative.json: one round of speculative sampling with given random numbers.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_set.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/speculative.h"

namespace genkit::eval {
namespace {

/// [rows, vocab] as a list of rows.
std::vector<std::vector<float>> rows_of(const mlx::core::array& a) {
  const std::vector<float> all = to_floats(a);
  const size_t vocab = static_cast<size_t>(a.shape(-1));
  std::vector<std::vector<float>> out;
  for (size_t at = 0; at + vocab <= all.size(); at += vocab) {
    out.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(at),
                     all.begin() + static_cast<std::ptrdiff_t>(at + vocab));
  }
  return out;
}

std::vector<float> probabilities(const std::vector<float>& scores) {
  const double norm = log_sum_exp(scores);
  std::vector<float> out;
  for (const float score : scores) out.push_back(static_cast<float>(std::exp(score - norm)));
  return out;
}

void check(const GoldenFile& file, const JsonView& c) {
  std::vector<std::vector<float>> draft = rows_of(file.tensor(c.at("draft_logits_tensor").string()));
  std::vector<std::vector<float>> target = rows_of(file.tensor(c.at("target_logits_tensor").string()));
  const std::vector<int32_t> candidates = c.at("candidate_tokens").integers<int32_t>();
  const std::vector<float> uniforms = floats(c.at("uniforms"));
  if (draft.size() != candidates.size() || target.size() != candidates.size() + 1 ||
      uniforms.size() != candidates.size()) {
    throw Mismatch(fmt::format("{} candidates with {} draft rows, {} target rows and {} uniforms",
                               candidates.size(), draft.size(), target.size(), uniforms.size()));
  }
  size_t accepted = 0;
  while (accepted < candidates.size()) {
    const double ratio = logits::acceptance(logits::Scores(target[accepted]), logits::Scores(draft[accepted]),
                                            candidates[accepted]);
    if (uniforms[accepted] > ratio) break;
    ++accepted;
  }
  const int expected = c.at("expected_accepted").integer<int>();
  if (accepted != static_cast<size_t>(expected)) {
    throw Mismatch(
        fmt::format("accepted {} of {} candidates, expected {}", accepted, candidates.size(), expected));
  }
  std::vector<float>& last = target[accepted];
  logits::Scores scores(last);
  if (accepted < candidates.size()) logits::leave_residual(scores, logits::Scores(draft[accepted]));
  expect_close("next_token_probs", probabilities(last),
               to_floats(file.tensor(c.at("next_token_probs_tensor").string())), 1e-5);
  std::vector<int32_t> tokens(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(accepted));
  tokens.push_back(logits::argmax(scores));
  expect_rows("tokens", {tokens}, {c.at("expected_tokens").integers<int32_t>()});
}

}  // namespace

void run_speculative(const GoldenFile& file, GoldenSet&, GoldenReport& report) {
  for (const JsonView& c : file.cases()) report.run(c.at("name").string(), [&] { check(file, c); });
}

}  // namespace genkit::eval
