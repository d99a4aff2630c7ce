#!/usr/bin/env bash
# Turn the published PyTorch weights of BNInception (ImageNet) into a MindSpore checkpoint to start training from.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

USAGE="usage: bash scripts/convert_bn_inception.sh IN.pth OUT.ckpt [--width_mult X]
  IN.pth        the downloaded weights: bn_inception-9f5701afb96c8044.pth, bn_inception-52deb4733.pth or
                bn_inception_caffe-ed2e8665.pth; checked against the hash in the name
  OUT.ckpt      the checkpoint to write
  --width_mult  width of the backbone in IN.pth (default 1.0)"

require_arguments 2 "$@"
require_file "$1"
run_python src/convert_bn_inception.py "$@"
