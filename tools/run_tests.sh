#!/usr/bin/env bash
# usage: tools/run_tests.sh BUILD [ctest options]
# Runs ctest and ends with "N passed, N failed": single test cases where a program is a GoogleTest one, otherwise
# the ctest entry.
set -uo pipefail
build="${1:?usage: run_tests.sh BUILD [ctest options]}"
shift
build=$(cd "$build" && pwd)
reports="$build/test-reports"
rm -rf "$reports"
mkdir -p "$reports"
# GoogleTest writes one report a program into the folder.
export GTEST_OUTPUT="json:$reports/"
ctest --test-dir "$build" --output-on-failure --no-tests=error --output-junit "$reports/ctest.xml" "$@"
rc=$?
python3 - "$reports" <<'PY'
import json
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

reports = Path(sys.argv[1])
passed = failed = skipped = 0
counted = set()
for path in reports.glob("*.json"):
    report = json.loads(path.read_text())
    counted.add(path.stem)
    for suite in report["testsuites"]:
        for case in suite["testsuite"]:
            if "failures" in case:
                failed += 1
            elif case.get("result") == "SKIPPED":
                skipped += 1
                print(f"skipped: {suite['name']}.{case['name']}")
            else:
                passed += 1
for case in xml.parse(reports / "ctest.xml").getroot().iter("testcase"):
    name = case.get("name")
    ok = case.get("status") == "run"
    if f"{name}_tests" in counted:
        # A program whose report is complete is counted above; one that crashed wrote none.
        continue
    passed += ok
    failed += not ok
if skipped:
    print(f"{skipped} skipped")
print(f"{passed} passed, {failed} failed")
PY
exit "$rc"
