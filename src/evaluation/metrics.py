"""Scores of clips in, numbers out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from src.data.names import REVERSED_PAIRS


def true_class_rank(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Place of each clip's true class when its classes are ordered by score, 0 for the best: int64 [N].

    ``scores`` is float [N, C], ``labels`` int [N]. Equal scores are ordered by class index: a network that gives all
    classes the same score gets no credit for it.
    """
    true = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    return np.sum((scores > true) | ((scores == true) & earlier), axis=1)


def topk_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of clips whose true class is among the ``k`` highest scores; 1.0 with no more than k classes."""
    return float(np.mean(true_class_rank(scores, labels) < k))


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """How many clips of each class (row) got each answer (column): int64 [C, C]."""
    cells = labels * num_classes + predicted
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """``precision``, ``recall`` and ``f1`` (float64 [C], 0 where the denominator is 0), ``support`` (int64 [C]) and
    ``confused_with``, the most frequent wrong answer to the class's clips (int64 [C], -1 if there is none).
    """
    right, support, answers = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    wrong = confusion - np.diag(right)
    return {
        "precision": right / np.maximum(answers, 1),
        "recall": right / np.maximum(support, 1),
        "f1": 2 * right / np.maximum(answers + support, 1),
        "support": support,
        "confused_with": np.where(wrong.any(1), wrong.argmax(1), -1),
    }


def confused_pairs(confusion: np.ndarray) -> list[tuple[int, int, int]]:
    """(class, wrong answer, number of clips) of every kind of mistake, the most frequent first."""
    wrong = confusion - np.diag(np.diag(confusion))
    return [(int(i), int(j), int(wrong[i, j])) for i, j in sorted(np.argwhere(wrong), key=lambda at: -wrong[tuple(at)])]


def interval(fraction: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of an accuracy of which ``count`` clips show ``fraction``."""
    z = 1.96
    centre, scale = fraction + z * z / (2 * count), 1 + z * z / count
    spread = z * math.sqrt(fraction * (1 - fraction) / count + z * z / (4 * count * count))
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def reversed_classes(categories: list[str]) -> np.ndarray:
    """The class that a clip of each class shows when played backwards: int32 [C], -1 for none or the same class.

    Only Jester's names are known.
    """
    index = {name: label for label, name in enumerate(categories)}
    opposite = dict(REVERSED_PAIRS + tuple((second, first) for first, second in REVERSED_PAIRS))
    return np.array([index.get(opposite.get(name, ""), -1) for name in categories], np.int32)


def order_metrics(labels: np.ndarray, predicted: np.ndarray, opposite: np.ndarray) -> dict[str, Any]:
    """Accuracy on clips that show another class when played backwards, and on the rest; None without such clips.

    ``opposite`` is ``reversed_classes``. Also the fraction of the former that is answered with the opposite class.
    """
    pairs = opposite[labels] >= 0
    right, opposed = predicted == labels, predicted == opposite[labels]

    def fraction(hits: np.ndarray) -> float | None:
        return float(hits.mean()) if len(hits) else None

    return {
        "pair_clips": int(pairs.sum()),
        "pair_top1": fraction(right[pairs]),
        "pair_answered_opposite": fraction(opposed[pairs]),
        "rest_clips": int((~pairs).sum()),
        "rest_top1": fraction(right[~pairs]),
    }


def summarise(scores: np.ndarray, labels: np.ndarray, categories: list[str]) -> dict[str, Any]:
    """The metrics of a set of clips, ready for JSON.

    ``scores`` is float [N, C], ``labels`` int [N], N >= 1. Accuracies are fractions. The mean over classes leaves out
    classes without a clip. ``order`` exists if some classes show others played backwards.
    """
    confusion = confusion_matrix(labels, scores.argmax(1), len(categories))
    classes, present = per_class(confusion), confusion.any(1)
    top1 = topk_accuracy(scores, labels, 1)
    summary = {
        "clips": len(labels),
        "top1": top1,
        "top5": topk_accuracy(scores, labels, 5),
        "top1_interval_95": list(interval(top1, len(labels))),
        "class_mean": {key: float(classes[key][present].mean()) for key in ("precision", "recall", "f1")},
        "classes": len(categories),
        "classes_without_clips": [name for name, there in zip(categories, present) if not there],
    }
    if len(categories) <= 5:
        summary["top5_note"] = f"with {len(categories)} classes every answer is among the best 5"
    opposite = reversed_classes(categories)
    if (opposite >= 0).any():
        summary["order"] = order_metrics(labels, scores.argmax(1), opposite)
    return summary
