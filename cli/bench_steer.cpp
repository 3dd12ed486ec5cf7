#include "cli/bench_steer.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>

namespace genkit::cli {
namespace {

double processor_seconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Run {
  double prefill_s, decode_s, processor_s;
};

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(std::lround(q * static_cast<double>(values.size() - 1)))];
}

/// The share that `steered` takes longer than `plain`, in percent: the fastest against the fastest, which
/// other work on the machine disturbs least; the pairs' median, and the quartiles around it.
nlohmann::ordered_json cost(const std::vector<Run>& plain, const std::vector<Run>& steered,
                            double Run::*what) {
  std::vector<double> ratios;
  for (size_t i = 0; i < plain.size(); ++i) ratios.push_back(100 * (steered[i].*what / plain[i].*what - 1));
  const auto rounded = [](double percent) { return std::round(percent * 1000) / 1000; };
  const auto least = [&](const std::vector<Run>& runs) {
    double best = runs.front().*what;
    for (const Run& run : runs) best = std::min(best, run.*what);
    return best;
  };
  return {{"fastest_percent", rounded(100 * (least(steered) / least(plain) - 1))},
          {"median_percent", rounded(quantile(ratios, 0.5))},
          {"from_percent", rounded(quantile(ratios, 0.25))},
          {"to_percent", rounded(quantile(ratios, 0.75))}};
}

}  // namespace

nlohmann::ordered_json measure_steering(
    const std::function<generate::Timings(const std::vector<models::ForwardHook*>&)>& run_once,
    const std::vector<models::ForwardHook*>& hooks, int pairs) {
  const auto run = [&](const std::vector<models::ForwardHook*>& with) {
    const double before = processor_seconds();
    const generate::Timings t = run_once(with);
    return Run{t.prefill_s, t.decode_s, processor_seconds() - before};
  };
  run({});
  run(hooks);
  std::vector<Run> plain, steered;
  for (int i = 0; i < pairs; ++i) {
    // Who goes first takes turns too.
    if (i % 2 == 0) plain.push_back(run({}));
    steered.push_back(run(hooks));
    if (i % 2 == 1) plain.push_back(run({}));
  }
  return {{"pairs", pairs},
          {"decoding", cost(plain, steered, &Run::decode_s)},
          {"prefill", cost(plain, steered, &Run::prefill_s)},
          {"processor", cost(plain, steered, &Run::processor_s)}};
}

}  // namespace genkit::cli
