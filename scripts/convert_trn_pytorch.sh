#!/usr/bin/env bash
# Turn a TRN checkpoint that the paper's authors released for PyTorch into a MindSpore checkpoint to evaluate or export.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/convert_trn_pytorch.sh IN.pth.tar OUT.ckpt [--categories FILE] [--num_segments N] [--width_mult X]
  IN.pth.tar      a released checkpoint, such as TRN_jester_RGB_BNInception_TRNmultiscale_segment8_best.pth.tar
  OUT.ckpt        the checkpoint to write
  --categories    categories.txt, to keep the class names in the checkpoint
  --num_segments  segments of a clip, read for average consensus only (default 8)
  --width_mult    width of the backbone in IN.pth.tar (default 1.0)"

require_arguments 2 "$@"
require_file "$1"
run_python src/convert_trn_pytorch.py "$@"
