"""The numbers of an evaluation as files: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from src.evaluation.metrics import confusion_matrix, per_class, true_class_rank
from src.utils import softmax

METRICS_FILE, PREDICTIONS_FILE, CLASSES_FILE = "metrics.json", "predictions.csv", "per_class.csv"
SUBMISSION_FILE = "submission.csv"
CLIPS_AT_ONCE = 1024  # scores are converted to float64 in parts, to save memory


@dataclass(frozen=True)
class Evaluation:
    """The clips, scores and metrics of an evaluation.

    Args:
        metrics: content of ``metrics.json``; its "protocol" holds "ckpt_file" and "split".
        categories: C class names.
        clips: N clip names.
        scores: float [N, C].
        labels: int [N], -1 for an unknown class.
    """

    metrics: dict[str, Any]
    categories: list[str]
    clips: list[str]
    scores: np.ndarray
    labels: np.ndarray

    @cached_property
    def predicted(self) -> np.ndarray:
        """The answer to each clip, int64 [N]."""
        return self.scores.argmax(1)

    @cached_property
    def known(self) -> np.ndarray:
        """Rows of the clips whose class is known, int64."""
        return np.flatnonzero(self.labels >= 0)

    @cached_property
    def confusion(self) -> np.ndarray:
        """The confusion matrix of the clips whose class is known, int64 [C, C], a row a true class."""
        return confusion_matrix(self.labels[self.known], self.predicted[self.known], len(self.categories))


def number_files(evaluation: Evaluation) -> dict[str, bytes]:
    """The content of each file of numbers that this evaluation has, by name."""
    files = {
        METRICS_FILE: text_bytes(json.dumps(evaluation.metrics, indent=2, ensure_ascii=False) + "\n"),
        PREDICTIONS_FILE: _predictions(evaluation),
    }
    if evaluation.metrics["protocol"]["split"] == "test":
        answers = [evaluation.categories[label] for label in evaluation.predicted]
        files[SUBMISSION_FILE] = text_bytes("".join(f"{c};{name}\n" for c, name in zip(evaluation.clips, answers)))
    if len(evaluation.known):
        files[CLASSES_FILE] = _class_table(evaluation.categories, evaluation.confusion)
    return files


def text_bytes(text: str) -> bytes:
    """UTF-8. Bytes of file names that are not UTF-8 become escapes, which JSON reads back as these bytes."""
    return text.encode("utf-8", "backslashreplace")


def csv_bytes(rows: Iterable[Iterable]) -> bytes:
    """A CSV file with these rows."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text_bytes(text.getvalue())


def _predictions(evaluation: Evaluation) -> bytes:
    categories, scores, labels = evaluation.categories, evaluation.scores, evaluation.labels
    rows: list[list[Any]] = [["clip", "true", "predicted", "probability", "rank"]]
    for start in range(0, len(scores), CLIPS_AT_ONCE):
        part = slice(start, start + CLIPS_AT_ONCE)
        probabilities = softmax(scores[part].astype(np.float64)).max(1)
        ranks = true_class_rank(scores[part], np.maximum(labels[part], 0)) + 1
        answers = evaluation.predicted[part]
        for clip, label, answer, p, rank in zip(evaluation.clips[part], labels[part], answers, probabilities, ranks):
            true, place = (categories[label], rank) if label >= 0 else ("", "")
            rows.append([clip, true, categories[answer], f"{p:.6f}", place])
    return csv_bytes(rows)


def _class_table(categories: list[str], confusion: np.ndarray) -> bytes:
    classes = per_class(confusion)
    rows: list[list[Any]] = [["class", "precision", "recall", "f1", "support", "most_confused_with", "times"]]
    for label, name in enumerate(categories):
        other = classes["confused_with"][label]
        numbers = [f"{classes[key][label]:.6f}" for key in ("precision", "recall", "f1")]
        confused = [categories[other], confusion[label, other]] if other >= 0 else ["", 0]
        rows.append([name, *numbers, classes["support"][label], *confused])
    return csv_bytes(rows)
