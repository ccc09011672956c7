#!/usr/bin/env bash
# All tests under several interpreters and releases of torch, one row of a Markdown table for each:
#   bash scripts/compatibility.sh python3.11=torch==2.13.0 python3.12=torch==2.14.1
# Every pair gets an environment of its own, several GB with a CUDA build of torch, and keeps it for the next time.
#   COMPATIBILITY_DIR    where the environments are, default .compatibility
#   COMPATIBILITY_TESTS  arguments of pytest, default all tests
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
[ $# -gt 0 ] || { echo "compatibility: name pairs: bash scripts/compatibility.sh python3.11=torch==2.13.0" >&2; exit 2; }

root="${COMPATIBILITY_DIR:-.compatibility}"
table="| Python | torch | numpy | tests |
|---|---|---|---|"
failed=0
mkdir -p "$root"
for pair in "$@"; do
    log="$root/${pair//[^A-Za-z0-9.=]/_}.log"
    if result=$(
        export PYTHON="${pair%%=*}" TORCH_SPEC="${pair#*=}" VENV="${log%.log}"
        setup_environment >&2 || exit 1
        # shellcheck disable=SC2086
        OMP_NUM_THREADS=1 python -m pytest -q -n "${TEST_PROCESSES:-2}" ${COMPATIBILITY_TESTS:-} >"$log" 2>&1
        status=$?
        python -c 'import sys, torch, numpy; print(sys.version.split()[0], torch.__version__, numpy.__version__, sep=" | ")'
        exit $status
    ); then :; else failed=1; fi
    table+=$'\n'"| ${result:-$pair | not installed |} | $(tail -1 "$log" 2>/dev/null) |"
done
echo "$table"
exit $failed
