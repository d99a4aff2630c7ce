#!/usr/bin/env bash
# Unpack a download of Jester, or of Something-Something v1 or v2, into frame folders and label lists.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/unpack_jester_dataset.sh DATA_PATH TARGET_PATH [--packed true]
  DATA_PATH    folder of the download, in any of these packagings, and with the label lists:
                 20bn-jester-v1-00.zip ..., or such parts unzipped; 20bn-jester-download-package-labels.zip
                 20bnjester-v1-00 ..., as the vendor offers them today
                 zips of frame folders, <clip>/00001.jpg or Train/<clip>/00001.jpg, or such folders unzipped
               or the same of Something-Something: 20bn-something-something-v1-00 ..., 20bn-something-something-v2-00 ...
  TARGET_PATH  folder for the unpacked dataset; made if it is not there
  --packed true  write the frames into one tar with an index, and no folders; for file systems on which millions of
               small files are slow (default false)"

require_arguments 2 "$@"
require_dir "$1"
run_python src/data/unpack_jester_dataset.py "$@"
