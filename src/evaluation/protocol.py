"""How a clip is scored in a test, for any runtime: the relations drawn for it, the mean over its crops."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from model_utils.settings import Settings
from src import sampling


class Scorer(Protocol):
    """Scores clips with a network (``scoring.ClipScorer``) or an exported file."""

    batch_size: int  # the largest B of a call

    def __call__(self, clips: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """uint8 clips [B, crops, T, S, S, 3] and their indices [B] -> logits float32 [B, C]."""


def default_test_crops(settings: Settings) -> int:
    """``test_crops`` if it was given; otherwise 1 for a network that was trained behind a frozen backbone.

    Such a network has seen centre crops only, and is less accurate on others.
    """
    centre_only = settings.freeze_backbone and "test_crops" not in settings.given
    return 1 if centre_only else settings.test_crops


def drawn_relations(num_segments: int, subsample_num: int, seed: int, indices: np.ndarray) -> np.ndarray:
    """The relations drawn for testing clips, int32 [B, T-1, subsample_num].

    A draw depends on ``seed`` and the clip's index alone.
    """
    draws = [sampling.generator(seed, 0, int(index), "relations") for index in indices]
    return np.stack([sampling.sample_relations(num_segments, subsample_num, draw) for draw in draws])


def average_crops(logits: np.ndarray, mirrored: np.ndarray | None) -> np.ndarray:
    """Swaps the classes of mirrored crops back, then takes the mean over crops: [B, crops, C] -> [B, C].

    Of 10 crops every second one mirrors the one before. If a class has no mirrored partner, its score for the mirrored
    crop is replaced by its score for the unmirrored crop.
    """
    if logits.shape[1] == 10 and mirrored is not None:
        logits = logits.copy()
        plain, flipped = logits[:, 0::2], logits[:, 1::2]
        flipped[:] = np.where(mirrored >= 0, flipped[..., mirrored], plain)
    return logits.mean(axis=1)
