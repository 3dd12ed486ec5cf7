#include "cli/bench_quality.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "cli/parse_values.h"
#include "genkit/base/error.h"
#include "genkit/logits/selection.h"

namespace genkit::cli {

namespace mx = mlx::core;

namespace {

/// Of tests/goldens_gemma3_270m, whose exact perplexities are recorded there.
constexpr const char* kTexts[] = {
    "The history of the printing press begins in fifteenth-century Europe, where movable type made books "
    "cheaper to produce. Within fifty years, presses had spread to more than two hundred cities.",
    "Photosynthesis converts light energy into chemical energy. Plants absorb carbon dioxide and water, and "
    "release oxygen as a by-product."};

/// The logits of every position, [tokens][vocab].
mx::array logits_of(const models::Model& model, const std::vector<int32_t>& ids) {
  models::ForwardInput input;
  input.tokens = mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32);
  input.rows = {{.length = static_cast<int>(ids.size())}};
  input.logits = models::LogitsFor::kAll;
  mx::array logits = mx::contiguous(*model.forward(input).logits);
  logits.eval();
  return logits;
}

size_t best(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// Nats, of what `exact` says from what `fast` says.
double divergence(std::span<const float> exact, std::span<const float> fast) {
  const double exact_norm = logits::log_sum_exp(exact), fast_norm = logits::log_sum_exp(fast);
  double sum = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double p = exact[i] - exact_norm;
    sum += std::exp(p) * (p - (fast[i] - fast_norm));
  }
  return sum;
}

nlohmann::ordered_json compare(const models::Model& exact, const models::Model& fast,
                               const std::vector<int32_t>& ids) {
  const mx::array a = logits_of(exact, ids), b = logits_of(fast, ids);
  const size_t vocab = static_cast<size_t>(a.shape(1)), steps = ids.size();
  double kl = 0, worst = 0, log_exact = 0, log_fast = 0;
  size_t same = 0;
  for (size_t i = 0; i < steps; ++i) {
    const std::span x(a.data<float>() + i * vocab, vocab), y(b.data<float>() + i * vocab, vocab);
    const double d = divergence(x, y);
    kl += d;
    worst = std::max(worst, d);
    same += best(x) == best(y);
    if (i + 1 == steps) break;
    const size_t next = static_cast<size_t>(ids[i + 1]);
    log_exact += x[next] - logits::log_sum_exp(x);
    log_fast += y[next] - logits::log_sum_exp(y);
  }
  const double n = static_cast<double>(steps);
  return {{"tokens", steps},
          {"mean_kl", kl / n},
          {"max_kl", worst},
          {"same_best", static_cast<double>(same) / n},
          {"perplexity", std::exp(-log_fast / (n - 1))},
          {"perplexity_exact", std::exp(-log_exact / (n - 1))}};
}

}  // namespace

nlohmann::ordered_json measure_quality(LoadRequest load_request, const std::vector<std::string>& files) {
  load_request.needs_tokenizer = true;
  load_request.exact = false;
  const LoadedModel fast = load(load_request);
  load_request.exact = true;
  const LoadedModel exact = load(load_request);
  std::vector<std::pair<std::string, std::string>> texts;
  for (const std::string& file : files) texts.emplace_back(file, read_all(file));
  if (files.empty()) {
    for (const char* text : kTexts) texts.emplace_back(fmt::format("{}...", std::string(text, 32)), text);
  }
  nlohmann::ordered_json out = {{"texts", nlohmann::ordered_json::array()}};
  for (const auto& [name, text] : texts) {
    const std::vector<int32_t> ids = fast.tokenizer->encode(text);
    if (ids.size() < 2) throw Error(fmt::format("--quality {}: has less than two tokens", name));
    nlohmann::ordered_json row = {{"text", name}};
    row.update(compare(*exact.model, *fast.model, ids));
    out["texts"].push_back(std::move(row));
  }
  return out;
}

}  // namespace genkit::cli
