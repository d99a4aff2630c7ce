#!/usr/bin/env bash
# How much of each head's answers comes from the order of frames: train three heads alike, score clips in three orders.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_order_ablation.sh DATASET_ROOT OUT_DIR [--key value ...]
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  OUT_DIR       folder for the logs, the checkpoints and order_ablation.{md,csv,png}; results of an earlier run are
                replaced
  --key value   any key of the configuration, for training and evaluation alike; python train.py --help lists them.
                Without --config_path it is configs/synthetic_config.yaml, on the CPU
environment: DEVICE_TARGET (GPU, CPU or Ascend; the config's device_target by default)."

require_arguments 2 "$@"
dataset_root="$1" out_dir="$2"
require_dir "$dataset_root"
options=("${@:3}")
gives_config "${options[@]}" || options=(--config_path "$REPO_ROOT/configs/synthetic_config.yaml" "${options[@]}")
choose_python
heads=(TRNmultiscale TRN avg)

run_entry() {
    "$PYTHON" "$REPO_ROOT/$1" "${options[@]}" --dataset_root "$dataset_root" --consensus_type "$head" \
        "${@:2}"
}

hold_folder "$out_dir"
empty_own "${heads[@]/#/"$out_dir/"}"
for head in "${heads[@]}"; do
    echo "== $head: training ($SECONDS s)"
    run_entry train.py --train_output_dir "$out_dir/$head/train" --keep_checkpoint_max 1
    checkpoints=("$out_dir/$head"/train/checkpoint_trn-*.ckpt)
    for order in natural reversed shuffled; do
        echo "== $head: $order ($SECONDS s)"
        run_entry eval.py --ckpt_file "${checkpoints[0]}" --frame_order "$order" --eval_output_dir "$out_dir/$head/$order"
    done
done
run_python benchmarks/order_ablation.py "$out_dir"
