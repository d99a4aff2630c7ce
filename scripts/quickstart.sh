#!/usr/bin/env bash
# On a bare machine: synthetic archives, unpacked, preprocessed, trained on, evaluated, exported, one clip recognised.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$REPO_ROOT/scripts/environment.sh"

USAGE="usage: bash scripts/quickstart.sh [WORK_DIR]
  WORK_DIR  folder for the data and the results (default ./quickstart); results of an earlier quickstart are replaced
Runs on the CPU, needs Python 3.10 to 3.12 and the package index, and takes three to five minutes on 2 cores."

answer_help "$@"
if [ $# -gt 1 ] || [[ "${1:-}" == -* ]]; then
    usage_error "at most one folder expected, given: $*"
fi
work_dir="${1:-quickstart}"
if [ -e "$work_dir" ] && [ ! -d "$work_dir" ]; then
    fail "$work_dir: is not a folder"
fi
archives="$work_dir/archives" dataset="$work_dir/dataset" config="$REPO_ROOT/configs/quickstart_config.yaml"
# MindSpore shows errors only.
export DEVICE_TARGET=CPU GLOG_v="${GLOG_v:-3}" PYTHON="$REPO_ROOT/.venv/bin/python"

step() {
    printf '\n== %s (%d s)\n' "$1" "$SECONDS"
}

# run NAME ARGUMENTS...: another script of this folder.
run() {
    bash "$REPO_ROOT/scripts/$1.sh" "${@:2}"
}

folders=("$archives" "$dataset" "$work_dir"/{backbone,train,eval,export}-logs)
hold_folder "$work_dir"
check_own "${folders[@]}"

step "1/9 Environment"
(cd "$REPO_ROOT" && make_environment .venv requirements.txt 3.11 3.12 3.10)
empty_own "${folders[@]}"

step "2/9 Synthetic archives in Jester's packaging: $archives"
run make_synthetic_jester "$archives" --gestures 8 --train 480 --val 120

step "3/9 Unpack: $dataset"
run unpack_jester_dataset "$archives" "$dataset"

step "4/9 Preprocess"
run preprocess_jester_dataset "$dataset"

# train FOLDER ARGUMENTS...: sets `checkpoint`; the config keeps the last one.
train() {
    run run_standalone_train_gpu 0 "$dataset" "" --config_path "$config" --train_output_dir "$1" "${@:2}"
    local kept=("$1"/checkpoint_trn-*.ckpt)
    checkpoint="${kept[0]}"
}

step "5/9 Train"
train "$work_dir/backbone-logs"

# Behind a frozen backbone an epoch takes a sixth of the time: more epochs, and more windows without a whole gesture.
step "6/9 Train the relations behind the frozen backbone"
train "$work_dir/train-logs" --pre_trained "$checkpoint" --freeze_backbone true --epochs_num 40 --update_lr_epochs 32 \
    --sliding_windows 0.6 --sliding_windows_start 0 --sliding_windows_full 0

step "7/9 Evaluate"
run run_eval_gpu "$dataset" "$checkpoint" --config_path "$config" --eval_output_dir "$work_dir/eval-logs"

step "8/9 Export"
run run_export_gpu "$dataset" "$checkpoint" --config_path "$config" --export_output_dir "$work_dir/export-logs"

step "9/9 Recognise one clip that was not trained on"
read -r clip _ class < "$dataset/val_videofolder.txt"
"$PYTHON" "$REPO_ROOT/infer.py" --ckpt_file "$checkpoint" \
    --source "$dataset/20bn-jester-v1/$clip" --json "$work_dir/eval-logs/clip.json"
echo "It shows: $(sed -n "$((class + 1))p" "$dataset/categories.txt")"

step "Done"
grep -h "clips, .* crops\|Top[15]:" "$work_dir/eval-logs/eval.log"
printf '%-12s%s\n' Dataset: "$dataset" Checkpoint: "$checkpoint" MINDIR: "$work_dir/export-logs/trn.mindir" \
    "Its JSON:" "$work_dir/export-logs/trn.mindir.json" Curves: "$work_dir/train-logs/curves.png" \
    Report: "$work_dir/eval-logs/report.html"
