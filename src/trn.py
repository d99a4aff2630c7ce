"""The temporal relation head: features of T ordered frames in, class scores out.

Zhou, Andonian, Oliva, Torralba, "Temporal Relational Reasoning in Videos", ECCV 2018, section 3. A k-frame relation

    T_k(V) = h_k( sum over i1 < ... < ik of g_k(f_i1, ..., f_ik) )

looks at ordered tuples of k frames, and the multi-scale network adds them up: MT_N = T_2 + T_3 + ... + T_N.
As published, g_k is ReLU, Dense, ReLU on the concatenated features and h_k one Dense layer.

Only some tuples are used while training, drawn at random for each clip. The last layer is linear, so it commutes with
the sum before it, and the score *expected* over those draws is exact at little cost: average the activations of all
tuples, multiply by the number that would have been drawn, apply the last layer once. The first layer is linear
too, so it is applied once to each frame in each place the frame can take in a tuple, instead of once to each tuple.
"""

from __future__ import annotations

import math

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Uniform

from src.errors import InputError
from src.sampling import relation_tuples

MOST_SEGMENTS = 16  # the tables of all 2^T tuples take 70 MB, of 20 segments nearly 2 GB


def dense(in_channels: int, out_channels: int) -> nn.Dense:
    """A Dense layer whose weights and biases start uniform in +-1/sqrt(fan_in)."""
    bound = 1.0 / math.sqrt(in_channels)
    return nn.Dense(in_channels, out_channels, weight_init=Uniform(bound), bias_init=Uniform(bound))


class Relation(nn.SequentialCell):
    """T_k: the relation among ``scale`` = k of T frames.

    Inputs:
        features: float32 [B, T, D].
        rows: int32 [B, >= n], which tuples to use (rows of ``relation_tuples(T, k)``), n = ``num_draws``; or None for
            the expectation over all of them.

    Outputs:
        float32 [B, C], the sum over n tuples or its expected value.
    """

    def __init__(
        self, num_segments: int, scale: int, feature_dim: int, num_classes: int, bottleneck: int, subsample_num: int
    ) -> None:
        super().__init__(nn.ReLU(), dense(scale * feature_dim, bottleneck), nn.ReLU(), dense(bottleneck, num_classes))
        tuples = relation_tuples(num_segments, scale)  # [K, k]
        self.num_tuples = len(tuples)
        self.num_draws = min(subsample_num, self.num_tuples)
        self.shape_drawn = (-1, self.num_draws * scale, num_segments)
        self.shape_tuples = (-1, self.num_draws, scale * feature_dim)
        self.shape_frames = (-1, feature_dim)
        self.shape_projected = (-1, num_segments, bottleneck, scale)
        self.shape_places = (-1, num_segments * scale, bottleneck)
        self.scale = scale
        self.project = ops.MatMul(transpose_b=True)

        frame_of = np.eye(num_segments, dtype=np.float32)[tuples]  # [K, k, T], one-hot
        place_of = np.zeros((self.num_tuples, num_segments, scale), np.float32)  # [K, T, k], one in each column
        for place in range(scale):
            place_of[np.arange(self.num_tuples), tuples[:, place], place] = 1
        self.frame_of = Tensor(frame_of)
        self.place_of = Tensor(place_of.reshape(self.num_tuples, num_segments * scale))

    def construct(self, features: Tensor, rows: Tensor | None = None) -> Tensor:
        return self.expected(features) if rows is None else self.sampled(features, rows)

    def sampled(self, features: Tensor, rows: Tensor) -> Tensor:
        """The sum over the drawn tuples, [B, T, D], [B, n] -> [B, C]."""
        select = ops.gather(self.frame_of, rows[:, : self.num_draws], 0).reshape(self.shape_drawn)  # [B, n*k, T]
        tuples = ops.matmul(select, features).reshape(self.shape_tuples)  # [B, n, k*D]
        return super().construct(tuples).sum(1)  # [B, C]

    def activations(self, features: Tensor) -> Tensor:
        """Input of the last layer for every tuple, [B, T, D] -> [B, K, bottleneck]."""
        first = self.cell_list[1]  # compiled by the legacy package, which self[1] is not
        # Column block j of the first layer's weight is what a tuple's j-th frame is multiplied with. Its rows are cut
        # into blocks where they lie, and the products put in order: moving the weight would take longer than using it.
        frames = ops.relu(features).reshape(self.shape_frames)  # [B*T, D]
        projected = self.project(frames, first.weight.reshape(self.shape_frames))  # [B*T, bottleneck*k]
        places = projected.reshape(self.shape_projected).transpose((0, 1, 3, 2)).reshape(self.shape_places)
        return ops.relu(ops.matmul(self.place_of, places) + first.bias)  # places: [B, T*k, bottleneck]

    def expected(self, features: Tensor) -> Tensor:
        """The expectation of ``sampled`` over uniform draws, [B, T, D] -> [B, C]."""
        last = self.cell_list[3]
        mean = self.activations(features).mean(1)  # [B, bottleneck]
        return self.num_draws * last(mean)


class MultiScaleTRN(nn.Cell):
    """MT_T = T_2 + ... + T_T over the features of T = ``num_segments`` frames.

    Inputs:
        features: float32 [B, T, D].
        relations: int32 [B, T-1, subsample_num] as ``src.sampling.sample_relations`` draws them (row 0 is the T-frame
            scale, the last row the 2-frame scale), or None for the expectation over all tuples.

    Outputs:
        float32 [B, C].

    Raises:
        InputError: for more than MOST_SEGMENTS segments.
    """

    def __init__(
        self, num_segments: int, feature_dim: int, num_classes: int, subsample_num: int = 3, bottleneck: int = 256
    ) -> None:
        super().__init__()
        if num_segments > MOST_SEGMENTS:
            raise InputError(f"num_segments {num_segments}: expected at most {MOST_SEGMENTS} for TRNmultiscale")
        self.fc_fusion_scales = nn.CellList(
            [
                Relation(num_segments, scale, feature_dim, num_classes, bottleneck, subsample_num)
                for scale in range(num_segments, 1, -1)
            ]
        )

    def construct(self, features: Tensor, relations: Tensor | None = None) -> Tensor:
        scores = 0.0
        for i, relation in enumerate(self.fc_fusion_scales):
            scores = scores + relation(features, None if relations is None else relations[:, i])
        return scores


class SingleScaleTRN(nn.Cell):
    """One relation over all T frames, [B, T, D] -> [B, C]."""

    def __init__(self, num_segments: int, feature_dim: int, num_classes: int, bottleneck: int = 512) -> None:
        super().__init__()
        self.shape = (-1, num_segments * feature_dim)
        self.classifier = nn.SequentialCell(
            nn.ReLU(), dense(num_segments * feature_dim, bottleneck), nn.ReLU(), dense(bottleneck, num_classes)
        )

    def construct(self, features: Tensor, relations: Tensor | None = None) -> Tensor:
        return self.classifier(features.reshape(self.shape))


class AverageConsensus(nn.Cell):
    """TSN's consensus, the mean of per-frame class scores: [B, T, C] -> [B, C]. It cannot see the order of frames."""

    def construct(self, scores: Tensor, relations: Tensor | None = None) -> Tensor:
        return scores.mean(1)
