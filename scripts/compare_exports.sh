#!/usr/bin/env bash
# Export a trained network in every form, evaluate each of them, and compare their answers with the checkpoint's.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/compare_exports.sh DATASET_ROOT CKPT OUT_DIR [--key value ...]
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  CKPT          checkpoint of the trained network
  OUT_DIR       folder for the exported files, the evaluations and compare.md; results of an earlier run are replaced
  --key value   any key of the configuration, for export and evaluation alike; python eval.py --help lists them
environment: DEVICE_TARGET (GPU, CPU or Ascend; the config's device_target, which is GPU, by default)."

require_arguments 3 "$@"
dataset_root="$1" checkpoint="$2" out_dir="$3"
require_dir "$dataset_root"
require_file "$checkpoint"
options=("${@:4}")
choose_python
forms=(checkpoint mindir onnx int8 stream stream-int8)

run_entry() {
    "$PYTHON" "$REPO_ROOT/$1" "${options[@]}" --dataset_root "$dataset_root" "${@:2}"
}

export_form() {
    run_entry export.py --ckpt_file "$checkpoint" --export_output_dir "$out_dir/$1/export" --model_name trn "${@:2}"
}

hold_folder "$out_dir"
empty_own "${forms[@]/#/"$out_dir/"}"
export_form mindir
export_form onnx --file_format ONNX
export_form int8 --file_format ONNX --quantize int8
export_form stream --file_format ONNX --streaming true
export_form stream-int8 --file_format ONNX --streaming true --quantize int8
for form in "${forms[@]}"; do
    case "$form" in
        checkpoint) model="$checkpoint" ;;
        mindir) model="$out_dir/mindir/export/trn.mindir" ;;
        stream*) model="$out_dir/$form/export/trn_frame.onnx" ;;
        *) model="$out_dir/$form/export/trn.onnx" ;;
    esac
    echo "== $form ($SECONDS s)"
    run_entry eval.py --ckpt_file "$model" --eval_output_dir "$out_dir/$form/eval"
done
run_python benchmarks/compare_exports.py "$out_dir"
