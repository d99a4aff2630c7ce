"""Batch normalisation over the clips of one device or of all devices that train together."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.communication import get_group_size

from src.ops.compat import batch_norm_2d


def batch_norm(channels: int, frozen: bool, eps: float = 1e-5, momentum: float = 0.9) -> nn.BatchNorm2d:
    """Batch normalisation with PyTorch's defaults; ``frozen``: with stored statistics in training too."""
    distributed = ms.get_auto_parallel_context("parallel_mode") == ms.ParallelMode.DATA_PARALLEL
    cell = SyncedBatchNorm2d if distributed and not frozen else batch_norm_2d
    return cell(channels, eps=eps, momentum=momentum, use_batch_statistics=False if frozen else None)


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """In training, mean and variance are taken over the batches of all ranks, [N, C, H, W] -> [N, C, H, W].

    W ranks with B clips each compute and store the same as one rank with W * B. MindSpore's ``SyncBatchNorm`` runs on
    Ascend only.
    """

    def __init__(self, channels: int, **options: object) -> None:
        super().__init__(channels, **options)
        self.world_size = get_group_size()
        self.sum_over_ranks = ops.AllReduce()

    def construct(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().construct(x)
        mean = self.sum_over_ranks(x.mean((0, 2, 3))) / self.world_size  # [C]
        centred = x - mean.reshape((1, -1, 1, 1))
        variance = self.sum_over_ranks(ops.square(centred).mean((0, 2, 3))) / self.world_size
        scale = self.gamma / ops.sqrt(variance + self.eps)
        y = centred * scale.reshape((1, -1, 1, 1)) + self.beta.reshape((1, -1, 1, 1))

        count = self.world_size * x.size // x.shape[1]
        unbiased = variance * (count / max(count - 1, 1))
        y = ops.depend(y, self.move_average(self.moving_mean, mean))
        return ops.depend(y, self.move_average(self.moving_variance, unbiased))

    def move_average(self, stored: Tensor, new: Tensor) -> Tensor:
        """Moves a stored statistic a tenth of the way to ``new``; that tenth is ``self.momentum`` inside the cell."""
        return ops.assign_add(stored, ops.stop_gradient(self.momentum * (new - stored)))
