"""A network in the two parts that a stream runs: a frame to its feature, the features of T frames to scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from src.tsn import TSN


class Parts(NamedTuple):
    """The parts, in any runtime."""

    num_segments: int  # T
    frame_features: Callable[[np.ndarray], np.ndarray]  # frames uint8 [N, S, S, 3] BGR -> features float32 [N, D]
    head: Callable[[np.ndarray], np.ndarray]  # features float32 [B, T, D] -> logits float32 [B, C]


def network_parts(network: TSN) -> Parts:
    """The parts of a network in MindSpore, which is put into evaluation mode."""
    from mindspore import Tensor

    from src.tsn import FrameFeatures

    network.set_train(False)
    features, head = FrameFeatures(network).set_train(False), network.consensus
    return Parts(
        network.num_segments,
        lambda frames: features(Tensor(frames)).asnumpy(),
        lambda rows: head(Tensor(rows)).asnumpy(),
    )
