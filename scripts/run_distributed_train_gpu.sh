#!/usr/bin/env bash
# Train on several devices, one process each, started by mpirun.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_distributed_train_gpu.sh DATASET_ROOT PRETRAINED [--key value ...]
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  PRETRAINED    checkpoint of the backbone, or \"\" to train from scratch
environment: DEVICE_NUM (default 8), HOSTFILE (mpirun's, none by default), DEVICE_TARGET (GPU, CPU or Ascend; default GPU).
The logs and the checkpoints go to ./train-logs."

require_arguments 2 "$@"
dataset_root="$(absolute "$1")"
pretrained="$(absolute "$2")"
device_num="${DEVICE_NUM:-8}"
[[ "$device_num" =~ ^[1-9][0-9]*$ ]] || usage_error "DEVICE_NUM=$device_num: not a number of devices"
require_dir "$dataset_root"
[ -z "$pretrained" ] || require_file "$pretrained"
# When it is stopped mpirun gives the processes one second, and they need a step and a save.
launch=(mpirun -n "$device_num" --allow-run-as-root --mca odls_base_sigkill_timeout 10)
if [ -n "${HOSTFILE:-}" ]; then
    require_file "$HOSTFILE"
    launch+=(--hostfile "$(absolute "$HOSTFILE")")
fi
command -v mpirun > /dev/null || fail "mpirun: not found; install Open MPI (Debian: apt-get install openmpi-bin)"
resolve_options "$CONFIG_PATHS" "${@:3}"
# Eight devices with 8 clips each is the published recipe; a config of the user's own says itself how many.
[[ " ${OPTIONS[*]} " == *" --config_path"* ]] || OPTIONS=(--train_batch_size 8 "${OPTIONS[@]}")
choose_python
exec "${launch[@]}" "$PYTHON" train.py --is_train_distributed true --group_size "$device_num" \
    --device_target "${DEVICE_TARGET:-GPU}" --dataset_root "$dataset_root" --pre_trained_backbone "$pretrained" \
    --train_output_dir ./train-logs "${OPTIONS[@]}"
