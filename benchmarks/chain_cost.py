#!/usr/bin/env python3
"""What a chain of processors costs a token: decoding with each chain beside plain greedy decoding.

    benchmarks/chain_cost.py --program build/bin/mlxgk --model models/gemma-3-270m-q4_k_m.gguf

Runs alternate, so that a machine that slows down slows both. The cost is the median, over the rounds, of the
difference in time a token from the greedy run beside it.
"""

import argparse
import json
import statistics
import subprocess

PENALTIES = {"repetition_penalty": 1.1, "frequency_penalty": 0.1, "no_repeat_ngram_size": 4}
WARPERS = {"temperature": 0.8, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.95, "epsilon_cutoff": 1e-4,
           "eta_cutoff": 1e-4}
ALL = {"top_k": 0}
CHAINS = {
    "penalties, warpers, top_k 50": {**PENALTIES, **WARPERS, "top_k": 50},
    "the same without top_k": {**PENALTIES, **WARPERS, **ALL},
    "typical_p": {**ALL, "typical_p": 0.95},
    "eta_cutoff": {**ALL, "eta_cutoff": 1e-4},
    "top_p": {**ALL, "top_p": 0.9},
    "mirostat": {**ALL, "mirostat_tau": 5.0},
    "XTC and DRY": {**ALL, "xtc_probability": 0.5, "dry_multiplier": 0.8, "dry_sequence_breakers": []},
    "drawing alone": dict(ALL),
    "greedy, top_logprobs 20": {"top_logprobs": 20},
}


def ms_a_token(arguments, options):
    draws = any(name in options for name in ("top_k", "temperature"))
    config = {"do_sample": draws, "max_new_tokens": arguments.new_tokens, **options}
    path = arguments.scratch
    with open(path, "w") as file:
        json.dump(config, file)
    ids = "2," + ",".join(str(1000 + i) for i in range(arguments.prompt_tokens - 1))
    run = subprocess.run([arguments.program, "generate", "--model", arguments.model, "--prompt-ids", ids, "--seed", "1",
                          "--ignore-eos", "--generation-config", path, "--threads", str(arguments.threads),
                          "--output", "json"], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    timings = json.loads(run.stdout)["timings"]
    return 1000 * timings["decode_s"] / (arguments.new_tokens - 1)  # the first token is the prompt's


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt-tokens", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", default="/tmp/chain_cost.json", help="written to for each run")
    arguments = parser.parse_args()
    print(f"{'chain':32} {'greedy ms':>9} {'chain ms':>9} {'cost ms':>8} {'of a token':>10}")
    for name, options in CHAINS.items():
        plain, chain = [], []
        for _ in range(arguments.rounds):
            plain.append(ms_a_token(arguments, {}))
            chain.append(ms_a_token(arguments, options))
        cost = statistics.median(b - a for a, b in zip(plain, chain))
        base = statistics.median(plain)
        print(f"{name:32} {base:9.2f} {statistics.median(chain):9.2f} {cost:8.2f} {cost / base:10.1%}", flush=True)


if __name__ == "__main__":
    main()
