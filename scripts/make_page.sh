#!/usr/bin/env bash
# Make a folder of static files: a page that recognises gestures in its visitor's browser.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/make_page.sh MODEL OUT_DIR [--dataset_root DATASET_ROOT] [--key value ...]
  MODEL         trained checkpoint, or the first of the two ONNX files for streams
  OUT_DIR       folder of the page, for any web server or static host; an earlier page there is replaced
  DATASET_ROOT  with it a checkpoint becomes 8-bit files, calibrated on training clips; without it 32-bit files
  --key value   any key of the configuration, such as --config_path with a file of tune_stream.sh
Needs npm, which fetches onnxruntime-web.
environment: DEVICE_TARGET (GPU, CPU or Ascend; CPU by default)."

require_arguments 2 "$@"
require_file "$1"
export DEVICE_TARGET="${DEVICE_TARGET:-CPU}"
run_python make_page.py --model "$1" --output "$2" "${@:3}"
