#include "genkit/steering/extraction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "genkit/base/error.h"

namespace genkit::steering {

namespace {

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Whether `a` tells the classes apart better than `b`.
bool better(const LayerReport& a, const LayerReport& b) {
  return std::pair(*a.auc, *a.separation) > std::pair(*b.auc, *b.separation);
}

Samples samples_at(const PooledStates& positive, const PooledStates& negative, int block, int hidden,
                   bool paired) {
  return {.positive = positive.points.at(block),
          .negative = negative.points.at(block),
          .size = static_cast<size_t>(hidden),
          .paired = paired};
}

}  // namespace

VectorSet extract_vectors(const models::Model& model, const ContrastSet& texts,
                          const ExtractOptions& options) {
  if (texts.positive.empty()) throw ArgumentError("positive: there are no texts");
  if (texts.negative.empty()) throw ArgumentError("negative: there are no texts");
  const models::Components parts = model.components();
  VisitOptions visit{
      .blocks = options.blocks, .hooks = {}, .tokens_per_pass = options.tokens_per_pass, .progress = {}};
  if (visit.blocks.empty()) visit.blocks = all_blocks(model);
  const size_t all = texts.positive.size() + texts.negative.size();
  size_t before = 0;
  if (options.progress) {
    visit.progress = [&](size_t done, size_t) { return options.progress(before + done, all); };
  }
  const PooledStates positive = pooled_states(model, texts.positive, options.position, visit);
  before = texts.positive.size();
  const PooledStates negative = pooled_states(model, texts.negative, options.position, visit);

  VectorSet out;
  out.num_blocks = parts.num_blocks;
  out.model_hash = model_hash(model);
  out.model_type = model.config().model_type;
  out.method = to_string(options.method);
  out.position = options.position.text();
  for (const int block : visit.blocks) {
    const Samples samples = samples_at(positive, negative, block, parts.hidden_size, texts.paired);
    LayerReport& report = out.layers[block];
    try {
      const Fit fit = fit_direction(samples, options.method);
      out.directions[block].assign(fit.direction.begin(), fit.direction.end());
      report.explained_variance = fit.explained_variance;
      if (const auto held_out = cross_validate(samples, options.method, options.folds)) {
        report.auc = held_out->auc;
        report.separation = held_out->distance;
      }
    } catch (const ArgumentError& error) {
      throw ArgumentError(fmt::format("block {}: {}", block, error.what()));
    }
    report.residual_norm = mean(positive.lengths.at(block));
    if (report.auc && (!out.suggested_layer || better(report, out.layers.at(*out.suggested_layer)))) {
      out.suggested_layer = block;
    }
  }
  if (options.normalise) out = normalised(std::move(out));
  check(out);
  return out;
}

}  // namespace genkit::steering
