"""Training steps of one process or, under msrun, of this one among several; each rank takes its share of the clips.

    python tests/helpers/steps.py FOLDER

writes what the network holds after them to `FOLDER/<number of ranks>_<gradient limit>.npz`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, communication, nn

from src.backbones import BACKBONES
from src.bn_inception import ConvBN
from src.train_cell import TrainStep, build_optimizer
from src.trn import MultiScaleTRN

CLIPS, SEGMENTS, SIDE, STEPS = 4, 3, 6, 2
LIMITS = (0.01, 1e9)  # of the gradients' norm: every step exceeds the first, and none the second


class Network(nn.Cell):
    """One convolution whose batch normalisation follows the batches, and a real head."""

    backbone = BACKBONES["bn_inception"]

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvBN(3, 5, 3, frozen=False)
        self.consensus = MultiScaleTRN(SEGMENTS, 5, 3, subsample_num=2, bottleneck=8)

    def construct(self, video: Tensor, relations: Tensor, dropout_mask: Tensor) -> Tensor:
        features = self.conv(video.reshape((-1, 3, SIDE, SIDE)) / 64).mean((2, 3)) * dropout_mask.reshape((-1, 5))
        return self.consensus(features.reshape((-1, SEGMENTS, 5)), relations)


def batches() -> list[tuple[np.ndarray, ...]]:
    """Of all ranks together."""
    found = []
    for step in range(STEPS):
        rng = np.random.default_rng(step)
        pixels = rng.integers(0, 256, (CLIPS, SEGMENTS, SIDE, SIDE, 3), dtype=np.uint8)
        pixels //= rng.integers(1, 5, (CLIPS, 1, 1, 1, 3), dtype=np.uint8)  # the ranks' statistics differ
        labels = np.arange(CLIPS, dtype=np.int32) % 3
        relations = np.tile(np.array([[0, -1], [step, 2]], np.int32), (CLIPS, 1, 1))
        found.append((pixels, labels, relations, np.ones((CLIPS, SEGMENTS, 5), np.float32)))
    return found


def make_steps(rank: int, size: int, limit: float) -> dict[str, np.ndarray]:
    network = Network()
    rng = np.random.default_rng(1)
    for parameter in network.trainable_params():
        parameter.set_data(Tensor(rng.uniform(0.05, 0.4, parameter.shape).astype(np.float32)))
    step = TrainStep(network, build_optimizer(network, 0.1, 9, 9, 0.9, 0.0), limit).set_train()
    for batch in batches():
        step(*(Tensor(column[rank::size].copy()) for column in batch))
    return {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}


def main(folder: str) -> None:
    ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
    rank, size = 0, 1
    if "MS_ROLE" in os.environ:
        communication.init()
        rank, size = communication.get_rank(), communication.get_group_size()
        mode = ms.ParallelMode.DATA_PARALLEL
        ms.set_auto_parallel_context(parallel_mode=mode, gradients_mean=True, device_num=size)
    for limit in LIMITS:
        values = make_steps(rank, size, limit)
        if rank == 0:
            np.savez(Path(folder) / f"{size}_{limit}.npz", **values)


if __name__ == "__main__":
    main(sys.argv[1])
