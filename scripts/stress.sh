#!/usr/bin/env bash
# The tests of docs/reference/reliability.md at full length: twenty kills per stage instead of three, every stage under every
# backend. About 15 minutes on 2 cores. Arguments go to pytest: bash scripts/stress.sh -k killed
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
setup_environment
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec python -m pytest -q -n "${TEST_PROCESSES:-2}" --stress -rP --show-capture=stdout --durations 0 \
    tests/reliability tests/data/test_label_cache_writing.py "$@"
