#pragma once

#include <optional>
#include <span>
#include <vector>

#include "genkit/generate/cache_row.h"
#include "genkit/generate/row_setup.h"
#include "genkit/generate/stop_rules.h"
#include "genkit/generate/strategy.h"
#include "genkit/generate/text_output.h"

namespace genkit::generate {

/// What a row of one sequence has come to: its tokens and text, what is recorded of every step, and whether
/// it has ended. How its tokens are chosen is the strategy's.
class RowOutput {
 public:
  /// @param setup must outlive this. @throws ArgumentError naming stop_strings.
  explicit RowOutput(const RowSetup& setup);

  /// The prompt with its padding, then the new tokens.
  const std::vector<int32_t>& context() const { return context_; }
  size_t new_tokens() const { return context_.size() - setup_.prompt.ids.size(); }
  bool finished() const { return finished_; }  ///< @see Strategy::finished
  bool done() const { return done_; }          ///< @see Strategy::done

  /// The next token, final. @param logits [vocab] of the model; @param scores [vocab] that it was chosen by;
  ///        may be empty where no option asks for them.
  void add(int32_t id, std::span<const float> logits, std::span<const float> scores,
           std::vector<StreamEvent>& events);
  void cancel(std::vector<StreamEvent>& events);
  GeneratedRow& result() { return result_; }
  GeneratedRow take() { return std::move(result_); }
  /// @throws Error that says in which row and step no token can be chosen.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  void record(int32_t id, std::span<const float> logits, std::span<const float> scores);
  void finish(FinishReason reason, StreamEvent& event);

  const RowSetup& setup_;
  StopRules stop_;
  std::optional<TextOutput> text_;
  std::vector<int32_t> context_;
  bool finished_ = false;
  bool done_ = false;
  GeneratedRow result_;
};

/// The other branch of classifier-free guidance: the negative prompt, or the prompt's last token where
/// there is none. Nothing without guidance_scale.
std::optional<CacheRow> unconditional_branch(const RowSetup& setup);

}  // namespace genkit::generate
