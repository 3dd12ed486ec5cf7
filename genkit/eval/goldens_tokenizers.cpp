// tokenizers.json: encoding, decoding, padding and truncation of batches, pairs.

#include <fmt/format.h>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_set.h"

namespace genkit::eval {

namespace {

void check_encoding(const text::Tokenizer& tokenizer, const JsonView& c) {
  const std::string text = c.at("text").string();
  const auto want = c.at("ids").integers<int32_t>();
  expect_ids("ids", tokenizer.encode(text, false), want);
  expect_ids("ids_with_special_tokens", tokenizer.encode(text),
             c.at("ids_with_special_tokens").integers<int32_t>());
  const auto [ids, offsets] = tokenizer.encode_with_offsets(text, false);
  expect_ids("ids beside offsets", ids, want);
  const auto wanted = id_rows(c.at("offsets"));
  if (offsets.size() != wanted.size()) {
    throw Mismatch(fmt::format("offsets: got {}, expected {}", offsets.size(), wanted.size()));
  }
  for (size_t i = 0; i < offsets.size(); ++i) {
    expect_ids(fmt::format("offsets[{}]", i), std::vector<int32_t>{offsets[i].first, offsets[i].second},
               wanted[i]);
  }
}

void check_decoding(const text::Tokenizer& tokenizer, const JsonView& c) {
  const auto ids = c.find("ids_with_special_tokens").value_or(c.find("ids").value_or(c)).integers<int32_t>();
  expect_text("decoded", tokenizer.decode(ids, false), c.at("decoded").string());
  expect_text("decoded_skip_special_tokens", tokenizer.decode(ids, true),
              c.at("decoded_skip_special_tokens").string());
  if (const auto want = c.find("decoded_clean_up")) {
    expect_text("decoded_clean_up", tokenizer.decode(ids, true, true), want->string());
  }
  if (const auto want = c.find("decoded_no_clean_up")) {
    expect_text("decoded_no_clean_up", tokenizer.decode(ids, true, false), want->string());
  }
  if (const auto tokens = c.find("tokens")) {
    for (size_t i = 0; i < ids.size(); ++i) {
      expect_text(fmt::format("tokens[{}]", i), tokenizer.id_to_token(ids[i]).value_or("(no such token)"),
                  tokens->at(i).string());
    }
  }
}

void expect_rows(const std::string& field, const std::vector<std::vector<int32_t>>& got,
                 const JsonView& want) {
  const auto rows = id_rows(want);
  if (got.size() != rows.size()) {
    throw Mismatch(fmt::format("{}: got {} rows, expected {}", field, got.size(), rows.size()));
  }
  for (size_t i = 0; i < got.size(); ++i) expect_ids(fmt::format("{}[{}]", field, i), got[i], rows[i]);
}

void check_batch(const text::Tokenizer& tokenizer, const JsonView& c) {
  const auto texts = c.at("texts").strings();
  text::PaddingOptions options;
  options.padding_side = c.at("padding_side").string();
  const auto batch = tokenizer.encode_padded(texts, options);
  expect_rows("input_ids", batch.input_ids, c.at("input_ids"));
  expect_rows("attention_mask", batch.attention_mask, c.at("attention_mask"));
  const JsonView cut = c.at("truncated_to_6");
  options.max_length = 6;
  options.pad_to_max_length = true;
  const auto shorter = tokenizer.encode_padded(texts, options);
  expect_rows("truncated_to_6.input_ids", shorter.input_ids, cut.at("input_ids"));
  expect_rows("truncated_to_6.attention_mask", shorter.attention_mask, cut.at("attention_mask"));
}

}  // namespace

void run_tokenizers(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  for (const JsonView& c : file.cases()) {
    const std::string name = c.at("name").string();
    report.run(name, [&] {
      const auto tokenizer = set.tokenizer(name.substr(0, name.find('/')));
      if (c.has("input_ids")) {
        check_batch(*tokenizer, c);
      } else if (c.has("texts")) {
        const auto texts = c.at("texts").strings();
        expect_ids("ids_with_special_tokens", tokenizer->encode_pair(texts.at(0), texts.at(1)),
                   c.at("ids_with_special_tokens").integers<int32_t>());
      } else {
        if (c.has("text")) check_encoding(*tokenizer, c);
        check_decoding(*tokenizer, c);
      }
    });
  }
}

}  // namespace genkit::eval
