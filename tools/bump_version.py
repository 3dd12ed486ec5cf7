#!/usr/bin/env python3
"""Raises the version everywhere it stands: bump_version.py patch|minor|major.

The files and the pattern of the version in each are in PLACES; all must agree before, and all are written or
none. CHANGELOG.md's section [Unreleased] becomes the section of the new version.
"""

import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NUMBER = r"(\d+\.\d+\.\d+)"
PLACES = {
    "CMakeLists.txt": rf"project\(mlx_genkit VERSION {NUMBER}",
    "genkit/base/version.cpp": rf'return "{NUMBER}";',
    "rust/Cargo.toml": rf'^name = "genkit_rust"\nversion = "{NUMBER}"',
    "rust/Cargo.lock": rf'^name = "genkit_rust"\nversion = "{NUMBER}"',
}
PARTS = ("major", "minor", "patch")


def read_versions():
    """{file: (text, match of the version)}; exits when one has none or they differ."""
    found = {}
    for name, pattern in PLACES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        match = re.search(pattern, text, re.MULTILINE)
        if not match:
            sys.exit(f"{name}: no version found")
        found[name] = (text, match)
    versions = {match.group(1) for _, match in found.values()}
    if len(versions) != 1:
        sys.exit("versions differ: " + ", ".join(f"{n} {m.group(1)}" for n, (_, m) in found.items()))
    return found, versions.pop()


def bumped(version, part):
    numbers = [int(n) for n in version.split(".")]
    index = PARTS.index(part)
    numbers[index] += 1
    numbers[index + 1 :] = [0] * (len(numbers) - index - 1)
    return ".".join(map(str, numbers))


def main():
    part = sys.argv[1] if len(sys.argv) == 2 else ""
    if part == "--show":
        print(read_versions()[1])
        return
    if part not in PARTS:
        sys.exit("PART: expected patch, minor or major")
    found, old = read_versions()
    new = bumped(old, part)
    changelog = ROOT / "CHANGELOG.md"
    history = changelog.read_text(encoding="utf-8")
    heading = "## [Unreleased]\n"
    if history.count(heading) != 1:
        sys.exit("CHANGELOG.md: expected one section [Unreleased]")
    for name, (text, match) in found.items():
        (ROOT / name).write_text(text[: match.start(1)] + new + text[match.end(1) :], encoding="utf-8")
    today = datetime.date.today().isoformat()
    changelog.write_text(history.replace(heading, f"{heading}\n## [{new}] - {today}\n"), encoding="utf-8")
    print(f"{old} -> {new}")


if __name__ == "__main__":
    main()
