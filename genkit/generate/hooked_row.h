#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "genkit/models/model.h"

namespace genkit::generate {

/// What hooks do to the positions of a row.
struct KvMarks {
  std::vector<models::KvMark> of;               ///< one a position; empty: the hooks leave all of them alone
  int known = std::numeric_limits<int>::max();  ///< of how many of the first positions that is known
};

/// Which hooks act on a row, and what they go by: what a row's keys and values depend on besides its tokens.
struct HookedRow {
  std::span<models::ForwardHook* const> hooks = {};  ///< outlive the row
  int64_t row = -1;                                  ///< @see models::RowSpan::row
  bool has_prefix = true;                            ///< @see models::RowSpan::has_prefix

  /// @param tokens the row's, from position 0; the first `prompt_length` are its prompt.
  KvMarks marks(std::span<const int32_t> tokens, int prompt_length) const;
  /// Another number whenever the marks of the same tokens may have changed.
  uint64_t revision() const;
};

/// How many leading positions have the same tokens and marks. Marks may be fewer than tokens; the others are
/// 0.
int common_length(std::span<const int32_t> a, std::span<const models::KvMark> a_marks,
                  std::span<const int32_t> b, std::span<const models::KvMark> b_marks);

}  // namespace genkit::generate
