#!/usr/bin/env bash
# Evaluate the recognition of gestures in streams; log, numbers and a page with timelines go to ./eval-logs.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/run_stream_eval.sh VIDEOS TRUTH CKPT [--key value ...]
  VIDEOS  folder of videos
  TRUTH   their gestures, in seconds: JSON {video: [{\"start\", \"end\", \"label\"}, ...]} or CSV video,start,end,label;
          a video without gestures is listed as well, with [] or a row video,,,
  CKPT    trained checkpoint
environment: DEVICE_TARGET (GPU, CPU or Ascend; default GPU)"

require_arguments 3 "$@"
videos="$(absolute "$1")" truth="$(absolute "$2")" ckpt="$(absolute "$3")"
require_dir "$videos"
require_file "$truth"
require_file "$ckpt"
resolve_options "$CONFIG_PATHS" "${@:4}"
run_python -m src.inference.stream_eval --device_target "${DEVICE_TARGET:-GPU}" --videos "$videos" --truth "$truth" \
    --ckpt_file "$ckpt" --eval_output_dir ./eval-logs "${OPTIONS[@]}"
