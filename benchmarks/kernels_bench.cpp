// How fast the kernels are beside what this machine can do: memory read, and fused multiply-adds.
// MLXGK_ISA chooses the instruction set, MLXGK_THREADS the threads (by default the pool's own).
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "genkit/base/thread_pool.h"
#include "genkit/kernels/attention.h"
#include "genkit/kernels/dequantize.h"
#include "genkit/kernels/layers.h"
#include "genkit/kernels/linear.h"
#include "genkit/kernels/panels.h"
#include "genkit/kernels/sampling.h"

namespace {

using namespace genkit;
using namespace genkit::kernels;

constexpr size_t kColdBytes = size_t{192} << 20;  // read in turn, so that weights come from memory

std::vector<float> numbers(size_t count) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (float& v : x) v = normal(engine);
  return x;
}

void read_memory(benchmark::State& state) {
  const std::vector<uint64_t> buffer(kColdBytes / 8, 1);
  for (auto _ : state) {
    std::atomic<uint64_t> total{0};
    parallel_for(static_cast<int64_t>(buffer.size()), 1 << 15, [&](int64_t begin, int64_t end) {
      uint64_t sum = 0;
      for (int64_t i = begin; i < end; ++i) sum += buffer[i];
      total += sum;
    });
    benchmark::DoNotOptimize(total.load());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kColdBytes));
}
BENCHMARK(read_memory)->UseRealTime()->Unit(benchmark::kMillisecond);

// Multiplications of numbers that stay in registers and the first-level cache: 6 rows of 512 with 16.
void peak(benchmark::State& state) {
  const int threads = num_threads();
  const auto x = numbers(6 * 512), w = numbers(16 * 512);
  WeightRows rows;
  rows.in = 512;
  rows.row_bytes = 2048;
  rows.data = reinterpret_cast<const uint8_t*>(w.data());
  constexpr int kTimes = 400;
  for (auto _ : state) {
    parallel_for(threads, 1, [&](int64_t, int64_t) {
      float y[6 * 16];
      char memory[256];
      for (int i = 0; i < kTimes; ++i) {
        active_table().linear_f32({&rows, nullptr, 0, 16, 6, y, 16}, x.data(), 512, memory);
        benchmark::DoNotOptimize(y);
      }
    });
  }
  state.counters["FLOP/s"] = benchmark::Counter(2.0 * 6 * 16 * 512 * kTimes * threads,
                                                benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(peak)->UseRealTime();

void linear_weight(benchmark::State& state, WeightFormat format, Product product, bool panels) {
  const int64_t out = state.range(0), in = state.range(1), rows = state.range(2);
  const int bits = format == WeightFormat::kAffine ? static_cast<int>(state.range(3)) : 0;
  WeightRows w;
  w.format = format;
  w.in = in;
  w.row_bytes = bits > 0 ? static_cast<size_t>(in * bits / 8) : row_bytes(format, in);
  // Affine scales and biases of 64 numbers each, in halves; a small part of the bytes, left out of the count.
  w.bits = bits;
  w.group_size = 64;
  w.scale_format = WeightFormat::kF16;
  const std::vector<uint16_t> scales(bits > 0 ? out * in / 64 : 0, 0x2c00);
  w.scales = w.biases = reinterpret_cast<const uint8_t*>(scales.data());
  const size_t bytes = w.row_bytes * out;
  const size_t copies = rows == 1 ? std::max<size_t>(1, kColdBytes / bytes) : 1;
  std::vector<uint8_t> data(bytes * copies);
  std::mt19937 engine(1);
  // Upper bytes of fp16 and fp32 numbers from 0.03 to 2 everywhere: no block has an infinite or a
  // denormal scale, which would take other paths through the processor.
  for (auto& b : data) b = static_cast<uint8_t>(0x28 + engine() % 0x14);
  const auto x = numbers(rows * in);
  std::vector<float> y(rows * out);
  std::vector<PanelCache> caches(copies);
  for (size_t i = 0; panels && i < copies; ++i) {
    w.data = data.data() + bytes * i;
    caches[i].get(w, out, active_table());
  }
  size_t turn = 0;
  for (auto _ : state) {
    const size_t copy = turn++ % copies;
    w.data = data.data() + bytes * copy;
    linear(x.data(), rows, in, {{w, out, nullptr, y.data(), product, panels ? &caches[copy] : nullptr}});
    benchmark::DoNotOptimize(y.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
  state.counters["OP/s"] =
      benchmark::Counter(2.0 * rows * in * out, benchmark::Counter::kIsIterationInvariantRate);
}

void decode_attention(benchmark::State& state) {
  const int length = static_cast<int>(state.range(0)), queries = static_cast<int>(state.range(1));
  const AttentionShape shape{4, 1, 256, 256, CacheType::kF32, 0.06f, 0, 0};
  const int pages = (length + queries + kPageSlots - 1) / kPageSlots;
  const auto keys = numbers(size_t{256} * kPageSlots * pages), values = numbers(keys.size());
  const auto q = numbers(size_t{1024} * queries);
  std::vector<float> out(q.size());
  AttentionRows row;
  row.q = q.data();
  row.out = out.data();
  row.position = length;
  row.length = queries;
  for (int p = 0; p < pages; ++p) {
    row.keys.push_back(&keys[size_t{256} * kPageSlots * p]);
    row.values.push_back(&values[size_t{256} * kPageSlots * p]);
  }
  for (auto _ : state) attention({row}, shape);
  state.SetBytesProcessed(state.iterations() * int64_t{length} * 2048);
  state.counters["FLOP/s"] = benchmark::Counter(4.0 * queries * 1024 * (length + queries / 2.0),
                                                benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(decode_attention)
    ->Args({512, 1})
    ->Args({4096, 1})
    ->Args({16384, 1})
    ->Args({0, 256})
    ->Args({4096, 256})
    ->UseRealTime();

void vocabulary(benchmark::State& state) {
  const auto x = numbers(262144);
  const int64_t count = state.range(0);
  for (auto _ : state) {
    if (count == 0) benchmark::DoNotOptimize(argmax(x.data(), x.size()));
    if (count < 0) benchmark::DoNotOptimize(log_sum_exp(x.data(), x.size()));
    if (count > 0) benchmark::DoNotOptimize(top_n(x.data(), x.size(), count).data());
  }
  state.SetBytesProcessed(state.iterations() * int64_t{262144 * 4});
}
BENCHMARK(vocabulary)
    ->ArgName("0 argmax, -1 logsumexp, n top")
    ->Arg(0)
    ->Arg(-1)
    ->Arg(1)
    ->Arg(64)
    ->Arg(1000)
    ->UseRealTime();

void layers(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const auto x = numbers(rows * 2048);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    rms_norm(x.data(), rows, 640, {x.data(), nullptr, 1e-6f, 1.0f}, y.data());
    activate(ActivationKind::kGeluTanh, x.data(), x.data(), rows * 2048, y.data());
    benchmark::DoNotOptimize(y.data());
  }
}
BENCHMARK(layers)->Arg(1)->Arg(256)->UseRealTime();

void register_linear() {
  const struct {
    WeightFormat format;
    int64_t out, in;
  } cases[] = {{WeightFormat::kF32, 2048, 640},   {WeightFormat::kBF16, 2048, 640},
               {WeightFormat::kQ8_0, 16384, 640}, {WeightFormat::kQ5_0, 4096, 640},
               {WeightFormat::kQ4_0, 4096, 640},  {WeightFormat::kIQ4_NL, 4096, 640},
               {WeightFormat::kQ2_K, 2048, 2048}, {WeightFormat::kQ3_K, 2048, 2048},
               {WeightFormat::kQ4_K, 2048, 2048}, {WeightFormat::kQ5_K, 2048, 2048},
               {WeightFormat::kQ6_K, 2048, 2048}, {WeightFormat::kIQ4_XS, 2048, 2048},
               {WeightFormat::kMXFP4, 2048, 2048}};
  for (const auto& c : cases) {
    const struct {
      const char* name;
      Product product;
      bool panels;
    } kinds[] = {{"/fast", Product::kFast, false},
                 {"/int8", Product::kInt8, false},
                 {"/int8/panels", Product::kInt8, true},
                 {"/fp32", Product::kF32, false}};
    for (const auto& [kind, product, panels] : kinds) {
      if (product != Product::kF32 && !is_quantized(c.format)) continue;
      const std::string name = "linear/" + std::string(traits(c.format).name) + kind;
      auto* b = benchmark::RegisterBenchmark(name.c_str(), linear_weight, c.format, product, panels);
      for (const int64_t rows : {1, 2, 4, 8, 16, 32, 256}) b->Args({c.out, c.in, rows});
      b->UseRealTime()->Unit(benchmark::kMicrosecond);
    }
  }
  auto* affine = benchmark::RegisterBenchmark("linear/affine/fast", linear_weight, WeightFormat::kAffine,
                                              Product::kFast, false);
  for (const int64_t bits : {4, 8}) {
    for (const int64_t rows : {1, 2, 8, 256}) affine->Args({2048, 2048, rows, bits});
  }
  affine->UseRealTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (const char* threads = std::getenv("MLXGK_THREADS")) set_num_threads(std::atoi(threads));
  benchmark::AddCustomContext("instruction_set", active_table().name);
  benchmark::AddCustomContext("threads", std::to_string(num_threads()));
  register_linear();
  benchmark::RunSpecifiedBenchmarks();
}
