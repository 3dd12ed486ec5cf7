#include "genkit/kernels/linear.h"

#include <algorithm>
#include <memory>
#include <new>

#include "genkit/base/thread_pool.h"

namespace genkit::kernels {
namespace {

// Activations rounded once for all targets of a call. They outlive scratch() because threads
// share them.
class RoundedRows {
 public:
  static constexpr size_t kAlignment = 64;
  void round(const float* x, int64_t rows, int64_t in, const KernelTable& table) {
    codes_.resize(static_cast<size_t>(rows * in));
    scales_.resize(static_cast<size_t>(rows * in / 32));
    sums_.resize(static_cast<size_t>(rows * in / 16));
    arranged_ = nullptr;
    parallel_for(rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(in, 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; ++r)
                     table.quantize(x + r * in, in, codes_.data() + r * in, scales_.data() + r * in / 32,
                                    sums_.data() + r * in / 16);
                 });
    const size_t bytes = table.arranged_size ? table.arranged_size(rows, in) : 0;
    if (bytes == 0) return;
    arrangement_.resize(bytes + kAlignment);
    char* start = arrangement_.data();
    start += (kAlignment - reinterpret_cast<uintptr_t>(start) % kAlignment) % kAlignment;
    const Int8Rows plain = view();
    parallel_for((rows + 15) / 16, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) table.arrange(plain, rows, in, b, start);
    });
    arranged_ = start;
  }
  Int8Rows view() const { return {codes_.data(), scales_.data(), sums_.data(), arranged_}; }

 private:
  std::vector<int8_t> codes_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
  std::vector<char> arrangement_;
  const void* arranged_ = nullptr;
};

// Weight rows that a thread takes at a time: enough work to be worth the hand-over, few enough
// that no thread waits long for the last one.
int64_t rows_at_a_time(const LinearTarget& t, int64_t rows) {
  constexpr int64_t kWork = 192 * 1024;  // in readings of a weight; about 8 rows' products cost one
  const int64_t per_block = kRowBlock * t.weight.in * (8 + rows) / 8;
  return kRowBlock * std::clamp<int64_t>(kWork / std::max<int64_t>(1, per_block), 1, 64);
}

struct Piece {
  int target;
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
  thread_local RoundedRows rounded;
  bool any_int8 = false;
  std::vector<Piece> pieces;
  for (size_t i = 0; i < targets.size(); ++i) {
    const LinearTarget& t = targets[i];
    any_int8 |= t.int8;
    const int64_t step = rows_at_a_time(t, rows);
    for (int64_t first = 0; first < t.out; first += step)
      pieces.push_back({static_cast<int>(i), first, std::min(t.out, first + step)});
  }
  if (any_int8) rounded.round(x, rows, in, table);
  const Int8Rows codes = rounded.view();
  parallel_for(static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const LinearTarget& t = targets[pieces[p].target];
      void* memory =
          scratch(t.int8 ? table.linear_int8_scratch(t.weight) : table.linear_f32_scratch(t.weight, rows));
      LinearTask task{&t.weight, t.bias, 0, 0, rows, t.y, t.out};
      task.first = pieces[p].first;
      if (t.int8) {
        task.count = static_cast<int>(pieces[p].last - task.first);
        table.linear_int8(task, codes, memory);
        continue;
      }
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
    target.weight = task.weight;
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
    target.int8 = task.int8;
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
