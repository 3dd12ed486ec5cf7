#pragma once

#include <memory>

#include "genkit/generate/row_setup.h"
#include "genkit/generate/strategy.h"

namespace genkit::generate {

/// The strategy of the row's mode: the only place that knows them all.
/// @throws ArgumentError for what the strategy cannot do with its options and this model.
std::unique_ptr<Strategy> make_strategy(RowSetup setup);

}  // namespace genkit::generate
