"""Chooses the thresholds of events in streams that give the fewest edits between gestures and events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace

from src.evaluation.events import WatchedVideo, levenshtein
from src.inference.stream_eval import ScoredVideo, replayed
from src.inference.streaming import EventDetector, EventRules

CHOICES = {
    "on": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "off": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "share": (0.2, 0.3, 0.35, 0.4, 0.46, 0.5, 0.55, 0.6, 0.65, 0.7),
    "least": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0),
    "early": (0.5, 0.6, 0.75, 0.9, 1.05, 1.2, 1.5, 2.0),
}
ROUNDS = 3  # of choosing each threshold in turn


def watched(recordings: Iterable[ScoredVideo], detector: EventDetector, rules: EventRules) -> list[WatchedVideo]:
    """The events in each video with these thresholds."""
    other = EventDetector(detector.categories, rules, detector.background)
    return [replayed(recording, other) for recording in recordings]


def edits(videos: Iterable[WatchedVideo]) -> int:
    """How many events to remove, add or rename until they equal the gestures; videos without gestures count too."""
    labels = (([g.label for g in video.gestures], [e.label for e in video.events]) for video in videos)
    return sum(levenshtein(gestures, events) for gestures, events in labels)


def choose_rules(recordings: list[ScoredVideo], detector: EventDetector) -> tuple[EventRules, int]:
    """The thresholds with the fewest edits, and the number of these edits.

    Each threshold is chosen in turn, up to three times, beginning with the defaults. Of equally good values the middle
    one is taken: it stays good if other videos differ a little. A threshold that changes nothing stays.
    """
    rules = EventRules()
    fewest = edits(watched(recordings, detector, rules))
    for _ in range(ROUNDS):
        before = rules
        for key, values in CHOICES.items():
            candidates = list(candidates_of(rules, key, values))
            counts = [edits(watched(recordings, detector, candidate)) for candidate in candidates]
            fewest = min(counts)
            best = [candidate for candidate, count in zip(candidates, counts) if count == fewest]
            rules = rules if len(best) == len(candidates) else best[len(best) // 2]
        if rules == before:
            break
    return rules, fewest


def candidates_of(rules: EventRules, key: str, values: Iterable[float]) -> Iterator[EventRules]:
    """The rules with each of these values and the present one, where they are valid together with the others."""
    for value in sorted({asdict(rules)[key], *values}):
        try:
            yield replace(rules, **{key: value})
        except ValueError:  # off above on, least above early
            continue


def on_other_videos(recordings: list[ScoredVideo], detector: EventDetector) -> list[WatchedVideo]:
    """Each video with the thresholds that the others choose (leave-one-out): what to expect of other videos."""
    found = []
    for index, recording in enumerate(recordings):
        others = recordings[:index] + recordings[index + 1 :]
        rules, _ = choose_rules(others, detector)
        found += watched([recording], detector, rules)
    return found
