#!/usr/bin/env bash
# usage: tools/lint.sh BUILD [--quick|--format-only]
# Formatting, layers, documents, then clang-tidy with BUILD/compile_commands.json on every file of genkit/ and cli/.
# --quick: clang-tidy without the static analyzer (two thirds of its time), and only on the layers that read files
# and text from outside. Says everything that is wrong, then exits with 1.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build="${1:?usage: lint.sh BUILD [--quick|--format-only]}"
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
  local files=('genkit/*.cpp' 'cli/*.cpp') options=(--quiet -p "$build")
  if [ "$mode" = --quick ]; then
    files=('genkit/base/*.cpp' 'genkit/config/*.cpp' 'genkit/text/*.cpp' 'genkit/io/*.cpp' 'genkit/kernels/*.cpp')
    options+=("--checks=-clang-analyzer-*")
  fi
  # The kernels' files for one instruction set each are the same bodies again; `portable` stands for them.
  git ls-files "${files[@]}" | grep -vE '^genkit/kernels/targets/(avx|neon)' |
    xargs -P "$(getconf _NPROCESSORS_ONLN)" -n 1 clang-tidy "${options[@]}" 2> >(grep -v 'warnings generated' >&2)
}

check formatting formatting
check layers python3 tools/check_layers.py
check documents python3 tools/check_docs.py
if [ "$mode" != --format-only ]; then check clang-tidy tidy; fi
exit "$failed"
