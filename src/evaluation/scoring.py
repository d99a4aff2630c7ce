"""A trained network's scores of clips: batches of crops in, one score for each class out."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from src import sampling
from src.tsn import TSN, ClipLogits
from src.utils import pad_batch


class ClipScorer:
    """Scores batches of clips, averaging over crops.

    Args:
        network: the TSN; it is put into evaluation mode.
        test_crops: 1, 5 or 10 crops a clip.
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
        self.logits.set_train(False)
        self.num_segments, self.batch_size = network.num_segments, batch_size
        self.mirrored, self.relations, self.subsample_num, self.seed = mirrored, relations, subsample_num, seed

    def __call__(self, clips: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """uint8 clips [B, crops, T, S, S, 3] and their indices [B], B <= ``batch_size`` -> float32 [B, C]."""
        inputs = [self._whole_batch(clips)]
        if self.relations == "sampled":
            drawn = drawn_relations(self.num_segments, self.subsample_num, self.seed, indices)
            inputs.append(self._whole_batch(drawn))
        logits = self.logits(*inputs).asnumpy()[: len(clips)]  # [B, crops, C]
        return average_crops(logits, self.mirrored)

    def _whole_batch(self, rows: np.ndarray) -> Tensor:
        rows = pad_batch(rows, self.batch_size)
        return Tensor.from_numpy(np.ascontiguousarray(rows))  # not copied: ten crops of a clip are 12 MB


def drawn_relations(num_segments: int, subsample_num: int, seed: int, indices: np.ndarray) -> np.ndarray:
    """The tuples that clips are tested with where relations are sampled: int32 [B, T-1, subsample_num]."""
    rngs = [sampling.generator(seed, 0, int(index), "relations") for index in indices]
    return np.stack([sampling.sample_relations(num_segments, subsample_num, rng) for rng in rngs])


def average_crops(logits: np.ndarray, mirrored: np.ndarray | None) -> np.ndarray:
    """Mean over crops, [B, crops, C] -> [B, C], after the classes of mirrored crops are swapped back.

    Of 10 crops every second one is the mirror image of the one before. A class whose mirror class does not exist keeps
    the score of the plain crop.
    """
    if logits.shape[1] == 10 and mirrored is not None:
        logits = logits.copy()
        plain, flipped = logits[:, 0::2], logits[:, 1::2]
        flipped[:] = np.where(mirrored >= 0, flipped[..., mirrored], plain)
    return logits.mean(axis=1)
