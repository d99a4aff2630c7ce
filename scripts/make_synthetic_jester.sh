#!/usr/bin/env bash
# Draw the synthetic Jester and pack it in the same way as the archives that 20BN gives out.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/make_synthetic_jester.sh TARGET [--option value ...]
  TARGET                    folder for the archives; made if it is not there
  --gestures N              how many of the 27 classes (default 27)
  --train N  --val N  --test N   clips in each list, all classes together (default 1080, 270, 54)
  --seed N                  another seed draws another set (default 1)
  --parts N                 how many data archives (default 3)
  --contact_sheet PNG       also write a picture with six frames of every gesture"

require_arguments 1 "$@"
run_python src/synthetic/jester.py "$@"
