#!/usr/bin/env bash
# Draw videos of several gestures with their ground truth, to evaluate the recognition in streams.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/make_synthetic_streams.sh TARGET [--option value ...]
  TARGET        folder for the videos and truth.json; made if it is not there
  --videos N    how many videos; every third has no gesture (default 30)
  --gestures N  how many classes of make_synthetic_jester.sh, the first N (default 8)
  --seed N      another seed draws other videos (default 1)"

require_arguments 1 "$@"
run_python src/synthetic/streams.py "$@"
