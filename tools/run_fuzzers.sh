#!/usr/bin/env bash
# usage: tools/run_fuzzers.sh BUILD SECONDS [TARGET]...
# Runs every fuzz target of BUILD (or those named): on tests/fuzz/regressions/TARGET, on the seeds (which the
# reader must accept), then for SECONDS from there. What it finds goes to BUILD/fuzz/TARGET/findings; the corpus
# stays in BUILD/fuzz/TARGET/corpus.
# Ends with "N passed, N failed" and exits with 1 when a target failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build="${1:?usage: run_fuzzers.sh BUILD SECONDS [TARGET]...}"
seconds="${2:?usage: run_fuzzers.sh BUILD SECONDS [TARGET]...}"
shift 2
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for program in "$build"/tests/fuzz/*_fuzz; do
    program="${program##*/}"
    targets+=("${program%_fuzz}")
  done
fi

rm -rf "$build/fuzz/seeds"
python3 tests/fuzz/make_seeds.py "$build/fuzz/seeds"
# An allocation that a few bytes of input ask for is a finding long before it fills the memory.
limits=(-timeout=20 -rss_limit_mb=3072 -malloc_limit_mb=1024 -max_len=131072 -seed=1 -print_final_stats=1)
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"

run_target() {
  local target="$1" work="$build/fuzz/$1" dictionary options=("${limits[@]}")
  for dictionary in "tests/fuzz/${target%%_*}.dict" "$build/fuzz/seeds/$target.dict"; do
    [ ! -f "$dictionary" ] || options+=(-dict="$dictionary")
  done
  rm -rf "$work/findings"
  mkdir -p "$work/corpus" "$work/findings" "$build/fuzz/seeds/$target"
  if [ -d "tests/fuzz/regressions/$target" ]; then
    "$build/tests/fuzz/${target}_fuzz" "${limits[@]}" "tests/fuzz/regressions/$target"/* || return 1
  fi
  # Some templates of the golden set fail on purpose, and fail without their own messages.
  if [ "$target" != chat_template ]; then
    GENKIT_FUZZ_ACCEPT=1 "$build/tests/fuzz/${target}_fuzz" "${limits[@]}" "$build/fuzz/seeds/$target"/* || return 1
  fi
  "$build/tests/fuzz/${target}_fuzz" "${options[@]}" -max_total_time="$seconds" \
    -artifact_prefix="$work/findings/" "$work/corpus" "$build/fuzz/seeds/$target"
}

passed=0
failed=0
for target in "${targets[@]}"; do
  log="$build/fuzz/$target.log"
  if run_target "$target" >"$log" 2>&1; then
    passed=$((passed + 1))
    echo "fuzz $target: $(awk '/number_of_executed_units/ { n = $2 } END { print n }' "$log") inputs, no finding"
  else
    failed=$((failed + 1))
    echo "fuzz $target: FAILED, see $log and $build/fuzz/$target/findings"
    grep -m1 -A12 -E 'ERROR|runtime error|terminate called' "$log" || tail -20 "$log"
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
