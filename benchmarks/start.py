#!/usr/bin/env python3
"""From the start of a process to its first token, and the most memory it took, beside llama.cpp; files in the page cache.

    benchmarks/start.py --program build/bin/mlxgk --model models/gemma-3-270m-q4_k_m.gguf [--python PYTHON]

PYTHON is an interpreter with llama_cpp; without it only this project is measured. What counts: here the whole process,
from before exec until the first token stands on its standard output, tokenizer included. Of llama.cpp's Python binding the
start of the interpreter and its imports do not count: the clock starts before llama_backend_init() and ends when the
first token is chosen; its GGUF vocabulary is read as part of loading. Runs alternate; figures are medians.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time


def llama_cpp(arguments):
    """Run by PYTHON in a process of its own."""
    import llama_cpp as L
    import numpy as np
    ids = [2] + [1000 + i for i in range(arguments.prompt_tokens - 1)]
    start = time.perf_counter()
    L.llama_backend_init()
    model_params = L.llama_model_default_params()
    # Where the binding was compiled by GCC 12 with AMX, its own buffers for it crash.
    model_params.use_extra_bufts = not arguments.no_extra_buffers
    model = L.llama_model_load_from_file(arguments.model.encode(), model_params)
    params = L.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = 512, 512, 512
    params.n_threads = params.n_threads_batch = arguments.threads
    context = L.llama_init_from_model(model, params)
    batch = L.llama_batch_init(512, 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, i + 1 == len(ids)
        batch.seq_id[i][0] = 0
    assert L.llama_decode(context, batch) == 0
    count = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
    int(np.ctypeslib.as_array(L.llama_get_logits_ith(context, len(ids) - 1), (count,)).argmax())
    print(json.dumps({"seconds": time.perf_counter() - start,
                      "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def ours(arguments):
    ids = "2," + ",".join(str(1000 + i) for i in range(arguments.prompt_tokens - 1))
    start = time.perf_counter()
    process = subprocess.Popen([arguments.program, "generate", "--model", arguments.model, "--prompt-ids", ids,
                                "--max-new-tokens", "1", "--ignore-eos", "--threads", str(arguments.threads)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while not os.read(process.stdout.fileno(), 1 << 16).strip():
        pass
    seconds = time.perf_counter() - start
    process.stdout.close()
    _, _, usage = os.wait4(process.pid, 0)
    return {"seconds": seconds, "mb": usage.ru_maxrss / 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program")
    parser.add_argument("--model", required=True)
    parser.add_argument("--python")
    parser.add_argument("--prompt-tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-extra-buffers", action="store_true", help="llama.cpp without AMX and repacked weights")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return llama_cpp(arguments)
    runs = {"mlxgk": [], "llama.cpp": []}
    for _ in range(arguments.rounds):
        runs["mlxgk"].append(ours(arguments))
        if arguments.python:
            out = subprocess.run([arguments.python, __file__, *sys.argv[1:], "--inside"], capture_output=True, text=True)
            if out.returncode:
                raise SystemExit(f"llama.cpp failed ({out.returncode}): {out.stderr[-500:]}")
            runs["llama.cpp"].append(json.loads(out.stdout.splitlines()[-1]))
    for key, digits in (("seconds", 3), ("mb", 0)):
        medians = {name: statistics.median(run[key] for run in found) for name, found in runs.items() if found}
        line = ", ".join(f"{name} {value:.{digits}f}" for name, value in medians.items())
        ratio = f", ratio {medians['mlxgk'] / medians['llama.cpp']:.2f}" if "llama.cpp" in medians else ""
        print(f"{key}: {line}{ratio}")


if __name__ == "__main__":
    main()
