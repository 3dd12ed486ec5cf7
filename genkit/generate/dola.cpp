#include "genkit/generate/dola.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>

#include "genkit/base/error.h"
#include "genkit/base/thread_pool.h"
#include "genkit/logits/choose.h"
#include "genkit/logits/selection.h"
#include "genkit/ops/linear.h"

namespace genkit::generate {

namespace mx = mlx::core;

namespace {

void add_every_second(int begin, int end, std::vector<int>& out) {
  for (int layer = begin; layer < end; layer += 2) out.push_back(layer);
}

/// avg * (log avg - logp): a term of the divergence of the mean from one of the two.
double divergence_term(double avg, double logp) { return avg > 0 ? avg * (std::log(avg) - logp) : 0; }

/// Up to a factor that all layers share. @param norms log-sum-exp of each.
double js_divergence(std::span<const float> a, double norm_a, std::span<const float> b, double norm_b) {
  constexpr int64_t kPiece = 16384;
  const auto n = static_cast<int64_t>(a.size());
  std::vector<double> sums(static_cast<size_t>((n + kPiece - 1) / kPiece));
  parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const double log_a = a[i] - norm_a, log_b = b[i] - norm_b;
      const double avg = 0.5 * (std::exp(log_a) + std::exp(log_b));
      sum += divergence_term(avg, log_a) + divergence_term(avg, log_b);
    }
    sums[static_cast<size_t>(begin / kPiece)] = sum;
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

std::vector<int> dola_candidates(const config::DolaLayers& layers, int num_blocks, bool tied) {
  // With tied weights an early exit from the embedding gives the token back.
  const int start = !tied ? 0 : num_blocks > 2 ? 2 : num_blocks == 2 ? 1 : 0;
  constexpr int kDeep = 40, kOfDeep = 20;
  std::vector<int> out;
  switch (layers.kind) {
    case config::DolaLayers::Kind::kLow:
      if (start == num_blocks / 2)
        out = {start};
      else
        add_every_second(start, num_blocks <= kDeep ? num_blocks / 2 : kOfDeep, out);
      break;
    case config::DolaLayers::Kind::kHigh:
      add_every_second(num_blocks <= kDeep ? num_blocks / 2 : num_blocks - kOfDeep, num_blocks, out);
      break;
    case config::DolaLayers::Kind::kList:
      out = layers.layers;
      break;
  }
  for (const int layer : out) {
    if (layer >= 0 && layer < num_blocks) continue;
    throw ArgumentError(
        fmt::format("dola_layers: expected numbers below the model's {} layers, got {}", num_blocks, layer));
  }
  if (out.empty()) {
    throw ArgumentError(fmt::format("dola_layers: \"{}\" names none of the model's {} layers",
                                    layers.kind == config::DolaLayers::Kind::kLow ? "low" : "high",
                                    num_blocks));
  }
  return out;
}

void dola_contrast(std::span<const float> last, const std::vector<std::span<const float>>& early,
                   std::vector<float>& out) {
  const double norm = logits::log_sum_exp(last);
  size_t chosen = 0;
  double largest = -1;
  for (size_t i = 0; early.size() > 1 && i < early.size(); ++i) {
    const double divergence = js_divergence(last, norm, early[i], logits::log_sum_exp(early[i]));
    if (divergence > largest) {
      largest = divergence;
      chosen = i;
    }
  }
  const std::span<const float> base = early[chosen];
  const double base_norm = logits::log_sum_exp(base);
  const float best = *std::max_element(last.begin(), last.end());
  const auto least = static_cast<float>(static_cast<float>(best - norm) + std::log(0.1));
  out.resize(last.size());
  for (size_t i = 0; i < last.size(); ++i) {
    const auto logprob = static_cast<float>(last[i] - norm);
    out[i] = logprob < least ? logits::kRemoved : logprob - static_cast<float>(base[i] - base_norm);
  }
}

Dola::Dola(RowSetup setup)
    : setup_(std::move(setup)),
      chain_(setup_.chain()),
      output_(setup_),
      tokens_(setup_.prompt.tokens, setup_.cache),
      unconditional_(unconditional_branch(setup_)) {
  const models::Components parts = setup_.model->components();
  layers_ = dola_candidates(*setup_.config.values.dola_layers, parts.num_blocks, parts.tied);
}

std::vector<Feed> Dola::plan(cache::KvCache& cache) {
  std::vector<Feed> feeds{tokens_.feed(cache)};
  for (const int layer : layers_) {
    feeds[0].captures.push_back(layer == 0 ? Capture{.site = models::Site::kEmbedding, .layer = 0}
                                           : Capture{.site = models::Site::kBlock, .layer = layer - 1});
  }
  if (unconditional_) feeds.push_back(unconditional_->feed(cache));
  return feeds;
}

void Dola::contrast(const FeedOutput& output) {
  const models::Components parts = setup_.model->components();
  const auto hidden = static_cast<size_t>(parts.hidden_size);
  std::vector<float> states;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::span<const float> last = output.states(i).last(hidden);
    states.insert(states.end(), last.begin(), last.end());
  }
  // The head alone, as transformers: no norm before it, nothing that scales or caps logits behind it.
  mx::array early = ops::linear(
      mx::array(states.data(), {static_cast<int>(layers_.size()), parts.hidden_size}, mx::float32),
      *parts.head);
  early = mx::contiguous(mx::astype(early, mx::float32));
  early.eval();
  const auto vocab = static_cast<size_t>(early.shape(-1));
  std::vector<std::span<const float>> rows;
  for (size_t i = 0; i < layers_.size(); ++i) rows.emplace_back(early.data<float>() + i * vocab, vocab);
  dola_contrast(output.last_logits(), rows, scores_);
}

int32_t Dola::choose(const logits::Scores& scores) const {
  try {
    if (!config::draws(setup_.config.mode)) return logits::argmax(scores);
    return logits::sample(scores, setup_.key_after(output_.context().size()));
  } catch (const Error& error) {
    output_.fail(error.what());
  }
}

void Dola::advance(cache::KvCache&, std::span<const FeedOutput> outputs, std::vector<StreamEvent>& events) {
  contrast(outputs[0]);
  if (unconditional_) {
    logits::guide(scores_, outputs[1].last_logits(), *setup_.config.values.guidance_scale);
  }
  logits::Scores scores(scores_);
  chain_.apply({output_.context()}, scores);
  const int32_t id = choose(scores);
  tokens_.push(id);
  if (unconditional_) unconditional_->push(id);
  output_.add(id, outputs[0].last_logits(), scores_, events);
}

void Dola::release(cache::KvCache& cache) {
  tokens_.release(cache);
  if (unconditional_) unconditional_->release(cache);
}

}  // namespace genkit::generate
