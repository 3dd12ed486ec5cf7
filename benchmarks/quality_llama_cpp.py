#!/usr/bin/env python3
"""How far llama.cpp's arithmetic is from the exact one, to stand beside `mlxgk bench --quality`.

usage: quality_llama_cpp.py MLXGK MODEL.gguf GOLDENS.json
GOLDENS.json has "perplexity": [{"ids": [...]}]. The exact logits are those of `mlxgk forward --exact`, which the golden
set holds against transformers. Prints the mean KL divergence in nats of each text. Needs llama_cpp, numpy, safetensors.
"""
import json
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np
from safetensors.numpy import load_file


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def main(program, model, goldens):
    llm = llama_cpp.Llama(model_path=model, n_ctx=512, logits_all=True, verbose=False)
    for case in json.load(open(goldens))["perplexity"]:
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as out:
            ids = ",".join(map(str, case["ids"]))
            subprocess.run([program, "forward", "--model", model, "--exact", "--prompt-ids", ids, "--out", out.name],
                           check=True)
            exact = log_softmax(load_file(out.name)["logits"].reshape(len(case["ids"]), -1))
        llm.reset()
        llm.eval(case["ids"])
        other = log_softmax(np.array(llm.scores[: len(case["ids"])]))
        kl = (np.exp(exact) * (exact - other)).sum(axis=-1)
        print(json.dumps({"tokens": len(kl), "mean_kl": kl.mean(), "max_kl": kl.max()}))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
