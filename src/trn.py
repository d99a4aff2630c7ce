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

from model_utils.errors import InputError
from src.utils import relation_tuples

MOST_SEGMENTS = 16  # the tables of all 2^T tuples take 70 MB, of 20 segments nearly 2 GB


def dense(in_channels: int, out_channels: int) -> nn.Dense:
    """A Dense layer whose weights and biases start uniform in +-1/sqrt(fan_in)."""
    bound = 1.0 / math.sqrt(in_channels)
    return nn.Dense(in_channels, out_channels, weight_init=Uniform(bound), bias_init=Uniform(bound))


class Relation(nn.SequentialCell):
    """T_k: the relation among ``scale`` = k of T frames.

    Inputs:
        features: float32 [B, T, D], after ReLU.
        relations: int32 [B, (T-1)*subsample_num], the drawn tuples of all scales; n = ``num_draws`` are this one's.

    Outputs:
        float32 [B, C], the sum over the n tuples. Without inputs: ``by_place``, because a graph of MindSpore 1.10 can
        call a cell in a list, but not look into it.

    Written in primitive operations: of anything else each scale would have to be compiled anew, which took longer than
    a quarter of the whole training graph.
    """

    def __init__(
        self, num_segments: int, scale: int, feature_dim: int, num_classes: int, bottleneck: int, subsample_num: int
    ) -> None:
        super().__init__(nn.ReLU(), dense(scale * feature_dim, bottleneck), nn.ReLU(), dense(bottleneck, num_classes))
        tuples = relation_tuples(num_segments, scale)  # [K, k]
        self.scale, self.num_tuples = scale, len(tuples)
        self.num_draws = min(subsample_num, self.num_tuples)
        first_row = (num_segments - scale) * subsample_num
        self.positions = Tensor(np.arange(first_row, first_row + self.num_draws, dtype=np.int32))
        self.shape_drawn = (-1, self.num_draws * scale, num_segments)
        self.shape_tuples = (-1, scale * feature_dim)
        self.shape_hidden = (-1, self.num_draws, bottleneck)
        self.shape_places = (bottleneck, scale, feature_dim)
        self.frame_of = Tensor(np.eye(num_segments, dtype=np.float32)[tuples])  # [K, k, T], one-hot
        self.at_place_0 = Tensor(np.eye(scale, 1, dtype=np.float32)[..., None])  # [k, 1, 1]
        self.gather, self.reshape, self.select, self.sum = (
            ops.Gather(),
            ops.Reshape(),
            ops.BatchMatMul(),
            ops.ReduceSum(),
        )
        self.matmul, self.bias_add, self.relu = ops.MatMul(transpose_b=True), ops.BiasAdd(), ops.ReLU()

    def construct(self, features: Tensor | None = None, relations: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        return self.by_place() if features is None else self.sampled(features, relations)

    def by_place(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The first layer as [k, D, bottleneck] and [k, 1, bottleneck], the last as [bottleneck, C] and [C].

        Column block j of the first weight is what the frame at place j of a tuple is multiplied with. One frame stands
        at place 0; its product takes the bias along.
        """
        first = self.cell_list[1]  # compiled by the legacy package, which neither self[1] nor a tuple of both is
        last = self.cell_list[3]
        weight = first.weight.reshape(self.shape_places).transpose((1, 2, 0))
        return weight, self.at_place_0 * first.bias, last.weight.transpose((1, 0)), self.num_draws * last.bias

    def sampled(self, features: Tensor, relations: Tensor) -> Tensor:
        """The sum over the drawn tuples, which comes before the last layer, because that is linear."""
        first = self.cell_list[1]
        last = self.cell_list[3]
        rows = self.gather(relations, self.positions, 1)  # [B, n]
        frames = self.reshape(self.gather(self.frame_of, rows, 0), self.shape_drawn)  # [B, n*k, T]
        tuples = self.reshape(self.select(frames, features), self.shape_tuples)  # [B*n, k*D]
        hidden = self.relu(self.bias_add(self.matmul(tuples, first.weight), first.bias))  # [B*n, bottleneck]
        hidden = self.sum(self.reshape(hidden, self.shape_hidden), 1)  # [B, bottleneck]
        return self.bias_add(self.matmul(hidden, last.weight), self.num_draws * last.bias)


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
        relations = self.fc_fusion_scales
        places = [relation.scale for relation in relations]  # of a tuple, where a frame can stand
        self.num_places, self.num_tuples = sum(places), sum(relation.num_tuples for relation in relations)
        self.num_segments, self.feature_dim, self.bottleneck = num_segments, feature_dim, bottleneck
        first_rows = np.cumsum([0, *places]) * num_segments
        # Of the products of every place with every frame, [P*T, ...], those that belong to a scale ...
        self.rows_of = tuple(Tensor(np.arange(*ends, dtype=np.int32)) for ends in zip(first_rows, first_rows[1:]))
        # ... and which of these make up a tuple: [K, k*T], k ones in each row.
        self.parts_of = tuple(Tensor(r.frame_of.asnumpy().reshape(-1, r.scale * num_segments)) for r in relations)
        # Tuples are averaged, and as many of them counted as would be drawn: [T-1, all K].
        weights = [np.full(r.num_tuples, r.num_draws / r.num_tuples, np.float32) for r in relations]
        scale_of = np.repeat(np.arange(len(relations)), [r.num_tuples for r in relations])
        self.draws_of = Tensor((scale_of == np.arange(len(relations))[:, None]) * np.concatenate(weights))
        self.matmul, self.batch_matmul, self.relu = ops.MatMul(), ops.BatchMatMul(), ops.ReLU()
        self.in_order = None

    def construct(self, features: Tensor, relations: Tensor | None = None) -> Tensor:
        if relations is None:
            return self.expected(features)
        features, scores = self.relu(features), 0.0
        relations = relations.reshape((-1, len(self.fc_fusion_scales) * relations.shape[2]))
        for relation in self.fc_fusion_scales:
            scores = scores + relation(features, relations)
        return scores

    def expected(self, features: Tensor) -> Tensor:
        """The expectation over uniform draws, [B, T, D] -> [B, C]."""
        _, _, weight, bias = self.weights()
        tuples = self.activations(features).reshape((self.num_tuples, -1))  # [K, B*bottleneck]
        scales = self.matmul(self.draws_of, tuples).reshape((len(self.fc_fusion_scales), -1, self.bottleneck))
        return self.batch_matmul(scales, weight).sum(0) + bias  # [T-1, B, C] -> [B, C]

    def activations(self, features: Tensor) -> Tensor:
        """Input of the last layers for the tuples of all scales: [B, T, D] -> [K, B, bottleneck]."""
        weight, bias, _, _ = self.weights()
        frames = self.relu(features).transpose((1, 0, 2)).reshape((1, -1, self.feature_dim))  # [1, T*B, D]
        products = self.batch_matmul(ops.tile(frames, (self.num_places, 1, 1)), weight) + bias  # [P, T*B, bottleneck]
        products = products.reshape((self.num_places * self.num_segments, -1))  # [P*T, B*bottleneck]
        sums = ()
        for rows, parts in zip(self.rows_of, self.parts_of):
            sums += (self.matmul(parts, ops.gather(products, rows, 0)),)  # [K, B*bottleneck]
        return self.relu(ops.concat(sums, 0)).reshape((self.num_tuples, -1, self.bottleneck))

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``Relation.by_place`` of all scales: [P, D, bottleneck], [P, 1, bottleneck], [T-1, bottleneck, C] and [C]."""
        if self.in_order is not None:
            return self.in_order
        firsts, first_biases, lasts, bias = (), (), (), 0.0
        for relation in self.fc_fusion_scales:
            first, first_bias, last, last_bias = relation()
            firsts, first_biases, lasts = firsts + (first,), first_biases + (first_bias,), lasts + (last,)
            bias = bias + last_bias
        return ops.concat(firsts, 0), ops.concat(first_biases, 0), ops.stack(lasts, 0), bias

    def put_in_order(self) -> None:
        """Does once and for all what ``weights`` does for each batch: for a trained network."""
        self.in_order = tuple(Tensor(weight.asnumpy()) for weight in self.weights())


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
