#!/usr/bin/env python3
"""Decoding with and without prompt lookup, on texts that repeat and on texts that do not.

    benchmarks/prompt_lookup.py --program build/bin/mlxgk --model models/gemma-3-270m-q4_k_m.gguf

Runs alternate, so that a machine that slows down slows both; the figures are medians. Every pair is written to standard
error as soon as it is there. Drawn texts take the same tokens with and without, which is checked, as is every other.
"""

import argparse
import json
import statistics
import subprocess
import sys

CODE = '''The file before the change:

```python
import argparse
import json
from pathlib import Path


def read_records(path):
    records = []
    for line in Path(path).read_text().splitlines():
        if line.strip():
            records.append(json.loads(line))
    return records


def summarize(records, key):
    totals = {}
    for record in records:
        name = record.get(key, "unknown")
        totals[name] = totals.get(name, 0) + record.get("amount", 0)
    return totals


def main():
    parser = argparse.ArgumentParser(description="Sums amounts by a key.")
    parser.add_argument("path", help="a file of JSON lines")
    parser.add_argument("--key", default="name", help="what to group by")
    arguments = parser.parse_args()
    totals = summarize(read_records(arguments.path), arguments.key)
    for name, amount in sorted(totals.items()):
        print(f"{name}: {amount}")


if __name__ == "__main__":
    main()
```

The same file after `records` was renamed to `entries` everywhere:

```python
'''
SUMMARY = '''Minutes of the meeting of the harbour committee, 4 March.

The committee met at the town hall at ten o'clock. Present were Anna Lindqvist (chair), Peter Osei, Maria Duarte and \
Tomas Novak. The chair welcomed the members and read the agenda. Peter Osei reported that the repair of the eastern \
pier will cost 240,000 crowns and will take from April to the end of June. Maria Duarte asked whether the ferry to the \
islands can use the western pier in the meantime. Tomas Novak answered that the western pier is deep enough for the \
ferry but that the waiting room there must be heated. The committee decided to heat the waiting room of the western \
pier and to move the ferry there on 1 April. The committee also decided to raise the berth fee for visiting boats from \
150 to 180 crowns a night. The next meeting is on 8 April at ten o'clock at the town hall.

Summary of the minutes, sentence by sentence, in the words of the minutes:

'''
STORY = ("The lighthouse had been empty for eleven years when Ingrid unlocked its door, and the first thing that she "
         "noticed was")
ESSAY = ("Photosynthesis is often described as the reverse of respiration, but that description hides more than it "
         "shows. In the first place,")


def drawn(seed):
    return ["--do-sample", "--temperature", "0.9", "--seed", str(seed)]


# Small models repeat themselves when they take the best token, so the texts that must not repeat are drawn.
CASES = [("code edit", CODE, []), ("summary", SUMMARY, []), ("story, seed 3", STORY, drawn(3)),
         ("essay, seed 3", ESSAY, drawn(3)), ("story, seed 4", STORY, drawn(4)), ("essay, seed 5", ESSAY, drawn(5))]


def run(arguments, text, options):
    command = [arguments.program, "generate", "--model", arguments.model, "--prompt", "-", "--no-auto-chat",
               "--max-new-tokens", str(arguments.new_tokens), "--ignore-eos", "--output", "json", *options]
    result = json.loads(subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout)
    return result["timings"]["gen_tps"], result["rows"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/bin/mlxgk")
    parser.add_argument("--model", required=True)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--lookup", type=int, default=10, help="prompt_lookup_num_tokens")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    speeds = {name: ([], []) for name, _, _ in CASES}
    counts = {}
    for number in range(arguments.repeat):
        for name, text, options in CASES:
            plain, row = run(arguments, text, options)
            lookup, same = run(arguments, text, [*options, "--prompt-lookup-num-tokens", str(arguments.lookup)])
            assert row["ids"] == same["ids"], name
            speeds[name][0].append(plain)
            speeds[name][1].append(lookup)
            counts[name] = same["drafted"], same["accepted"]
            print(f"round {number + 1}: {name:<14} {plain:6.1f} {lookup:6.1f}", file=sys.stderr, flush=True)
    for name, (plain, lookup) in speeds.items():
        a, b = statistics.median(plain), statistics.median(lookup)
        print(f"{name:<14} plain {a:6.1f}/s  lookup {b:6.1f}/s  ratio {b / a:.2f}  drafted {counts[name][0]}, "
              f"accepted {counts[name][1]}")


if __name__ == "__main__":
    main()
