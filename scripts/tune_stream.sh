#!/usr/bin/env bash
# Choose the window and the thresholds for gestures in streams, and write them to a config file.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/tune_stream.sh MODEL VIDEOS TRUTH [--option value ...]
  MODEL              trained checkpoint, or the first of the two files for streams
  VIDEOS             folder of videos, some of them without gestures
  TRUTH              their gestures, as for run_stream_eval.sh
  --output FILE      file to write (default ./stream.yaml), for --config_path of infer.py, run_stream_eval.sh
                     and make_page.sh
  --windows S,S,...  windows to choose from, in seconds (default 1.5,2,2.5,3,3.5,4)
environment: DEVICE_TARGET (GPU, CPU or Ascend; the config's device_target, which is GPU, by default)."

require_arguments 3 "$@"
require_file "$1"
require_dir "$2"
require_file "$3"
run_python tune_stream.py --ckpt_file "$1" --videos "$2" --truth "$3" "${@:4}"
