#include "genkit/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "genkit/base/error.h"
#include "genkit/generate/session.h"

namespace genkit::generate {
namespace {

using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point start) {
  return std::chrono::duration<double>(Steady::now() - start).count();
}

/// The prompts of a request on their way through a session: who has joined, whose result is out.
class Batch {
 public:
  Batch(GenerationSession& session, const GenerationRequest& request) : session_(session), request_(request) {
    if (request.max_rows == 0 || request.max_rows >= request.prompts.size()) return;
    if (request.overrun) throw ArgumentError("max_rows: rows that run on need all the others beside them");
    // A mistake in the last prompt should not come to light after hours.
    for (size_t i = 0; i < request.prompts.size(); ++i) session.check(request.prompts[i], request.config, i);
  }

  /// Lets prompts join while there is room.
  void admit() {
    const size_t room = request_.max_rows == 0 ? request_.prompts.size() : request_.max_rows;
    for (size_t running = session_.running(); joined_ < request_.prompts.size() && running < room;
         ++running) {
      session_.add(request_.prompts[joined_++], request_.config);
    }
  }

  /// Hands the last step's events to the caller, then results that are due; rows that the caller wants no
  /// more are cancelled.
  void deliver() {
    if (request_.on_token) {
      const std::vector<StreamEvent> events = session_.events();
      for (const StreamEvent& event : events) {
        if (request_.on_token(event) || event.finished) continue;
        session_.cancel(event.row);
        for (const StreamEvent& last : session_.events()) request_.on_token(last);
      }
    }
    update();
    while (request_.on_result && out_ < joined_ && session_.ended(out_)) {
      const GeneratedRow row = session_.take(out_);
      result_.timings.new_tokens += row.ids.size();
      request_.on_result(out_++, row, result_.timings);
    }
  }

  /// Ends all rows with what they have; those that had not joined have nothing.
  void cancel() {
    while (joined_ < request_.prompts.size()) session_.add(request_.prompts[joined_++], request_.config);
    session_.cancel_all();
    deliver();
  }

  Timings& timings() { return result_.timings; }

  GenerationResult result() {
    update();
    for (; out_ < joined_; ++out_) {
      result_.rows.push_back(session_.take(out_));
      result_.timings.new_tokens += result_.rows.back().ids.size();
    }
    return std::move(result_);
  }

 private:
  void update() {
    result_.timings.prompt_tokens = session_.prompt_tokens();
    result_.timings.reused_tokens = session_.reused_tokens();
  }

  GenerationSession& session_;
  const GenerationRequest& request_;
  size_t joined_ = 0, out_ = 0;
  GenerationResult result_;
};

}  // namespace

const char* to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

GenerationResult generate(const models::Model& model, const text::Tokenizer* tokenizer,
                          const GenerationRequest& request) {
  if (request.prompts.empty()) throw ArgumentError("prompts: expected at least one");
  GenerationSession session(model, tokenizer,
                            {.model_defaults = request.model_defaults,
                             .hooks = request.hooks,
                             .processors = request.processors,
                             .prefix_allowed_tokens_fn = request.prefix_allowed_tokens_fn,
                             .choose_continuations = request.choose_continuations,
                             .assistant_model = request.assistant_model,
                             .propose_tokens = request.propose_tokens,
                             .clock = request.clock,
                             .prefill_chunk = request.prefill_chunk,
                             .skip_special_tokens = request.skip_special_tokens,
                             .overrun = request.overrun,
                             .prefixes = request.prefixes});
  Batch batch(session, request);
  batch.admit();
  const Steady::time_point start = Steady::now();
  bool first = true;
  while (session.active()) {
    if (request.cancel && request.cancel->load()) {
      batch.cancel();
      break;
    }
    const bool prefilling = session.prompt_tokens_done() < session.prompt_tokens();
    const Steady::time_point before = Steady::now();
    session.step();
    (prefilling ? batch.timings().prefill_s : batch.timings().decode_s) += seconds_since(before);
    if (first && !session.events().empty()) {
      batch.timings().first_token_s = seconds_since(start);
      first = false;
    }
    if (prefilling && request.on_prefill) {
      request.on_prefill(session.prompt_tokens_done(), session.prompt_tokens());
    }
    batch.deliver();
    batch.admit();
  }
  return batch.result();
}

namespace {

int32_t filling(const EffectiveConfig& config) {
  const auto eos = config.values.eos_token_id.value_or(std::vector<int32_t>{});
  const int32_t pad = config.values.pad_token_id.value_or(-1);
  // transformers 5 takes "pad or eos" for beams: 0 counts as none. 4.55 did not.
  if (config.mode == config::GenerationMode::kBeam || config.mode == config::GenerationMode::kBeamSampling)
    return eos.empty() ? -1 : pad > 0 ? pad : eos.front();
  return pad >= 0 ? pad : eos.empty() ? -1 : eos.front();
}

}  // namespace

std::vector<std::vector<int32_t>> padded_sequences(const GenerationResult& result,
                                                   const EffectiveConfig& config) {
  std::vector<std::vector<int32_t>> out;
  size_t longest = 0;
  const auto add = [&](const GeneratedRow& row) {
    std::vector<int32_t>& ids = out.emplace_back(row.prompt_ids);
    ids.insert(ids.end(), row.ids.begin(), row.ids.end());
    ids.insert(ids.end(), row.overrun.begin(), row.overrun.end());
    longest = std::max(longest, ids.size());
  };
  for (const GeneratedRow& row : result.rows) {
    if (row.prompt_ids.size() != result.rows.front().prompt_ids.size()) {
      throw ArgumentError(
          fmt::format("padded_sequences: prompts of {} and {} ids; pad them on the left first",
                      result.rows.front().prompt_ids.size(), row.prompt_ids.size()));
    }
    add(row);
    for (const GeneratedRow& other : row.others) add(other);
  }
  for (auto& ids : out) ids.resize(longest, filling(config));
  return out;
}

}  // namespace genkit::generate
