"""Why a clip got its score: the share that every frame tuple has in it, exactly.

The head's last layer is linear, so the score of class c for all relations is a sum over scales k and tuples t,

    score_c = sum_k n_k b_kc + sum_k sum_t  n_k / K_k  w_kc . a_kt

where a_kt is what the layers before make of the frames of tuple t, K_k the number of tuples of scale k and n_k how
many of them training draws. Each term of the second sum is a tuple's contribution, the first sum is the bias. Ranking
tuples by it gives the representative frames of a video (Zhou et al., ECCV 2018, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor

from src.ops.fast_relations import FastRelations
from src.transforms import cut_crops
from src.trn import AverageConsensus, MultiScaleTRN, SingleScaleTRN
from src.tsn import TSN, FrameFeatures
from src.utils import relation_tuples, softmax

TUPLES_LISTED = 5


@dataclass(frozen=True)
class Scale:
    """The relations among k frames: ``tuples`` int64 [K, k] of segments 0 ... T-1, ``contributions`` float64 [K, C] to
    the scores, and ``bias`` float64 [C]. The sums over scales of both are the scores.
    """

    tuples: np.ndarray
    contributions: np.ndarray
    bias: np.ndarray

    @property
    def size(self) -> int:
        return self.tuples.shape[1]

    def ranked(self, label: int) -> np.ndarray:
        """Rows of ``tuples``, those that contribute most to a class first."""
        return np.argsort(-self.contributions[:, label], kind="stable")


def explain_frames(network: TSN, frames: list[np.ndarray], image_size: int) -> list[Scale]:
    """The scales of a clip, for the centre crops of its T frames, uint8 [height, width, 3] BGR each."""
    crops = cut_crops(frames, image_size, 1)[0]  # [T, S, S, 3]
    features = FrameFeatures(network).set_train(False)(Tensor(crops))  # [T, D]
    return explain_features(network.consensus, features.asnumpy(), network.base_model.fc.bias.asnumpy())


def explain_features(head: Any, features: np.ndarray, feature_bias: np.ndarray) -> list[Scale]:
    """The scales of a clip from its features, float32 [T, D], the largest scale first.

    A single relation has one tuple, of all frames; average consensus has tuples of one frame, and its bias is the
    backbone's, ``feature_bias`` [D].
    """
    segments = len(features)
    if isinstance(head, FastRelations):
        head = head.plain
    if isinstance(head, MultiScaleTRN):
        scales = []
        for relation in head.fc_fusion_scales:
            activations = relation.g(Tensor(features[None])).asnumpy()  # [1, K, bottleneck]
            tuples = relation_tuples(segments, relation.scale)
            scales.append(_scale(tuples, activations, relation.cell_list[3], relation.num_draws))
        return scales
    if isinstance(head, SingleScaleTRN):
        activations = Tensor(features.reshape(1, -1))
        for layer in head.classifier.cell_list[:3]:
            activations = layer(activations)
        last = head.classifier.cell_list[3]
        return [_scale(relation_tuples(segments, segments), activations.asnumpy(), last, 1)]
    if isinstance(head, AverageConsensus):
        shares = (features - feature_bias).astype(np.float64) / segments
        return [Scale(relation_tuples(segments, 1), shares, feature_bias.astype(np.float64))]
    raise ValueError(f"{type(head).__name__}: expected one of the three heads")


def _scale(tuples: np.ndarray, activations: np.ndarray, last: Any, draws: int) -> Scale:
    values = activations.astype(np.float64).reshape(len(tuples), -1)  # [K, bottleneck]
    weight, bias = (parameter.asnumpy().astype(np.float64) for parameter in (last.weight, last.bias))
    return Scale(tuples, draws / len(tuples) * values @ weight.T, draws * bias)


def scores(scales: list[Scale]) -> np.ndarray:
    """What the contributions and biases add up to: the class scores, float64 [C]."""
    return sum(scale.contributions.sum(0) + scale.bias for scale in scales)


def explain_class(scales: list[Scale], label: int, categories: list[str], frame_indices: np.ndarray) -> dict[str, Any]:
    """The explanation of one class for JSON: its score by scale, and of each scale the tuples that contribute most."""
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
