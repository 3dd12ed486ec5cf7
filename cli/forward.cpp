#include <fmt/format.h>
#include <mlx/array.h>

#include "cli/command.h"
#include "cli/model_files.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/parse_values.h"
#include "genkit/base/error.h"
#include "genkit/io/safetensors.h"
#include "genkit/models/hidden_capture.h"

namespace genkit::cli {

namespace mx = mlx::core;
using models::HiddenCapture;

namespace {

/// The places that --hidden names, with the names of their tensors.
std::map<std::string, HiddenCapture::Place> hidden_places(const std::string& list, int num_blocks) {
  std::map<std::string, HiddenCapture::Place> places;
  if (list == "all") {
    places["hidden.embedding"] = {models::Site::kEmbedding, 0};
    for (int i = 0; i < num_blocks; ++i) places[fmt::format("hidden.{}", i)] = {models::Site::kBlock, i};
    places["hidden.final"] = {models::Site::kFinal, 0};
    return places;
  }
  if (list == "none") return places;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t comma = std::min(list.find(',', begin), list.size());
    const std::string part = list.substr(begin, comma - begin);
    begin = comma + 1;
    if (part == "embedding") {
      places["hidden.embedding"] = {models::Site::kEmbedding, 0};
    } else if (part == "final") {
      places["hidden.final"] = {models::Site::kFinal, 0};
    } else {
      int block = 0;
      try {
        size_t used = 0;
        block = std::stoi(part, &used);
        if (used != part.size()) throw std::invalid_argument(part);
      } catch (const std::exception&) {
        throw UsageError(fmt::format(
            "--hidden: expected all, none, or a list of embedding, final and blocks, got \"{}\"", part));
      }
      if (block < -num_blocks || block >= num_blocks) {
        throw UsageError(fmt::format("--hidden: block {} of a model with {} blocks", block, num_blocks));
      }
      if (block < 0) block += num_blocks;
      places[fmt::format("hidden.{}", block)] = {models::Site::kBlock, block};
    }
  }
  return places;
}

}  // namespace

int run_forward(const std::string& program, std::vector<std::string> args) {
  LoadRequest request;
  std::string prompt, prompt_ids, hidden = "none", out_path;
  Options options(program,
                  "One forward pass: logits of every position and hidden states, as a safetensors file.",
                  "--model M --prompt-ids 1,2,3 --out F.safetensors [OPTIONS]");
  CLI::App& app = options.app();
  app.add_option("-m,--model", request.model, "folder, .gguf file or hub name")->type_name("PATH");
  app.add_option("--prompt-ids", prompt_ids, "token ids to feed")->type_name("IDS");
  app.add_option("-p,--prompt", prompt, "text to feed (BOS as the tokenizer adds it)")->type_name("TEXT");
  app.add_option("--hidden", hidden, "all, none (default), or a list of: embedding, final, numbers of blocks")
      ->type_name("LIST");
  app.add_option("-o,--out", out_path, "file to write")->type_name("FILE");
  add_arithmetic(app, request);
  options.set_footer(
      "Tensors, all float32: 'logits' [tokens, vocab]; 'hidden.embedding', the input of\n"
      "the first block [tokens, hidden]; 'hidden.N', the output of block N, counted\n"
      "from 0; 'hidden.final', after the final norm; 'ids' [tokens] int32.\n");
  if (!options.parse(std::move(args))) return kOk;
  if (out_path.empty()) throw UsageError("--out is missing");
  if (options.given("--prompt-ids") == options.given("--prompt"))
    throw UsageError("expected either --prompt-ids or --prompt");
  request.needs_tokenizer = options.given("--prompt");
  std::vector<int32_t> ids;
  if (!request.needs_tokenizer) ids = parse_ids("--prompt-ids", prompt_ids);
  if (request.needs_tokenizer) require_utf8("--prompt", prompt);

  const LoadedModel loaded = load(request);
  if (request.needs_tokenizer) ids = loaded.tokenizer->encode(prompt);
  const models::Components parts = loaded.model->components();
  for (const int32_t id : ids) {
    if (id >= parts.vocab_size) {
      throw ArgumentError(
          fmt::format("--prompt-ids: {} is not an id of this model, which has {}", id, parts.vocab_size));
    }
  }
  if (ids.empty()) throw ArgumentError("--prompt: has no tokens");

  const auto places = hidden_places(hidden, parts.num_blocks);
  std::set<HiddenCapture::Place> wanted;
  for (const auto& [name, place] : places) wanted.insert(place);
  HiddenCapture capture(std::move(wanted));
  models::ForwardInput input;
  input.tokens = mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32);
  input.rows = {{.length = static_cast<int>(ids.size())}};
  input.logits = models::LogitsFor::kAll;
  const models::ForwardOutput output = loaded.model->forward(input, nullptr, {&capture});

  std::map<std::string, mx::array> tensors = {{"logits", *output.logits}, {"ids", input.tokens}};
  for (const auto& [name, place] : places)
    tensors.insert_or_assign(name, capture.at(place.first, place.second));
  io::save_safetensors(out_path, tensors);
  return kOk;
}

}  // namespace genkit::cli
