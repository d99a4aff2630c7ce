#!/usr/bin/env bash
# Evaluate a trained network: accuracy, tables, a report.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_eval_gpu.sh DATASET_ROOT CKPT [--key value ...]
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  CKPT          checkpoint of the trained network
environment: DEVICE_TARGET (GPU, CPU or Ascend; default GPU). The log and the results go to ./eval-logs."

require_arguments 2 "$@"
dataset_root="$(absolute "$1")"
ckpt="$(absolute "$2")"
require_dir "$dataset_root"
require_file "$ckpt"
resolve_options "$CONFIG_PATHS" "${@:3}"
run_python eval.py --device_target "${DEVICE_TARGET:-GPU}" --dataset_root "$dataset_root" --ckpt_file "$ckpt" \
    --eval_output_dir ./eval-logs "${OPTIONS[@]}"
