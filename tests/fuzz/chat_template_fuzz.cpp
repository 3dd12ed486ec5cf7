// Any text as a chat template, rendered over a conversation with tools.
#include "genkit/text/chat_template.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const nlohmann::ordered_json variables = nlohmann::ordered_json::parse(R"({
    "messages": [
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": [{"type": "text", "text": "Wie geht's?"}]},
      {"role": "assistant", "content": "<think>hm</think>Gut \u00e9", "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": {"a": [1, 2.5, null, true]}}}]},
      {"role": "tool", "name": "f", "content": "7"}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters":
      {"type": "object", "properties": {"a": {"type": "array"}}}}}],
    "documents": null, "add_generation_prompt": true, "enable_thinking": false,
    "bos_token": "<s>", "eos_token": "</s>", "items": [3, 1, 2], "text": "abc", "empty": [], "none": null})");
  return genkit::fuzz::run([&] {
    genkit::text::render_template(genkit::fuzz::as_text(data, size), variables, "2026-03-14T09:26:53");
  });
}
