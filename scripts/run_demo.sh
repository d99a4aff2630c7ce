#!/usr/bin/env bash
# Show a model's page on this machine: gestures of a camera or a video, recognised in the browser.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_demo.sh MODEL [--port N] [--dataset_root DATASET_ROOT] [--key value ...]
  MODEL         trained checkpoint, or the first of the two ONNX files for streams
  N             port of the page on this machine, 7860 by default
  DATASET_ROOT  with it a checkpoint becomes 8-bit files, calibrated on training clips; without it 32-bit files
  --key value   any key of the configuration, such as --config_path with a file of tune_stream.sh
Makes the page as make_page.sh does, in a temporary folder. Needs npm, which fetches onnxruntime-web.
environment: DEVICE_TARGET (GPU, CPU or Ascend; CPU by default)."

require_arguments 1 "$@"
require_file "$1"
export DEVICE_TARGET="${DEVICE_TARGET:-CPU}"
run_python demo.py --model "$1" "${@:2}"
