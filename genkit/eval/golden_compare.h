#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "genkit/base/json_reader.h"

namespace genkit::eval {

// Each throws Mismatch with the field's name and the first difference.

void expect_text(const std::string& field, std::string_view got, std::string_view want);
void expect_ids(const std::string& field, std::span<const int32_t> got, std::span<const int32_t> want);
void expect_rows(const std::string& field, const std::vector<std::vector<int32_t>>& got,
                 const std::vector<std::vector<int32_t>>& want);
/// @param tolerance absolute. Infinities must be equal; a NaN that was not recorded is a difference.
void expect_close(const std::string& field, std::span<const float> got, std::span<const float> want,
                  double tolerance);
/// Shapes must be equal too.
void expect_close(const std::string& field, const mlx::core::array& got, const mlx::core::array& want,
                  double tolerance);
/// 1e-4 * max(1, largest absolute finite value): for logits and hidden states.
double scaled_tolerance(const mlx::core::array& want);

/// Everything a case may hold. What is not listed would be ignored, so it is a Mismatch instead.
void refuse_unhandled(const JsonView& object, std::initializer_list<std::string_view> handled);

double largest_magnitude(std::span<const float> values);
/// In double precision, of finite and minus infinite values.
double log_sum_exp(std::span<const float> values);

/// [n] of a JSON array of numbers; null stands for minus infinity.
std::vector<float> floats(const JsonView& array);
std::vector<std::vector<int32_t>> id_rows(const JsonView& rows);
/// The values in row-major order as float32.
std::vector<float> to_floats(const mlx::core::array& x);
/// "[4, 12]"
std::string shape_text(const mlx::core::Shape& shape);

}  // namespace genkit::eval
