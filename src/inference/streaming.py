"""Recognition frame by frame: each frame passes the backbone once, the head scores the features of the last T.

    recognizer = Recognizer(network, image_size=224)
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
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from mindspore import Tensor

from model_utils.errors import InputError
from src.data.names import BACKGROUND
from src.data.video import Source, Span, frames_of_one_size
from src.transforms import cut_crops
from src.tsn import TSN, FrameFeatures
from src.utils import softmax

WINDOW = 3.0  # seconds; clips of Jester last about as long
TOLERANCE = 1e-6  # seconds, because times are rounded sums


class Recognizer:
    """Scores the last T frames, after every frame that it takes.

    The network was trained on T frames spread over a clip, so ``push`` spaces frames in time: it takes a frame once
    ``window`` / T seconds have passed since the previous one was due, and leaves the others out at no cost. T frames
    then span ``window`` seconds. Of a source with fewer frames a second it takes every frame, and T of them span more.

    Args:
        network: the TSN; it is put into evaluation mode. Scores are those of the centre crop and all relations.
        image_size: side S of the crop.
        window: seconds that T frames span.
    """

    def __init__(self, network: TSN, image_size: int, window: float = WINDOW) -> None:
        network.set_train(False)
        self.image_size, self.num_segments = image_size, network.num_segments
        self.interval = window / network.num_segments
        self.frame_features = FrameFeatures(network).set_train(False)
        self.head = network.consensus
        self.features: deque[np.ndarray] = deque(maxlen=network.num_segments)
        black = np.zeros((image_size, image_size, 3), np.uint8)
        for _ in range(network.num_segments):  # compiles both parts before the first frame of a live video
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
            Logits float32 [C] of the last T frames; None if the frame was left out, or fewer than T were taken.
        """
        if seconds is not None:
            if seconds < self.due - TOLERANCE:
                return None
            late = seconds - self.due > self.interval
            self.due = (seconds if late else self.due) + self.interval
        crop = cut_crops([frame], self.image_size, 1)[0]  # [1, S, S, 3]
        self.features.append(self.frame_features(Tensor(crop)).asnumpy()[0])
        if len(self.features) < self.num_segments:
            return None
        return self.head(Tensor(np.stack(self.features)[None])).asnumpy()[0]


class EventDetector:
    """Probabilities, scoring by scoring, into gestures that start and end.

    1. Probabilities are smoothed: each scoring counts ``weight``, all before it together the rest.
    2. A gesture starts when one class has had a smoothed probability of ``on`` or more for ``hold`` seconds. Its start
       is the first of these scorings. Classes of BACKGROUND start nothing.
    3. It ends when its smoothed probability falls below ``off``, which is less than ``on``, so that a probability
       that wavers about one value does not start and end it again and again.

    The network looks at the seconds that have passed, so a gesture is noticed when most of it has been seen.

    Raises:
        ValueError: unless 0 < off < on <= 1, and on > 1/2, which no two classes can reach at once.
    """

    def __init__(
        self, categories: list[str], *, weight: float = 0.7, on: float = 0.6, off: float = 0.4, hold: float = 0.3
    ) -> None:
        if not (0 < off < on <= 1 and on > 0.5):
            raise ValueError(f"on {on}, off {off}: expected 0 < off < on <= 1 and on > 0.5")
        self.categories, self.weight, self.on, self.off, self.hold = categories, weight, on, off, hold
        self.reset()

    def reset(self) -> None:
        """Forgets everything: what comes next is another video."""
        self.smoothed: np.ndarray | None = None
        self.current: Span | None = None
        self.candidate: tuple[str, float] | None = None  # class and since when

    @property
    def best(self) -> tuple[str, float] | None:
        """The class with the highest smoothed probability, and that; None before the first scoring."""
        if self.smoothed is None:
            return None
        return self.categories[self.smoothed.argmax()], float(self.smoothed.max())

    def update(self, seconds: float, probabilities: np.ndarray) -> list[Span]:
        """Takes the probabilities [C] at a time; returns the gestures that ended with it or started (``end`` None).

        A gesture's probability is the highest smoothed one so far.
        """
        if self.smoothed is None:
            self.smoothed = np.asarray(probabilities, np.float64)
        self.smoothed = self.smoothed + self.weight * (probabilities - self.smoothed)
        changes = []
        if self.current:
            now = float(self.smoothed[self.categories.index(self.current.label)])
            self.current = self.current._replace(probability=max(now, self.current.probability))
            if now < self.off:
                changes += self.finish(seconds)
        best = int(self.smoothed.argmax())
        label, probability = self.categories[best], float(self.smoothed[best])
        if probability < self.on or label in BACKGROUND:
            self.candidate = None
        elif not self.candidate or self.candidate[0] != label:
            self.candidate = label, seconds
        if self.candidate and not self.current and seconds - self.candidate[1] >= self.hold - TOLERANCE:
            self.current = Span(self.candidate[1], None, label, probability)
            changes.append(self.current)
        return changes

    def finish(self, seconds: float) -> list[Span]:
        """Ends the gesture that is still there, as when the video ends: a list of it or of nothing."""
        ended = [self.current._replace(end=seconds)] if self.current else []
        self.current = None
        return ended


class Moment(NamedTuple):
    """One frame of a stream: its time, its pixels, its logits if it was scored, and the gestures that started or ended.

    ``logits`` [C] is None for a frame that was left out and before there are T features.
    """

    seconds: float
    frame: np.ndarray
    logits: np.ndarray | None
    changes: list[Span]


def stream(recognizer: Recognizer, detector: EventDetector, source: Source, realtime: bool) -> Iterator[Moment]:
    """All frames of a source, with the gestures that start or end at each.

    Args:
        recognizer: is reset first, as is ``detector``.
        source: a camera's frames have the time since the start of the stream, those of a folder or file their own.
        realtime: whether a folder or file is played at its own pace. A frame that comes after the next one is due is
            then left out, as a camera would leave it out.

    Raises:
        InputError: if a frame cannot be read, or its scores are NaN or infinite.
    """
    recognizer.reset()
    detector.reset()
    for seconds, frame, late in _timed(source, realtime):
        logits = None if late else recognizer.push(frame, seconds)
        if logits is not None and not np.isfinite(logits).all():
            raise InputError(f"{source.name}: the network's scores at {seconds:.2f} s are NaN or infinite")
        changes = [] if logits is None else detector.update(seconds, softmax(logits))
        yield Moment(seconds, frame, logits, changes)


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
