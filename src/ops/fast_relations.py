"""All relations of a trained multi-scale head, several times faster than the definition in ``src.trn``.

The first layer of a relation is linear, so it splits into one block for each place in a tuple. Each frame is multiplied
once with the block of each place; a tuple is then a sum of k such products instead of a product of its own.
All scales share one batched product, with weights that are put in order once.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from src.utils import relation_tuples


class FastRelations(nn.Cell):
    """Gives the scores of a trained head; inference only.

    The weights are copied: later changes to the head's parameters do not change these scores.

    Args:
        head: a ``src.trn.MultiScaleTRN``. It stays in ``plain``, and scores drawn tuples.

    Inputs, Outputs:
        as the head's.
    """

    def __init__(self, head: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.plain = head
        relations = list(head.fc_fusion_scales)
        layers = [[p.asnumpy() for p in relation.get_parameters()] for relation in relations]
        scales = [relation.scale for relation in relations]  # T ... 2
        counts = [relation.num_tuples for relation in relations]
        self.num_segments, self.num_scales, self.num_tuples = scales[0], len(scales), sum(counts)
        self.num_places = sum(scales)  # P: a tuple of k frames has k places
        self.bottleneck, width = layers[0][0].shape
        self.feature_dim = width // scales[0]

        firsts, first_biases, rows, parts, begin = [], [], [], [], 0
        for scale, (weight, bias, _, _) in zip(scales, layers):
            firsts.append(weight.reshape(self.bottleneck, scale, self.feature_dim).transpose(1, 2, 0))
            first_biases.append(np.eye(scale, 1, dtype=np.float32)[:, None] * bias)  # once a tuple, at place 0
            # The rows of this scale among the products of all places and frames, [P*T, ...].
            end = begin + scale * self.num_segments
            rows.append(Tensor(np.arange(begin, end, dtype=np.int32)))
            # The rows that each tuple adds up: [K, k*T], k ones in each row.
            one_hot = np.eye(self.num_segments, dtype=np.float32)[relation_tuples(self.num_segments, scale)]
            parts.append(Tensor(one_hot.reshape(len(one_hot), -1)))
            begin = end
        self.rows_of, self.parts_of = tuple(rows), tuple(parts)
        self.first = Tensor(np.concatenate(firsts))  # [P, D, bottleneck]
        self.first_bias = Tensor(np.concatenate(first_biases))  # [P, 1, bottleneck]

        draws = [relation.num_draws for relation in relations]
        # The mean over the K tuples of a scale, times its number of draws: [T-1, all K].
        means = np.repeat(np.divide(draws, counts, dtype=np.float32), counts)
        scale_of = np.repeat(np.arange(self.num_scales), counts)
        self.draws_of = Tensor((scale_of == np.arange(self.num_scales)[:, None]) * means)
        self.last = Tensor(np.stack([weight.T for _, _, weight, _ in layers]))  # [T-1, bottleneck, C]
        self.last_bias = Tensor(sum(n * bias for n, (_, _, _, bias) in zip(draws, layers)).astype(np.float32))  # [C]
        self.matmul, self.batch_matmul, self.relu = ops.MatMul(), ops.BatchMatMul(), ops.ReLU()

    @property
    def fc_fusion_scales(self) -> nn.CellList:
        """The relations of the head, the largest scale first."""
        return self.plain.fc_fusion_scales

    def construct(self, features: Tensor, relations: Tensor | None = None) -> Tensor:
        return self.expected(features) if relations is None else self.plain(features, relations)

    def expected(self, features: Tensor) -> Tensor:
        """The expectation over uniform draws: [B, T, D] -> [B, C]."""
        frames = self.relu(features).transpose((1, 0, 2)).reshape((1, -1, self.feature_dim))  # [1, T*B, D]
        products = self.batch_matmul(ops.tile(frames, (self.num_places, 1, 1)), self.first)
        products = products + self.first_bias  # [P, T*B, bottleneck]
        products = products.reshape((self.num_places * self.num_segments, -1))  # [P*T, B*bottleneck]
        sums = ()  # not annotated: the graphs of MindSpore 1.10 know no annotations
        for rows, parts in zip(self.rows_of, self.parts_of):
            sums += (self.matmul(parts, ops.gather(products, rows, 0)),)  # type: ignore[assignment]
        tuples = self.relu(ops.concat(sums, 0))  # [all K, B*bottleneck]
        scales = self.matmul(self.draws_of, tuples).reshape((self.num_scales, -1, self.bottleneck))
        return self.batch_matmul(scales, self.last).sum(0) + self.last_bias  # [T-1, B, C] -> [B, C]
