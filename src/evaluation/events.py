"""Measures of gestures recognised in streams: events against the ground truth.

An event is right if it has the label of a gesture and overlaps it, or the ``LATE`` seconds after it: a gesture is
recognised when most of it has been seen. Gestures and events are matched one to one, with the most pairs, and among
equal numbers of pairs with the nearest starts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from src.data.video import Span

LATE = 1.5  # seconds


@dataclass(frozen=True)
class WatchedVideo:
    """A video, its gestures and the events recognised in it, each list in order of start."""

    name: str
    seconds: float
    gestures: list[Span]
    events: list[Span]
    decided: list[float]  # when each event was first reported

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return match_events(self.gestures, self.events)


def match_events(gestures: list[Span], events: list[Span]) -> list[tuple[int, int]]:
    """The pairs (gesture, event), both as indices, in order of the gestures."""
    if not gestures or not events:
        return []
    # Imported here because it takes half a second.
    from scipy.optimize import linear_sum_assignment

    allowed = np.array([[is_right(event, gesture) for event in events] for gesture in gestures])
    distances = np.array([[abs(event.start - gesture.start) for event in events] for gesture in gestures])
    # All distances together weigh less than one pair.
    gain = allowed * (1 - distances / (1 + distances.sum()))
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(row, column) for row, column in zip(rows.tolist(), columns.tolist()) if allowed[row, column]]


def is_right(event: Span, gesture: Span) -> bool:
    """Whether the event names the gesture at its time."""
    return event.label == gesture.label and event.start < gesture.ended_at + LATE and event.ended_at > gesture.start


def levenshtein(first: list[str], second: list[str]) -> int:
    """The fewest labels to insert, delete or replace that make one sequence the other."""
    row = list(range(len(second) + 1))
    for i, one in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(second, 1):
            diagonal, row[j] = row[j], min(diagonal + (one != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def measure_events(videos: list[WatchedVideo]) -> dict[str, Any]:
    """The measures over all videos. A measure without data, such as the recall without gestures, is None.

    Keys:
        videos, gestures, events, matched: numbers.
        precision, recall, f1: of events and gestures.
        levenshtein_accuracy: 1 - edits / gestures, over the sequences of labels; below 0 with many wrong events.
        false_alarms_per_minute: events in the videos without gestures.
        minutes_without_gestures: length of these videos.
        median_start_delay, median_end_delay: seconds from a gesture's start or end to that of its event.
        median_decision_delay: seconds from a gesture's end until its event is reported; below 0 before the end.
        classes: {label: {"gestures", "found", "wrong_events"}}.
        confused: [[gesture, event, times]], the label of a missed gesture and of the wrong event during it.
    """
    pairs = [(video, *pair) for video in videos for pair in video.pairs]
    gestures = sum(len(video.gestures) for video in videos)
    events = sum(len(video.events) for video in videos)
    edits = sum(levenshtein(_labels(video.gestures), _labels(video.events)) for video in videos)
    still = [video for video in videos if not video.gestures]
    minutes = sum(video.seconds for video in still) / 60
    return {
        "videos": len(videos),
        "gestures": gestures,
        "events": events,
        "matched": len(pairs),
        "precision": _ratio(len(pairs), events),
        "recall": _ratio(len(pairs), gestures),
        "f1": _ratio(2 * len(pairs), gestures + events),
        "levenshtein_accuracy": 1 - edits / gestures if gestures else None,
        "false_alarms_per_minute": _ratio(sum(len(video.events) for video in still), minutes),
        "minutes_without_gestures": minutes,
        "median_start_delay": _median(video.events[e].start - video.gestures[g].start for video, g, e in pairs),
        "median_end_delay": _median(video.events[e].ended_at - video.gestures[g].ended_at for video, g, e in pairs),
        "median_decision_delay": _median(video.decided[e] - video.gestures[g].ended_at for video, g, e in pairs),
        "classes": _classes(videos),
        "confused": [[*names, times] for names, times in Counter(_confused(videos)).most_common()],
    }


def _labels(spans: list[Span]) -> list[str]:
    return [span.label for span in spans]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _median(values: Any) -> float | None:
    values = list(values)
    return median(values) if values else None


def _classes(videos: list[WatchedVideo]) -> dict[str, dict[str, int]]:
    gestures = Counter(label for video in videos for label in _labels(video.gestures))
    found = Counter(video.gestures[g].label for video in videos for g, _ in video.pairs)
    events = Counter(label for video in videos for label in _labels(video.events))
    return {
        label: {"gestures": gestures[label], "found": found[label], "wrong_events": events[label] - found[label]}
        for label in sorted(gestures | events)
    }


def _confused(videos: list[WatchedVideo]) -> list[tuple[str, str]]:
    """Labels (gesture, event) of each wrong event and the missed gesture that it overlaps most, if there is one."""
    confused = []
    for video in videos:
        pairs = video.pairs
        missed = [g for i, g in enumerate(video.gestures) if i not in {g for g, _ in pairs}]
        wrong = [event for i, event in enumerate(video.events) if i not in {e for _, e in pairs}]
        for event in wrong:
            shared = [
                min(event.ended_at, gesture.ended_at + LATE) - max(event.start, gesture.start) for gesture in missed
            ]
            if shared and max(shared) > 0:
                confused.append((missed[int(np.argmax(shared))].label, event.label))
    return confused
