"""Events against gestures: cases worked out by hand, and small random ones against all ways to pair them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from src.data.video import Span
from src.evaluation.events import WatchedVideo, levenshtein, match_events, measure_events


def spans(*rows):
    return [Span(start, end, label, 1.0) for start, end, label in rows]


def watched(gestures, events, seconds=60.0, decided=None):
    return WatchedVideo("one.mp4", seconds, gestures, events, decided or [event.end for event in events])


TWICE = spans((0, 2, "A"), (4, 6, "A"))


@pytest.mark.parametrize(
    ("gestures", "events", "pairs"),
    [
        pytest.param(TWICE, spans((1, 2, "A"), (5, 6, "A")), [(0, 0), (1, 1)], id="the same gesture twice"),
        pytest.param(TWICE, spans((1, 6, "A")), [(0, 0)], id="one event over both: the nearer start"),
        pytest.param(TWICE, spans((3, 6, "A")), [(1, 0)], id="one event that is nearer to the second"),
        pytest.param(TWICE, spans((0, 1, "A"), (1, 2, "A")), [(0, 0)], id="two events in one gesture"),
        pytest.param(
            TWICE,
            spans((0, 5, "A"), (0.5, 0.9, "A")),
            [(0, 1), (1, 0)],
            id="the first event leaves the gesture to the second",
        ),
        pytest.param(spans((0, 2, "A")), spans((0, 2, "B")), [], id="another label in the right place"),
        pytest.param(
            spans((0, 2, "A"), (2, 4, "B")),
            spans((0, 4, "B")),
            [(1, 0)],
            id="an event over two gestures, one of them its own",
        ),
        pytest.param(
            spans((0, 3, "A"), (2, 5, "B")),
            spans((1, 3, "B"), (2.5, 5, "A")),
            [(0, 1), (1, 0)],
            id="gestures that overlap",
        ),
        pytest.param(spans((0, 2, "A")), spans((3.49, 4, "A")), [(0, 0)], id="late, but not too late"),
        pytest.param(spans((0, 2, "A")), spans((3.5, 4, "A")), [], id="too late"),
        pytest.param(spans((3, 5, "A")), spans((1, 3, "A")), [], id="over before the gesture starts"),
        pytest.param(spans((3, 5, "A")), spans((1, 3.01, "A")), [(0, 0)], id="still there when it starts"),
        pytest.param([], spans((0, 1, "A")), [], id="no gestures"),
        pytest.param(TWICE, [], [], id="no events"),
    ],
)
def test_match_events(gestures, events, pairs):
    assert match_events(gestures, events) == pairs


def test_matching_is_as_large_and_then_as_near_as_can_be():
    """Against every way to give each gesture an event or none, on random crowded seconds."""
    rng = np.random.default_rng(0)
    sizes = set()
    for _ in range(150):
        gestures, events = (
            spans(*((start, start + rng.uniform(0.2, 3), "AB"[rng.integers(2)]) for start in rng.uniform(0, 6, 4)))
            for _ in range(2)
        )

        def worth(pairs, gestures=gestures, events=events):
            right = [
                abs(events[e].start - gestures[g].start)
                for g, e in pairs
                if events[e].label == gestures[g].label
                and events[e].start < gestures[g].end + 1.5
                and events[e].end > gestures[g].start
            ]
            return len(right), -sum(right)

        # A pair that is not right counts as none, so permutations are all ways there are.
        best = max(worth(list(enumerate(order))) for order in permutations(range(4)))
        found = worth(match_events(gestures, events))
        assert found == pytest.approx(best)
        sizes.add(best[0])
    assert sizes >= {1, 2, 3, 4}


def test_one_of_each_mistake():
    gestures = spans((0, 2, "A"), (4, 6, "A"), (8, 10, "B"), (12, 14, "C"))
    events = spans(
        (1, 3, "A"), (9.5, 10.5, "A"), (13, 15, "C"), (20, 21, "C")
    )  # a missed A, a B taken for A, a false C
    still = watched([], spans((5, 6, "B")), seconds=90.0)
    metrics = measure_events([watched(gestures, events, decided=[2.5, 10.5, 14.0, 20.5]), still])
    expected = {
        "videos": 2,
        "gestures": 4,
        "events": 5,
        "matched": 2,
        "precision": 2 / 5,
        "recall": 2 / 4,
        "f1": 4 / 9,
        "levenshtein_accuracy": 1 - 2 / 4,  # A A B C, seen as A A C C: one replaced; in the other video one inserted
        "false_alarms_per_minute": 1 / 1.5,
        "minutes_without_gestures": 1.5,
        "median_start_delay": 1.0,
        "median_end_delay": 1.0,
        "median_decision_delay": 0.25,
    }
    assert {key: metrics[key] for key in expected} == pytest.approx(expected)
    assert metrics["classes"] == {
        "A": {"gestures": 2, "found": 1, "wrong_events": 1},
        "B": {"gestures": 1, "found": 0, "wrong_events": 1},
        "C": {"gestures": 1, "found": 1, "wrong_events": 1},
    }
    assert metrics["confused"] == [["B", "A", 1]]


@pytest.mark.parametrize(
    ("gestures", "event", "confused"),
    [
        pytest.param([(0, 2, "A")], (3.4, 4, "B"), [["A", "B", 1]], id="late, but not too late"),
        pytest.param([(0, 2, "A")], (3.5, 4, "B"), [], id="too late"),
        pytest.param([(3, 5, "A")], (1, 3, "B"), [], id="over before the gesture starts"),
        pytest.param([(0, 2, "A"), (4, 8, "C")], (2, 7, "B"), [["C", "B", 1]], id="the gesture it overlaps most"),
        pytest.param([(0, 2, "A"), (0, 2, "B")], (0, 2, "B"), [], id="a right event"),
    ],
)
def test_what_a_missed_gesture_is_taken_for(gestures, event, confused):
    assert measure_events([watched(spans(*gestures), spans(event))])["confused"] == confused


def test_nothing_recognised_and_nothing_to_recognise():
    metrics = measure_events([watched(TWICE, [])])
    assert (metrics["precision"], metrics["recall"], metrics["f1"], metrics["levenshtein_accuracy"]) == (None, 0, 0, 0)
    assert (metrics["false_alarms_per_minute"], metrics["median_start_delay"]) == (None, None)
    metrics = measure_events([watched([], [])])
    assert (metrics["precision"], metrics["recall"], metrics["f1"], metrics["levenshtein_accuracy"]) == (None,) * 4
    assert metrics["false_alarms_per_minute"] == 0
    assert measure_events([])["false_alarms_per_minute"] is None


def test_many_wrong_events_make_the_accuracy_negative():
    assert measure_events([watched(TWICE, spans(*((i, i + 1, "B") for i in range(6))))])["levenshtein_accuracy"] == -2


def edits(first, second):
    """By its definition."""
    if not first or not second:
        return len(first) + len(second)
    return min(
        edits(first[1:], second[1:]) + (first[0] != second[0]),
        edits(first[1:], second) + 1,
        edits(first, second[1:]) + 1,
    )


def test_levenshtein():
    assert levenshtein(list("kitten"), list("sitting")) == 3
    rng = np.random.default_rng(1)
    for _ in range(60):
        first, second = ("".join(rng.choice(list("abc"), rng.integers(6))) for _ in range(2))
        assert levenshtein(list(first), list(second)) == edits(first, second)
