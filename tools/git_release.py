#!/usr/bin/env python3
"""Tags the version as vX.Y.Z and pushes the tag: git_release.py [REMOTE] (origin unless named).

Refuses when something is not committed, when CHANGELOG.md has no section for the version, or when the tag exists.
"""

import re
import subprocess
import sys

from bump_version import ROOT, read_versions


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def main():
    remote = sys.argv[1] if len(sys.argv) > 1 else "origin"
    _, version = read_versions()
    tag = f"v{version}"
    if git("status", "--porcelain"):
        sys.exit("git-release: commit or put away the changes in the working tree first")
    if git("tag", "--list", tag):
        sys.exit(f"git-release: the tag {tag} exists; raise the version with make bump-version")
    history = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", history, re.MULTILINE | re.DOTALL)
    if not section:
        sys.exit(f"git-release: CHANGELOG.md has no section [{version}]")
    git("tag", "--annotate", tag, "--message", f"mlx-genkit {version}\n\n{section.group(1).strip()}")
    git("push", remote, tag)
    print(f"tagged and pushed {tag}")


if __name__ == "__main__":
    main()
