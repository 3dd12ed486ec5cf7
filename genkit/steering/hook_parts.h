#pragma once

#include <optional>
#include <string>
#include <vector>

#include "genkit/models/model.h"
#include "genkit/ops/steer.h"
#include "genkit/steering/vector.h"

// What the hooks of this folder share; not part of the library's interface.

namespace genkit::steering::detail {

/// @throws ArgumentError naming the hook unless the model's stream is that wide.
void check_hidden(const std::string& hook, size_t size, const models::Model& model);
/// @throws ArgumentError naming the hook where the vector does not say it.
float recorded_norm(const std::string& hook, const SteeringVector& vector);
/// [hidden] float32, evaluated.
mx::array scaled(const SteeringVector& vector, double factor);
/// W_out v in fp32, evaluated. @param v [hidden]. @return [vocab] float32.
/// @throws ArgumentError naming the hook where the model does not show its head.
mx::array logit_bias(const std::string& hook, const mx::array& v, const models::Model& model);
/// The addition of a bias to the tokens that have logits; nothing where no coefficient is there.
std::optional<ops::SteerStep> logit_step(const mx::array& bias, const std::vector<float>& coefficients,
                                         const models::ForwardInput& input);

/// A mark of a position that a hook of this identity has changed by a coefficient, where hooks before it
/// left `mark`. Never 0.
models::KvMark mixed(models::KvMark mark, uint64_t identity, float coefficient);

}  // namespace genkit::steering::detail
