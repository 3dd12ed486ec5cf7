#include "cli/result_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace genkit::cli {

using Json = nlohmann::ordered_json;

namespace {

double rate(size_t tokens, double seconds) { return seconds > 0 ? static_cast<double>(tokens) / seconds : 0; }

}  // namespace

std::string timings_line(const generate::Timings& t) {
  const std::string reused =
      t.reused_tokens > 0 ? fmt::format(" ({} of them from a cache)", t.reused_tokens) : "";
  return fmt::format("prompt {} tokens{}, {:.1f}/s; new {} tokens, {:.1f}/s; first token after {:.2f} s\n",
                     t.prompt_tokens, reused, rate(t.prompt_tokens - t.reused_tokens, t.prefill_s),
                     t.new_tokens, rate(t.new_tokens, t.decode_s), t.first_token_s);
}

ResultWriter::ResultWriter(Output& out, const std::string& format, const std::vector<PromptSource>& prompts,
                           const text::Tokenizer* tokenizer)
    : out_(out), format_(format), prompts_(prompts), tokenizer_(tokenizer) {}

void ResultWriter::write_text(size_t row, const std::string& text) {
  if (prompts_.size() > 1 && !header_written_) {
    out_.write(fmt::format("==> {} <==\n", row + 1));
    header_written_ = true;
    last_byte_ = '\n';
  }
  if (text.empty()) return;
  out_.write(text);
  last_byte_ = text.back();
}

void ResultWriter::stream(const generate::StreamEvent& event) {
  if (format_ != "text" || tokenizer_ == nullptr) return;
  if (event.row >= waiting_.size()) {
    waiting_.resize(event.row + 1);
    finished_.resize(event.row + 1, false);
  }
  waiting_[event.row] += event.text;
  if (event.finished) finished_[event.row] = true;
  while (live_ < waiting_.size()) {
    write_text(live_, std::exchange(waiting_[live_], {}));
    if (!finished_[live_]) return;
    if (last_byte_ != '\n') write_text(live_, "\n");
    ++live_;
    header_written_ = false;
  }
}

void ResultWriter::set_verdict(const steering::GuardVerdict& verdict, const generate::GeneratedRow* base) {
  verdict_ = {
      {"resampled", verdict.resampled}, {"identical", verdict.identical}, {"suspect", verdict.suspect}};
  base_ = nullptr;
  if (base == nullptr) return;
  base_ = {{"ids", base->ids}, {"text", base->text}, {"seed", base->seed}};
}

void ResultWriter::add(size_t index, const generate::GeneratedRow& row, const generate::Timings& so_far) {
  timings_ = so_far;
  const auto guarded = [&] {
    Json json = row_json(row, index);
    if (!verdict_.is_null()) json["guard"] = verdict_;
    if (!base_.is_null()) json["base"] = base_;
    return json;
  };
  if (format_ == "json") {
    rows_.push_back(guarded());
  } else if (format_ == "jsonl") {
    Json json = guarded();
    json["timings"] = timings_json();
    write_json(json);
  } else if (tokenizer_ == nullptr) {
    write_text(index, fmt::format("{}\n", fmt::join(row.ids, ",")));
    header_written_ = false;
  }
}

void ResultWriter::finish(double load_s) {
  load_s_ = load_s;
  if (format_ != "json") return;
  Json all = {{"rows", std::move(rows_)}};
  if (guard_) all["guard"] = steering::to_json(*guard_);
  all["timings"] = timings_json();
  write_json(all);
}

Json ResultWriter::top_json(const std::vector<std::vector<generate::TokenLogprob>>& top) const {
  Json steps = Json::array();
  for (const auto& step : top) {
    Json best = Json::array();
    for (const generate::TokenLogprob& t : step) {
      Json entry = {{"id", t.id}, {"logprob", t.logprob}};
      if (tokenizer_ != nullptr) entry["token"] = tokenizer_->id_to_token(t.id).value_or("");
      best.push_back(std::move(entry));
    }
    steps.push_back(std::move(best));
  }
  return steps;
}

Json ResultWriter::row_json(const generate::GeneratedRow& row, size_t index) const {
  Json json = {{"index", index}};
  const PromptSource& source = prompts_[index];
  if (source.text) json["prompt"] = *source.text;
  if (source.messages) json["messages"] = *source.messages;
  json["prompt_ids"] = row.prompt_ids;
  json["ids"] = row.ids;
  json["text"] = tokenizer_ == nullptr ? Json() : Json(row.text);
  json["finish_reason"] = generate::to_string(row.finish_reason);
  if (row.finish_reason == generate::FinishReason::kStopString) json["stop_string"] = row.stop_string;
  if (!row.logprobs.empty()) json["logprobs"] = row.logprobs;
  if (!row.top_logprobs.empty()) json["top_logprobs"] = top_json(row.top_logprobs);
  if (!row.prompt_logprobs.empty()) {
    json["prompt_logprobs"] = row.prompt_logprobs;  // null for the first, which nothing precedes
    json["prompt_top_logprobs"] = top_json(row.prompt_top_logprobs);
  }
  if (!row.transition_scores.empty()) {
    json["transition_scores"] = row.transition_scores;
    json["normalized_transition_scores"] = row.normalized_transition_scores;
  }
  if (!row.scores.empty()) json["scores"] = row.scores;
  if (!row.logits.empty()) json["logits"] = row.logits;
  json["seed"] = row.seed;
  if (row.speculative) {
    json["drafted"] = row.drafted;
    json["accepted"] = row.accepted;
  }
  if (row.sequence_score) {
    json["sequence_score"] = *row.sequence_score;
    json["beam_indices"] = row.beam_indices;
    if (row.holds_forced_words) json["holds_forced_words"] = *row.holds_forced_words;
  }
  if (!row.others.empty()) {
    Json others = Json::array();
    for (const generate::GeneratedRow& other : row.others) others.push_back(row_json(other, index));
    json["others"] = std::move(others);
  }
  return json;
}

Json ResultWriter::timings_json() const {
  Json json = {{"prefill_s", timings_.prefill_s},
               {"decode_s", timings_.decode_s},
               {"first_token_s", timings_.first_token_s},
               {"prompt_tokens", timings_.prompt_tokens},
               {"reused_tokens", timings_.reused_tokens},
               {"new_tokens", timings_.new_tokens},
               {"prompt_tps", rate(timings_.prompt_tokens - timings_.reused_tokens, timings_.prefill_s)},
               {"gen_tps", rate(timings_.new_tokens, timings_.decode_s)}};
  if (format_ == "json") json["load_s"] = load_s_;
  return json;
}

void ResultWriter::write_json(const Json& json) {
  out_.write(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string ResultWriter::timings_line() const {
  std::string text = fmt::format("load {:.2f} s; {}", load_s_, cli::timings_line(timings_));
  if (guard_) {
    text +=
        fmt::format("of {} rows {} identical, {} drawn again, {} left; {} suspect, {} drawn again, {} left\n",
                    guard_->rows, guard_->identical, guard_->identical_resampled, guard_->identical_left,
                    guard_->suspect, guard_->suspect_resampled, guard_->suspect_left);
  }
  return text;
}

}  // namespace genkit::cli
