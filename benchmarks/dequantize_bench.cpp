// How fast the scalar reference reads each weight format, in bytes of the file a second, beside the speed at
// which this machine reads memory at all.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "genkit/kernels/dequantize.h"
#include "genkit/kernels/weight_format.h"

namespace {

constexpr int64_t kRowValues = 2048;
constexpr size_t kBufferBytes = size_t{256} << 20;  // larger than any cache

void read_memory(benchmark::State& state) {
  const std::vector<uint64_t> buffer(kBufferBytes / sizeof(uint64_t), 1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(std::accumulate(buffer.begin(), buffer.end(), uint64_t{0}));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBufferBytes));
}
BENCHMARK(read_memory)->Unit(benchmark::kMillisecond);

void dequantize(benchmark::State& state, genkit::WeightFormat format) {
  std::mt19937 random(1);
  std::vector<uint8_t> row(genkit::row_bytes(format, kRowValues));
  for (uint8_t& byte : row) byte = static_cast<uint8_t>(random());
  std::vector<float> out(kRowValues);
  for (auto _ : state) {
    genkit::dequantize_row(format, row.data(), kRowValues, out.data());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * row.size()));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kRowValues));
}

[[maybe_unused]] const bool registered = [] {
  for (const char* name : {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K",
                           "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"}) {
    const auto format = genkit::weight_format_from_name(name);
    if (format)
      benchmark::RegisterBenchmark((std::string("dequantize/") + name).c_str(), dequantize, *format);
  }
  return true;
}();

}  // namespace
