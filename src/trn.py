"""The temporal relation head: features of T ordered frames in, class scores out.

Zhou, Andonian, Oliva, Torralba, "Temporal Relational Reasoning in Videos", ECCV 2018, section 3. A k-frame relation

    T_k(V) = h_k( sum over i1 < ... < ik of g_k(f_i1, ..., f_ik) )

looks at ordered tuples of k frames, and the multi-scale network adds all scales: MT_N = T_2 + T_3 + ... + T_N.
As published, g_k is ReLU, Dense, ReLU on the concatenated features and h_k is one Dense layer for each tuple.

Training draws a few tuples for each clip. Evaluation uses all tuples and returns the score *expected* over the draws.
That is exact: h_k is linear, so it commutes with the sum over tuples.
"""

from __future__ import annotations

import math

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Uniform

from model_utils.errors import InputError
from src.utils import relation_tuples

MOST_SEGMENTS = 16  # the table of all 2^T tuples takes 34 MB; with 20 segments it would take 840 MB


def dense(in_channels: int, out_channels: int) -> nn.Dense:
    """A Dense layer with weights and biases uniform in ±1/√``in_channels``, PyTorch's initialisation."""
    bound = 1.0 / math.sqrt(in_channels)
    return nn.Dense(in_channels, out_channels, weight_init=Uniform(bound), bias_init=Uniform(bound))


class Relation(nn.SequentialCell):
    """T_k, the relation among k = ``scale`` of T = ``num_segments`` frames.

    Args:
        subsample_num: tuples drawn while training; n = min(``subsample_num``, K) of the K = C(T, k) tuples.

    Inputs:
        features: float32 [B, T, D].
        drawn: int32 [B, >= n]; the first n columns are row numbers of ``relation_tuples(T, k)``. None for all tuples.

    Outputs:
        float32 [B, C], the sum over the n drawn tuples, or its expectation over uniform draws.
    """

    def __init__(
        self, num_segments: int, scale: int, feature_dim: int, num_classes: int, bottleneck: int, subsample_num: int
    ) -> None:
        super().__init__(nn.ReLU(), dense(scale * feature_dim, bottleneck), nn.ReLU(), dense(bottleneck, num_classes))
        tuples = relation_tuples(num_segments, scale)  # [K, k]
        self.scale, self.num_tuples = scale, len(tuples)
        self.num_draws = min(subsample_num, self.num_tuples)
        self.frames_of = Tensor(np.eye(num_segments, dtype=np.float32)[tuples])  # [K, k, T], one-hot

    def g(self, features: Tensor, drawn: Tensor | None = None) -> Tensor:
        """g_k of each tuple: [B, n, bottleneck], or [B, K, bottleneck] without ``drawn``."""
        frames = self.frames_of  # [K, k, T]
        if drawn is not None:
            frames = ops.gather(frames, drawn[:, : self.num_draws], 0)  # [B, n, k, T]
        count, segments = frames.shape[-3], frames.shape[-1]
        tuples = ops.matmul(frames.reshape((-1, count * self.scale, segments)), features)  # [B, n*k, D]
        tuples = tuples.reshape((-1, self.scale * features.shape[-1]))  # [B*n, k*D]; with 3-D tuples ONNX would fix B
        relu, first, _, _ = self.cell_list
        hidden = relu(first(relu(tuples)))  # [B*n, bottleneck]
        return hidden.reshape((-1, count, hidden.shape[-1]))

    def construct(self, features: Tensor, drawn: Tensor | None = None) -> Tensor:
        _, _, _, h = self.cell_list
        return self.num_draws * h(self.g(features, drawn).mean(1))  # [B, C]


class MultiScaleTRN(nn.Cell):
    """MT_T = T_2 + ... + T_T over the features of T = ``num_segments`` frames.

    Inputs:
        features: float32 [B, T, D].
        relations: int32 [B, T-1, subsample_num] as ``src.sampling.sample_relations`` draws them (row 0 is the T-frame
            scale, the last row the 2-frame scale), or None for the expectation over all draws.

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
        self.num_segments = num_segments
        self.fc_fusion_scales = nn.CellList(
            [
                Relation(num_segments, scale, feature_dim, num_classes, bottleneck, subsample_num)
                for scale in range(num_segments, 1, -1)
            ]
        )

    def construct(self, features: Tensor, relations: Tensor | None = None) -> Tensor:
        scores = 0.0
        for row, relation in enumerate(self.fc_fusion_scales):
            drawn = None if relations is None else relations[:, row]  # [B, subsample_num]
            scores = scores + relation(features, drawn)  # not +=, which ONNX export does not know
        return scores


class RelationModuleMultiScale(MultiScaleTRN):
    """``MultiScaleTRN`` by the model zoo's name and arguments."""

    def __init__(
        self, img_feature_dim: int, num_frames: int, num_class: int, num_bottleneck: int = 256, subsample_num: int = 3
    ) -> None:
        super().__init__(num_frames, img_feature_dim, num_class, subsample_num, num_bottleneck)


class SingleScaleTRN(nn.Cell):
    """One relation over all T frames: [B, T, D] -> [B, C]. It has one tuple, so ``relations`` are not used."""

    def __init__(self, num_segments: int, feature_dim: int, num_classes: int, bottleneck: int = 512) -> None:
        super().__init__()
        self.shape = (-1, num_segments * feature_dim)
        self.classifier = nn.SequentialCell(
            nn.ReLU(), dense(num_segments * feature_dim, bottleneck), nn.ReLU(), dense(bottleneck, num_classes)
        )

    def construct(self, features: Tensor, relations: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return self.classifier(features.reshape(self.shape))
