#!/usr/bin/env bash
# Unpack the Jester archives into frame folders and label lists.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/unpack_jester_dataset.sh DATA_PATH TARGET_PATH
  DATA_PATH    folder with the archives: 20bn-jester-download-package-labels.zip, 20bn-jester-v1-00.zip ...
  TARGET_PATH  folder for the unpacked dataset; made if it is not there"

require_arguments 2 "$@"
require_dir "$1"
run_python src/data/unpack_jester_dataset.py "$@"
