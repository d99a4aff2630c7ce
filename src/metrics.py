"""Scores of clips in, numbers out."""

from __future__ import annotations

import numpy as np


def true_class_rank(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Place of each clip's true class when its classes are ordered by score, 0 for the best: int64 [N].

    ``scores`` is float [N, C], ``labels`` int [N]. Equal scores are ordered by class index, so that a network that
    answers the same for every class is not credited with knowing any of them.
    """
    true = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return np.sum((scores > true) | ((scores == true) & earlier), axis=1)


def topk_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of clips whose true class is among the ``k`` highest scores; 1.0 with no more than k classes."""
    return float(np.mean(true_class_rank(scores, labels) < k))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
