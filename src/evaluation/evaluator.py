"""A network and a list of clips joined: every clip scored once, in the same way in eval.py and while training."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from model_utils.errors import InputError
from src import tsn_dataset
from src.data.clips import VideoRecord
from src.evaluation.metrics import true_class_rank
from src.evaluation.scoring import ClipScorer
from src.ops.ranks import ALONE, Ranks
from src.tsn import TSN


@dataclass(frozen=True)
class ScoredClips:
    """The clips that could be read, in the order of their list.

    ``scores`` float32 [N, C], ``labels`` int32 [N] (-1: unknown), ``indices`` int32 [N] (positions in the list), and of
    the clips that could not be read their positions and what is wrong with them.
    """

    scores: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    left_out: dict[int, str]


class Evaluator:
    """Scores the clips of a list; made once, because the first batch compiles the network.

    Args:
        network: the TSN, which is in evaluation mode during and after each call.
        records: the clips; rank r of W in ``ranks`` scores every W-th from r on.
        images_root: folder of the clips' folders.
        settings: reads ``num_segments image_size frame_order relations subsample_num seed on_error eval_workers``.
        test_crops, batch_size, mirrored: see ``ClipScorer``.
    """

    def __init__(
        self,
        network: TSN,
        records: list[VideoRecord],
        images_root: str | os.PathLike,
        settings: Any,
        *,
        test_crops: int,
        batch_size: int,
        mirrored: np.ndarray | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.records, self.images_root, self.settings = records, images_root, settings
        self.test_crops, self.batch_size, self.ranks = test_crops, batch_size, ranks
        self.scorer = ClipScorer(
            network,
            test_crops=test_crops,
            batch_size=batch_size,
            mirrored=mirrored,
            relations=settings.relations,
            subsample_num=settings.subsample_num,
            seed=settings.seed,
        )

    def __call__(
        self, observe: float = 1.0, after_batch: Callable[[list[np.ndarray], list[int]], None] | None = None
    ) -> ScoredClips:
        """Scores each clip from its first part, ``observe`` of its length.

        ``after_batch`` is called after each batch with the scores and the labels of all clips so far.

        Raises:
            InputError: for a clip that cannot be read, unless ``on_error`` is "skip", and for a network whose scores
                are not numbers.
        """
        settings = self.settings
        self.scorer.logits.set_train(False)
        batches = tsn_dataset.evaluation_batches(
            self.records,
            self.images_root,
            num_segments=settings.num_segments,
            image_size=settings.image_size,
            test_crops=self.test_crops,
            batch_size=self.batch_size,
            workers=settings.eval_workers,
            frame_order=settings.frame_order,
            observe=observe,
            seed=settings.seed,
            ranks=self.ranks,
        )
        scores, labels, indices, left_out = [], [], [], {}
        with closing(batches):
            for clips, batch_labels, batch_indices, problems in batches:
                if any(problems) and settings.on_error == "stop":  # before the network is compiled for nothing
                    raise InputError(next(filter(None, problems)))
                batch_scores = self.scorer(clips, batch_indices)
                for row, label, index, problem in zip(batch_scores, batch_labels, batch_indices, problems):
                    if problem:
                        left_out[int(index)] = problem
                        continue
                    if not np.isfinite(row).all():  # would count as right: no other score is greater
                        clip = self.records[index].folder
                        raise InputError(f"clip {clip}: the network's scores are no finite numbers")
                    scores.append(row)
                    labels.append(label)
                    indices.append(index)
                if after_batch:
                    after_batch(scores, labels)
        return ScoredClips(np.array(scores), np.array(labels), np.array(indices), left_out)


@dataclass(frozen=True)
class Accuracy:
    """Fractions of the clips."""

    top1: float
    top5: float
    clips: int


class Validation:
    """Accuracy on a list between epochs of training, and how long ago it was best.

    Each rank scores its share of the list, with its own running statistics of batch normalisation, and all of them
    learn the accuracy of the whole, so that they agree on when to stop.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.best: Accuracy | None = None
        self.since_best = 0

    def __call__(self) -> Accuracy:
        """Scores the list. ``since_best`` is 0 afterwards if the result is the best so far: top-1, then top-5."""
        scored = self.evaluator()
        ranks = true_class_rank(scored.scores, scored.labels) if len(scored.labels) else np.zeros(0)
        counts = [(ranks < 1).sum(), (ranks < 5).sum(), len(ranks)]
        first, five, clips = self.evaluator.ranks.sum(counts)
        if not clips:
            raise InputError(f"{self.evaluator.images_root}: none of the clips to validate with can be read")
        accuracy = Accuracy(float(first / clips), float(five / clips), int(clips))
        if self.best is None or (accuracy.top1, accuracy.top5) > (self.best.top1, self.best.top5):
            self.best, self.since_best = accuracy, 0
        else:
            self.since_best += 1
        return accuracy
