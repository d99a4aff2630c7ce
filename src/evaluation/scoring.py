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
        batch_size: clips the network sees at once; a shorter batch is padded, so that it is compiled only once.
        mirrored: int [C], the class that each class becomes in a mirror (-1: none of them), to swap the classes of
            mirrored crops back; None if the network was trained to give a mirrored clip the same class.
        relations: "all", or "sampled" for tuples that depend on ``seed`` and the clip's index alone.
        subsample_num: tuples drawn at each scale where relations are sampled.
        seed: see ``relations``.
    """

    def __init__(
        self,
        network: TSN,
        *,
        test_crops: int,
        batch_size: int = 1,
        mirrored: np.ndarray | None = None,
        relations: str = "all",
        subsample_num: int = 3,
        seed: int = 0,
    ) -> None:
        self.logits = ClipLogits(network, test_crops)
        self.num_segments, self.batch_size = network.num_segments, batch_size
        self.mirrored, self.subsample_num, self.seed = mirrored, subsample_num, seed
        self.draws_relations = relations == "sampled" and network.head.draws_relations

    def __call__(self, clips: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """uint8 clips [B, crops, T, S, S, 3] and their indices [B], B <= ``batch_size`` -> float32 [B, C]."""
        self.logits.set_train(False)  # between two epochs of training the network is in training mode
        inputs = [self._whole_batch(clips)]
        if self.draws_relations:
            drawn = drawn_relations(self.num_segments, self.subsample_num, self.seed, indices)
            inputs.append(self._whole_batch(drawn))
        logits = self.logits(*inputs).asnumpy()[: len(clips)]  # [B, crops, C]
        return average_crops(logits, self.mirrored)

    def _whole_batch(self, rows: np.ndarray) -> Tensor:
        rows = pad_batch(rows, self.batch_size)
        return Tensor.from_numpy(np.ascontiguousarray(rows))  # ten crops of a clip are 12 MB to copy


def scorer_for(
    settings: Settings, network: TSN, test_crops: int, batch_size: int, mirrored: np.ndarray | None = None
) -> ClipScorer:
    """A ``ClipScorer`` with the ``relations subsample_num seed`` of settings."""
    return ClipScorer(
        network,
        test_crops=test_crops,
        batch_size=batch_size,
        mirrored=mirrored,
        relations=settings.relations,
        subsample_num=settings.subsample_num,
        seed=settings.seed,
    )
