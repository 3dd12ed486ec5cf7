"""Forward passes whose queries see the first and the newest positions only: tests/models/max_kv_size.json.

transformers has no such cache, but takes the mask that defines it: with max_kv_size M and num_sink_tokens S a
query at p sees everything before it where p < M, else the first S positions and the newest M - S. A layer with a
sliding window of its own sees the newest min(window, M). One pass over the whole row, without a cache, eager
attention, positions counted from 0.

usage: max_kv_size.py MODELS_DIR OUT.json
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM

CASES = [("llama", 40, 12, 3), ("llama", 23, 8, 0), ("gemma3_text", 40, 12, 3), ("gemma3_text", 30, 5, 4),
         ("gemma2", 30, 10, 4), ("mistral", 25, 6, 2), ("qwen2", 33, 9, 1), ("gpt2", 30, 7, 4), ("cohere", 28, 11, 5)]


def masks(length, size, sinks, window):
    query, key = torch.arange(length)[:, None], torch.arange(length)[None, :]
    causal = key <= query
    full = causal & ((query < size) | (key < sinks) | (key > query - (size - sinks)))
    sliding = causal & (key > query - min(window or size, size))
    lowest = torch.finfo(torch.float32).min
    return [torch.where(seen, 0.0, lowest)[None, None] for seen in (full, sliding)]


def run(root, name, length, size, sinks):
    model = AutoModelForCausalLM.from_pretrained(f"{root}/{name}", attn_implementation="eager").eval()
    config = model.config
    ids = torch.randint(3, config.vocab_size, (1, length), generator=torch.Generator().manual_seed(length))
    full, sliding = masks(length, size, sinks, getattr(config, "sliding_window", None))
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    # Models with one kind of layer take the mask itself, the others one a kind.
    mask = {"full_attention": full, "sliding_attention": sliding} if len(kinds) > 1 else \
        sliding if kinds == {"sliding_attention"} or name == "mistral" else full
    logits = model(ids, attention_mask=mask, use_cache=False).logits[0]
    plain = model(ids, use_cache=False).logits[0]
    assert (logits[size:] - plain[size:]).abs().max() > 0.01, name  # the mask was heeded
    some = [size - 1, size, size + sinks + 1, length - 1]
    return {"model": name, "max_kv_size": size, "num_sink_tokens": sinks, "ids": ids[0].tolist(),
            "positions": some, "logits": [[round(float(x), 5) for x in logits[p]] for p in some]}


with torch.no_grad():
    cases = [run(sys.argv[1], *case) for case in CASES]
with open(sys.argv[2], "w", encoding="utf-8") as f:
    f.write('{"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
