#!/usr/bin/env bash
# Train on one device.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_standalone_train_gpu.sh DEVICE_ID DATASET_ROOT PRETRAINED [--key value ...]
  DEVICE_ID     number of the device
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  PRETRAINED    checkpoint of the backbone, or \"\" to train from scratch
environment: DEVICE_TARGET (GPU, CPU or Ascend; default GPU). The log and the checkpoints go to ./train-logs."

require_arguments 3 "$@"
device_id="$1"
dataset_root="$(absolute "$2")"
pretrained="$(absolute "$3")"
[[ "$device_id" =~ ^[0-9]+$ ]] || usage_error "$device_id: not the number of a device"
require_dir "$dataset_root"
[ -z "$pretrained" ] || require_file "$pretrained"
resolve_options "$CONFIG_PATHS" "${@:4}"
run_python train.py --device_target "${DEVICE_TARGET:-GPU}" --device_id "$device_id" --dataset_root "$dataset_root" \
    --pre_trained_backbone "$pretrained" --train_output_dir ./train-logs "${OPTIONS[@]}"
