#!/usr/bin/env bash
# Write the list files that training and evaluation read: categories.txt, train_videofolder.txt, val_videofolder.txt.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/preprocess_jester_dataset.sh DATASET_ROOT [--option value ...]
  DATASET_ROOT              folder of the unpacked dataset
  --labels_path DIR         folder with the label lists (default DATASET_ROOT/labels)
  --save_labels_path DIR    folder for the list files (default DATASET_ROOT)
  --images_dir_name NAME    folder of the clips in DATASET_ROOT (default 20bn-jester-v1 or
                            20bn-something-something-v1, whichever is there)
  --frame_name NAME         names of the frames, such as img_{:05d}.jpg (default {:05d}.jpg); numbers from 0 or 1
  --renumber true           rename frames whose numbers have gaps, in place and in their order
  --missing skip            leave out listed clips without frames, and name them in left_out.txt (default stop)"

require_arguments 1 "$@"
require_dir "$1"
run_python src/preprocess_jester_dataset.py "$@"
