#!/usr/bin/env bash
# Turn your own videos into frame folders and the list files that training and evaluation read.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/prepare_videos.sh VIDEOS DATASET_ROOT [--option value ...]
  VIDEOS              folder with a folder of videos for each class, or with the videos that the CSV names
  DATASET_ROOT        folder for the dataset; made if it is not there
  --annotations CSV   clips are the rows of a CSV with a header video,label[,start,end][,split] (times in seconds)
  --val SHARE         share of each class's clips to validate with (default 0.2)
  --fps N             frames a second (default 12)
  --height N          height of the frames in pixels (default 100)
  --max_frames N      frames of a clip, at most (default 10000)
  --seed N            another seed draws another split (default 0)
  --on_error skip     leave out videos that cannot be read, and say so (default stop)
  --missing skip      leave out rows of the CSV whose videos are not there, and name them in left_out.txt (default stop)
  --packed true       put the frames into one tar instead of a folder for each clip (default false)"

require_arguments 2 "$@"
require_dir "$1"
run_python src/data/prepare_videos.py "$@"
