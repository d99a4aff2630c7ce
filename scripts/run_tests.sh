#!/usr/bin/env bash
# Make the environments if there are none and run every check that CI runs, on both MindSpore packages.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$REPO_ROOT"
source scripts/environment.sh

USAGE="usage: bash scripts/run_tests.sh
Takes 10 to 25 minutes on 2 cores."

require_arguments 0 "$@"
make_environment .venv-dev requirements-dev.txt 3.11 3.12 3.10
# need PROGRAM PACKAGE...: install a program that the tests start, if that is possible.
need() {
    if ! command -v "$1" > /dev/null && command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "${@:2}" > /dev/null
    fi
}
need mpirun openmpi-bin # for distributed training
need npm nodejs npm || echo "No npm here: the page is not tested"
need chromedriver chromium chromium-driver || echo "No chromium here: the page is not tested in a browser"
# MindSpore shows errors only.
export GLOG_v=3 PATH="$PWD/.venv-dev/bin:$PATH"
unset PYTHON PYTHONPATH PYTHONSAFEPATH VIRTUAL_ENV

ruff check .
ruff format --check .
shellcheck -x -P SCRIPTDIR scripts/*.sh benchmarks/*.sh .ci/run
lint-imports
mypy

# legacy ARGUMENTS...: Python with the package mindspore-gpu. Even on the CPU it needs the CUDA runtime; GLOG_v=4 hides
# its messages about the missing rest of CUDA.
legacy() {
    LD_LIBRARY_PATH="$PWD/.venv-legacy/lib/python3.9/site-packages/nvidia/cuda_runtime/lib" GLOG_v=4 \
        .venv-legacy/bin/python "$@"
}

# The tests of a file run in one process, because they share fixtures. The files run in pytest's order: pytest-xdist
# would begin with files of many tests, and the few long end-to-end tests would run last, on one core.
BOTH_CORES=(-n 2 --dist loadfile --no-loadscope-reorder)

# Each package writes files here that the other reads in its tests.
TRN_EXCHANGE="$(mktemp -d)"
export TRN_EXCHANGE
trap 'rm -rf "$TRN_EXCHANGE"' EXIT
.venv-dev/bin/python -m tests.helpers.exchange "$TRN_EXCHANGE"
if find_interpreter 3.9 > /dev/null; then
    make_environment .venv-legacy requirements-dev.txt 3.9
    legacy -m tests.helpers.exchange "$TRN_EXCHANGE"
    legacy -m pytest "${BOTH_CORES[@]}"
else
    echo "Python 3.9 not found: nothing is tested on the legacy package"
fi
.venv-dev/bin/python -m pytest "${BOTH_CORES[@]}"
