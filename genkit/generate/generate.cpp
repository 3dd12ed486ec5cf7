#include "genkit/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "genkit/base/error.h"
#include "genkit/generate/session.h"

namespace genkit::generate {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Hands the last step's events to the caller; rows it wants no more are cancelled.
void deliver(GenerationSession& session, const GenerationRequest& request) {
  if (!request.on_token) return;
  const std::vector<StreamEvent> events = session.events();
  for (const StreamEvent& event : events) {
    if (request.on_token(event) || event.finished) continue;
    session.cancel(event.row);
    for (const StreamEvent& last : session.events()) request.on_token(last);
  }
}

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
                             .prefill_chunk = request.prefill_chunk,
                             .skip_special_tokens = request.skip_special_tokens,
                             .overrun = request.overrun});
  for (const Prompt& prompt : request.prompts) session.add(prompt, request.config);

  GenerationResult result;
  Timings& timings = result.timings;
  const Clock::time_point start = Clock::now();
  timings.prompt_tokens = session.prompt_tokens();
  bool prefilling = true, first = true;
  for (bool more = true; more;) {
    if (request.cancel && request.cancel->load()) {
      session.cancel_all();
      deliver(session, request);
      break;
    }
    more = session.step();
    if (first && !session.events().empty()) {
      timings.first_token_s = seconds_since(start);
      first = false;
    }
    if (prefilling) {
      if (request.on_prefill) request.on_prefill(session.prompt_tokens_done(), session.prompt_tokens());
      if (session.prompt_tokens_done() == session.prompt_tokens()) {
        timings.prefill_s = seconds_since(start);
        prefilling = false;
      }
    }
    deliver(session, request);
    more = session.active();
  }
  const double total = seconds_since(start);
  if (prefilling) timings.prefill_s = total;
  timings.decode_s = total - timings.prefill_s;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    result.rows.push_back(session.take(i));
    timings.new_tokens += result.rows.back().ids.size();
  }
  return result;
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
