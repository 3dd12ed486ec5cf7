#pragma once

#include <functional>
#include <vector>

#include "genkit/models/model.h"
#include "genkit/steering/states.h"
#include "genkit/steering/statistics.h"
#include "genkit/steering/vector_set.h"

namespace genkit::steering {

/// Texts that have a trait, and texts that lack it.
struct ContrastSet {
  std::vector<TokenSequence> positive, negative;
  /// Positive i and negative i say the same in two ways.
  bool paired = false;
};

struct ExtractOptions {
  Method method = Method::kMeanDifference;
  TokenChoice position;
  std::vector<int> blocks;  ///< from 0; empty: all
  bool normalise = false;   ///< every direction at length 1
  int folds = 5;            ///< of the cross-validation
  int tokens_per_pass = 1024;
  /// Called with (sequences done, in all); false ends it.
  std::function<bool(size_t, size_t)> progress;
};

/// A direction for every block from the texts without to the texts with the trait, measured at the
/// block's output, and how well it tells them apart. residual_norm is the mean length of the
/// positives' states at the chosen tokens. suggested_layer is the block with the largest AUC in
/// cross-validation, among equals the one with the largest separation; nothing where there are fewer
/// than two samples a class.
/// @throws ArgumentError for an empty class, for what the method or a position cannot do with the
///         texts, and naming the block where positives and negatives do not differ; Error "interrupted".
VectorSet extract_vectors(const models::Model& model, const ContrastSet& texts,
                          const ExtractOptions& options);

}  // namespace genkit::steering
