#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "genkit/generate/generate.h"

namespace genkit::cli {

/// What steering costs: runs with and without hooks take turns, so that what else the machine does meets
/// both.
/// @param run_once prefills, decodes and says how long each took.
/// @return how much longer they take, fastest against fastest, and the median of the pairs with its
/// quartiles; per token of decoding, in wall and in
///         processor time, and of the prefill.
nlohmann::ordered_json measure_steering(
    const std::function<generate::Timings(const std::vector<models::ForwardHook*>&)>& run_once,
    const std::vector<models::ForwardHook*>& hooks, int pairs);

}  // namespace genkit::cli
