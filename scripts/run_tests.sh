#!/usr/bin/env bash
# Make the environment if there is none and run every check that CI runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/environment.sh
source scripts/environment.sh

if [ $# -gt 0 ]; then
    echo "usage: bash scripts/run_tests.sh" >&2
    exit 1
fi
make_environment .venv-dev requirements-dev.txt 3.11 3.12 3.10
# MindSpore shows errors only.
export GLOG_v=3 PATH="$PWD/.venv-dev/bin:$PATH"
unset PYTHON VIRTUAL_ENV

ruff check .
ruff format --check .
shellcheck -x scripts/*.sh .ci/run
exec .venv-dev/bin/python -m pytest
