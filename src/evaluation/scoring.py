"""A trained network's scores of clips: batches of crops in, one score for each class out."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from model_utils.settings import Settings
from src.evaluation.protocol import average_crops, drawn_relations
from src.tsn import TSN, ClipLogits
from src.utils import pad_batch


class ClipScorer:
    """Scores batches of clips, averaging over crops.

    Args:
        network: the TSN; each call puts it into evaluation mode.
        settings: with ``relations`` "sampled", tuples are drawn by ``subsample_num``, ``seed`` and the clip's index;
            otherwise, and without settings, all are used.
        batch_size: clips of a call; a shorter batch is padded, so that one graph is compiled.
        mirrored: see ``average_crops``; None if the network was trained to give a mirrored clip the same class.
    """

    def __init__(
        self,
        network: TSN,
        settings: Settings | None = None,
        *,
        test_crops: int,
        batch_size: int = 1,
        mirrored: np.ndarray | None = None,
    ) -> None:
        self.logits = ClipLogits(network, test_crops)
        self.num_segments, self.batch_size, self.mirrored = network.num_segments, batch_size, mirrored
        self.draws: tuple[int, int] | None = None
        if settings and settings.relations == "sampled" and network.head.draws_relations:
            self.draws = settings.subsample_num, settings.seed

    def __call__(self, clips: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """uint8 clips [B, crops, T, S, S, 3] and their indices [B], B <= ``batch_size`` -> float32 [B, C]."""
        self.logits.set_train(False)  # between two epochs of training the network is in training mode
        inputs = [self._whole_batch(clips)]
        if self.draws:
            inputs.append(self._whole_batch(drawn_relations(self.num_segments, *self.draws, indices)))
        logits = self.logits(*inputs).asnumpy()[: len(clips)]  # [B, crops, C]
        return average_crops(logits, self.mirrored)

    def _whole_batch(self, rows: np.ndarray) -> Tensor:
        rows = pad_batch(rows, self.batch_size)
        return Tensor.from_numpy(np.ascontiguousarray(rows))  # ten crops of a clip are 12 MB to copy
