// streaming.json: text as it becomes certain, token by token.

#include <fmt/format.h>

#include "genkit/eval/golden_compare.h"
#include "genkit/eval/golden_set.h"
#include "genkit/text/stream_decoder.h"
#include "genkit/text/text_streamer.h"

namespace genkit::eval {

namespace {

void check_decode_stream(const std::shared_ptr<const text::Tokenizer>& tokenizer,
                         std::span<const int32_t> ids, const JsonView& steps, const std::string& whole) {
  text::DecodeStream stream(tokenizer);
  for (size_t i = 0; i < ids.size() && i < steps.size(); ++i) {
    const JsonView want = steps.at(i);
    if (want.is_object()) break;  // the recorded engine gave up here
    const std::string piece = stream.step(ids[i]).value_or("");
    expect_text(fmt::format("decode_stream_steps[{}]", i), piece, want.is_null() ? "" : want.string());
  }
  text::StreamDecoder decoder(tokenizer);
  std::string streamed;
  for (const int32_t id : ids) streamed += decoder.push(id);
  expect_text("streamed text", streamed + decoder.finish(), whole);
}

void check_text_streamer(const std::string& field, const std::shared_ptr<const text::Tokenizer>& tokenizer,
                         std::span<const int32_t> ids, const JsonView& chunks) {
  text::TextStreamer streamer(tokenizer, true);
  std::vector<std::string> got;
  for (const int32_t id : ids) got.push_back(streamer.put(id));
  got.push_back(streamer.end());
  if (got.size() != chunks.size()) {
    throw Mismatch(fmt::format("{}: got {} chunks, expected {}", field, got.size(), chunks.size()));
  }
  for (size_t i = 0; i < got.size(); ++i) {
    expect_text(fmt::format("{}[{}]", field, i), got[i], chunks.at(i).string());
  }
}

}  // namespace

void run_streaming(const GoldenFile& file, GoldenSet& set, GoldenReport& report) {
  for (const JsonView& c : file.cases()) {
    const std::string name = c.at("name").string();
    report.run(name, [&] {
      const auto tokenizer = set.tokenizer(name.substr(0, name.find('/')));
      const auto ids = c.at("ids").integers<int32_t>();
      const std::span<const int32_t> all(ids);
      expect_ids("ids", tokenizer->encode(c.at("text").string()), ids);
      const auto prefixes = c.at("prefix_decodes").strings();
      for (size_t n = 1; n <= ids.size() && n <= prefixes.size(); ++n) {
        expect_text(fmt::format("prefix_decodes[{}]", n - 1), tokenizer->decode(all.first(n), true),
                    prefixes[n - 1]);
      }
      check_decode_stream(tokenizer, all, c.at("decode_stream_steps"), tokenizer->decode(all, true));
      check_text_streamer("text_streamer_chunks", tokenizer, all, c.at("text_streamer_chunks"));
      const JsonView later = c.at("text_streamer_skip_prompt_2_chunks");
      check_text_streamer("text_streamer_skip_prompt_2_chunks", tokenizer,
                          all.subspan(std::min<size_t>(2, all.size())), later);
    });
  }
}

}  // namespace genkit::eval
