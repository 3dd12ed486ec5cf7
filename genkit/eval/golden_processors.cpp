#include "genkit/eval/golden_processors.h"

#include <functional>
#include <map>

#include "genkit/base/field_table.h"
#include "genkit/base/json_reader.h"
#include "genkit/config/generation_fields.h"

namespace genkit::eval {
namespace {

struct Source {
  JsonView test_case;
  JsonView params;
  size_t row;
  int vocab_size;

  std::vector<int32_t> ids(const char* key) const {
    const auto found = params.find(key);
    std::vector<int32_t> out;
    if (found) field::read_field(*found, out);
    return out;
  }
  int keep() const { return params.integer_or<int>("min_tokens_to_keep", 1); }
  std::vector<int32_t> encoder_ids() const {
    return test_case.at("encoder_input_ids").at(row).integers<int32_t>();
  }
};

using Make = std::function<logits::ProcessorPtr(const Source&)>;

logits::ProcessorPtr watermark(const Source& s) {
  config::Watermark options;
  if (s.params.at("seeding_scheme").string() == "selfhash")
    options.scheme = config::Watermark::Scheme::kSelfHash;
  options.greenlist_ratio = s.params.at("greenlist_ratio").number();
  options.bias = s.params.at("bias").number();
  options.hashing_key = s.params.at("hashing_key").integer<uint64_t>();
  options.context_width = s.params.at("context_width").integer<int>();
  return logits::watermark(options);
}

const std::map<std::string, Make>& makers() {
  static const auto number = [](const Source& s, const char* key) { return s.params.at(key).number(); };
  static const auto count = [](const Source& s, const char* key) { return s.params.at(key).integer<int>(); };
  static const std::map<std::string, Make> table = {
      {"temperature", [](const Source& s) { return logits::temperature(number(s, "temperature")); }},
      {"top_k", [](const Source& s) { return logits::top_k(count(s, "top_k"), s.keep()); }},
      {"top_p", [](const Source& s) { return logits::top_p(number(s, "top_p"), s.keep()); }},
      {"top_h", [](const Source& s) { return logits::top_h(number(s, "top_h")); }},
      {"min_p", [](const Source& s) { return logits::min_p(number(s, "min_p"), s.keep()); }},
      {"typical_p", [](const Source& s) { return logits::typical_p(number(s, "typical_p"), s.keep()); }},
      {"epsilon_cutoff",
       [](const Source& s) { return logits::epsilon_cutoff(number(s, "epsilon_cutoff"), s.keep()); }},
      {"eta_cutoff", [](const Source& s) { return logits::eta_cutoff(number(s, "eta_cutoff"), s.keep()); }},
      {"renormalize_logits", [](const Source&) { return logits::renormalize(); }},
      {"remove_invalid_values", [](const Source&) { return logits::remove_invalid_values(); }},
      {"repetition_penalty",
       [](const Source& s) {
         // One number for all rows, or one a row.
         const auto ignored = s.params.find("prompt_ignore_length");
         const int padding = !ignored              ? 0
                             : ignored->is_array() ? ignored->at(s.row).integer<int>(0)
                                                   : ignored->integer<int>(0);
         return logits::repetition_penalty(number(s, "repetition_penalty"), padding);
       }},
      {"encoder_repetition_penalty",
       [](const Source& s) {
         return logits::encoder_repetition_penalty(number(s, "encoder_repetition_penalty"), s.encoder_ids());
       }},
      {"no_repeat_ngram_size",
       [](const Source& s) { return logits::no_repeat_ngram(count(s, "no_repeat_ngram_size")); }},
      {"encoder_no_repeat_ngram_size",
       [](const Source& s) {
         return logits::encoder_no_repeat_ngram(count(s, "encoder_no_repeat_ngram_size"), s.encoder_ids());
       }},
      {"bad_words_ids",
       [](const Source& s) {
         std::vector<std::vector<int32_t>> words;
         field::read_field(s.params.at("bad_words_ids"), words);
         return logits::bad_words(words, s.ids("eos_token_id"), s.vocab_size);
       }},
      {"sequence_bias",
       [](const Source& s) {
         const auto entries = s.params.at("sequence_bias").array_of([](const JsonView& v) {
           config::SequenceBias entry;
           config::read_field(v, entry);
           return entry;
         });
         return logits::sequence_bias(entries, s.vocab_size);
       }},
      {"min_length",
       [](const Source& s) { return logits::min_length(count(s, "min_length"), s.ids("eos_token_id")); }},
      {"min_new_tokens",
       [](const Source& s) {
         return logits::min_new_tokens(count(s, "min_new_tokens"), count(s, "prompt_length"),
                                       s.ids("eos_token_id"));
       }},
      {"forced_bos_token_id",
       [](const Source& s) { return logits::forced_bos(count(s, "forced_bos_token_id"), s.vocab_size); }},
      {"forced_eos_token_id",
       [](const Source& s) {
         return logits::forced_eos(s.ids("forced_eos_token_id"), count(s, "max_length"), s.vocab_size);
       }},
      {"suppress_tokens", [](const Source& s) { return logits::suppress_tokens(s.ids("suppress_tokens")); }},
      {"begin_suppress_tokens",
       [](const Source& s) {
         return logits::suppress_tokens_at(s.ids("begin_suppress_tokens"), count(s, "begin_index"));
       }},
      {"exponential_decay_length_penalty",
       [](const Source& s) {
         config::LengthDecay decay;
         config::read_field(s.params.at("exponential_decay_length_penalty"), decay);
         return logits::exponential_decay(decay, count(s, "prompt_length"), s.ids("eos_token_id"),
                                          s.vocab_size);
       }},
      {"watermark_lefthash", watermark},
      {"watermark_selfhash", watermark},
      {"watermark_synthid",
       [](const Source& s) {
         config::Watermark options;
         nlohmann::json json = s.params.json();
         config::read_field(JsonView(json, "params"), options);
         const auto first = s.test_case.at("input_ids_per_call").at(0).at(s.row).integers<int32_t>();
         return logits::synthid_watermark(options.synthid, static_cast<int>(first.size()));
       }},
      {"prefix_allowed_tokens",
       [](const Source& s) -> logits::ProcessorPtr {
         // What the callback returned for the row with those ids.
         std::map<std::vector<int32_t>, std::vector<int32_t>> allowed;
         const JsonView rows = s.test_case.at("input_ids"), lists = s.test_case.at("allowed_per_row");
         for (size_t row = 0; row < rows.size(); ++row) {
           allowed[rows.at(row).integers<int32_t>()] = lists.at(row).integers<int32_t>();
         }
         return logits::prefix_constraint(
             [allowed](size_t, std::span<const int32_t> ids) {
               return allowed.at(std::vector<int32_t>(ids.begin(), ids.end()));
             },
             s.row);
       }},
      {"min_eos_p",
       [](const Source& s) { return logits::min_eos_p(number(s, "min_eos_p"), s.ids("eos_token_id")); }},
  };
  return table;
}

}  // namespace

logits::ProcessorPtr golden_processor(const nlohmann::json& test_case, size_t row, int vocab_size) {
  const JsonView view(test_case, test_case.value("name", "case"));
  const auto found = makers().find(view.at("processor").string());
  if (found == makers().end()) return nullptr;
  return found->second({view, view.at("params"), row, vocab_size});
}

}  // namespace genkit::eval
