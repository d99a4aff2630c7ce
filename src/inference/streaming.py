"""Recognition frame by frame: each frame passes the backbone once, the head scores the features of the last T.

    recognizer = Recognizer(model.parts("a stream"), image_size=224)
    detector = EventDetector(categories)
    for seconds, frame in ...:                        # frame: uint8 [height, width, 3] BGR
        logits = recognizer.push(frame, seconds)
        if logits is not None:
            for gesture in detector.update(seconds, softmax(logits)):
                ...                                   # it has started (gesture.end is None) or ended

Memory does not grow with the length of the video.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model_utils.errors import InputError
from model_utils.settings import Settings
from src.data.names import BACKGROUND, background_of
from src.data.video import TIME_ROUNDING, Source, Span, frames_of_one_size
from src.inference.timeline import TOLERANCE, WINDOW
from src.shipping.parts import Parts
from src.transforms import cut_crops
from src.utils import softmax

FIRST_SCORING, LONGEST_SCORING = 0.375, 0.75  # seconds that a scoring counts for: the first one, and at most


class Recognizer:
    """Scores the last T frames, after every frame that it takes.

    The network was trained on T frames spread over a clip, so ``push`` spaces frames in time. It takes a frame once
    ``window`` / T seconds have passed since the previous one was due, and skips the others at no cost, so T frames span
    ``window`` seconds. If the source has fewer frames a second, it takes every frame, and T frames span more.

    Args:
        parts: the two parts of a network. Scores are for the centre crop and all relations.
        image_size: side S of the crop.
        window: seconds that T frames span.
    """

    def __init__(self, parts: Parts, image_size: int, window: float = WINDOW) -> None:
        self.image_size = image_size
        self.num_segments, self.frame_features, self.head = parts
        self.interval = window / self.num_segments
        self.features: deque[np.ndarray] = deque(maxlen=self.num_segments)
        black = np.zeros((image_size, image_size, 3), np.uint8)
        for _ in range(self.num_segments):  # compiles both parts before the first frame of a live video
            self.push(black)
        self.reset()

    def reset(self) -> None:
        """Forgets all frames, before another video."""
        self.features.clear()
        self.due = -np.inf

    def push(self, frame: np.ndarray, seconds: float | None = None) -> np.ndarray | None:
        """Takes or leaves out the next frame.

        Args:
            frame: uint8 [height, width, 3] BGR.
            seconds: its time; None takes the frame whenever it comes.

        Returns:
            Logits float32 [C] of the last T frames; None if the frame was skipped, or fewer than T were taken.
        """
        if seconds is not None:
            if seconds < self.due - TIME_ROUNDING:
                return None
            late = seconds - self.due > self.interval
            self.due = (seconds if late else self.due) + self.interval
        crop = cut_crops([frame], self.image_size, 1)[0]  # [1, S, S, 3]
        self.features.append(self.frame_features(crop)[0])
        if len(self.features) < self.num_segments:
            return None
        return self.head(np.stack(self.features)[None])[0]


@dataclass(frozen=True)
class EventRules:
    """The thresholds of an EventDetector.

    Attributes:
        on: a stretch begins when all gestures together reach this probability. Lower: more events, more false alarms.
        off: it ends when they fall below this one. Nearer to ``on``: separates gestures that follow each other closely.
        share: least mean probability of a gesture in its stretch. Lower: more events, also in unknown pictures.
        least: least evidence of a gesture, in seconds. Lower: more events, also wrong ones.
        early: evidence, in seconds, at which a gesture is reported before it ends. Lower: sooner, with more wrong
            labels.

    Raises:
        ValueError: unless 0 < off <= on < 1, 0 <= share < 1 and 0 < least <= early.
    """

    on: float = 0.6
    off: float = 0.5
    share: float = 0.46
    least: float = 0.5
    early: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on < 1:
            raise ValueError(f"on {self.on}, off {self.off}: expected 0 < off <= on < 1")
        if not 0 <= self.share < 1:
            raise ValueError(f"share {self.share}: expected 0 <= share < 1")
        if not 0 < self.least <= self.early:
            raise ValueError(f"least {self.least}, early {self.early}: expected 0 < least <= early")


class EventDetector:
    """Turns a sequence of probabilities into gestures that start and end.

    1. A stretch begins when the probabilities of all gestures together reach ``on``, and ends when they fall below
       ``off``.
    2. In a stretch each gesture gathers evidence: its probability times the seconds since the last scoring. One second
       of evidence is one second at probability 1.
    3. The gesture with the most evidence counts. Its mean probability in the stretch must be at least ``share``. It is
       reported as started when its evidence reaches ``early`` seconds; then its label is fixed. Its start is the
       stretch's.
    4. When the stretch ends, the gesture ends. If it was not reported yet, it is reported now, provided that its
       evidence is at least ``least`` seconds.

    The network looks at the seconds that have passed, so a gesture is noticed when most of it has been seen.

    Args:
        background: classes that are no gesture.
    """

    def __init__(
        self, categories: list[str], rules: EventRules = EventRules(), background: Collection[str] = BACKGROUND
    ) -> None:
        self.categories, self.rules = categories, rules
        self.background = [name for name in categories if name in background]
        self.is_gesture = np.array([name not in background for name in categories])
        self.reset()

    def reset(self) -> None:
        """Forgets everything, before another video."""
        self.current: Span | None = None  # reported and not over yet
        self.best: tuple[str, float] | None = None  # likeliest class of the last scoring, and its probability
        self.began: float | None = None  # start of the stretch
        self.last: float | None = None  # time of the last scoring
        self.evidence = np.zeros(len(self.categories))
        self.gathered = 0.0  # seconds of the stretch

    def update(self, seconds: float, probabilities: np.ndarray) -> list[Span]:
        """Takes the probabilities [C] at a time; returns the gestures that start (``end`` None) or end then."""
        probabilities = np.asarray(probabilities, np.float64)
        self.best = self.categories[probabilities.argmax()], float(probabilities.max())
        passed = FIRST_SCORING if self.last is None else min(seconds - self.last, LONGEST_SCORING)
        self.last = seconds
        together = probabilities[self.is_gesture].sum()
        if together < (self.rules.on if self.began is None else self.rules.off):
            return self.finish(seconds)
        if self.began is None:
            self.began, self.gathered = seconds, 0.0
            self.evidence[:] = 0
        self.evidence += passed * probabilities * self.is_gesture
        self.gathered += passed
        if self.current:
            self.current = self._gesture(self.categories.index(self.current.label))
            return []
        return self._report(self.rules.early)

    def finish(self, seconds: float) -> list[Span]:
        """Ends the stretch; returns its gesture as ended, preceded by its start if that was not reported yet."""
        changes = [] if self.began is None or self.current else self._report(self.rules.least)
        if self.current:
            changes.append(self.current._replace(end=seconds))
        self.began = self.current = None
        return changes

    def _report(self, least: float) -> list[Span]:
        """The gesture of the stretch, if there are ``least`` seconds of evidence of it."""
        label = int(self.evidence.argmax())
        gesture = self._gesture(label)
        if self.evidence[label] < least - TOLERANCE or gesture.probability < self.rules.share:
            return []
        self.current = gesture
        return [gesture]

    def _gesture(self, label: int) -> Span:
        assert self.began is not None
        return Span(self.began, None, self.categories[label], float(self.evidence[label] / self.gathered))


def build_detector(config: Settings, categories: list[str]) -> EventDetector:
    """The detector with ``event_on event_off event_share event_least event_early background_class`` of ``config``.

    Raises:
        InputError: if the thresholds contradict each other.
    """
    thresholds = config.event_on, config.event_off, config.event_share, config.event_least, config.event_early
    try:
        rules = EventRules(*thresholds)
    except ValueError as error:
        raise InputError(f"event thresholds: {error}") from None
    return EventDetector(categories, rules, background_of(categories, config.background_class))


class Moment(NamedTuple):
    """One frame of a stream."""

    seconds: float
    frame: np.ndarray
    logits: np.ndarray | None  # [C]; None if the frame was skipped, or fewer than T were taken
    changes: list[Span]  # gestures that started or ended


def stream(recognizer: Recognizer, detector: EventDetector, source: Source, realtime: bool) -> Iterator[Moment]:
    """All frames of a source, with the gestures that start or end at each.

    Args:
        recognizer, source, realtime: see ``scored_frames``.
        detector: is reset first.

    Raises:
        InputError: as ``scored_frames`` does.
    """
    detector.reset()
    for seconds, frame, logits in scored_frames(recognizer, source, realtime):
        changes = [] if logits is None else detector.update(seconds, softmax(logits))
        yield Moment(seconds, frame, logits, changes)


def scored_frames(
    recognizer: Recognizer, source: Source, realtime: bool = False
) -> Iterator[tuple[float, np.ndarray, np.ndarray | None]]:
    """All frames of a source: (seconds, frame, logits [C] or None).

    Args:
        recognizer: is reset first.
        source: its frames have their own times; a camera's have the time since the start of the stream.
        realtime: play a folder or file at its own pace. A frame is then skipped if the next one is already due, as with
            a camera.

    Raises:
        InputError: if a frame cannot be read, or its scores are NaN or infinite.
    """
    recognizer.reset()
    for seconds, frame, late in _timed(source, realtime):
        logits = None if late else recognizer.push(frame, seconds)
        if logits is not None and not np.isfinite(logits).all():
            raise InputError(f"{source.name}: the network's scores at {seconds:.2f} s are NaN or infinite")
        yield seconds, frame, logits


def _timed(source: Source, realtime: bool) -> Iterator[tuple[float, np.ndarray, bool]]:
    """(seconds, frame, whether the next frame was due before this one came)."""
    began = time.monotonic()
    if source.num_frames is None:
        for _, frame in frames_of_one_size(source):
            yield time.monotonic() - began, frame, False
        return
    ends = [*source.times[1:].tolist(), source.duration]
    for index, frame in frames_of_one_size(source):
        passed, seconds = time.monotonic() - began, float(source.times[index])
        if realtime and seconds > passed:
            time.sleep(seconds - passed)
        yield seconds, frame, realtime and passed > ends[index]
