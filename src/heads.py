"""The table of heads: how each is built, and everything else that depends on the head.

A head is a cell: features [B, T, D] of T ordered frames and drawn relations (or None) in, scores [B, C] out. The
paper's heads are in ``src.trn``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from mindspore import Tensor, nn

from model_utils.settings import Settings
from src.ops.fast_relations import FastRelations
from src.trn import MultiScaleTRN, SingleScaleTRN
from src.utils import relation_tuples

LAST_OF_BACKBONE = "base_model.fc"


class AverageConsensus(nn.Cell):
    """TSN's consensus, the mean of class scores over frames: [B, T, C] -> [B, C]. It cannot see the frames' order."""

    def construct(self, scores: Tensor, relations: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return scores.mean(1)


@dataclass(frozen=True)
class Scale:
    """The relations among k frames. The contributions and biases of all scales add up to the class scores."""

    tuples: np.ndarray  # int64 [K, k], of segments 0 ... T-1
    contributions: np.ndarray  # float64 [K, C]
    bias: np.ndarray  # float64 [C]

    @property
    def size(self) -> int:
        return self.tuples.shape[1]

    def ranked(self, label: int) -> np.ndarray:
        """Rows of ``tuples``, the largest contribution to a class first."""
        return np.argsort(-self.contributions[:, label], kind="stable")


def _scales_of_multi_scale(head: Any, features: np.ndarray, feature_bias: np.ndarray) -> list[Scale]:  # noqa: ARG001
    scales = []
    for relation in head.fc_fusion_scales:
        activations = relation.g(Tensor(features[None])).asnumpy()  # [1, K, bottleneck]
        tuples = relation_tuples(len(features), relation.scale)
        scales.append(_scale(tuples, activations, relation.cell_list[3], relation.num_draws))
    return scales


def _scales_of_single_scale(head: Any, features: np.ndarray, feature_bias: np.ndarray) -> list[Scale]:  # noqa: ARG001
    """One tuple, of all frames."""
    activations = Tensor(features.reshape(1, -1))
    for layer in head.classifier.cell_list[:3]:
        activations = layer(activations)
    tuples = relation_tuples(len(features), len(features))
    return [_scale(tuples, activations.asnumpy(), head.classifier.cell_list[3], 1)]


def _scales_of_average(head: Any, features: np.ndarray, feature_bias: np.ndarray) -> list[Scale]:  # noqa: ARG001
    """Tuples of one frame; the bias is the backbone's."""
    shares = (features - feature_bias).astype(np.float64) / len(features)
    return [Scale(relation_tuples(len(features), 1), shares, feature_bias.astype(np.float64))]


def _scale(tuples: np.ndarray, activations: np.ndarray, last: Any, draws: int) -> Scale:
    values = activations.astype(np.float64).reshape(len(tuples), -1)  # [K, bottleneck]
    weight, bias = (parameter.asnumpy().astype(np.float64) for parameter in (last.weight, last.bias))
    return Scale(tuples, draws / len(tuples) * values @ weight.T, draws * bias)


@dataclass(frozen=True)
class Head:
    """A row of the table.

    Attributes:
        build: makes the cell, with random weights, from the settings of the network, D and C.
        last_layer: the layers that give class scores; ``*`` matches any text. If the head has no layers, this is the
            backbone's last layer, and D = C.
        draws_relations: whether it is trained on drawn relations, and may be scored on them.
        scales: splits a clip's scores into contributions of frame tuples, the largest scale first. It gets the cell
            (before or after ``prepare``), features float32 [T, D] and the bias [D] of the backbone's last layer. None
            if the scores are no such sum.
        prepare: turns a trained cell into one that computes the same scores faster; inference only.
    """

    build: Callable[[Settings, int, int], nn.Cell]
    last_layer: str = LAST_OF_BACKBONE
    draws_relations: bool = False
    scales: Callable[[nn.Cell, np.ndarray, np.ndarray], list[Scale]] | None = None
    prepare: Callable[[nn.Cell], nn.Cell] | None = None

    @property
    def takes_scores(self) -> bool:
        return self.last_layer == LAST_OF_BACKBONE

    def is_of_last_layer(self, parameter: str) -> bool:
        return fnmatchcase(parameter, f"{self.last_layer}.*")


HEADS = {
    "TRNmultiscale": Head(
        build=lambda settings, features, classes: MultiScaleTRN(
            settings.num_segments, features, classes, settings.subsample_num
        ),
        last_layer="consensus.fc_fusion_scales.*.3",
        draws_relations=True,
        scales=_scales_of_multi_scale,
        prepare=FastRelations,
    ),
    "TRN": Head(
        build=lambda settings, features, classes: SingleScaleTRN(settings.num_segments, features, classes),
        last_layer="consensus.classifier.3",
        scales=_scales_of_single_scale,
    ),
    "avg": Head(build=lambda *_: AverageConsensus(), scales=_scales_of_average),
}


def head_named(consensus_type: str) -> Head:
    """A row of the table. Raises ValueError if there is none of this name."""
    if consensus_type not in HEADS:
        raise ValueError(f"consensus_type {consensus_type!r}: expected one of {', '.join(HEADS)}")
    return HEADS[consensus_type]
