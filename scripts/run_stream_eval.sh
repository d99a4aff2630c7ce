#!/usr/bin/env bash
# Evaluate the recognition of gestures in streams; log, numbers and a page with timelines go to ./eval-logs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_stream_eval.sh VIDEOS TRUTH CKPT [--key value ...]
  VIDEOS  folder of videos
  TRUTH   their gestures, in seconds: JSON {video: [{\"start\", \"end\", \"label\"}, ...]} or CSV video,start,end,label;
          a video without gestures is listed as well, with [] or a row video,,,
  CKPT    trained checkpoint
environment: DEVICE_TARGET (GPU, CPU or Ascend; the config's device_target, which is GPU, by default)."

require_arguments 3 "$@"
require_dir "$1"
require_file "$2"
find_checkpoint "$3"
run_python eval_streams.py --videos "$1" --truth "$2" --ckpt_file "$CHECKPOINT" "${@:4}"
