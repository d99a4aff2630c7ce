#!/usr/bin/env bash
# Decode the unpacked videos of Something-Something v2 and write the list files that training and evaluation read.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/preprocess_something_v2.sh DATASET_ROOT [--option value ...]
  DATASET_ROOT        folder of the unpacked dataset
  --labels_path DIR   folder with the label lists (default DATASET_ROOT/labels)
  --fps N             frames a second (default 12, as in the videos)
  --height N          height of the frames in pixels (default 240, as in the videos)
  --max_frames N      frames of a clip, at most (default 10000)
  --on_error skip     leave out videos that cannot be read, and say so (default stop)
  --missing skip      leave out entries whose videos are not there, and name them in left_out.txt (default stop)"

require_arguments 1 "$@"
require_dir "$1"
run_python src/data/something_v2.py "$@"
