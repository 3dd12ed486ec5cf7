#include "cli/model_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "cli/command.h"
#include "cli/progress.h"
#include "genkit/base/error.h"
#include "genkit/base/memory.h"
#include "genkit/io/checkpoint.h"
#include "genkit/io/hub_cache.h"
#include "genkit/models/registry.h"

namespace genkit::cli {

namespace fs = std::filesystem;

namespace {

/// Where the tokenizer of a model is: the GGUF itself, the folder, or the folder of the file.
fs::path tokenizer_path(const fs::path& model) {
  if (fs::is_directory(model) || model.extension() == ".gguf") return model;
  return model.parent_path().empty() ? fs::path(".") : model.parent_path();
}

struct Difference {
  int common = 0, different = 0, first = -1;
  /// Renamed special tokens and unused places differ between copies of one tokenizer; a tenth of all does
  /// not.
  bool another() const { return different * 10 > common; }
};

Difference compare(const text::Tokenizer& a, const text::Tokenizer& b) {
  Difference d{.common = std::min(a.vocab_size(), b.vocab_size())};
  for (int id = 0; id < d.common; ++id) {
    if (a.id_to_token(id) == b.id_to_token(id)) continue;
    if (d.different++ == 0) d.first = id;
  }
  return d;
}

}  // namespace

void check_draft_tokenizer(const LoadedModel& draft, const std::string& name, const LoadedModel& model) {
  if (!draft.tokenizer || !model.tokenizer) return;
  const Difference d = compare(*draft.tokenizer, *model.tokenizer);
  if (!d.another()) return;
  throw ArgumentError(
      fmt::format("--draft-model: {} does not have the model's vocabulary: {} of {} ids stand for other "
                  "tokens, the first is {}",
                  name, d.different, d.common, d.first));
}

bool has_tokenizer(const fs::path& model) {
  const fs::path path = tokenizer_path(model);
  return path.extension() == ".gguf" || fs::exists(path / "tokenizer.json");
}

void check_tokenizer(const text::Tokenizer& tokenizer, const std::string& name, int model_vocab_size,
                     const text::Tokenizer* own) {
  const int size = tokenizer.vocab_size();
  if (size > model_vocab_size) {
    throw ArgumentError(fmt::format("--tokenizer: {} has ids up to {}, the model only {} tokens", name,
                                    size - 1, model_vocab_size));
  }
  // Models round their vocabulary up, but not to the double.
  if (size < model_vocab_size / 2) {
    throw ArgumentError(fmt::format("--tokenizer: {} has {} tokens, the model {}: not the same vocabulary",
                                    name, size, model_vocab_size));
  }
  if (own == nullptr) return;
  const Difference d = compare(tokenizer, *own);
  if (d.another()) {
    throw ArgumentError(
        fmt::format("--tokenizer: {} is not the model's vocabulary: {} of {} ids stand for other "
                    "tokens, the first is {}",
                    name, d.different, d.common, d.first));
  }
}

ops::Arithmetic arithmetic_of(const LoadRequest& request) {
  if (request.exact) return ops::Arithmetic::kExact;
  return request.int8 ? ops::Arithmetic::kInt8 : ops::Arithmetic::kFast;
}

void add_arithmetic(CLI::App& app, LoadRequest& request, const std::string& group) {
  auto* exact = app.add_flag("--exact", request.exact, "fp32 arithmetic over quantised weights");
  auto* int8 =
      app.add_flag("--int8", request.int8,
                   "int8 activations also where bfloat16 is the default: the bits of processors without it");
  int8->excludes(exact);
  auto* no_repack =
      app.add_flag("--no-repack", request.no_repack,
                   "read quantised weights as the file has them: slower, memory stays the file's");
  if (group.empty()) return;
  no_repack->group(group);
  exact->group(group);
  int8->group(group);
}

LoadedModel load(const LoadRequest& request) {
  if (request.model.empty()) throw UsageError("--model is missing");
  const auto start = std::chrono::steady_clock::now();
  ProgressBar bar("Loading");
  LoadedModel loaded;
  loaded.path = io::resolve_model(request.model);
  bar.update(0, 3, "weights");
  io::Checkpoint checkpoint = io::Checkpoint::open(loaded.path);
  loaded.generation_config = checkpoint.generation_config();
  bar.update(1, 3, "model");
  models::LoadOptions options;
  options.arithmetic = arithmetic_of(request);
  options.repack = !request.no_repack;
  loaded.model = models::load_model(checkpoint, options);
  bar.update(2, 3, "tokenizer");
  const bool own = has_tokenizer(loaded.path);
  const int vocab_size = loaded.model->components().vocab_size;
  if (!request.tokenizer.empty()) {
    loaded.tokenizer = text::Tokenizer::load(request.tokenizer);
    const auto original = own ? text::Tokenizer::load(tokenizer_path(loaded.path)) : nullptr;
    check_tokenizer(*loaded.tokenizer, request.tokenizer, vocab_size, original.get());
  } else if (own) {
    loaded.tokenizer = text::Tokenizer::load(tokenizer_path(loaded.path));
  } else if (request.needs_tokenizer) {
    throw ArgumentError(
        fmt::format("--tokenizer: {} has no tokenizer.json; name a tokenizer's folder, or pass "
                    "--prompt-ids",
                    loaded.path.string()));
  }
  bar.update(3, 3);
  release_free_memory();
  loaded.load_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return loaded;
}

}  // namespace genkit::cli
