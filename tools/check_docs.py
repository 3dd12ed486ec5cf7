#!/usr/bin/env python3
"""Checks the documents against the repository.

usage: check_docs.py             links and paths in every .md file point at something that exists, and code
                                 that is shown from a file is that file
       check_docs.py --update    writes the shown code anew from its file
       check_docs.py --run BIN   also runs every ```sh tested``` block, with BIN first in PATH

A block whose fence says `sh tested` is run by bash from the root of the repository and must exit with 0.
A comment `<!-- file: PATH -->` above a block means that the block shows that file.
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
SHOWN = re.compile(r"^<!-- file: (\S+) -->\n```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh tested\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documents():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    # The golden set's own README describes the files of the generator's layout.
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


def shown_files(path, update):
    """Complains about code that is not its file's; with `update`, writes it anew instead."""
    text = path.read_text(encoding="utf-8")

    def current(match):
        name, language, _ = match.groups()
        return f"<!-- file: {name} -->\n```{language}\n{(ROOT / name).read_text(encoding='utf-8')}```"

    fresh = SHOWN.sub(current, text)
    if fresh != text and update:
        path.write_text(fresh, encoding="utf-8")
    elif fresh != text:
        yield "shows code that differs from its file; run tools/check_docs.py --update"


def failed_blocks(path, bin_dir):
    # `mlxgk ... | head` may end by SIGPIPE, as it would for a reader: no pipefail.
    environment = dict(os.environ, PATH=f"{bin_dir}:{os.environ['PATH']}")
    for block in BLOCK.findall(path.read_text(encoding="utf-8")):
        command = ["bash", "-eu", "-c", block]
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if result.returncode != 0:
            yield f"a block exits with {result.returncode}:\n{block}{result.stdout}{result.stderr}"


def main():
    bin_dir = Path(sys.argv[2]).resolve() if sys.argv[1:2] == ["--run"] else None
    update = "--update" in sys.argv
    failed = False
    for path in documents():
        problems = [*broken_references(path), *shown_files(path, update)]
        if bin_dir:
            problems += failed_blocks(path, bin_dir)
        for problem in problems:
            print(f"{path.relative_to(ROOT)}: {problem}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
