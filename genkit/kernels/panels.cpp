#include "genkit/kernels/panels.h"

#include <algorithm>

#include "genkit/base/pages.h"
#include "genkit/base/thread_pool.h"
#include "genkit/kernels/linear.h"

namespace genkit::kernels {

const uint8_t* PanelCache::get(const WeightRows& w, int64_t rows, const KernelTable& table) {
  std::call_once(once_, [&] { make(w, rows, table); });
  const bool same = source_ == w.data && rows_ == rows && table_ == &table;
  return same ? panels_.get() : nullptr;
}

void PanelCache::make(const WeightRows& w, int64_t rows, const KernelTable& table) {
  source_ = w.data;
  rows_ = rows;
  table_ = &table;
  const int64_t bytes = static_cast<int64_t>(table.panel_bytes(w)),
                panels = (rows + kRowBlock - 1) / kRowBlock;
  if (bytes == 0 || panels == 0) return;
  const std::shared_ptr<uint8_t> memory = allocate_pages(static_cast<size_t>(panels * bytes));
  if (!memory) return;
  // Of about a megabyte: the file's pages are given back as they are read.
  const int64_t step = std::max<int64_t>(1, (int64_t{1} << 20) / bytes);
  parallel_for((panels + step - 1) / step, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t first = s * step, last = std::min(panels, first + step);
      for (int64_t p = first; p < last; ++p) {
        const int count = static_cast<int>(std::min<int64_t>(kRowBlock, rows - p * kRowBlock));
        table.make_panel(w, p * kRowBlock, count, scratch(table.linear_int8.scratch(w)),
                         memory.get() + p * bytes);
      }
      const int64_t row = first * kRowBlock, end_row = std::min(rows, last * kRowBlock);
      release_file_pages(w.data + static_cast<size_t>(row) * w.row_bytes,
                         static_cast<size_t>(end_row - row) * w.row_bytes);
    }
  });
  panels_ = memory;
}

}  // namespace genkit::kernels
