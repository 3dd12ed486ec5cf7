#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "genkit/models/model.h"
#include "genkit/text/tokenizer.h"

namespace genkit::cli {

struct LoadedModel {
  std::filesystem::path path;
  std::shared_ptr<const models::Model> model;
  std::shared_ptr<const text::Tokenizer> tokenizer;  ///< null where there is none and none is needed
  nlohmann::json generation_config;                  ///< of the model, or null
  double load_s = 0;
};

struct LoadRequest {
  std::string model;       ///< path or hub name
  std::string tokenizer;   ///< folder or GGUF to use instead of the model's own, or empty
  bool exact = false;      ///< fp32 arithmetic over quantised weights
  bool int8 = false;       ///< int8 activations, whatever else the processor has
  bool no_repack = false;  ///< quantised weights are read as the file has them
  bool needs_tokenizer = true;
};

/// What --exact and --int8 ask for.
ops::Arithmetic arithmetic_of(const LoadRequest& request);

/// --exact, --int8 and --no-repack.
void add_arithmetic(CLI::App& app, LoadRequest& request, const std::string& group = "");

/// Loads a model and its tokenizer, with a progress bar where there is a terminal.
/// @throws UsageError without a model; ArgumentError when the tokenizer cannot belong to the model;
///         what the readers throw.
LoadedModel load(const LoadRequest& request);

/// Whether a tokenizer's ids can be this model's. @param own the model's tokenizer, or null.
/// @throws ArgumentError naming --tokenizer and the difference.
void check_tokenizer(const text::Tokenizer& tokenizer, const std::string& name, int model_vocab_size,
                     const text::Tokenizer* own);

/// Whether one model's drafts can be another's tokens, as far as their tokenizers say.
/// @throws ArgumentError naming --draft-model and the difference.
void check_draft_tokenizer(const LoadedModel& draft, const std::string& name, const LoadedModel& model);

/// True when a tokenizer lies in or beside the model.
bool has_tokenizer(const std::filesystem::path& model);

}  // namespace genkit::cli
