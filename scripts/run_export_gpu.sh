#!/usr/bin/env bash
# Export a trained network to MINDIR (or --file_format ONNX or AIR).
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_export_gpu.sh DATASET_ROOT CKPT [--key value ...]
  DATASET_ROOT  folder of the dataset, for its list of classes
  CKPT          checkpoint of the trained network
environment: DEVICE_TARGET (GPU, CPU or Ascend; default GPU). The log and the exported file go to ./export-logs."

require_arguments 2 "$@"
dataset_root="$(absolute "$1")"
ckpt="$(absolute "$2")"
require_dir "$dataset_root"
require_file "$ckpt"
resolve_options "$CONFIG_PATHS" "${@:3}"
run_python export.py --device_target "${DEVICE_TARGET:-GPU}" --dataset_root "$dataset_root" --ckpt_file "$ckpt" \
    --export_output_dir ./export-logs "${OPTIONS[@]}"
