#!/usr/bin/env bash
# Export a trained network to MINDIR (or --file_format ONNX or AIR).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_export_gpu.sh DATASET_ROOT CKPT [--key value ...]
  DATASET_ROOT  folder of the dataset, for its list of classes
  CKPT          checkpoint of the trained network
  --key value   any key of the configuration; python export.py --help lists them
environment: DEVICE_TARGET (GPU, CPU or Ascend; the config's device_target, which is GPU, by default).
The log and the exported file go to ./export-logs unless --export_output_dir or the file of --config_path says
otherwise."

require_arguments 2 "$@"
require_dir "$1"
find_checkpoint "$2"
run_python export.py --dataset_root "$1" --ckpt_file "$CHECKPOINT" "${@:3}"
