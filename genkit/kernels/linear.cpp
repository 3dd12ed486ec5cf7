#include "genkit/kernels/linear.h"

#include <algorithm>
#include <memory>
#include <new>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/panels.h"

namespace genkit::kernels {
namespace {

// Activations rounded once for all targets of a call. They outlive scratch() because threads
// share them.
class RoundedRows {
 public:
  void round(const float* x, int64_t rows, int64_t in, const RoundedProduct& product) {
    constexpr size_t kAlignment = 64;
    memory_.resize(product.size(rows, in) + kAlignment);
    start_ = memory_.data() + (kAlignment - reinterpret_cast<uintptr_t>(memory_.data()) % kAlignment);
    const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
    parallel_for(blocks, std::max<int64_t>(1, 1024 / std::max<int64_t>(in, 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t b = begin; b < end; ++b) product.round(x, rows, in, b, start_);
                 });
  }
  const void* data() const { return start_; }

 private:
  std::vector<char> memory_;
  char* start_ = nullptr;
};

// Weight rows that a thread takes at a time: enough work to be worth the hand-over, few enough
// that no thread waits long for the last one.
int64_t rows_at_a_time(const LinearTarget& t, int64_t rows, int64_t least) {
  constexpr int64_t kWork = 192 * 1024;  // in readings of a weight; about 8 rows' products cost one
  const int64_t per_block = kRowBlock * t.weight.in * (8 + rows) / 8;
  const int64_t step = kRowBlock * std::clamp<int64_t>(kWork / std::max<int64_t>(1, per_block), 1, 64);
  if (least <= kRowBlock) return step;
  // A share for each thread, if that is not too much.
  const int64_t fair = (t.out + num_threads() - 1) / num_threads();
  return std::max(step, std::min(least, (fair + kRowBlock * 2 - 1) / (kRowBlock * 2) * (kRowBlock * 2)));
}

Product product_of(const LinearTarget& t, const KernelTable& table) {
  const bool int8 = t.product == Product::kFast && table.fast_is_int8 && table.fast_is_int8(t.weight);
  return int8 ? Product::kInt8 : t.product;
}

// The weight with its panels, if the product reads them.
WeightRows with_panels(const LinearTarget& t, Product product, const KernelTable& table) {
  WeightRows w = t.weight;
  if (product == Product::kInt8 && w.panels == nullptr && t.cache != nullptr)
    w.panels = t.cache->get(w, t.out, table);
  return w;
}

struct Piece {
  int target;
  Product product;
  int64_t first, last;
};

}  // namespace

void* scratch(size_t bytes, int slot) {
  struct Memory {
    std::unique_ptr<char[]> data;
    size_t size = 0;
  };
  thread_local Memory memory[3];
  Memory& m = memory[slot];
  if (m.size < bytes) {
    m.data.reset();
    m.data.reset(new char[bytes]);
    m.size = bytes;
  }
  return m.data.get();
}

void linear(const float* x, int64_t rows, int64_t in, const std::vector<LinearTarget>& targets,
            const KernelTable& table) {
  if (rows == 0) return;
  thread_local RoundedRows rounded[2];
  bool wanted[2] = {};
  std::vector<Piece> pieces;
  std::vector<WeightRows> weights;
  for (size_t i = 0; i < targets.size(); ++i) {
    const LinearTarget& t = targets[i];
    const Product product = product_of(t, table);
    weights.push_back(with_panels(t, product, table));
    if (product != Product::kF32) wanted[product == Product::kFast] = true;
    const int64_t step =
        rows_at_a_time(t, rows, product == Product::kFast ? table.linear_fast.rows_at_a_time : 0);
    for (int64_t first = 0; first < t.out; first += step)
      pieces.push_back({static_cast<int>(i), product, first, std::min(t.out, first + step)});
  }
  const RoundedProduct* const products[] = {&table.linear_int8, &table.linear_fast};
  const void* codes[2] = {};
  for (int i = 0; i < 2; ++i) {
    if (wanted[i]) rounded[i].round(x, rows, in, *products[i]);
    codes[i] = rounded[i].data();
  }
  parallel_for(static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const LinearTarget& t = targets[pieces[p].target];
      LinearTask task{&weights[pieces[p].target], t.bias, 0, 0, rows, t.y, t.out};
      task.first = pieces[p].first;
      if (pieces[p].product != Product::kF32) {
        const int i = pieces[p].product == Product::kFast;
        task.count = static_cast<int>(pieces[p].last - task.first);
        products[i]->multiply(task, codes[i], scratch(products[i]->scratch(t.weight)));
        continue;
      }
      void* memory = scratch(table.linear_f32_scratch(t.weight, rows));
      for (; task.first < pieces[p].last; task.first += kRowBlock) {
        task.count = static_cast<int>(std::min<int64_t>(kRowBlock, pieces[p].last - task.first));
        table.linear_f32(task, x, in, memory);
      }
    }
  });
}

void expert_linear(const ExpertTask& task, const KernelTable& table) {
  const int64_t in = task.weight.in, out = task.out;
  std::vector<std::vector<int64_t>> rows_of(task.num_experts);
  for (int64_t i = 0; i < task.tokens * task.choices; ++i) rows_of[task.experts[i]].push_back(i);
  std::vector<float> x, y;
  // Experts begin with a panel of their own, or have none.
  WeightRows all = task.weight;
  LinearTarget stack;
  stack.weight = task.weight;
  stack.product = task.product;
  stack.out = task.num_experts * out;
  stack.cache = task.cache;
  if (out % kRowBlock == 0) all = with_panels(stack, product_of(stack, table), table);
  for (int64_t e = 0; e < task.num_experts; ++e) {
    const auto& rows = rows_of[e];
    if (rows.empty()) continue;
    const int64_t count = static_cast<int64_t>(rows.size());
    x.resize(static_cast<size_t>(count * in));
    y.resize(static_cast<size_t>(count * out));
    for (int64_t r = 0; r < count; ++r) {
      const int64_t from = task.row_a_choice ? rows[r] : rows[r] / task.choices;
      std::copy_n(task.x + from * in, in, x.data() + r * in);
    }
    LinearTarget target;
    target.weight = all;
    if (all.panels) target.weight.panels += static_cast<size_t>(e * out / kRowBlock) * table.panel_bytes(all);
    target.weight.data += static_cast<size_t>(e * out) * task.weight.row_bytes;
    if (task.weight.format == WeightFormat::kAffine) {
      const size_t offset = static_cast<size_t>(e * out) * (in / task.weight.group_size) *
                            traits(task.weight.scale_format).block_bytes;
      target.weight.scales += offset;
      target.weight.biases += offset;
    }
    target.out = out;
    target.bias = task.bias ? task.bias + e * out : nullptr;
    target.y = y.data();
    target.product = task.product;
    linear(x.data(), count, in, {target}, table);
    for (int64_t r = 0; r < count; ++r) std::copy_n(y.data() + r * out, out, task.y + rows[r] * out);
  }
}

void take_rows(const WeightRows& w, const int32_t* ids, int64_t count, float* out, const KernelTable& table) {
  parallel_for(count, std::max<int64_t>(1, 16384 / std::max<int64_t>(w.in, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) table.dequantize(w, ids ? ids[i] : i, out + i * w.in);
               });
}

}  // namespace genkit::kernels
