#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kRows[] = {
    {"use_cache", {}, &C::use_cache, kAll, kAny, "true", "true",
     "Keep keys and values between steps; false: the same tokens, by computing all again."},
};

constexpr UnsupportedOption kUnsupported[] = {
    {"cache_implementation",
     // The layouts hold the same numbers; the quantised one does not.
     R"(["dynamic", "dynamic_full", "static", "offloaded", "offloaded_static", "hybrid", "hybrid_chunked",
         "sliding_window", "offloaded_hybrid", "offloaded_hybrid_chunked", "paged"])",
     "quantised caches"},
};
// clang-format on

}  // namespace

OptionGroup cache() { return {"Cache", kRows, kUnsupported}; }

}  // namespace genkit::config::options
