"""Greedy generation across the lengths where a rope changes: tests/models/rope_generation.json.

transformers keeps keys in its cache as they were rotated when they were computed. With dynamic
scaling later keys are rotated by other frequencies than earlier ones; phi3 throws its cache away
once, when the row grows past original_max_position_embeddings. The golden generation cases have
neither model, so these record both. A fresh model per case: dynamic rope remembers longer calls.

usage: rope_generation.py MODELS_DIR OUT.json
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM

CASES = [("llama_rope_dynamic", 6, 20), ("llama_rope_dynamic", 15, 12), ("llama_rope_dynamic", 21, 12),
         ("phi3", 5, 20), ("phi3", 11, 8), ("phi3", 12, 8), ("phi3", 13, 8), ("phi3", 20, 8)]


def run(root, name, prompt_length, new_tokens):
    for seed in range(200):
        model = AutoModelForCausalLM.from_pretrained(f"{root}/{name}", attn_implementation="eager").eval()
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(3, model.config.vocab_size, (1, prompt_length), generator=generator)
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new_tokens,
                             eos_token_id=None, pad_token_id=0, return_dict_in_generate=True, output_logits=True)
        top = torch.stack(out.logits).topk(2, dim=-1).values
        gap = float((top[..., 0] - top[..., 1]).min())
        if gap > 0.02:
            return {"model": name, "prompt": ids[0].tolist(), "sequence": out.sequences[0].tolist(),
                    "last_logits": [round(float(x), 5) for x in out.logits[-1][0]], "min_top2_gap": round(gap, 4)}
    raise SystemExit(f"{name}: no clear case")


with torch.no_grad():
    cases = [run(sys.argv[1], *case) for case in CASES]
with open(sys.argv[2], "w", encoding="utf-8") as f:
    f.write('{"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
