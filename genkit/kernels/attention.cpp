#include "genkit/kernels/attention.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/linear.h"

namespace genkit::kernels {
namespace {

// Pages whose softmax is computed together. Part of the result's definition: segments begin at
// multiples of it and are merged in order, which lets threads share one long row.
constexpr int kSegmentPages = 8;
// Query rows at a time: their scores of a page and their sums stay in the second-level cache. Rounding keys
// and values to tiles is worth more rows.
constexpr int kMaxRows = 48, kMaxFastRows = 128;

size_t type_bytes(CacheType type) { return type == CacheType::kF32 ? 4 : 2; }

// Query rows [first, first + count) of one kv head of a row; query row i is token i / group,
// head i % group of the kv head's group.
struct Block {
  const AttentionRows* row;
  int kv_head, first, count;
  int window;         // 0: all
  int first_segment;  // of the cache
  int segments;       // how many, those of the sinks included
  int sink_segments;  // the first so many of them are of the bounded row's first positions
};

class Attention {
 public:
  Attention(const std::vector<AttentionRows>& rows, const AttentionShape& shape, const KernelTable& table)
      : shape_(shape), table_(table), group_(shape.heads / shape.kv_heads) {
    int64_t query_rows = 0;
    for (const auto& row : rows) query_rows += int64_t{row.length} * group_ * shape.kv_heads;
    // Fewer rows a block than would be best, if that is what gives every thread one.
    const int64_t fair = (query_rows + num_threads() - 1) / num_threads();
    const int step = static_cast<int>(std::clamp<int64_t>(
        fair, 1, shape.fast && table.attend_fast != table.attend ? kMaxFastRows : kMaxRows));
    for (const auto& row : rows) {
      // Queries that the bound reaches are in blocks of their own: it decides what a block reads.
      const int bound = row.bound.max_size;
      const int free = bound > 0 ? std::clamp(bound - row.position, 0, row.length) : row.length;
      for (int h = 0; h < shape.kv_heads; ++h) {
        add_blocks(row, h, 0, free * group_, step);
        add_blocks(row, h, free * group_, row.length * group_, step);
      }
    }
  }

  void run() {
    int64_t segments = 0;
    for (const Block& b : blocks_) segments += b.segments;
    const bool split = segments > static_cast<int64_t>(blocks_.size()) &&
                       static_cast<int64_t>(blocks_.size()) < 4 * int64_t{num_threads()};
    if (split) return run_split(segments);
    parallel_for(static_cast<int64_t>(blocks_.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_block(blocks_[i]);
    });
  }

 private:
  void add_blocks(const AttentionRows& row, int kv_head, int begin, int end, int step) {
    for (int i = begin; i < end; i += step) add_block(row, kv_head, i, std::min(step, end - i));
  }

  void add_block(const AttentionRows& row, int kv_head, int first, int count) {
    const int first_position = row.position + first / group_;
    const int last_position = row.position + (first + count - 1) / group_;
    const bool bounded = row.bound.max_size > 0 && first_position >= row.bound.max_size;
    const int window = bounded          ? row.bound.max_size - row.bound.sinks
                       : row.window > 0 ? row.window
                                        : shape_.window;
    const int oldest = window > 0 ? std::max(0, first_position - window + 1) : 0;
    constexpr int kSegment = kSegmentPages * kPageSlots;
    const int sinks = bounded ? (row.bound.sinks + kSegment - 1) / kSegment : 0;
    const int segments = last_position / kSegment + 1 - oldest / kSegment + sinks;
    blocks_.push_back({&row, kv_head, first, count, window, oldest / kSegment, segments, sinks});
  }

  // Floats of a block's state: maxima, sums, acc.
  size_t state_size(const Block& b) const { return static_cast<size_t>(b.count) * (2 + shape_.value_dim); }

  AttendTask state_at(const Block& b, float* state) const {
    AttendTask task;
    task.rows = b.count;
    task.value_dim = shape_.value_dim;
    task.maxima = state;
    task.sums = state + b.count;
    task.acc = state + 2 * b.count;
    return task;
  }

  // The k-th segment of a block.
  void run_segment(const Block& b, int k, const float* q, float* state) const {
    AttendTask task = state_at(b, state);
    task.q = q;
    task.head_dim = shape_.head_dim;
    task.type = shape_.type;
    task.scale = shape_.scale;
    task.softcap = shape_.softcap;
    // The sinks are attended to as the last of them would: causal, and that is all of them.
    const AttentionBound& bound = b.row->bound;
    const bool sinks = k < b.sink_segments;
    const int segment = sinks ? k : b.first_segment + k - b.sink_segments;
    const int first_page = sinks ? 0 : b.row->first_page;
    const std::vector<const void*>& held_keys = sinks ? bound.sink_keys : b.row->keys;
    const std::vector<const void*>& held_values = sinks ? bound.sink_values : b.row->values;
    task.window = sinks ? 0 : b.window;
    const int held_end = first_page + static_cast<int>(held_keys.size());
    task.page_begin = std::max(segment * kSegmentPages, first_page);
    task.page_end = std::min((segment + 1) * kSegmentPages, held_end);
    const void *keys[kSegmentPages], *values[kSegmentPages];
    const size_t key_offset = type_bytes(shape_.type) * b.kv_head * kPageSlots * shape_.head_dim;
    const size_t value_offset = type_bytes(shape_.type) * b.kv_head * kPageSlots * shape_.value_dim;
    for (int page = task.page_begin; page < task.page_end; ++page) {
      const size_t i = static_cast<size_t>(page - first_page);
      keys[page - task.page_begin] = static_cast<const char*>(held_keys[i]) + key_offset;
      values[page - task.page_begin] = static_cast<const char*>(held_values[i]) + value_offset;
    }
    int positions[kMaxFastRows];
    for (int r = 0; r < b.count; ++r)
      positions[r] = sinks ? bound.sinks - 1 : b.row->position + (b.first + r) / group_;
    task.keys = keys;
    task.values = values;
    task.positions = positions;
    if (shape_.fast)
      table_.attend_fast(task, scratch(table_.attend_fast_scratch(task)));
    else
      table_.attend(task, scratch(table_.attend_scratch(task)));
  }

  void gather_queries(const Block& b, float* q) const {
    for (int r = 0; r < b.count; ++r) {
      const int64_t at =
          int64_t{(b.first + r) / group_} * shape_.heads + b.kv_head * group_ + (b.first + r) % group_;
      std::memcpy(q + int64_t{r} * shape_.head_dim, b.row->q + at * shape_.head_dim,
                  sizeof(float) * shape_.head_dim);
    }
  }

  void write(const Block& b, const AttendTask& state) const {
    for (int r = 0; r < b.count; ++r) {
      const int64_t at =
          int64_t{(b.first + r) / group_} * shape_.heads + b.kv_head * group_ + (b.first + r) % group_;
      table_.divide(state.acc + int64_t{r} * shape_.value_dim, shape_.value_dim, state.sums[r],
                    b.row->out + at * shape_.value_dim);
    }
  }

  void run_block(const Block& b) const {
    const size_t q_size = static_cast<size_t>(b.count) * shape_.head_dim;
    float* q = static_cast<float*>(scratch(sizeof(float) * (q_size + 2 * state_size(b)), 1));
    float *state = q + q_size, *next = state + state_size(b);
    gather_queries(b, q);
    run_segment(b, 0, q, state);
    for (int s = 1; s < b.segments; ++s) {
      run_segment(b, s, q, next);
      table_.merge(state_at(b, state), state_at(b, next));
    }
    write(b, state_at(b, state));
  }

  // Every segment of every block by itself, then the merges.
  void run_split(int64_t segments) const {
    struct Item {
      const Block* block;
      int segment;
      float* state;
    };
    size_t total = 0;
    for (const Block& b : blocks_) total += state_size(b) * b.segments;
    const std::unique_ptr<float[]> states(new float[total]);
    std::vector<Item> items;
    items.reserve(segments);
    float* at = states.get();
    for (const Block& b : blocks_) {
      for (int s = 0; s < b.segments; ++s, at += state_size(b)) items.push_back({&b, s, at});
    }
    parallel_for(segments, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Block& b = *items[i].block;
        float* q = static_cast<float*>(scratch(sizeof(float) * b.count * shape_.head_dim, 1));
        gather_queries(b, q);
        run_segment(b, items[i].segment, q, items[i].state);
      }
    });
    at = states.get();
    for (const Block& b : blocks_) {
      float* first = at;
      at += state_size(b);
      for (int s = 1; s < b.segments; ++s, at += state_size(b))
        table_.merge(state_at(b, first), state_at(b, at));
      write(b, state_at(b, first));
    }
  }

  const AttentionShape& shape_;
  const KernelTable& table_;
  int group_;
  std::vector<Block> blocks_;
};

}  // namespace

bool rounds_to_bf16(const AttentionShape& shape, const KernelTable& table) {
  return shape.fast && table.attend_fast != table.attend && fits_bf16_tiles(shape.head_dim, shape.value_dim);
}

void attention(const std::vector<AttentionRows>& rows, const AttentionShape& shape,
               const KernelTable& table) {
  Attention(rows, shape, table).run();
}

}  // namespace genkit::kernels
