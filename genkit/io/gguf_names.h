#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace genkit::io {

/// What GGUF stores otherwise than transformers, to be undone.
enum class GgufChange : uint8_t {
  kNone,
  kRopeQuery,  ///< rows of each query head in the order that interleaved rope wants
  kRopeKey,    ///< the same for keys
  kPlusOne,    ///< norms with one added
  kQkvBlocks,  ///< all queries, all keys, all values, instead of side by side for each head
  kHeadNorms,  ///< norms of all heads in one matrix
};

/// One name of a family: a part of a GGUF name, and what stands for it in transformers' name.
struct GgufNameRow {
  std::string_view gguf;
  std::string_view hf;
  GgufChange change = GgufChange::kNone;
};

/// A family as GGUF knows it.
struct GgufFamily {
  std::string_view architecture;  ///< general.architecture
  std::string_view model_type;    ///< config.json's
  std::string_view layers;        ///< what "blk." stands for: "model.layers."
  std::span<const GgufNameRow> global;
  std::span<const GgufNameRow> layer;  ///< rows of this family, before those all families share
  bool norms_plus_one = false;         ///< tensors that end in "norm.weight"
  bool rope_permuted = false;          ///< attn_q and attn_k
};

/// Nothing for an architecture that this library does not read.
const GgufFamily* find_gguf_family(std::string_view architecture, bool has_experts);
/// "llama, qwen2, ...", for messages.
std::string gguf_architectures();

/// A tensor's place in transformers.
struct GgufName {
  std::string name;
  GgufChange change = GgufChange::kNone;
};

/// Nothing for tensors that are no weights of the model (rope_freqs.weight).
/// A name that the family does not know is given back as it is.
std::optional<GgufName> hf_name(const GgufFamily& family, std::string_view gguf_name);

}  // namespace genkit::io
