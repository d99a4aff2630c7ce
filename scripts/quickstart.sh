#!/usr/bin/env bash
# On a bare machine: synthetic archives, unpacked, preprocessed, trained on, evaluated, exported, one clip recognised.
set -euo pipefail

if [ $# -gt 1 ] || [[ "${1:-}" == -* ]]; then
    echo "error: at most one folder expected, given: $*
usage: bash scripts/quickstart.sh [WORK_DIR]
  WORK_DIR  folder for the data and the results, made anew inside (default ./quickstart)
Runs on the CPU, needs Python 3.10 to 3.12 and the package index, and takes about ten minutes on 2 cores." >&2
    exit 1
fi
work_dir="${1:-quickstart}"
[[ "$work_dir" == /* ]] || work_dir="$PWD/$work_dir"
if [ -e "$work_dir" ] && [ ! -d "$work_dir" ]; then
    echo "error: $work_dir: is not a folder" >&2
    exit 1
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/environment.sh
source scripts/environment.sh

archives="$work_dir/archives" dataset="$work_dir/dataset"
# MindSpore shows errors only.
export DEVICE_TARGET=CPU GLOG_v="${GLOG_v:-3}" PYTHON="$PWD/.venv/bin/python"

step() {
    printf '\n== %s (%d s)\n' "$1" "$SECONDS"
}

step "1/8 Environment"
make_environment .venv requirements.txt 3.11 3.12 3.10
mkdir -p "$work_dir"
rm -rf "$archives" "$dataset" "$work_dir"/{train,eval,export}-logs

step "2/8 Synthetic archives in Jester's packaging: $archives"
bash scripts/make_synthetic_jester.sh "$archives" --gestures 8 --train 480 --val 120

step "3/8 Unpack: $dataset"
bash scripts/unpack_jester_dataset.sh "$archives" "$dataset"

step "4/8 Preprocess"
bash scripts/preprocess_jester_dataset.sh "$dataset"

step "5/8 Train"
bash scripts/run_standalone_train_gpu.sh 0 "$dataset" "" --config_path configs/synthetic_config.yaml \
    --train_output_dir "$work_dir/train-logs"
checkpoints=("$work_dir"/train-logs/checkpoint_trn-14_*.ckpt)
checkpoint="${checkpoints[0]}"

step "6/8 Evaluate"
bash scripts/run_eval_gpu.sh "$dataset" "$checkpoint" --config_path configs/synthetic_config.yaml \
    --eval_output_dir "$work_dir/eval-logs"

step "7/8 Export"
bash scripts/run_export_gpu.sh "$dataset" "$checkpoint" --config_path configs/synthetic_config.yaml \
    --export_output_dir "$work_dir/export-logs"

step "8/8 Recognise one clip that was not trained on"
read -r clip _ class < "$dataset/val_videofolder.txt"
"$PYTHON" infer.py --device_target CPU --ckpt_file "$checkpoint" --source "$dataset/20bn-jester-v1/$clip" \
    --json "$work_dir/clip.json"
echo "It shows: $(sed -n "$((class + 1))p" "$dataset/categories.txt")"

step "Done"
grep -h "clips, .* crops\|Top[15]:" "$work_dir/eval-logs/eval.log"
printf '%-12s%s\n' Dataset: "$dataset" Checkpoint: "$checkpoint" MINDIR: "$work_dir/export-logs/trn.mindir" \
    "Its JSON:" "$work_dir/export-logs/trn.mindir.json" Curves: "$work_dir/train-logs/curves.png" \
    Report: "$work_dir/eval-logs/report.html"
