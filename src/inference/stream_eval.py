"""Evaluates the recognition in streams: scores each video, finds events, writes log lines, JSON and arrays.

Scores do not depend on the thresholds of events. So a video is scored once, and its scores are replayed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from logging import Logger
from pathlib import Path
from typing import Any

import numpy as np

from model_utils.errors import InputError
from model_utils.files import is_folder
from model_utils.progress import progress
from src.data.video import Recording, Span, VideoFile, find_sources
from src.evaluation.events import WatchedVideo
from src.inference.streaming import EventDetector, Recognizer, scored_frames
from src.utils import softmax

SOUND_LONGER = 1.0  # seconds that an annotation may end after the video: its sound may be longer than the pictures


@dataclass(frozen=True)
class ScoredVideo:
    """A video with its scores, logits float32 [N, C] at times [N], and its true gestures."""

    name: str
    seconds: float
    gestures: list[Span]
    times: np.ndarray
    logits: np.ndarray

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of the classes, [N, C]."""
        return softmax(self.logits)


def find_videos(folder: str) -> dict[str, str]:
    """The paths of the videos in a folder of (folders of) videos, by their relative names.

    Raises:
        InputError: if there are none.
    """
    if not is_folder(folder):
        raise InputError(f"{folder}: no such folder of videos")
    paths = {str(Path(path).relative_to(folder)): path for path in find_sources([folder])}
    if paths.keys() == {"."}:
        raise InputError(f"{folder}: no videos in this folder")
    return paths


def score_videos(
    paths: dict[str, str], truth: dict[str, list[Span]], recognizer: Recognizer, num_classes: int
) -> Iterator[ScoredVideo]:
    """The videos with their scores, one after the other; all of ``truth`` is checked before the first."""
    sources = {name: VideoFile(Path(path)) for name, path in paths.items()}
    for name, source in sources.items():  # before hours of work
        check_gestures(source, truth[name])
    with progress("Streams", len(paths), "video") as advance:
        for name, source in sources.items():
            scored = [(seconds, row) for seconds, _, row in scored_frames(recognizer, source) if row is not None]
            times = np.array([seconds for seconds, _ in scored])
            logits = np.array([row for _, row in scored], np.float32).reshape(len(scored), num_classes)
            yield ScoredVideo(name, source.duration, truth[name], times, logits)
            advance(1)


def replayed(video: ScoredVideo, detector: EventDetector) -> WatchedVideo:
    """The events that the detector, which is reset first, finds in the video."""
    detector.reset()
    events: list[Span] = []
    decided: dict[tuple[float, str], float] = {}

    def note(seconds: float, changes: list[Span]) -> None:
        for change in changes:
            decided.setdefault((change.start, change.label), seconds)
        events.extend(change for change in changes if change.end is not None)

    for seconds, probabilities in zip(video.times.tolist(), video.probabilities):
        note(seconds, detector.update(seconds, probabilities))
    note(video.seconds, detector.finish(video.seconds))
    events.sort()
    reported = [decided[event.start, event.label] for event in events]
    return WatchedVideo(video.name, video.seconds, video.gestures, events, reported)


def check_gestures(source: Recording, gestures: list[Span]) -> None:
    """Raises InputError for a gesture that starts after the video's end, or ends more than SOUND_LONGER after it."""
    for start, end, label, _ in gestures:
        if start >= source.duration or end is None or end > source.duration + SOUND_LONGER:
            gesture = f"{label} from {start:g} s to {end:g} s in the truth"
            raise InputError(
                f"{source.name}: {gesture}, but the video ends at {source.duration:g} s; are these seconds?"
            )


def log_metrics(metrics: dict[str, Any], logger: Logger) -> None:
    """A line a metric."""
    for key, value in metrics.items():
        if key == "classes":
            for label, row in value.items():
                logger.info(
                    "%s: %d of %d found, %d wrong events", label, row["found"], row["gestures"], row["wrong_events"]
                )
        elif key == "confused":
            for gesture, event, times in value:
                logger.info("%s taken for %s: %d", gesture, event, times)
        elif value is None:
            logger.info("%s: not known", key)
        else:
            logger.info(f"{key}: %{'d' if isinstance(value, int) else '.4f'}", value)


def stream_protocol(video: WatchedVideo) -> dict[str, Any]:
    """A video as JSON holds it."""
    events = [{**event._asdict(), "decided": decided} for event, decided in zip(video.events, video.decided)]
    gestures = [{"start": span.start, "end": span.end, "label": span.label} for span in video.gestures]
    pairs = [list(pair) for pair in video.pairs]
    return {"video": video.name, "seconds": video.seconds, "gestures": gestures, "events": events, "matched": pairs}


def scores_bytes(categories: list[str], videos: list[ScoredVideo]) -> bytes:
    """An .npz file: ``categories`` [C]; for each video ``VIDEO/times`` [N] and ``VIDEO/logits`` [N, C]."""
    arrays = {"categories": np.array(categories)}
    for video in videos:
        arrays[f"{video.name}/times"], arrays[f"{video.name}/logits"] = video.times, video.logits
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
