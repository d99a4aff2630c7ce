#!/usr/bin/env bash
# Train on several devices, one process each, started by mpirun.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_distributed_train_gpu.sh DATASET_ROOT PRETRAINED [--key value ...]
  DATASET_ROOT  folder of the unpacked and preprocessed dataset
  PRETRAINED    checkpoint of a backbone, or of a whole network to take its backbone; \"pretrained\" for mindcv's own
                weights; \"\" to train from scratch or, with --pre_trained FILE, from a whole network
  --key value   any key of the configuration; python train.py --help lists them. Without --config_path a device gets
                8 clips a step, which is the published recipe on 8 devices; with it, as many as that config says
environment: DEVICE_NUM (default 8), HOSTFILE (mpirun's, none by default), DEVICE_TARGET (GPU, CPU or Ascend; the
config's device_target, which is GPU, by default).
The logs and the checkpoints go to ./train-logs unless --train_output_dir or the file of --config_path says otherwise."

require_arguments 2 "$@"
device_num="${DEVICE_NUM:-8}"
[[ "$device_num" =~ ^[1-9][0-9]*$ ]] || usage_error "DEVICE_NUM=$device_num: not a number of devices"
require_dir "$1"
[ -z "$2" ] || [ "$2" = pretrained ] || require_file "$2"
# A stopped process needs time for a step and a save; mpirun's default is one second.
launch=(mpirun -n "$device_num" --allow-run-as-root --mca odls_base_sigkill_timeout 10 -x PYTHONPATH)
if [ -n "${HOSTFILE:-}" ]; then
    require_file "$HOSTFILE"
    launch+=(--hostfile "$HOSTFILE")
fi
command -v mpirun > /dev/null || fail "mpirun: not found; install Open MPI (Debian: apt-get install openmpi-bin)"
choose_python
gives_config "${@:3}" || set -- "$1" "$2" --train_batch_size 8 "${@:3}"
exec "${launch[@]}" "$PYTHON" "$REPO_ROOT/train.py" --is_train_distributed true --group_size "$device_num" \
    ${DEVICE_TARGET:+--device_target "$DEVICE_TARGET"} --dataset_root "$1" --pre_trained_backbone "$2" "${@:3}"
