#pragma once

#include <memory>
#include <mutex>

#include "genkit/kernels/kernel_table.h"

namespace genkit::kernels {

/// The panels of one weight (body/panels.h): made at the first product that wants them, by the threads of the
/// pool, in memory that they own. Pages of a mapped file that have been read for it are given back to the
/// system, so that a model is not in memory twice.
class PanelCache {
 public:
  /// @param rows of the weight. @return its panels; null where the format has none, where they were made of
  /// another weight or for another table, or when there is no memory for them.
  const uint8_t* get(const WeightRows& w, int64_t rows, const KernelTable& table);

 private:
  void make(const WeightRows& w, int64_t rows, const KernelTable& table);

  std::once_flag once_;
  std::shared_ptr<uint8_t> panels_;
  const uint8_t* source_ = nullptr;
  int64_t rows_ = 0;
  const KernelTable* table_ = nullptr;
};

}  // namespace genkit::kernels
