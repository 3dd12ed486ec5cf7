#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/prompts.h"
#include "genkit/generate/generate.h"
#include "genkit/steering/guard.h"

namespace genkit::cli {

/// "prompt 9 tokens, 100.0/s; ..." and a newline.
std::string timings_line(const generate::Timings& timings);

/// Writes results as text while they come, or as JSON.
///
/// Text: one prompt's continuation and a newline; of several, each under "==> N <==".
/// json: one object with "rows" and "timings", at the end. jsonl: an object a prompt, as soon as it and
/// those before it have ended, with its number as "index".
class ResultWriter {
 public:
  ResultWriter(Output& out, const std::string& format, const std::vector<PromptSource>& prompts,
               const text::Tokenizer* tokenizer);

  /// Text of a row that runs.
  void stream(const generate::StreamEvent& event);
  /// A row's end; rows come in the order of the prompts.
  void add(size_t index, const generate::GeneratedRow& row, const generate::Timings& so_far);
  /// What a guard did to a row that add() is called with next, and the unsteered row that it was held
  /// against, or null.
  void set_verdict(const steering::GuardVerdict& verdict, const generate::GeneratedRow* base);
  /// Of all rows, for the JSON object at the end.
  void set_guard(const steering::GuardCounters& counters) { guard_ = counters; }
  void set_timings(const generate::Timings& timings) { timings_ = timings; }
  void finish(double load_s);
  std::string timings_line() const;

 private:
  nlohmann::ordered_json row_json(const generate::GeneratedRow& row, size_t index) const;
  nlohmann::ordered_json top_json(const std::vector<std::vector<generate::TokenLogprob>>& top) const;
  nlohmann::ordered_json timings_json() const;
  void write_json(const nlohmann::ordered_json& json);
  void write_text(size_t row, const std::string& text);

  Output& out_;
  std::string format_;
  const std::vector<PromptSource>& prompts_;
  const text::Tokenizer* tokenizer_;
  // Text of a batch: one row is live, the rows after it wait.
  size_t live_ = 0;
  std::vector<std::string> waiting_;
  std::vector<bool> finished_;
  bool header_written_ = false;
  char last_byte_ = '\n';
  nlohmann::ordered_json rows_ = nlohmann::ordered_json::array();
  nlohmann::ordered_json verdict_;  ///< of the next row; null without a guard
  nlohmann::ordered_json base_;
  std::optional<steering::GuardCounters> guard_;
  generate::Timings timings_;
  double load_s_ = 0;
};

}  // namespace genkit::cli
