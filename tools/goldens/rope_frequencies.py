"""Rotary frequencies of every type as transformers computes them: tests/nn/rope_frequencies.json.

usage: rope_frequencies.py OUT.json
"""
import json
import sys

from transformers import LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

MAX = 4096
FACTORS = [1.0 + 0.37 * i for i in range(12)]
CASES = [
    (dict(rope_type="linear", rope_theta=10000.0, factor=4.0), [0]),
    (dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0), [100, MAX, MAX + 1, 9000]),
    (dict(rope_type="dynamic", rope_theta=500000.0, factor=8.0), [5000]),
    (dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
          original_max_position_embeddings=1024), [0]),
    (dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=1024), [0]),
    (dict(rope_type="yarn", rope_theta=1000000.0, factor=16.0, original_max_position_embeddings=512, beta_fast=16.0,
          beta_slow=2.0, truncate=False), [0]),
    (dict(rope_type="yarn", rope_theta=10000.0, factor=40.0, original_max_position_embeddings=1024, mscale=1.0,
          mscale_all_dim=0.707), [0]),
    (dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=1024,
          attention_factor=0.75), [0]),
    (dict(rope_type="yarn", rope_theta=10000.0, factor=None, original_max_position_embeddings=1024), [0]),
    (dict(rope_type="longrope", rope_theta=10000.0, short_factor=FACTORS, long_factor=[2 * f for f in FACTORS],
          original_max_position_embeddings=1024), [1024, 1025]),
    (dict(rope_type="longrope", rope_theta=10000.0, short_factor=FACTORS, long_factor=[2 * f for f in FACTORS],
          original_max_position_embeddings=1024, factor=2.0), [10]),
    (dict(rope_type="longrope", rope_theta=10000.0, short_factor=FACTORS, long_factor=[2 * f for f in FACTORS],
          original_max_position_embeddings=1024, attention_factor=1.5), [4096]),
]

cases = []
for parameters, lengths in CASES:
    for length in lengths:
        config = LlamaConfig(hidden_size=96, num_attention_heads=4, head_dim=24, max_position_embeddings=MAX,
                             rope_parameters=dict(parameters))
        inv_freq, scaling = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu", seq_len=length or None)
        cases.append({"rope_parameters": parameters, "length": length, "inv_freq": [float(x) for x in inv_freq],
                      "attention_scaling": float(scaling)})
with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write('{"head_dim": 24, "max_position_embeddings": %d, "cases": [\n' % MAX)
    f.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
