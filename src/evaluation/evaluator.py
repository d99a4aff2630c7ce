"""Scores every clip of a list once; eval.py and the validation of a training use the same code."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from logging import Logger
from typing import Any, Callable, Optional

import numpy as np

from model_utils.errors import InputError
from model_utils.progress import progress
from src import tsn_dataset
from src.data.clips import EvaluationLoader
from src.data.frame_files import VideoRecord
from src.evaluation.metrics import summarise, true_class_rank
from src.evaluation.protocol import Scorer
from src.ops.ranks import ALONE, Ranks

AfterBatch = Optional[Callable[[np.ndarray, np.ndarray], None]]


@dataclass(frozen=True)
class EvaluatedClips:
    """The clips that could be read, in the order of their list.

    Attributes:
        scores: float32 [N, C].
        labels: int32 [N], -1 where the class is unknown.
        indices: int32 [N], positions in the list.
        left_out: {position in the list: error message} of the clips that could not be read.
    """

    scores: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    left_out: dict[int, str]


@dataclass
class Evaluator:
    """Scores the clips of a list; made once, because the first batch compiles the network.

    Args:
        scorer: scores a batch; a network is in evaluation mode during and after each call.
        loader: loads a clip, with as many crops as the scorer expects.
        records: the clips; rank r of W in ``ranks`` scores clips r, r + W, r + 2W ...
        on_error: "stop" or "skip" at a clip that cannot be read.
        ranks: which share of the clips is scored here.
    """

    scorer: Scorer
    loader: EvaluationLoader
    records: list[VideoRecord]
    workers: int = 1
    on_error: str = "stop"
    ranks: Ranks = ALONE

    def __call__(self, observe: float = 1.0, after_batch: AfterBatch = None) -> EvaluatedClips:
        """Scores the clips.

        Args:
            observe: fraction of each clip, from its beginning, that is seen.
            after_batch: is called after each batch with the scores and labels of its readable clips.

        Raises:
            InputError: for a clip that cannot be read, unless ``on_error`` is "skip"; for scores that are NaN or
                infinite.
        """
        problems: dict[int, str] = {}
        dataset = tsn_dataset.evaluation_dataset(
            replace(self.loader, observe=observe),
            self.records,
            batch_size=self.scorer.batch_size,
            workers=self.workers,
            ranks=self.ranks,
            problems=problems if self.on_error == "skip" else None,
        )
        # Each begins with an array of no rows: there may be no batch.
        scores, labels, indices = [np.zeros((0, 0), np.float32)], [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
        with closing(dataset.read(output_numpy=True)) as batches:
            for clips, batch_labels, batch_indices in batches:
                readable = np.array([int(index) not in problems for index in batch_indices])
                batch_scores = self.scorer(clips, batch_indices)[readable]
                labels.append(batch_labels[readable])
                indices.append(batch_indices[readable])
                self._require_finite(batch_scores, indices[-1])
                scores.append(batch_scores)
                if after_batch:
                    after_batch(batch_scores, labels[-1])
        return EvaluatedClips(
            np.concatenate(scores[1:] or scores), np.concatenate(labels), np.concatenate(indices), problems
        )

    def frames(self, index: int, observe: float) -> list[np.ndarray]:
        """The frames of the clip at position ``index`` that the network sees with ``observe``."""
        return replace(self.loader, observe=observe).read(self.records[index], index)

    def _require_finite(self, scores: np.ndarray, indices: np.ndarray) -> None:
        """Raises InputError: NaN would count as right, because no other score is greater."""
        finite = np.isfinite(scores).all(axis=1)
        if not finite.all():
            clip = self.records[indices[finite.argmin()]].name
            raise InputError(f"clip {clip}: the network's scores are NaN or infinite")


def score_fractions(
    evaluator: Evaluator, fractions: list[float], categories: list[str], logger: Logger, log_interval: int
) -> tuple[EvaluatedClips, dict[str, Any]]:
    """Scores the clips once for each fraction of them that the network may see, and logs the accuracy.

    Args:
        fractions: in increasing order.
        logger: gets a line for each clip left out, and at the end a line for every ``log_interval`` clips.
        log_interval: in clips.

    Returns:
        The scores at the largest fraction, and the metrics of all fractions, ready for JSON.

    Raises:
        InputError: if none of the clips can be read, and as an ``Evaluator`` does.
    """
    records = evaluator.records
    summary: dict[str, Any] = {}
    left_out: dict[int, str] = {}
    curve, lines = [], []
    with progress("Evaluate", len(records) * len(fractions), "clip") as update:
        for fraction in fractions:
            steps = StepLines(log_interval, update)
            scored = evaluator(fraction, steps)
            lines += steps.lines
            for index in sorted(scored.left_out.keys() - left_out.keys()):
                logger.warning("left out %s: %s", records[index].name, scored.left_out[index])
            left_out = {**scored.left_out, **left_out}
            if not len(scored.labels):
                raise InputError(f"{evaluator.loader.frames.root}: none of the {len(records)} clips can be read")
            known = scored.labels >= 0
            summary = {"clips": len(known)}
            if known.any():
                summary = summarise(scored.scores[known], scored.labels[known], categories)
                curve.append({"observe": fraction, **{key: summary[key] for key in ("clips", "top1", "top5")}})
                if len(fractions) > 1:
                    lines.append(f"observed {fraction:g}: top1: {summary['top1']:f}; top5: {summary['top5']:f}")
    for line in ("evaluation finished", "Result:", *lines):
        logger.info("%s", line)
    listed = [{"clip": records[index].name, "problem": left_out[index]} for index in sorted(left_out)]
    return scored, {**summary, "left_out": listed, "observed": curve}


def log_accuracy(logger: Logger, results: dict[str, Any], listed: int) -> None:
    """Logs the results of ``score_fractions`` on ``listed`` clips; the model zoo's two lines come last."""
    if results["left_out"]:
        logger.warning("%d of %d clips left out", len(results["left_out"]), listed)
    if "top1" not in results:
        logger.info("the class of none of these clips is known, so there is no accuracy")
        return
    if results["clips"] < listed:
        logger.info("accuracy over %d of %d clips", results["clips"], listed)
    if "top5_note" in results:
        logger.info(results["top5_note"])
    logger.info("Top1: %.2f%%", 100 * results["top1"])
    logger.info("Top5: %.2f%%", 100 * results["top5"])


class StepLines:
    """Called after each batch. Every ``interval`` clips it adds the accuracy so far to ``lines``."""

    def __init__(self, interval: int, update: Callable[[int], None]) -> None:
        self.interval, self.update = interval, update
        self.clips = 0
        self.counts = np.zeros(3)  # top-1, top-5, clips of known class
        self.lines: list[str] = []

    def __call__(self, scores: np.ndarray, labels: np.ndarray) -> None:
        self.update(len(labels))
        known = labels >= 0
        self.counts += count_right(scores[known], labels[known])
        before, self.clips = self.clips, self.clips + len(labels)
        if self.clips // self.interval == before // self.interval:
            return
        first, five, clips = self.counts
        accuracy = f"; top1: {first / clips:f}; top5: {five / clips:f}" if clips else ""
        self.lines.append(f"Steps: {self.clips}{accuracy}")


def count_right(scores: np.ndarray, labels: np.ndarray) -> list[float]:
    """Clips whose class has the highest score, clips whose class is among the five highest, all clips."""
    places = true_class_rank(scores, labels) if len(labels) else np.zeros(0)
    return [int((places < 1).sum()), int((places < 5).sum()), len(places)]


@dataclass(frozen=True)
class Accuracy:
    """Fractions of the clips."""

    top1: float
    top5: float
    clips: int
    one_answer: int | None = None  # the class that all clips got, if all got the same


def validation_accuracy(evaluator: Evaluator, num_classes: int) -> Accuracy:
    """The accuracy on the evaluator's list, between epochs of training.

    Each rank scores its share of the list with its own running statistics of batch normalisation. All ranks get the
    accuracy of the whole list, so that they agree on when to stop.

    Raises:
        InputError: if no clip can be read.
    """
    scored = evaluator()
    answers = scored.scores.argmax(1) if len(scored.labels) else np.zeros(0, np.int64)
    counts = np.bincount(answers, minlength=num_classes).tolist()
    first, five, clips, *counts = evaluator.ranks.sum([*count_right(scored.scores, scored.labels), *counts])
    if not clips:
        raise InputError(f"{evaluator.loader.frames.root}: none of the validation clips can be read")
    one_answer = int(np.argmax(counts)) if np.count_nonzero(counts) == 1 else None
    return Accuracy(float(first / clips), float(five / clips), int(clips), one_answer)
