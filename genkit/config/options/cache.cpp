#include "genkit/config/options/rows.h"

namespace genkit::config::options {
namespace {

// clang-format off
// name, aliases, member, modes, range, default, neutral value, help
constexpr OptionRow kCacheRows[] = {
    {"use_cache", {}, &C::use_cache, kAll, kAny, "true", "true",
     "Keep keys and values between steps; false: the same tokens, by computing all again."},
    {"max_kv_size", {}, &C::max_kv_size, kAll, kCountFromOne, "null", "",
     "Most positions that a row keeps; past it a token sees the first num_sink_tokens and the newest others."},
    {"num_sink_tokens", {"max_kv_keep"}, &C::num_sink_tokens, kAll, kCount, "null", "",
     "With max_kv_size: how many of a row's first positions are kept; unset: 4, or fewer below 5."},
};

constexpr UnsupportedOption kCacheUnsupported[] = {
    {"cache_implementation",
     // The layouts hold the same numbers; the quantised one does not.
     R"(["dynamic", "dynamic_full", "static", "offloaded", "offloaded_static", "hybrid", "hybrid_chunked",
         "sliding_window", "offloaded_hybrid", "offloaded_hybrid_chunked", "paged"])",
     "a quantised or unknown cache"},
};
// clang-format on

}  // namespace

OptionGroup cache() { return {"Cache", kCacheRows, kCacheUnsupported}; }

}  // namespace genkit::config::options
