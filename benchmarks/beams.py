#!/usr/bin/env python3
"""Beam search beside CTranslate2 (int8) and transformers (fp32): 4 beams, 64 new tokens, one prompt.

    benchmarks/beams.py --program build/bin/mlxgk --model models/gemma-3-270m-q4_k_m.gguf \\
        --python PYTHON --ctranslate2 FOLDER --transformers FOLDER

PYTHON is one that has the peers; either may be left out. Runs alternate, so that a machine that slows down slows all
of them; a figure is the median of 64 / seconds, prompt and search together, loading and a first search not, and the ratio is that of
ours to the faster peer of the same round. EOS is forbidden before the end, so that every search has 64 steps.
"""

import argparse
import json
import statistics
import subprocess

PROMPT = [2, 8291, 3056, 496, 990, 236764, 528, 496, 1944, 14395, 684, 506, 5442, 236764]

# Reads a line, searches once, writes the seconds and the ids; the first run is a warm-up.
PEER = """
import json, os, sys, time
kind, folder, threads, beams, new_tokens, prompt = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]), json.loads(sys.argv[6])
os.environ["OMP_NUM_THREADS"] = str(threads)
if kind == "ctranslate2":
    import ctranslate2
    generator = ctranslate2.Generator(folder, device="cpu", intra_threads=threads, inter_threads=1, compute_type="int8")
    words = json.load(open(os.path.join(folder, "vocabulary.json")))
    def search():
        result = generator.generate_batch([[words[i] for i in prompt]], beam_size=beams, max_length=new_tokens,
                                          min_length=new_tokens, include_prompt_in_result=False)[0]
        return result.sequences_ids[0]
else:
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    def search():
        with torch.no_grad():
            out = model.generate(torch.tensor([prompt]), num_beams=beams, do_sample=False, max_new_tokens=new_tokens,
                                 min_new_tokens=new_tokens)
        return out[0, len(prompt):].tolist()
search()
for line in sys.stdin:
    start = time.perf_counter()
    ids = search()
    print(json.dumps({"seconds": time.perf_counter() - start, "ids": ids}), flush=True)
"""


class Peer:
    def __init__(self, python, kind, folder, arguments):
        sizes = [str(n) for n in (arguments.threads, arguments.beams, arguments.new_tokens)]
        command = [python, "-c", PEER, kind, folder, *sizes, json.dumps(PROMPT)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a peer ended: exit code {self.process.wait()}")
        result = json.loads(line)
        return result["seconds"], result["ids"]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def run_own(arguments):
    # The same prompt twice, one after the other; the first is the warm-up that the peers have.
    count, ids = str(arguments.new_tokens), ",".join(map(str, PROMPT))
    command = [arguments.program, "generate", "--model", arguments.model, "--prompt-ids", ids, "--prompt-ids", ids,
               "--batch-size", "1", "--num-beams", str(arguments.beams), "--max-new-tokens", count,
               "--min-new-tokens", count, "--threads", str(arguments.threads), "--output", "jsonl"]  # fmt: skip
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, second = (json.loads(line) for line in output.splitlines())
    seconds = [line["timings"]["prefill_s"] + line["timings"]["decode_s"] for line in (first, second)]
    return seconds[1] - seconds[0], second["ids"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/bin/mlxgk")
    parser.add_argument("--model", required=True)
    parser.add_argument("--python", default="python3", help="one that has the peers")
    parser.add_argument("--ctranslate2", help="the model in CTranslate2's int8 form")
    parser.add_argument("--transformers", help="the model's fp32 folder")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    peers = {}
    for kind, folder in (("ctranslate2", arguments.ctranslate2), ("transformers", arguments.transformers)):
        if folder:
            peers[kind] = Peer(arguments.python, kind, folder, arguments)
    rates, ratios, ids = {}, [], {}
    for _ in range(arguments.repeat):
        round_rates = {}
        for name, run in [("mlx-genkit", lambda: run_own(arguments)), *((n, p.run) for n, p in peers.items())]:
            seconds, ids[name] = run()
            round_rates[name] = arguments.new_tokens / seconds
            rates.setdefault(name, []).append(round_rates[name])
        if peers:
            ratios.append(round_rates["mlx-genkit"] / max(round_rates[name] for name in peers))
    for peer in peers.values():
        peer.end()
    for name, values in rates.items():
        same = sum(a == b for a, b in zip(ids[name], ids["mlx-genkit"]))
        print(f"{name:<14} {statistics.median(values):6.1f} tokens/s  ({', '.join(f'{v:.1f}' for v in values)})  "
              f"{len(ids[name])} ids, {same} as ours")
    if ratios:
        print(f"ours to the faster peer: {statistics.median(ratios):.2f}  ({', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    main()
