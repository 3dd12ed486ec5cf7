#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/bandwidth.h"
#include "cli/bench_quality.h"
#include "cli/bench_steer.h"
#include "cli/command.h"
#include "cli/model_files.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/steer_flags.h"
#include "genkit/base/error.h"
#include "genkit/base/thread_pool.h"
#include "genkit/generate/generate.h"
#include "genkit/io/checkpoint.h"

namespace genkit::cli {

namespace {

struct BenchArguments {
  LoadRequest load;
  std::string draft_model;
  int prompt_lookup_num_tokens = 0;
  int prompt_tokens = 256, new_tokens = 64, batch = 1, threads = 0, repeat = 1;
  bool json = false, no_bandwidth = false;
  std::vector<std::string> quality;
  SteerFlags steer;
};

/// BOS of Gemma, then 1000, 1001, ...: what the other engines are fed when they are compared.
std::vector<int32_t> bench_prompt(int length, int vocab_size) {
  std::vector<int32_t> ids = {2};
  for (int i = 0; i < length - 1; ++i) ids.push_back(1000 + i % 5000);
  for (int32_t& id : ids) id %= vocab_size;
  return ids;
}

generate::GenerationResult run_once(const LoadedModel& loaded, const LoadedModel* draft,
                                    const BenchArguments& a, int prompt_tokens, int new_tokens,
                                    const std::vector<models::ForwardHook*>& hooks = {}) {
  generate::GenerationRequest request;
  const auto ids = bench_prompt(prompt_tokens, loaded.model->components().vocab_size);
  request.prompts.assign(static_cast<size_t>(a.batch), {.ids = ids});
  request.config.max_new_tokens = new_tokens;
  request.config.do_sample = false;
  request.config.eos_token_id.emplace();
  if (a.prompt_lookup_num_tokens > 0) request.config.prompt_lookup_num_tokens = a.prompt_lookup_num_tokens;
  if (draft) request.assistant_model = draft->model.get();
  request.hooks = hooks;
  return generate::generate(*loaded.model, nullptr, request);
}

/// Bytes of weights that one step reads: all, less an embedding of which it needs a few rows.
size_t bytes_of_a_step(const LoadedModel& loaded) {
  io::Checkpoint checkpoint = io::Checkpoint::open(loaded.path);
  size_t bytes = 0;
  for (const std::string& name : checkpoint.names()) {
    const ops::Weight w = checkpoint.take(name, checkpoint.shape(name));
    bytes += w.data.nbytes() + (w.scales ? w.scales->nbytes() : 0) + (w.biases ? w.biases->nbytes() : 0);
  }
  const models::Components parts = loaded.model->components();
  if (!parts.tied) bytes -= std::min(bytes, parts.embedding->data.nbytes());
  return bytes;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double peak_rss_mb() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return static_cast<double>(usage.ru_maxrss) / (1024.0 * 1024.0);
#else
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
#endif
}

nlohmann::ordered_json measure_speed(const BenchArguments& a) {
  const LoadedModel loaded = load(a.load);
  std::optional<LoadedModel> draft;
  if (!a.draft_model.empty()) {
    draft = load({.model = a.draft_model,
                  .tokenizer = "",
                  .exact = a.load.exact,
                  .int8 = a.load.int8,
                  .needs_tokenizer = false});
  }
  const LoadedModel* const drafting = draft ? &*draft : nullptr;
  const double load_s = seconds_since_start();
  run_once(loaded, drafting, a, std::min(a.prompt_tokens, 8), 2);
  std::vector<double> prompt_tps, gen_tps, first_token_s;
  size_t drafted = 0, accepted = 0;  // of the last run
  for (int i = 0; i < a.repeat; ++i) {
    // The first new token comes from the prompt's own pass, so one more makes `new_tokens` steps.
    const generate::GenerationResult once = run_once(loaded, drafting, a, a.prompt_tokens, a.new_tokens + 1);
    const generate::Timings& t = once.timings;
    drafted = accepted = 0;
    for (const generate::GeneratedRow& row : once.rows) {
      drafted += row.drafted;
      accepted += row.accepted;
    }
    prompt_tps.push_back(a.batch * a.prompt_tokens / t.prefill_s);
    gen_tps.push_back(a.batch * a.new_tokens / t.decode_s);
    first_token_s.push_back(t.first_token_s);
  }
  const double rss = peak_rss_mb();
  nlohmann::ordered_json result = {{"engine", "mlxgk"},
                                   {"batch", a.batch},
                                   {"threads", num_threads()},
                                   {"arithmetic", ops::name_of(arithmetic_of(a.load))},
                                   {"prompt_tokens", a.prompt_tokens},
                                   {"new_tokens", a.new_tokens},
                                   {"prompt_tps", median(prompt_tps)},
                                   {"gen_tps", median(gen_tps)},
                                   {"load_s", load_s},
                                   {"first_token_s", median(first_token_s)},
                                   {"peak_rss_mb", rss}};
  if (drafting || a.prompt_lookup_num_tokens > 0) {
    result["drafted"] = drafted;
    result["accepted"] = accepted;
  }
  if (a.steer.given()) {
    Steering steering(a.steer, *loaded.model);
    const auto hooks = steering.hooks(std::vector<PromptSource>(static_cast<size_t>(a.batch)));
    result["steering"] = measure_steering(
        [&](const std::vector<models::ForwardHook*>& with) {
          return run_once(loaded, drafting, a, a.prompt_tokens, a.new_tokens + 1, with).timings;
        },
        hooks, a.repeat);
  }
  if (!a.no_bandwidth) {
    const double bandwidth = read_bandwidth(num_threads());
    const size_t bytes = bytes_of_a_step(loaded);
    result["read_gb_s"] = bandwidth / 1e9;
    result["step_mb"] = static_cast<double>(bytes) / 1e6;
    result["bandwidth_share"] = median(gen_tps) / a.batch * static_cast<double>(bytes) / bandwidth;
  }
  return result;
}

/// Lines of "key value", what lies deeper indented.
void print(Output& out, const nlohmann::ordered_json& object, const std::string& indent = "") {
  for (const auto& [key, value] : object.items()) {
    if (value.is_array() || value.is_object()) {
      out.write(value.is_object() ? "\n" : "");
      print(out, value, value.is_object() ? indent + "  " : indent);
    } else {
      out.write(fmt::format("{}{:<16} {}\n", indent, key,
                            value.is_string() ? value.get<std::string>() : value.dump()));
    }
  }
}

}  // namespace

int run_bench(const std::string& program, std::vector<std::string> args) {
  BenchArguments a;
  a.load.needs_tokenizer = false;
  Options options(program, "Measures prefill and greedy decoding; EOS is ignored.", "--model M [OPTIONS]");
  CLI::App& app = options.app();
  const auto count = CLI::Range(1, 1 << 20);
  app.add_option("-m,--model", a.load.model, "folder, .gguf file or hub name")->type_name("PATH");
  app.add_option("--prompt-tokens", a.prompt_tokens, "tokens of each prompt (default: 256)")
      ->type_name("N")
      ->check(count);
  app.add_option("--new-tokens", a.new_tokens, "steps of decoding (default: 64)")
      ->type_name("N")
      ->check(count);
  app.add_option("--batch", a.batch, "prompts at a time (default: 1)")->type_name("N")->check(count);
  app.add_option("--threads", a.threads, "threads to compute with (default: the machine's cores)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  app.add_option("--repeat", a.repeat, "measure so often and print medians (default: 1)")
      ->type_name("N")
      ->check(count);
  app.add_option("--prompt-lookup-num-tokens", a.prompt_lookup_num_tokens,
                 "guess up to so many tokens from what the row has, and count them")
      ->type_name("N")
      ->check(CLI::Range(1, config::DraftTokens::kMost));
  app.add_option("--draft-model", a.draft_model, "a smaller model that goes ahead")->type_name("PATH");
  add_arithmetic(app, a.load);
  app.add_flag("--no-bandwidth", a.no_bandwidth, "leave out measuring the machine's read bandwidth");
  app.add_option("--quality", a.quality,
                 "instead: how far the default arithmetic is from --exact over these files' texts, or two "
                 "short ones")
      ->type_name("FILE")
      ->expected(0, 1 << 10);
  app.add_flag("--json", a.json, "one JSON object");
  a.steer.add_to(options);
  options.set_footer(
      "load_s is from the start of the process until a prompt could be taken;\n"
      "first_token_s from there to the first token. bandwidth_share is the part of the\n"
      "measured read bandwidth that reading the weights once a step took.\n"
      "With --steer or --soft-prompt, runs with and without take turns besides,\n"
      "--repeat pairs of them: how much longer they take, the fastest against the\n"
      "fastest, and the median of the pairs with its quartiles.\n");
  if (!options.parse(std::move(args))) return kOk;
  std::erase(a.quality, "");  // what the parser makes of the option alone
  if (options.given("--quality") && a.steer.given())
    throw UsageError("--quality: compares arithmetic, without steering");
  a.steer.specs();
  if (a.threads > 0) set_num_threads(a.threads);

  const nlohmann::ordered_json result =
      options.given("--quality") ? measure_quality(a.load, a.quality) : measure_speed(a);
  Output out(1);
  if (a.json) {
    out.write(result.dump() + "\n");
  } else {
    print(out, result);
  }
  return kOk;
}

}  // namespace genkit::cli
