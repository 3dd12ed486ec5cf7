#!/usr/bin/env bash
# usage: tools/lint.sh BUILD [--format-only|--changed REF]
# Formatting, layers, documents, then clang-tidy with BUILD/compile_commands.json, on all files or on those that
# differ from REF. Says everything that is wrong, then exits with 1.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build="${1:?usage: lint.sh BUILD [--format-only|--changed REF]}"
mode="${2:-}"
failed=0

check() {
  local name="$1"
  shift
  if "$@"; then echo "lint $name: ok"; else echo "lint $name: FAILED" && failed=1; fi
}

cpp_files() { git ls-files '*.h' '*.cpp'; }
formatting() { cpp_files | xargs clang-format --dry-run --Werror; }
rust_formatting() { cargo fmt --check --manifest-path rust/Cargo.toml; }

tidy() {
  local jobs
  jobs=$(getconf _NPROCESSORS_ONLN)
  if [ "$mode" = --changed ]; then git diff --name-only "$1" -- '*.cpp'; else git ls-files 'genkit/*.cpp' 'cli/*.cpp'; fi |
    { grep -E '^(genkit|cli)/' || true; } |
    xargs -r -P "$jobs" -n 1 clang-tidy --quiet -p "$build" 2> >(grep -v 'warnings generated' >&2)
}

check formatting formatting
check layers python3 tools/check_layers.py
check documents python3 tools/check_docs.py
if [ "$mode" != --format-only ]; then check clang-tidy tidy "${3:-HEAD}"; fi
exit "$failed"
