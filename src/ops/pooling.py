"""The pools of Caffe's networks, in operations that both MindSpore packages compute and export."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from src.ops.compat import max_pool_2d


class CeilMaxPool(nn.Cell):
    """3x3 max pooling of stride 2 without padding; the output size is rounded up: [N, C, S, S] -> [N, C, S//2, S//2].

    On an even side the last window reaches one pixel over the edge, where MindSpore's "same" mode pads too. On an odd
    side all windows fit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.even = max_pool_2d(3, 2, "same")
        self.odd = max_pool_2d(3, 2, "valid")

    def construct(self, x: Tensor) -> Tensor:
        return self.even(x) if x.shape[2] % 2 == 0 else self.odd(x)


class PaddedAvgPool(nn.Cell):
    """3x3 average of stride 1; a border of zeros counts in the mean: [N, C, H, W] -> [N, C, H, W].

    ``nn.AvgPool2d(pad_mode="pad")`` is a 3-D pool inside, which ONNX export does not support, and on a CPU padding
    takes longer than all convolutions of a block. A convolution of each channel with 1/9 is fast.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ops.Conv2D(channels, (3, 3), pad_mode="pad", pad=1, group=channels)
        self.ninths = Tensor(np.full((channels, 1, 3, 3), 1 / 9, np.float32))

    def construct(self, x: Tensor) -> Tensor:
        return self.conv(x, self.ninths)
