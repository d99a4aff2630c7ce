"""Explains a clip's score: the exact contribution of every frame tuple.

The head's last layer is linear, so the score of class c for all relations is a sum over scales k and tuples t,

    score_c = sum_k n_k b_kc + sum_k sum_t  n_k / K_k  w_kc . a_kt

where a_kt is the output of the layers before it for tuple t, K_k the number of tuples of scale k and n_k how many of
them training draws. Each term of the second sum is a tuple's contribution, the first sum is the bias. The tuples with
the largest contributions are the representative frames of a video (Zhou et al., ECCV 2018, section 4).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor

from src.heads import Scale
from src.transforms import cut_crops
from src.tsn import TSN, FrameFeatures
from src.utils import softmax

TUPLES_LISTED = 5


def explain_frames(network: TSN, frames: list[np.ndarray], image_size: int) -> list[Scale]:
    """The scales of a clip, from the centre crops of its T frames, uint8 [height, width, 3] BGR each.

    The network's head must have ``scales``.
    """
    crops = cut_crops(frames, image_size, 1)[0]  # [T, S, S, 3]
    features = FrameFeatures(network).set_train(False)(Tensor(crops))  # [T, D]
    split = network.head.scales
    assert split is not None
    return split(network.consensus, features.asnumpy(), network.base_model.fc.bias.asnumpy())


def scores(scales: list[Scale]) -> np.ndarray:
    """The sum of contributions and biases, which is the class scores: float64 [C]."""
    return sum(scale.contributions.sum(0) + scale.bias for scale in scales)


def explain_class(scales: list[Scale], label: int, categories: list[str], frame_indices: np.ndarray) -> dict[str, Any]:
    """The explanation of one class for JSON: its score by scale, and the tuples that contribute most to each scale."""
    rows = []
    for scale in scales:
        shares = scale.contributions[:, label]
        best = [
            {"frame_indices": frame_indices[scale.tuples[row]].tolist(), "contribution": float(shares[row])}
            for row in scale.ranked(label)[:TUPLES_LISTED]
        ]
        share = {"contribution": float(shares.sum()), "bias": float(scale.bias[label])}
        rows.append({"frames": scale.size, "tuples": len(shares), **share, "most": best})
    total = scores(scales)
    return {
        "label": categories[label],
        "score": float(total[label]),
        "probability": float(softmax(total)[label]),
        "scales": rows,
    }
