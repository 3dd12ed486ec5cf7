#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "genkit/models/model.h"
#include "genkit/steering/vector.h"

namespace genkit::steering {

/// What extraction measured at one block.
struct LayerReport {
  /// Mean length of the unsteered stream there, in the texts that the vectors were made from.
  std::optional<double> residual_norm;
  /// Share of the samples' scatter that lies along the direction, in [0, 1]. @see extraction.h
  std::optional<double> explained_variance;
  /// Chance that a held-out positive sample lies further along the direction than a negative one.
  std::optional<double> auc;
  /// Distance of the held-out classes' means along the direction, in standard deviations.
  std::optional<double> separation;

  bool empty() const { return !residual_norm && !explained_variance && !auc && !separation; }
};

/// A direction for each of several blocks of one model: what extraction makes and vector files hold.
/// The direction of block i was measured at, and belongs at, the output of block i after its
/// residual additions; blocks count from 0.
struct VectorSet {
  std::string name;                              ///< for messages: the file's name
  std::map<int, std::vector<float>> directions;  ///< by block; [hidden] each, finite, one size
  /// The file ties its one direction, kept under block 0, to no block: it fits wherever it is put.
  bool any_block = false;
  std::map<int, LayerReport> layers;   ///< by block
  std::optional<int> suggested_layer;  ///< the block where the classes are told apart best
  int num_blocks = 0;                  ///< of the model; 0: unknown
  std::string model_hash;              ///< @see model_hash(); empty: unknown
  std::string model_type;              ///< "gemma3_text"; empty: unknown
  std::string method;                  ///< "mean_difference", ...; empty: unknown
  std::string position;                ///< "last", "mean", ...; empty: unknown

  int hidden_size() const {
    return directions.empty() ? 0 : static_cast<int>(directions.begin()->second.size());
  }
  /// The direction of a block, negative ones counted from the model's last.
  /// @throws ArgumentError naming the set and the blocks it has.
  const std::vector<float>& at(int block) const;
  /// The same for hooks, with its layer and what was measured there.
  SteeringVector vector(int block) const;
};

/// Throws ArgumentError "NAME: direction.3: ..." where there is no direction, sizes differ or are 0, or
/// a number is not finite.
void check(const VectorSet& set);

/// A sum with weights. Blocks that only some of the sets have count as 0 in the others. Reports are
/// dropped, since nothing was measured along the sum; what all sets agree about is kept.
/// @throws ArgumentError naming the sets whose sizes or models differ, and for an empty list.
VectorSet weighted_sum(const std::vector<std::pair<double, const VectorSet*>>& terms);
/// Every direction times `factor`. @throws ArgumentError where that is not finite.
VectorSet scaled(VectorSet set, double factor);
/// Every direction at length 1. @throws ArgumentError naming the block of a direction of length 0.
VectorSet normalised(VectorSet set);
/// What of each direction is orthogonal to the others' at the same block: the span of `others` is
/// made orthonormal first (modified Gram-Schmidt, twice, in double precision), so that they need
/// not be orthogonal among themselves. Blocks that none of the others has stay as they are.
/// @throws ArgumentError naming the block where nothing is left, and sets of other sizes or models.
VectorSet orthogonalised(VectorSet set, const std::vector<const VectorSet*>& others);

/// What tells models apart, as text: "gemma3_text-18x640-v262144-<norm>-<sketch>". The norm's part is
/// a hash of the final norm's weights on a grid of 1/4096, which files of all formats keep exactly; the
/// sketch is the signs of 256 fixed random projections of embedding rows. Quantised copies of a model
/// differ from it in a few of those bits, other models in about half.
std::string model_hash(const models::Model& model);
/// Whether two hashes can be those of one model in different formats: all parts equal but the
/// sketch, of which at most 48 of 256 bits differ. False for what is no such hash.
bool same_model(const std::string& a, const std::string& b);
/// Refuses vectors that cannot be meant for a model: of another hidden size (always), of blocks that
/// it does not have, or, unless `any_model`, made with another model. A set without a hash passes.
/// @param option what the caller passes to have the last check left out: "--any-model".
/// @throws ArgumentError naming the set, what differs, and `option`.
void check_fits(const VectorSet& set, const models::Model& model, bool any_model, const std::string& option);

}  // namespace genkit::steering
