#!/usr/bin/env python3
"""Checks the documents against the repository.

usage: check_docs.py             links and paths in every .md file point at something that exists
       check_docs.py --run BIN   also runs every ```sh tested``` block, with BIN first in PATH

A block whose fence says `sh tested` is run by bash from the root of the repository, in a scratch copy of
nothing: its commands see the real files, and must exit with 0. A comment line `# prints TEXT` after a command
demands that the output so far contains TEXT.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
# `genkit/base/error.h`, `tools/lint.sh`: a path of this repository in backticks.
TOP = "genkit|rust|cli|tests|tools|docs|benchmarks|examples|cmake|python"
CODE_PATH = re.compile(rf"`((?:{TOP})/[A-Za-z0-9_./-]*[A-Za-z0-9_/])`")
BLOCK = re.compile(r"^```sh tested\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documents():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    # The golden set's own README describes files by patterns of another layout.
    return [ROOT / name for name in listed.stdout.split() if not name.startswith("tests/goldens/")]


def without_blocks(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def broken_references(path):
    text = without_blocks(path.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        if not (path.parent / target).exists():
            yield f"links to {target}, which does not exist"
    for target in CODE_PATH.findall(text):
        # NAME stands for what a recipe will add.
        if "NAME" not in target and not (ROOT / target).exists():
            yield f"speaks of {target}, which does not exist"


def failed_blocks(path, bin_dir):
    environment = dict(os.environ, PATH=f"{bin_dir}:{os.environ['PATH']}")
    for block in BLOCK.findall(path.read_text(encoding="utf-8")):
        # pipefail off: `mlxgk ... | head` may end by SIGPIPE, as it would for a reader.
        result = subprocess.run(
            ["bash", "-eu", "-c", block], cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        output = result.stdout + result.stderr
        if result.returncode != 0:
            yield f"a block exits with {result.returncode}:\n{block}{output}"
        for expected in re.findall(r"^# prints (.*)$", block, re.MULTILINE):
            if expected not in output:
                yield f"a block does not print {expected!r}:\n{block}{output}"


def main():
    bin_dir = Path(sys.argv[2]).resolve() if sys.argv[1:2] == ["--run"] else None
    failed = False
    for path in documents():
        problems = list(broken_references(path))
        if bin_dir:
            problems += failed_blocks(path, bin_dir)
        for problem in problems:
            print(f"{path.relative_to(ROOT)}: {problem}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
