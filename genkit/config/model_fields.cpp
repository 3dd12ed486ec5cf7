#include "genkit/config/model_fields.h"

#include <algorithm>
#include <array>

namespace genkit::config {
namespace {

using enum Family;

template <class... F>
constexpr Families of(F... families) {
  return (mask(families) | ...);
}

constexpr Families kGemmas = of(kGemma, kGemma2, kGemma3);
constexpr Families kQwens = of(kQwen2, kQwen3, kQwen3Moe);
constexpr Families kMoes = of(kMixtral, kQwen3Moe);
constexpr Families kAllBut3 = kAllFamilies & ~of(kGemma3);
constexpr Families kAllButGpt2 = kAllFamilies & ~of(kGpt2);

constexpr double kMaxSize = 1 << 22;
constexpr double kMaxVocab = 1 << 24;
constexpr double kMaxLayers = 10000;
constexpr double kMaxHeads = 1 << 16;
constexpr double kMaxPositions = 1 << 30;
constexpr double kMaxScale = 1e6;

#define GENKIT_FIELD(member) [](ModelConfig& c) -> FieldTarget { return &c.member; }

constexpr FieldRow kRows[] = {
    // Sizes.
    {"vocab_size", "", kAllBut3, GENKIT_FIELD(vocab_size), kRequired, 1, kMaxVocab},
    {"vocab_size", "", of(kGemma3), GENKIT_FIELD(vocab_size), "262208", 1, kMaxVocab},
    {"hidden_size", "", kAllBut3& kAllButGpt2, GENKIT_FIELD(hidden_size), kRequired, 1, kMaxSize},
    {"hidden_size", "", of(kGemma3), GENKIT_FIELD(hidden_size), "2304", 1, kMaxSize},
    {"n_embd", "hidden_size", of(kGpt2), GENKIT_FIELD(hidden_size), kRequired, 1, kMaxSize},
    {"intermediate_size", "", kAllBut3& kAllButGpt2, GENKIT_FIELD(intermediate_size), kRequired, 1, kMaxSize},
    {"intermediate_size", "", of(kGemma3), GENKIT_FIELD(intermediate_size), "9216", 1, kMaxSize},
    {"n_inner", "intermediate_size", of(kGpt2), GENKIT_FIELD(intermediate_size), kDerived, 1, kMaxSize},
    {"num_hidden_layers", "", kAllBut3& kAllButGpt2, GENKIT_FIELD(num_hidden_layers), kRequired, 1,
     kMaxLayers},
    {"num_hidden_layers", "", of(kGemma3), GENKIT_FIELD(num_hidden_layers), "26", 1, kMaxLayers},
    {"n_layer", "num_hidden_layers", of(kGpt2), GENKIT_FIELD(num_hidden_layers), kRequired, 1, kMaxLayers},
    {"num_attention_heads", "", kAllBut3& kAllButGpt2, GENKIT_FIELD(num_attention_heads), kRequired, 1,
     kMaxHeads},
    {"num_attention_heads", "", of(kGemma3), GENKIT_FIELD(num_attention_heads), "8", 1, kMaxHeads},
    {"n_head", "num_attention_heads", of(kGpt2), GENKIT_FIELD(num_attention_heads), kRequired, 1, kMaxHeads},
    {"num_key_value_heads", "", of(kMistral, kMixtral), GENKIT_FIELD(num_key_value_heads), "8", 1, kMaxHeads},
    {"num_key_value_heads", "", of(kQwen2, kQwen3, kStableLm), GENKIT_FIELD(num_key_value_heads), "32", 1,
     kMaxHeads},
    {"num_key_value_heads", "", of(kGemma), GENKIT_FIELD(num_key_value_heads), "16", 1, kMaxHeads},
    {"num_key_value_heads", "", of(kQwen3Moe, kGemma2, kGemma3, kSmolLm3), GENKIT_FIELD(num_key_value_heads),
     "4", 1, kMaxHeads},
    {"num_key_value_heads", "", of(kStarcoder2, kGlm4), GENKIT_FIELD(num_key_value_heads), "2", 1, kMaxHeads},
    {"num_key_value_heads", "", of(kLlama, kPhi3, kOlmo2, kGranite, kCohere, kGpt2, kGptNeox),
     GENKIT_FIELD(num_key_value_heads), kDerived, 1, kMaxHeads},
    {"head_dim", "", kGemmas, GENKIT_FIELD(head_dim), "256", 1, kMaxSize},
    {"head_dim", "", of(kQwen3, kGlm4), GENKIT_FIELD(head_dim), "128", 1, kMaxSize},
    {"head_dim", "", kAllFamilies & ~(kGemmas | of(kQwen3, kGlm4)), GENKIT_FIELD(head_dim), kDerived, 1,
     kMaxSize},
    {"max_position_embeddings", "", of(kLlama, kOlmo2, kGranite, kGptNeox),
     GENKIT_FIELD(max_position_embeddings), "2048", 1, kMaxPositions},
    {"max_position_embeddings", "", of(kPhi3, kStableLm, kStarcoder2), GENKIT_FIELD(max_position_embeddings),
     "4096", 1, kMaxPositions},
    {"max_position_embeddings", "", of(kGemma, kGemma2, kCohere), GENKIT_FIELD(max_position_embeddings),
     "8192", 1, kMaxPositions},
    {"max_position_embeddings", "", kQwens | of(kSmolLm3), GENKIT_FIELD(max_position_embeddings), "32768", 1,
     kMaxPositions},
    {"max_position_embeddings", "", of(kMistral, kMixtral, kGemma3, kGlm4),
     GENKIT_FIELD(max_position_embeddings), "131072", 1, kMaxPositions},
    {"n_positions", "max_position_embeddings", of(kGpt2), GENKIT_FIELD(max_position_embeddings), "1024", 1,
     kMaxPositions},

    // Norms and activations.
    {"rms_norm_eps", "", of(kLlama, kMistral, kGranite, kSmolLm3) | kQwens | kGemmas, GENKIT_FIELD(norm_eps),
     "1e-6", 0, 1},
    {"rms_norm_eps", "", of(kMixtral, kPhi3, kOlmo2), GENKIT_FIELD(norm_eps), "1e-5", 0, 1},
    {"rms_norm_eps", "", of(kGlm4), GENKIT_FIELD(norm_eps), "1.5625e-7", 0, 1},
    {"layer_norm_eps", "norm_eps", of(kGptNeox, kStableLm, kCohere), GENKIT_FIELD(norm_eps), "1e-5", 0, 1},
    {"layer_norm_epsilon", "", of(kGpt2), GENKIT_FIELD(norm_eps), "1e-5", 0, 1},
    {"norm_epsilon", "", of(kStarcoder2), GENKIT_FIELD(norm_eps), "1e-5", 0, 1},
    {"hidden_act", "", kAllFamilies & ~(kGemmas | of(kGpt2, kGptNeox, kStarcoder2)), GENKIT_FIELD(hidden_act),
     "\"silu\""},
    {"hidden_act", "", of(kGemma, kStarcoder2), GENKIT_FIELD(hidden_act), "\"gelu_pytorch_tanh\""},
    {"hidden_act", "", of(kGptNeox), GENKIT_FIELD(hidden_act), "\"gelu\""},
    {"hidden_activation", "", of(kGemma2, kGemma3), GENKIT_FIELD(hidden_act), "\"gelu_pytorch_tanh\""},
    {"activation_function", "", of(kGpt2), GENKIT_FIELD(hidden_act), "\"gelu_new\""},

    // Biases and switches.
    {"tie_word_embeddings", "", kGemmas | of(kSmolLm3, kGpt2, kCohere, kStarcoder2),
     GENKIT_FIELD(tie_word_embeddings), "true"},
    {"tie_word_embeddings", "", kAllFamilies & ~(kGemmas | of(kSmolLm3, kGpt2, kCohere, kStarcoder2)),
     GENKIT_FIELD(tie_word_embeddings), "false"},
    {"attention_bias", "", of(kLlama, kQwen3, kQwen3Moe, kOlmo2, kGranite, kSmolLm3, kCohere) | kGemmas,
     GENKIT_FIELD(attention_bias), "false"},
    {"attention_bias", "", of(kGptNeox, kGlm4), GENKIT_FIELD(attention_bias), "true"},
    {"use_qkv_bias", "", of(kStableLm), GENKIT_FIELD(attention_bias), "false"},
    {"mlp_bias", "", of(kLlama, kGranite, kSmolLm3), GENKIT_FIELD(mlp_bias), "false"},
    {"use_bias", "", of(kStarcoder2), GENKIT_FIELD(use_bias), "true"},
    {"use_qk_norm", "", of(kCohere), GENKIT_FIELD(qk_norm), "false"},
    {"qk_layernorm", "", of(kStableLm), GENKIT_FIELD(qk_norm), "false"},
    {"use_parallel_residual", "", of(kGptNeox), GENKIT_FIELD(use_parallel_residual), "true"},
    {"use_parallel_residual", "", of(kStableLm), GENKIT_FIELD(use_parallel_residual), "false"},

    // Mixture of experts.
    {"num_local_experts", "num_experts", of(kMixtral), GENKIT_FIELD(moe.num_experts), "8", 1, kMaxHeads},
    {"num_local_experts", "num_experts", of(kQwen3Moe), GENKIT_FIELD(moe.num_experts), "128", 0, kMaxHeads},
    {"num_experts_per_tok", "", of(kMixtral), GENKIT_FIELD(moe.num_experts_per_tok), "2", 1, kMaxHeads},
    {"num_experts_per_tok", "", of(kQwen3Moe), GENKIT_FIELD(moe.num_experts_per_tok), "8", 1, kMaxHeads},
    {"moe_intermediate_size", "", of(kQwen3Moe), GENKIT_FIELD(moe.moe_intermediate_size), "768", 1, kMaxSize},
    {"norm_topk_prob", "", of(kQwen3Moe), GENKIT_FIELD(moe.norm_topk_prob), "false"},
    {"decoder_sparse_step", "", of(kQwen3Moe), GENKIT_FIELD(moe.decoder_sparse_step), "1", 1, kMaxLayers},
    {"mlp_only_layers", "", of(kQwen3Moe), GENKIT_FIELD(moe.mlp_only_layers), "[]", 0, kMaxLayers},

    // Factors in the stream.
    {"embedding_multiplier", "", of(kGranite), GENKIT_FIELD(scale.embedding_multiplier), "1.0", -kMaxScale,
     kMaxScale},
    {"residual_multiplier", "", of(kGranite), GENKIT_FIELD(scale.residual_multiplier), "1.0", -kMaxScale,
     kMaxScale},
    {"attention_multiplier", "", of(kGranite), GENKIT_FIELD(scale.attention_multiplier), "1.0", -kMaxScale,
     kMaxScale},
    {"logits_scaling", "", of(kGranite), GENKIT_FIELD(scale.logits_scaling), "1.0", 1e-6, kMaxScale},
    {"logit_scale", "", of(kCohere), GENKIT_FIELD(scale.logit_scale), "0.0625", -kMaxScale, kMaxScale},
    {"query_pre_attn_scalar", "", of(kGemma2, kGemma3), GENKIT_FIELD(scale.query_pre_attn_scalar), "256",
     1e-6, 1e9},
    {"attn_logit_softcapping", "", of(kGemma2), GENKIT_FIELD(scale.attn_logit_softcapping), "50.0", 1e-6,
     kMaxScale},
    {"final_logit_softcapping", "", of(kGemma2), GENKIT_FIELD(scale.final_logit_softcapping), "30.0", 1e-6,
     kMaxScale},
    {"final_logit_softcapping", "", of(kGemma3), GENKIT_FIELD(scale.final_logit_softcapping), "null", 1e-6,
     kMaxScale},
    {"scale_attn_weights", "", of(kGpt2), GENKIT_FIELD(scale.scale_attn_weights), "true"},
    {"scale_attn_by_inverse_layer_idx", "", of(kGpt2), GENKIT_FIELD(scale.scale_attn_by_inverse_layer_idx),
     "false"},

    // Tokens. eos_token_id may be a list and is read apart.
    {"bos_token_id", "", of(kLlama, kMistral, kMixtral, kPhi3, kGranite), GENKIT_FIELD(bos_token_id), "1", 0,
     kMaxVocab},
    {"bos_token_id", "", kGemmas, GENKIT_FIELD(bos_token_id), "2", 0, kMaxVocab},
    {"bos_token_id", "", of(kSmolLm3), GENKIT_FIELD(bos_token_id), "128000", 0, kMaxVocab},
    {"bos_token_id", "", of(kGpt2, kStarcoder2), GENKIT_FIELD(bos_token_id), "50256", 0, kMaxVocab},
    {"bos_token_id", "", of(kGptNeox, kStableLm), GENKIT_FIELD(bos_token_id), "0", 0, kMaxVocab},
    {"bos_token_id", "", of(kCohere), GENKIT_FIELD(bos_token_id), "5", 0, kMaxVocab},
    {"bos_token_id", "", kQwens | of(kOlmo2, kGlm4), GENKIT_FIELD(bos_token_id), "null", 0, kMaxVocab},
    {"pad_token_id", "", kGemmas | of(kCohere), GENKIT_FIELD(pad_token_id), "0", -1, kMaxVocab},
    {"pad_token_id", "", of(kPhi3), GENKIT_FIELD(pad_token_id), "32000", -1, kMaxVocab},
    {"pad_token_id", "", of(kOlmo2), GENKIT_FIELD(pad_token_id), "1", -1, kMaxVocab},
    {"pad_token_id", "", of(kSmolLm3), GENKIT_FIELD(pad_token_id), "128004", -1, kMaxVocab},
    {"pad_token_id", "", of(kGlm4), GENKIT_FIELD(pad_token_id), "151329", -1, kMaxVocab},
    {"pad_token_id", "",
     of(kLlama, kMistral, kMixtral, kGranite, kGpt2, kGptNeox, kStableLm, kStarcoder2) | kQwens,
     GENKIT_FIELD(pad_token_id), "null", -1, kMaxVocab},
    {"dtype", "torch_dtype", kAllFamilies, GENKIT_FIELD(dtype), "\"\""},
};

#undef GENKIT_FIELD

constexpr ModelTypeRow kModelTypes[] = {
    {"cohere", kCohere},
    {"gemma", kGemma},
    {"gemma2", kGemma2},
    {"gemma3", kGemma3, true},
    {"gemma3_text", kGemma3},
    {"glm4", kGlm4},
    {"gpt2", kGpt2},
    {"gpt_neox", kGptNeox},
    {"granite", kGranite},
    {"llama", kLlama},
    {"mistral", kMistral},
    {"mixtral", kMixtral},
    {"olmo2", kOlmo2},
    {"phi3", kPhi3},
    {"qwen2", kQwen2},
    {"qwen3", kQwen3},
    {"qwen3_moe", kQwen3Moe},
    {"smollm3", kSmolLm3},
    {"stablelm", kStableLm},
    {"stablelm_epoch", kStableLm},  // its name before transformers had the architecture
    {"starcoder2", kStarcoder2},
};

struct IrrelevantRow {
  std::string_view key;
  Families families = kAllFamilies;
};

/// Training, bookkeeping, output switches of transformers, and fields that another reader
/// (tokenizer, generation, weights) is responsible for.
constexpr IrrelevantRow kIrrelevant[] = {
    // Who and how.
    {"_name_or_path"},
    {"_model_name_or_path"},  // what transformers makes of a GGUF file's general.name
    {"_attn_implementation"},
    {"_attn_implementation_autoset"},
    {"_commit_hash"},
    {"_experts_implementation"},
    {"_from_model_config"},
    {"architectures"},
    {"attn_implementation"},
    {"auto_map"},
    {"cache_implementation"},
    {"custom_pipelines"},
    {"finetuning_task"},
    {"is_llama_config"},
    {"language"},
    {"license"},
    {"mlx_genkit_ignored_fields"},
    {"model_max_length"},
    {"model_type"},
    {"pretraining_tp"},
    {"problem_type"},
    {"task_specific_params"},
    {"tokenizer_class"},
    {"torchscript"},
    {"tp_plan"},
    {"transformers.js_config"},
    {"transformers_version"},
    {"transformers_weights"},
    {"unsloth_fixed"},
    {"unsloth_version"},
    {"use_cache"},
    {"vocab_file"},
    // How the weights are stored: genkit/io/ reads and checks these.
    {"quantization"},
    {"quantization_config"},
    {"compression_config"},
    // Training.
    {"attention_dropout"},
    {"attn_pdrop"},
    {"aux_loss_alpha"},
    {"classifier_dropout"},
    {"embd_pdrop"},
    {"embedding_dropout"},
    {"gradient_checkpointing"},
    {"hidden_dropout"},
    {"initializer_range"},
    {"initializer_factor"},
    {"output_router_logits"},
    {"resid_pdrop"},
    {"residual_dropout"},
    {"router_aux_loss_coef"},
    {"router_jitter_noise"},
    {"seed"},
    {"use_flash_attn"},
    {"use_flash_attention"},
    // Heads for classification and summaries.
    {"id2label"},
    {"label2id"},
    {"num_labels"},
    {"summary_activation"},
    {"summary_first_dropout"},
    {"summary_proj_to_labels"},
    {"summary_type"},
    {"summary_use_proj"},
    // What transformers returns.
    {"chunk_size_feed_forward"},
    {"output_attentions"},
    {"output_hidden_states"},
    {"output_past"},
    {"prefix"},
    {"return_dict"},
    {"return_dict_in_generate"},
    {"tf_legacy_loss"},
    {"use_bfloat16"},
    {"is_decoder"},
    {"sep_token_id"},
    {"unk_token_id"},
    {"decoder_start_token_id"},
    // Precision of intermediate steps, which is fp32 here.
    {"attention_softmax_in_fp32"},
    {"scale_attention_softmax_in_fp32"},
    {"reorder_and_upcast_attn"},
    // Generation: generation_config.json says, and genkit/generate/ reads these where it does not.
    {"bad_words_ids"},
    {"begin_suppress_tokens"},
    {"diversity_penalty"},
    {"do_sample"},
    {"early_stopping"},
    {"encoder_no_repeat_ngram_size"},
    {"exponential_decay_length_penalty"},
    {"forced_bos_token_id"},
    {"forced_eos_token_id"},
    {"length_penalty"},
    {"max_length"},
    {"max_new_tokens"},
    {"min_length"},
    {"no_repeat_ngram_size"},
    {"num_beam_groups"},
    {"num_beams"},
    {"num_return_sequences"},
    {"output_scores"},
    {"remove_invalid_values"},
    {"repetition_penalty"},
    {"suppress_tokens"},
    {"temperature"},
    {"top_k"},
    {"top_p"},
    {"typical_p"},
    // Read apart from the table.
    {"eos_token_id"},
    {"text_config"},
    {"original_max_position_embeddings"},
    {"partial_rotary_factor", kAllButGpt2},
    {"rope_parameters", kAllButGpt2},
    {"rope_scaling", kAllButGpt2},
    {"rope_theta", kAllButGpt2},
    {"rotary_emb_base", of(kGptNeox)},
    {"rotary_pct", of(kGptNeox)},
    {"rope_pct", of(kStableLm)},
    {"rope_local_base_freq", of(kGemma3)},
    {"layer_types"},
    {"sliding_window", of(kMistral, kMixtral, kPhi3, kSmolLm3, kStarcoder2, kGemma2, kGemma3) | kQwens},
    {"use_sliding_window", of(kSmolLm3) | kQwens},
    {"max_window_layers", of(kSmolLm3) | kQwens},
    {"sliding_window_pattern", of(kGemma3)},
    {"_sliding_window_pattern", of(kGemma3)},
    {"no_rope_layers", of(kSmolLm3)},
    {"no_rope_layer_interval", of(kSmolLm3)},
    // Set in published files of these families, where transformers does not read them.
    {"n_ctx", of(kGpt2)},
    {"hidden_activation", of(kGemma)},
    {"hidden_act", of(kGemma2, kGemma3)},
    {"activation_function", of(kStarcoder2)},
};

constexpr OnlyRow kOnly[] = {
    {"full_attn_mod", "1"},
    {"interpolate_factor", "1"},
    {"mlp_type", "\"default\""},
    {"norm_type", "\"layer_norm\""},
    {"rope_interleaved", "false"},
    {"scale_attn_weights", "true"},
    {"position_embedding_type", "\"absolute\""},
};

constexpr std::string_view kActivations[] = {
    "silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "quick_gelu", "relu",
};

}  // namespace

std::span<const FieldRow> model_field_rows() { return kRows; }
std::span<const ModelTypeRow> model_type_rows() { return kModelTypes; }
std::span<const OnlyRow> only_rows() { return kOnly; }

bool is_irrelevant(std::string_view key, Family family) {
  return std::any_of(std::begin(kIrrelevant), std::end(kIrrelevant), [&](const IrrelevantRow& row) {
    return row.key == key && (row.families & mask(family)) != 0;
  });
}

bool is_known_activation(std::string_view name) {
  return std::find(std::begin(kActivations), std::end(kActivations), name) != std::end(kActivations);
}

}  // namespace genkit::config
