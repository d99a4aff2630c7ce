#!/usr/bin/env bash
# Evaluate a trained network, a checkpoint or an exported file: accuracy, tables, a report.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_eval_gpu.sh DATASET_ROOT MODEL [--key value ...]
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  MODEL         trained network: .ckpt, or .mindir or .onnx with its JSON beside it
  --key value   any key of the configuration; python eval.py --help lists them
environment: DEVICE_TARGET (GPU, CPU or Ascend; the config's device_target, which is GPU, by default).
The log and the results go to ./eval-logs unless --eval_output_dir or the file of --config_path says otherwise."

require_arguments 2 "$@"
require_dir "$1"
find_checkpoint "$2"
run_python eval.py --dataset_root "$1" --ckpt_file "$CHECKPOINT" "${@:3}"
