#!/usr/bin/env bash
# Put the frames of a dataset into one tar with an index, or back into a folder for each clip.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/pack_frames.sh DATASET_ROOT [--option value ...]
  DATASET_ROOT            folder of the dataset
  --unpack true           turn the tar into folders again (default false)
  --images_dir_name NAME  folder of the clips in DATASET_ROOT; NAME.tar takes its place (default 20bn-jester-v1)
  --frame_name NAME       names of the frames, such as img_{:05d}.jpg (default {:05d}.jpg)"

require_arguments 1 "$@"
require_dir "$1"
run_python src/data/pack_frames.py "$@"
