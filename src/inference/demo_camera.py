"""One visitor's camera on the page of ``demo.py``: frames that arrive late and unevenly, with the time of the page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from src.data.video import Span
from src.inference.streaming import EventDetector, Recognizer, look
from src.utils import softmax

PAUSE = 3.0  # seconds without a frame, or a clock put back so far, after which another stream begins
EVENTS_KEPT = 50


class CameraStream:
    """The state of one visitor's stream: what was recognised, and how much of it was looked at, how late.

    Times are those of the page, at which it took a frame, so that it does not matter how long a frame travels. The page
    sends the newest frame when the answer to the last one has come; frames in between are never sent, and so the delay
    does not grow.

    Args:
        recognizer, detector: for this stream alone.
        run: calls the network, ``run(function, *arguments)``; on the thread that MindSpore was set up on.
    """

    def __init__(self, recognizer: Recognizer, detector: EventDetector, run: Callable[..., Any]) -> None:
        self.recognizer, self.detector, self.run = recognizer, detector, run
        self._begin(0.0)

    def _begin(self, clock: float) -> None:
        self.recognizer.reset()
        self.detector.reset()
        self.began, self.clock = clock, -np.inf
        self.probabilities: np.ndarray | None = None
        self.ended: deque[Span] = deque(maxlen=EVENTS_KEPT)
        self.first_shown = self.shown = 0
        self.arrived = self.looked_at = 0
        self.delay: float | None = None

    @property
    def seconds(self) -> float:
        """Time of the last frame."""
        return self.clock - self.began if self.arrived else 0.0

    @property
    def events(self) -> list[Span]:
        """The gestures of the stream, of many the last ones; one that is not over has no end."""
        return [*self.ended, *filter(None, [self.detector.current])]

    def push(self, frame: np.ndarray, clock: float, shown: int = 0, answered: float | None = None) -> None:
        """Takes the next frame to arrive.

        Args:
            frame: uint8 [height, width, 3] BGR.
            clock: when the page took it, in seconds of its clock.
            shown: number of frames that the camera had shown by then.
            answered: the ``clock`` of the frame whose answer was on the page then.

        Raises:
            InputError: if the scores are NaN or infinite.
        """
        if not self.arrived or abs(clock - self.clock) > PAUSE:
            self._begin(clock)
            self.first_shown = shown - 1
        elif clock <= self.clock:  # overtaken by a later frame
            return
        if answered is not None and self.began <= answered <= self.clock:
            self.delay = clock - answered
        self.clock = clock
        self.arrived += 1
        self.shown = max(shown - self.first_shown, self.arrived)  # not every browser counts
        due = self.recognizer.due
        moment = self.run(look, self.recognizer, self.detector, frame, self.seconds, "camera")
        self.looked_at += self.recognizer.due != due
        if moment.logits is not None:
            self.probabilities = softmax(moment.logits)
        self.ended += [change for change in moment.changes if change.end is not None]
