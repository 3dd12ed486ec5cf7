#include "genkit/generate/prompt.h"

#include <fmt/format.h>

#include <algorithm>

#include "genkit/base/error.h"

namespace genkit::generate {
namespace {

constexpr int kDefaultNewTokens = 20;

/// The pad id that transformers would use: the first EOS id where none is set.
std::optional<int32_t> pad_id(const GenerationConfig& config) {
  if (config.pad_token_id && *config.pad_token_id >= 0) return config.pad_token_id;
  if (config.eos_token_id && !config.eos_token_id->empty()) return config.eos_token_id->front();
  return {};
}

std::vector<int32_t> attention_mask(const Prompt& prompt, const GenerationConfig& config,
                                    const std::string& name) {
  std::vector<int32_t> mask = prompt.attention_mask;
  if (mask.empty()) {
    mask.assign(prompt.ids.size(), 1);
    const std::optional<int32_t> pad = pad_id(config);
    const auto eos = config.eos_token_id.value_or(std::vector<int32_t>{});
    if (pad && std::find(eos.begin(), eos.end(), *pad) == eos.end()) {
      for (size_t i = 0; i < mask.size(); ++i) mask[i] = prompt.ids[i] != *pad;
    }
  } else if (mask.size() != prompt.ids.size()) {
    throw ArgumentError(
        fmt::format("{}: attention_mask has {} entries for {} ids", name, mask.size(), prompt.ids.size()));
  }
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0 && mask[i] != 1) {
      throw ArgumentError(
          fmt::format("{}: attention_mask: expected 0 or 1 at position {}, got {}", name, i, mask[i]));
    }
  }
  if (mask.back() == 0) {
    throw ArgumentError(fmt::format("{}: its last token is padding; prompts are padded on the left", name));
  }
  return mask;
}

/// A masked token between others shifts positions but not the indices that transformers' sliding
/// windows go by; taking it out is the same only where no window is reached.
void check_holes(const std::vector<int32_t>& mask, int padding, int max_length,
                 const config::ModelConfig& model, const std::string& name) {
  const bool holes = std::find(mask.begin() + padding, mask.end(), 0) != mask.end();
  const bool slides = std::find(model.layer_kinds.begin(), model.layer_kinds.end(),
                                config::LayerKind::kSliding) != model.layer_kinds.end();
  if (holes && slides && max_length > model.sliding_window) {
    throw ArgumentError(fmt::format(
        "{}: attention_mask leaves out tokens between others, which a model with sliding windows cannot do",
        name));
  }
}

void check_ids(const std::vector<int32_t>& ids, int vocab, const std::string& name) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab) continue;
    throw ArgumentError(
        fmt::format("{}: id {} at position {} is outside the vocabulary of {}", name, ids[i], i, vocab));
  }
}

int resolve_max_length(const GenerationConfig& config, const config::ModelConfig& model, int prompt_length,
                       const std::string& name) {
  const int positions = model.max_position_embeddings;
  const int64_t wanted = config.max_new_tokens ? int64_t{prompt_length} + *config.max_new_tokens
                         : config.max_length   ? *config.max_length
                         : positions > 0
                             ? std::min<int64_t>(int64_t{prompt_length} + kDefaultNewTokens, positions)
                             : int64_t{prompt_length} + kDefaultNewTokens;
  const char* option = config.max_new_tokens ? "max_new_tokens" : "max_length";
  if (wanted > std::numeric_limits<int>::max()) {
    throw ArgumentError(fmt::format("{}: {} after a prompt of {} tokens is too long", option,
                                    config.max_new_tokens.value_or(0), prompt_length));
  }
  if (wanted <= prompt_length) {
    if (config.max_length) {
      throw ArgumentError(fmt::format("max_length: {} leaves no room after the {} tokens of {}", wanted,
                                      prompt_length, name));
    }
    throw ArgumentError(
        fmt::format("{}: its {} tokens fill the model's {} positions", name, prompt_length, positions));
  }
  return static_cast<int>(wanted);
}

/// Learned positions end; rotary ones can be gone past, as transformers does, by whoever asks for it.
void check_positions(const GenerationConfig& config, const config::ModelConfig& model, int tokens, int total,
                     const std::string& name) {
  const int positions = model.max_position_embeddings;
  if (positions <= 0) return;
  const bool grows = model.rope.type == config::RopeType::kDynamic;
  if (tokens > positions && !grows) {
    throw ArgumentError(
        fmt::format("{}: {} tokens are more than the model's {} positions", name, tokens, positions));
  }
  if (model.family == config::Family::kGpt2 && total > positions) {
    throw ArgumentError(fmt::format("{}: {} tokens in all are more than the model's {} positions",
                                    config.max_new_tokens ? "max_new_tokens" : "max_length", total,
                                    positions));
  }
}

}  // namespace

PreparedPrompt prepare_prompt(const Prompt& prompt, const EffectiveConfig& effective,
                              const models::Model& model, const std::string& name, int virtual_tokens) {
  const GenerationConfig& config = effective.values;
  if (prompt.ids.empty()) throw ArgumentError(name + ": is empty");
  if (prompt.ids.size() > static_cast<size_t>(std::numeric_limits<int>::max() / 2)) {
    throw ArgumentError(fmt::format("{}: {} tokens are too many", name, prompt.ids.size()));
  }
  check_ids(prompt.ids, model.config().vocab_size, name);
  check_ids(prompt.negative_prompt_ids, model.config().vocab_size, name + ": negative_prompt_ids");
  if (!prompt.negative_prompt_ids.empty() && config.guidance_scale.value_or(1) == 1) {
    throw ArgumentError(name + ": negative_prompt_ids: has no effect without guidance_scale");
  }
  const std::vector<int32_t> mask = attention_mask(prompt, config, name);
  PreparedPrompt out;
  out.ids = prompt.ids;
  out.padding = static_cast<int>(std::find(mask.begin(), mask.end(), 1) - mask.begin());
  out.tokens.assign(static_cast<size_t>(virtual_tokens), 0);
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i]) out.tokens.push_back(prompt.ids[i]);
  }
  const int length = static_cast<int>(out.ids.size()), tokens = static_cast<int>(out.tokens.size());
  // Before the length is resolved: "too long" says more than "no room".
  check_positions(config, model.config(), tokens, tokens, name);
  out.max_length = resolve_max_length(config, model.config(), length, name);
  check_positions(config, model.config(), tokens, tokens + out.max_length - length, name);
  check_holes(mask, out.padding, out.max_length, model.config(), name);
  return out;
}

}  // namespace genkit::generate
