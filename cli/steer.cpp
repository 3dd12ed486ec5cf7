#include "cli/steer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/parse_values.h"
#include "genkit/base/error.h"
#include "genkit/base/nearest.h"

namespace genkit::cli {

namespace {

struct SteerCommand {
  std::string_view name, summary;
  int (*run)(const std::string& program, std::vector<std::string> args);
};

constexpr std::array<SteerCommand, 5> kSteerCommands = {{
    {"extract", "make vectors from texts with and without a trait", run_steer_extract},
    {"project", "score texts or a conversation along a vector", run_steer_project},
    {"sweep", "try layers and alphas on prompts, and report", run_steer_sweep},
    {"combine", "add, scale and orthogonalise vectors, convert files", run_steer_combine},
    {"info", "what a vector file holds", run_steer_info},
}};

std::string overview() {
  std::string text =
      "Usage: mlxgk steer COMMAND [OPTIONS]\n\nMakes, tries and looks at steering vectors.\n\nCommands:\n";
  for (const SteerCommand& c : kSteerCommands) text += fmt::format("  {:<10} {}\n", c.name, c.summary);
  return text + "\n'mlxgk steer COMMAND --help' lists the options of a command.\n";
}

double length_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float x : values) sum += static_cast<double>(x) * x;
  return std::sqrt(sum);
}

/// "FILE", or "FILE=WEIGHT".
std::pair<std::string, double> parse_term(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos) return {text, 1.0};
  const std::vector<double> weight = parse_numbers("--vector", text.substr(equals + 1));
  if (weight.size() != 1)
    throw UsageError(fmt::format("--vector: expected FILE=WEIGHT, got \"{}\"", printable(text)));
  return {text.substr(0, equals), weight[0]};
}

void tell_left_out(const std::string& path, const std::vector<int>& blocks) {
  if (blocks.empty()) return;
  Output(2).try_write(fmt::format(
      "mlxgk: note: {}: GGUF files have no place for block {}, which is left out\n", path, blocks.front()));
}

}  // namespace

int run_steer(const std::string& program, std::vector<std::string> args) {
  Output out(1);
  if (args.empty() || args.front() == "--help" || args.front() == "-h") {
    out.write(overview());
    return args.empty() ? kUsage : kOk;
  }
  const std::string first = args.front();
  std::vector<std::string_view> names;
  for (const SteerCommand& c : kSteerCommands) {
    if (first == c.name) {
      args.erase(args.begin());
      return c.run(fmt::format("{} {}", program, c.name), std::move(args));
    }
    names.push_back(c.name);
  }
  throw UsageError(fmt::format("there is no command steer {}{}; see mlxgk steer --help", printable(first),
                               suggestion(first, names)));
}

void VectorFileFlags::add_to(Options& options) {
  options.app()
      .add_option("--vector-tensor", tensor, "which tensor of a safetensors file that is none of ours")
      ->type_name("NAME")
      ->group("Vectors");
  options.app()
      .add_option(
          "--gguf-layers", gguf_layers,
          "what direction.N of a GGUF file means: added (default; block N from 0, as llama.cpp steers and "
          "repeng writes) or measured (block N - 1, as llama.cpp's cvector-generator writes)")
      ->type_name("W")
      ->group("Vectors")
      ->check(CLI::IsMember({"added", "measured"}));
}

steering::VectorSet VectorFileFlags::read(const std::string& path) const {
  steering::ReadVectorsOptions options;
  options.tensor = tensor;
  options.gguf_layers =
      gguf_layers == "measured" ? steering::GgufLayers::kWhereMeasured : steering::GgufLayers::kWhereAdded;
  return steering::read_vectors(path, options);
}

std::vector<int> parse_layers(const std::string& option, const std::string& text, int num_blocks) {
  const auto fail = [&](const std::string& part) {
    throw UsageError(
        fmt::format("{}: expected all, or blocks like 3,5-9,-1, got \"{}\"", option, printable(part)));
  };
  const auto block = [&](std::string_view digits, const std::string& part) {
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) fail(part);
    if (value < -num_blocks || value >= num_blocks) {
      throw UsageError(fmt::format("{}: block {} of a model with {} blocks", option, value, num_blocks));
    }
    return value < 0 ? value + num_blocks : value;
  };
  std::set<int> blocks;
  if (text == "all") {
    for (int i = 0; i < num_blocks; ++i) blocks.insert(i);
    return {blocks.begin(), blocks.end()};
  }
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, comma - begin);
    begin = comma + 1;
    const size_t dash = part.empty() ? std::string::npos : part.find('-', 1);
    if (part.empty()) fail(part);
    const int first = block(std::string_view(part).substr(0, dash), part);
    const int last = dash == std::string::npos ? first : block(std::string_view(part).substr(dash + 1), part);
    if (last < first) fail(part);
    for (int i = first; i <= last; ++i) blocks.insert(i);
  }
  return {blocks.begin(), blocks.end()};
}

std::vector<double> parse_numbers(const std::string& option, const std::string& text) {
  std::vector<double> numbers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    double value = 0;
    const auto [end, error] = std::from_chars(text.data() + begin, text.data() + comma, value);
    if (error != std::errc() || end != text.data() + comma || !std::isfinite(value)) {
      throw UsageError(fmt::format("{}: expected numbers like -2,0,1.5, got \"{}\"", option,
                                   printable(text.substr(begin, comma - begin))));
    }
    numbers.push_back(value);
    begin = comma + 1;
  }
  return numbers;
}

std::vector<std::string> read_lines(const std::string& option, const std::string& path) {
  const std::string text = read_all(path);
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(std::move(line));
    begin = end + 1;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.empty()) throw UsageError(fmt::format("{}: {} holds no line", option, printable(path)));
  return lines;
}

steering::TokenSequence text_sequence(const text::Tokenizer& tokenizer, const std::string& text,
                                      const std::string& where) {
  require_utf8(where, text);
  steering::TokenSequence sequence{.ids = tokenizer.encode(text), .begin = 0, .where = where};
  while (sequence.begin < static_cast<int>(sequence.ids.size()) &&
         tokenizer.is_special(sequence.ids[static_cast<size_t>(sequence.begin)])) {
    ++sequence.begin;
  }
  return sequence;
}

std::string describe(const steering::VectorSet& set) {
  const auto number = [](const std::optional<double>& x, const char* format) {
    return x ? fmt::format(fmt::runtime(format), *x) : std::string("-");
  };
  std::string out = fmt::format("{:>5}  {:>10}  {:>10}  {:>9}  {:>6}  {:>10}\n", "block", "length",
                                "residual", "explained", "auc", "separation");
  for (const auto& [block, direction] : set.directions) {
    const auto found = set.layers.find(block);
    const steering::LayerReport report = found == set.layers.end() ? steering::LayerReport{} : found->second;
    out += fmt::format("{:>5}  {:>10.4g}  {:>10}  {:>9}  {:>6}  {:>10}{}\n",
                       set.any_block ? "any" : std::to_string(block), length_of(direction),
                       number(report.residual_norm, "{:.4g}"), number(report.explained_variance, "{:.3f}"),
                       number(report.auc, "{:.3f}"), number(report.separation, "{:.2f}"),
                       set.suggested_layer == block ? "  <- suggested" : "");
  }
  return out;
}

int run_steer_info(const std::string& program, std::vector<std::string> args) {
  std::string path;
  VectorFileFlags flags;
  Options options(program, "What a vector file holds.", "FILE [OPTIONS]");
  options.app().add_option("file", path, "safetensors or control-vector GGUF")->type_name("FILE");
  flags.add_to(options);
  if (!options.parse(std::move(args))) return kOk;
  if (path.empty()) throw UsageError("FILE is missing");
  const steering::VectorSet set = flags.read(path);
  const auto shown = [](const std::string& text) {
    return text.empty() ? std::string("unknown") : printable(text, 200);
  };
  Output(1).write(
      fmt::format("model type   {}\nmodel hash   {}\nmethod       {}\nposition     {}\nhidden size  {}\n\n",
                  shown(set.model_type), shown(set.model_hash), shown(set.method), shown(set.position),
                  set.hidden_size()) +
      describe(set));
  return kOk;
}

int run_steer_combine(const std::string& program, std::vector<std::string> args) {
  std::vector<std::string> terms, others;
  std::string out_path;
  double scale = 1;
  bool normalise = false;
  VectorFileFlags flags;
  Options options(program, "Adds, scales and orthogonalises vectors; converts between safetensors and GGUF.",
                  "--vector FILE[=WEIGHT] ... --out FILE [OPTIONS]");
  CLI::App& app = options.app();
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help,
                        const char* type) {
    app.add_option(name, target, help)
        ->type_name(type)
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  list("--vector", terms, "file, and what it counts in the sum (default: 1); repeated", "FILE[=W]");
  list("--orthogonal-to", others, "take out what lies along this file's directions; repeated", "FILE");
  app.add_option("--scale", scale, "then multiply by this")->type_name("X");
  app.add_flag("--normalise", normalise, "then make every direction's length 1 (before --scale)");
  app.add_option("-o,--out", out_path, "file to write: .safetensors or .gguf")->type_name("FILE");
  flags.add_to(options);
  if (!options.parse(std::move(args))) return kOk;
  if (terms.empty()) throw UsageError("--vector is missing");
  if (out_path.empty()) throw UsageError("--out is missing");
  std::vector<steering::VectorSet> sets, against;
  std::vector<std::pair<double, const steering::VectorSet*>> sum;
  std::vector<double> weights;
  for (const std::string& term : terms) {
    const auto [path, weight] = parse_term(term);
    sets.push_back(flags.read(path));
    weights.push_back(weight);
  }
  for (size_t i = 0; i < sets.size(); ++i) sum.emplace_back(weights[i], &sets[i]);
  // One file as it is keeps what was measured along it.
  const bool unchanged = sets.size() == 1 && weights[0] == 1;
  steering::VectorSet result = unchanged ? sets.front() : steering::weighted_sum(sum);
  std::vector<const steering::VectorSet*> pointers;
  for (const std::string& path : others) against.push_back(flags.read(path));
  for (const steering::VectorSet& set : against) pointers.push_back(&set);
  if (!pointers.empty()) result = steering::orthogonalised(std::move(result), pointers);
  if (normalise) result = steering::normalised(std::move(result));
  if (scale != 1) result = steering::scaled(std::move(result), scale);
  tell_left_out(out_path, steering::write_vectors(out_path, result));
  return kOk;
}

}  // namespace genkit::cli
