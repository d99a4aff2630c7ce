#!/usr/bin/env bash
# From clips of your own gestures to a network that recognises them in a stream, with a report and a page to try it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/my_gestures.sh VIDEOS OUT_DIR [--option value ...]
  VIDEOS             folder with a folder of videos for each gesture. Add a folder 'No gesture' with rest and other
                     movements if you can; without it rest is cut from the clips
  OUT_DIR            work folder; the same command resumes there
  --from FILE        network to start from: a checkpoint (.ckpt) of a TRN or a backbone, the authors' .pth.tar, or
                     ImageNet weights of BNInception (.pth)
  --minutes N        time for the trainings (default 10)
  --annotations CSV  VIDEOS holds longer videos; the CSV lists their gestures: video,label[,start,end][,split]
  --train WAY        frozen, whole or both (default): which trainings to try; the better on held-out clips is taken
  --seed N           of every random choice (default 0)
environment: DEVICE_TARGET (GPU, CPU or Ascend; a GPU if there is one by default)."

require_arguments 2 "$@"
require_dir "$1"
run_python src/own_gestures/main.py "$@"
