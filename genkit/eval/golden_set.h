#pragma once

#include <mlx/array.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "genkit/base/json_reader.h"
#include "genkit/eval/goldens.h"
#include "genkit/models/model.h"
#include "genkit/text/tokenizer.h"

namespace genkit::eval {

/// A recorded value that was not reproduced; the message is the first difference.
class Mismatch : public Error {
 public:
  using Error::Error;
};

/// Counts cases and writes what went wrong.
class GoldenReport {
 public:
  explicit GoldenReport(std::ostream& out) : out_(out) {}

  /// Runs one case. Whatever it throws is its failure.
  void run(const std::string& name, const std::function<void()>& body);
  void fail(const std::string& name, const std::string& reason);

  /// Cases after this belong to `label`, which heads their lines.
  void begin_file(const std::string& label);
  /// Writes the summary of the file.
  void end_file();
  const GoldensSummary& summary() const { return summary_; }

 private:
  std::ostream& out_;
  std::string label_;
  GoldensSummary summary_, file_start_;
};

/// One recorded file: its JSON and, where it names one, its tensors.
class GoldenFile {
 public:
  /// @throws IoError, FormatError naming the file.
  explicit GoldenFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path folder() const { return path_.parent_path(); }
  JsonView root() const { return JsonView(json_, path_.filename().string()); }
  std::vector<JsonView> cases() const;
  /// The same cases with their keys in the file's order, which templates show.
  const nlohmann::ordered_json& ordered() const;
  /// The tensor of that key in `tensors_file`, or in the file of the JSON's own name. @throws FormatError
  /// when there is none.
  mlx::core::array tensor(const std::string& key) const;

 private:
  std::string tensors_file() const;

  std::filesystem::path path_;
  nlohmann::json json_;
  mutable std::optional<nlohmann::ordered_json> ordered_;
  mutable std::optional<std::map<std::string, mlx::core::array>> tensors_;
};

/// The model of the real-model sets, from `GoldensOptions::weights`.
struct RealModel {
  std::shared_ptr<const models::Model> model;  ///< in exact arithmetic
  std::shared_ptr<const text::Tokenizer> tokenizer;
  nlohmann::json generation_config;
};

/// What the cases of a folder share: its tokenizers and models, loaded once.
class GoldenSet {
 public:
  explicit GoldenSet(const GoldensOptions& options) : options_(options) {}

  const std::filesystem::path& dir() const { return options_.dir; }
  /// tokenizers/NAME
  std::shared_ptr<const text::Tokenizer> tokenizer(const std::string& name);
  /// models/NAME with one of its configurations, in exact arithmetic.
  std::shared_ptr<const models::Model> model(const std::string& name,
                                             const std::string& config = "config.json");
  /// @throws what reading the weights throws, each time it is asked for.
  const RealModel& real_model();
  std::shared_ptr<const text::Tokenizer> real_tokenizer();

 private:
  const GoldensOptions& options_;
  RealModel real_;
  std::map<std::string, std::shared_ptr<const text::Tokenizer>> tokenizers_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const models::Model>> models_;
};

using GoldenRunner = void (*)(const GoldenFile&, GoldenSet&, GoldenReport&);

// One a format, each in the file of its name.
void run_forward(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_generate(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_real_model(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_processors(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_processor_list(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_sampling(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_speculative(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_steering(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_real_model_steering(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_training(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_stop_strings(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_tokenizers(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_streaming(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_chat_templates(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_jinja(const GoldenFile&, GoldenSet&, GoldenReport&);
void run_published_templates(const GoldenFile&, GoldenSet&, GoldenReport&);

}  // namespace genkit::eval
