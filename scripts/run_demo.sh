#!/usr/bin/env bash
# Show a page to try a model: upload a video, or perform gestures for the browser's camera.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/environment.sh
source "$REPO_ROOT/scripts/environment.sh"

USAGE="usage: bash scripts/run_demo.sh MODEL [--port N] [--key value ...]
  MODEL  trained checkpoint, or exported .mindir or .onnx with its .json beside it; the camera needs a
         checkpoint or the two files for streams
  N      port of the page on this machine, 7860 by default
environment: DEVICE_TARGET (GPU, CPU or Ascend; CPU by default); PYTHON, an interpreter that has the packages of
requirements-demo.txt; without it they are installed into .venv-demo, which needs Python 3.10 to 3.12."

require_arguments 1 "$@"
require_file "$1"
export DEVICE_TARGET="${DEVICE_TARGET:-CPU}"
choose_device
if [ -z "${PYTHON:-}" ]; then
    (cd "$REPO_ROOT" && make_environment .venv-demo requirements-demo.txt 3.11 3.12 3.10)
    PYTHON="$REPO_ROOT/.venv-demo/bin/python"
fi
run_python demo.py "${DEVICE[@]}" --model "$1" "${@:2}"
