"""The evaluation of recognition in streams: each video watched, and what was found as log lines, JSON and arrays."""

from __future__ import annotations

import io
from logging import Logger
from pathlib import Path
from typing import Any

import numpy as np

from model_utils.errors import InputError
from model_utils.progress import progress
from src.data.video import Recording, Span, VideoFile
from src.evaluation.events import WatchedVideo
from src.inference.streaming import EventDetector, Recognizer, stream

SOUND_LONGER = 1.0  # seconds, of annotations: a sound track may be longer than the pictures


def watch_all(
    paths: dict[str, str],
    truth: dict[str, list[Span]],
    recognizer: Recognizer,
    detector: EventDetector,
    logger: Logger,
) -> tuple[list[WatchedVideo], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """All videos watched; and of each its scores, as (times [N], logits [N, C])."""
    watched, scores = [], {}
    sources = {name: VideoFile(Path(path)) for name, path in paths.items()}
    for name, source in sources.items():  # before hours of work
        check_gestures(source, truth[name])
    with progress("Streams", len(paths), "video") as advance:
        for name, source in sources.items():
            video, scores[name] = watch(name, source, truth[name], recognizer, detector)
            watched.append(video)
            right = len(video.pairs)
            logger.info("%s: %d gestures, %d events, %d right", name, len(video.gestures), len(video.events), right)
            advance(1)
    return watched, scores


def watch(
    name: str, source: Recording, gestures: list[Span], recognizer: Recognizer, detector: EventDetector
) -> tuple[WatchedVideo, tuple[np.ndarray, np.ndarray]]:
    """One video: what happens in it, and its scores."""
    seconds = source.duration
    times, logits, log = [], [], EventLog()
    for moment in stream(recognizer, detector, source, realtime=False):
        if moment.logits is not None:
            times.append(moment.seconds)
            logits.append(moment.logits)
        log.add(moment.seconds, moment.changes)
    log.add(seconds, detector.finish(seconds))
    scores = np.array(times), np.array(logits, np.float32).reshape(len(times), len(detector.categories))
    return log.video(name, seconds, gestures), scores


def check_gestures(source: Recording, gestures: list[Span]) -> None:
    """Raises InputError for a gesture that starts after the video's end, or ends more than SOUND_LONGER after it."""
    for start, end, label, _ in gestures:
        if start >= source.duration or end is None or end > source.duration + SOUND_LONGER:
            gesture = f"{label} from {start:g} s to {end:g} s in the truth"
            raise InputError(
                f"{source.name}: {gesture}, but the video ends at {source.duration:g} s; are these seconds?"
            )


class EventLog:
    """Collects what a detector reports about a video."""

    def __init__(self) -> None:
        self.ended: list[Span] = []
        self.decided: dict[tuple[float, str], float] = {}

    def add(self, seconds: float, changes: list[Span]) -> None:
        """Takes what the detector has reported at a time."""
        for change in changes:
            self.decided.setdefault((change.start, change.label), seconds)
        self.ended += [change for change in changes if change.end is not None]

    def video(self, name: str, seconds: float, gestures: list[Span]) -> WatchedVideo:
        """The events, and the gestures in the same video."""
        events = sorted(self.ended)
        return WatchedVideo(name, seconds, gestures, events, [self.decided[e.start, e.label] for e in events])


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


def scores_bytes(categories: list[str], scores: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """An .npz file: ``categories`` [C]; for each video ``VIDEO/times`` [N] and ``VIDEO/logits`` [N, C]."""
    arrays = {"categories": np.array(categories)}
    for name, (times, logits) in scores.items():
        arrays[f"{name}/times"], arrays[f"{name}/logits"] = times, logits
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
