#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "genkit/models/model.h"

namespace genkit::steering {

namespace mx = mlx::core;

/// What alpha counts in. v is the vector as stored, |v| its length.
enum class AlphaUnit : uint8_t {
  kAbsolute,      ///< adds alpha * v
  kResidualNorm,  ///< adds alpha * |x| * v / |v|, with x the stream at that layer and position
  kRecordedNorm,  ///< adds alpha * residual_norm * v / |v|: SteeringVector::residual_norm
};
/// "absolute", "residual", "recorded": as files and the command line spell it.
const char* to_string(AlphaUnit unit);
/// @throws ArgumentError naming `option` and the units there are.
AlphaUnit alpha_unit(std::string_view name, const std::string& option);

/// "token_embedding", "embedding", "block", "final", "logits": as files spell it.
const char* to_string(models::Site site);
/// @throws ArgumentError naming `option` and the places there are.
models::Site site_named(std::string_view name, const std::string& option);

/// A direction in a model's stream, and what is known of where it comes from.
///
/// Layers count decoder blocks from 0; a vector of layer i is added to, and was measured at, the
/// output of block i, after its residual additions. Negative layers count from the last block.
struct SteeringVector {
  std::string name;                    ///< for messages and stores
  mx::array values = mx::array(0.0f);  ///< [hidden] float32, finite
  std::optional<int> layer;            ///< where it belongs; nothing: the caller says
  models::Site site = models::Site::kBlock;
  AlphaUnit unit = AlphaUnit::kAbsolute;  ///< what alpha counts in unless the caller says otherwise
  /// Mean length of the unsteered stream at that layer, in the texts the vector was made from.
  std::optional<float> residual_norm;
  std::string model_hash;  ///< of the model it was made with; empty: unknown
  std::string position;    ///< of the tokens it was measured at: "last", "mean"; empty: unknown
  /// What else a file says of it: method, explained variance, counts.
  std::map<std::string, std::string> notes;
};

/// The same vector with its values in float32, row after row, evaluated.
/// @throws ArgumentError "vector `happy`: ..." where the values are no single dimension, are empty,
///         or hold a NaN or an infinity (naming its index), and where residual_norm is no positive number.
SteeringVector checked(SteeringVector vector);

/// Length of the values, summed in double precision. The vector must be checked().
double norm(const SteeringVector& vector);

/// A vector over the given numbers. @throws as checked().
SteeringVector make_vector(std::string name, const mx::array& values);

}  // namespace genkit::steering
