#!/usr/bin/env bash
# Train on one device.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_standalone_train_gpu.sh DEVICE_ID DATASET_ROOT PRETRAINED [--key value ...]
  DEVICE_ID     number of the device
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  PRETRAINED    checkpoint of a backbone, or of a whole network to take its backbone; \"pretrained\" for mindcv's own
                weights; \"\" to train from scratch or, with --pre_trained FILE, from a whole network
  --key value   any key of the configuration; python train.py --help lists them
environment: DEVICE_TARGET (GPU, CPU or Ascend; the config's device_target, which is GPU, by default).
The log and the checkpoints go to ./train-logs unless --train_output_dir or the file of --config_path says otherwise."

require_arguments 3 "$@"
[[ "$1" =~ ^[0-9]+$ ]] || usage_error "$1: not the number of a device"
require_dir "$2"
[ -z "$3" ] || [ "$3" = pretrained ] || require_file "$3"
run_python train.py --device_id "$1" --dataset_root "$2" --pre_trained_backbone "$3" "${@:4}"
