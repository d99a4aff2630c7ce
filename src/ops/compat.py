"""Hides the differences between the two supported MindSpore packages.

``mindspore`` 2.x is the current package; ``mindspore-gpu`` 1.10 is the last release under that name.
"""

from __future__ import annotations

import os

import mindspore as ms
from mindspore import Tensor, nn, ops

LEGACY = int(ms.__version__.split(".")[0]) < 2

# On CPUs with AVX-512, oneDNN 3.10 in MindSpore 2.10 computes convolutions larger than 1x1 in reference code, which
# takes 100 times as long as its AVX2 code. It reads this variable at the first operation of a process.
if not LEGACY:
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

EXPORTS_ANY_BATCH = not LEGACY  # 1.x compiles no network with an open batch size


def add_out_of_place() -> None:
    """Makes ``a += b`` in graphs compute ``a + b``; 2.x writes into ``a``, which it cannot export to ONNX.

    For mindcv's code; this project's graphs have no ``+=``.
    """
    if not LEGACY:
        from mindspore.ops.composite.multitype_ops.add_impl import _tensor_add_tensor, augassign_add

        augassign_add.register("Tensor", "Tensor")(_tensor_add_tensor)


def batch_norm_2d(channels: int, **options: object) -> nn.BatchNorm2d:
    """``nn.BatchNorm2d`` with the same stored statistics in both packages."""
    cell = _LegacyCPUBatchNorm2d if LEGACY and ms.get_context("device_target") == "CPU" else nn.BatchNorm2d
    return cell(channels, **options)


class _LegacyCPUBatchNorm2d(nn.BatchNorm2d):
    """Stores the variance divided by n - 1, like 2.x and PyTorch; 1.x on a CPU divides by n."""

    def construct(self, x: Tensor) -> Tensor:
        if self.use_batch_statistics is False or not self.training:
            return super().construct(x)
        out, _, _, _, variance = self.bn_train(x, self.gamma, self.beta, self.moving_mean, self.moving_variance)
        missing = self.momentum * variance / max(x.size // x.shape[1] - 1, 1)
        return ops.depend(out, ops.assign_add(self.moving_variance, ops.stop_gradient(missing)))


def dropout_layer(kept: float) -> nn.Cell:
    """``nn.Dropout`` that keeps this share; its arguments have other names and meanings in the two packages."""
    return nn.Dropout(keep_prob=kept) if LEGACY else nn.Dropout(p=1.0 - kept)


def max_pool_2d(kernel_size: int, stride: int, pad_mode: str) -> nn.Cell:
    """``nn.MaxPool2d`` with a fast gradient in both packages."""
    cell = nn.MaxPool2d if LEGACY or ms.get_context("device_target") != "CPU" else _CPUMaxPool2d
    return cell(kernel_size, stride, pad_mode=pad_mode)


class _CPUMaxPool2d(nn.MaxPool2d):
    """Keeps the indices of the maxima while training: without them the gradient in 2.x on a CPU pools once more.

    That takes 240 ms of a step of 2 clips instead of 110. In evaluation the pool without indices is faster.
    """

    def __init__(self, kernel_size: int, stride: int, pad_mode: str) -> None:
        super().__init__(kernel_size, stride, pad_mode=pad_mode)
        self.with_indices = ops.MaxPoolWithArgmax(kernel_size, stride, pad_mode)

    def construct(self, x: Tensor) -> Tensor:
        return self.with_indices(x)[0] if self.training else super().construct(x)
