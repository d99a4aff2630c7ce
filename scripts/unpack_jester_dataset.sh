#!/usr/bin/env bash
# Unpack the archives of Jester, or of Something-Something v1 or v2, into frame folders and label lists.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/unpack_jester_dataset.sh DATA_PATH TARGET_PATH
  DATA_PATH    folder with the archives: 20bn-jester-download-package-labels.zip, 20bn-jester-v1-00.zip ...;
               or those of Something-Something: 20bn-something-something-v1-00 ... or 20bn-something-something-v2-00 ...
  TARGET_PATH  folder for the unpacked dataset; made if it is not there"

require_arguments 2 "$@"
require_dir "$1"
run_python src/data/unpack_jester_dataset.py "$@"
