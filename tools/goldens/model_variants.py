"""Forward passes of configurations that published models use and the golden set does not: tests/models/variants.

Very small models (hidden size 16), random weights, outputs of transformers in fp32. The format is
that of the golden set's models/NAME/.

usage: model_variants.py OUT_DIR
"""
import json
import os
import sys
import warnings

warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import torch
import transformers as T

from goldgen import models
from goldgen.common import Run

T.utils.logging.set_verbosity_error()
T.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

BASE = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
LONG = [1.2, 2.1]
SHORT = [1.0, 1.1]


def rope(theta=10000.0, **kw):
    return dict(rope_theta=theta, rope_type=kw.pop("rope_type", "default"), **kw)


VARIANTS = {
    "llama_yarn": ("Llama", dict(rope_parameters=rope(rope_type="yarn", factor=4.0,
                                                      original_max_position_embeddings=16))),
    "llama_longrope": ("Llama", dict(rope_parameters=rope(rope_type="longrope", short_factor=SHORT, long_factor=LONG,
                                                          original_max_position_embeddings=12))),
    "llama_gelu_wide_heads": ("Llama", dict(head_dim=10, hidden_act="gelu", num_key_value_heads=1)),
    "mistral_full": ("Mistral", dict(sliding_window=None)),
    "mixtral_window": ("Mixtral", dict(sliding_window=5, num_local_experts=3, num_experts_per_tok=1)),
    "qwen2_full": ("Qwen2", dict(use_sliding_window=False, tie_word_embeddings=False)),
    "qwen3_window_bias": ("Qwen3", dict(head_dim=8, attention_bias=True, use_sliding_window=True, sliding_window=6,
                                        max_window_layers=1)),
    "qwen3_moe_sparse_step": ("Qwen3Moe", dict(head_dim=8, num_experts=4, num_experts_per_tok=3, norm_topk_prob=True,
                                               moe_intermediate_size=12, decoder_sparse_step=2, attention_bias=True,
                                               use_sliding_window=True, sliding_window=6)),
    "gemma_gelu": ("Gemma", dict(head_dim=8, hidden_act="gelu", num_key_value_heads=2)),
    "gemma2_no_caps": ("Gemma2", dict(head_dim=8, attn_logit_softcapping=None, final_logit_softcapping=None,
                                      sliding_window=5, query_pre_attn_scalar=8)),
    "gemma3_pattern": ("Gemma3Text", dict(head_dim=8, num_hidden_layers=4, sliding_window=5, sliding_window_pattern=2,
                                          query_pre_attn_scalar=8, final_logit_softcapping=4.0)),
    "phi3_window": ("Phi3", dict(sliding_window=5, rope_parameters=rope())),
    "phi3_longrope_factors": ("Phi3", dict(original_max_position_embeddings=12, rope_parameters=rope(
        rope_type="longrope", partial_rotary_factor=1.0, short_factor=SHORT, long_factor=LONG, attention_factor=1.4))),
    "olmo2_bias_tied": ("Olmo2", dict(attention_bias=True, tie_word_embeddings=True)),
    "granite_mlp_bias": ("Granite", dict(mlp_bias=True, tie_word_embeddings=False, logits_scaling=8.0,
                                         embedding_multiplier=12.0, attention_multiplier=0.0625,
                                         residual_multiplier=0.22)),
    "smollm3_window": ("SmolLM3", dict(num_hidden_layers=4, no_rope_layer_interval=2, use_sliding_window=True,
                                       sliding_window=5, attention_bias=True, mlp_bias=True)),
    "gpt2_scales": ("GPT2", dict(n_embd=16, n_layer=2, n_head=4, n_positions=128, n_inner=20,
                                 scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False)),
    "gpt2_unscaled": ("GPT2", dict(n_embd=16, n_layer=2, n_head=4, n_positions=128, scale_attn_weights=False,
                                   activation_function="relu")),
    "gpt_neox_linear": ("GPTNeoX", dict(rope_parameters=rope(rope_type="linear", factor=2.0, partial_rotary_factor=1.0),
                                        hidden_act="gelu_fast", tie_word_embeddings=True)),
    "stablelm_sequential": ("StableLm", dict(use_parallel_residual=False, qk_layernorm=False, use_qkv_bias=False,
                                             rope_parameters=rope(partial_rotary_factor=0.5))),
    "stablelm_sequential_norms": ("StableLm", dict(use_parallel_residual=False, qk_layernorm=True, use_qkv_bias=True,
                                                   rope_parameters=rope(partial_rotary_factor=0.5))),
    "cohere_bias": ("Cohere", dict(attention_bias=True, use_qk_norm=False, logit_scale=0.25)),
    "starcoder2_no_bias": ("Starcoder2", dict(use_bias=False, sliding_window=None, tie_word_embeddings=False)),
    "glm4_no_bias": ("Glm4", dict(head_dim=8, attention_bias=False, rope_parameters=rope(partial_rotary_factor=0.5))),
}


def build(run, name, family, changes):
    # GPT-2 has other names for the sizes, and no grouped heads.
    own = {k: v for k, v in BASE.items() if family != "GPT2" or k in ("vocab_size", "bos_token_id", "eos_token_id",
                                                                      "pad_token_id")}
    if family == "GPTNeoX":
        own.pop("num_key_value_heads")
    config_class = getattr(T, family + "Config")
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    model_class = getattr(T, family.removesuffix("Text") + head)
    config = config_class(**{**own, **changes})
    config._attn_implementation = "eager"
    model = model_class(config).eval().float()
    models.randomise(model, int(run.rng("weights:" + name).integers(2 ** 31)))
    model.save_pretrained(run.path("models", name, "config.json").rsplit("/", 1)[0])
    os.remove(run.path("models", name, "generation_config.json"))
    run.models[name] = model


run = Run(11, "shared", os.path.abspath(sys.argv[1]))
for variant, (family, changes) in VARIANTS.items():
    build(run, variant, family, changes)
with torch.no_grad():
    models.forward_goldens(run, {name: "" for name in VARIANTS})
assert not run.skipped, run.skipped
