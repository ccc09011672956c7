#!/usr/bin/env bash
# Set-up, ruff and all tests. Arguments go to pytest: bash scripts/test.sh -k cells
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
setup_environment
ruff check .
ruff format --check . || { echo "test: run 'ruff format .'" >&2; exit 1; }
OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" exec python -m pytest -q -n "${TEST_PROCESSES:-2}" "$@"
