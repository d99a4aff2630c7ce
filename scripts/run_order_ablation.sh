#!/usr/bin/env bash
# How much of each head's answers comes from the order of frames: train three heads alike, score clips in three orders.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_order_ablation.sh DATASET_ROOT OUT_DIR [--key value ...]
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  OUT_DIR       folder for the logs, the checkpoints and order_ablation.{md,csv,png}; what a run left there is replaced
Trains with configs/synthetic_config.yaml unless --config_path says otherwise; the keys given go to training and
evaluation alike. environment: DEVICE_TARGET (GPU, CPU or Ascend; default CPU)."

require_arguments 2 "$@"
dataset_root="$(absolute "$1")"
out_dir="$(absolute "$2")"
require_dir "$dataset_root"
resolve_options "$CONFIG_PATHS" "${@:3}"
choose_python

run_entry() {
    "$PYTHON" "$1" --config_path configs/synthetic_config.yaml --device_target "${DEVICE_TARGET:-CPU}" \
        "${OPTIONS[@]}" --dataset_root "$dataset_root" --consensus_type "$head" "${@:2}"
}

for head in TRNmultiscale TRN avg; do
    echo "== $head: training ($SECONDS s)"
    rm -rf "${out_dir:?}/$head"
    run_entry train.py --train_output_dir "$out_dir/$head/train" --keep_checkpoint_max 1
    checkpoints=("$out_dir/$head"/train/checkpoint_trn-*.ckpt)
    for order in natural reversed shuffled; do
        echo "== $head: $order ($SECONDS s)"
        run_entry eval.py --ckpt_file "${checkpoints[0]}" --frame_order "$order" --eval_output_dir "$out_dir/$head/$order"
    done
done
"$PYTHON" -m src.evaluation.order_ablation "$out_dir"
