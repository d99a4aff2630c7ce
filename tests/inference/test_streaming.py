"""Frame by frame: the same scores as the clip's, and gestures out of probabilities by the stated rules."""

from __future__ import annotations

import numpy as np
import pytest

from model_utils.config import load_config
from model_utils.errors import InputError
from src.data.video import open_source
from src.evaluation.scoring import ClipScorer
from src.inference import explain, streaming
from src.inference.streaming import EventDetector, EventRules, Recognizer, build_detector, stream
from src.shipping.parts import network_parts
from src.transforms import cut_crops
from tests.helpers.colours import (
    NAMES,
    changing_frames,
    colour_network,
    coloured,
    ordering_network,
    write_folder,
    write_video,
)
from tests.helpers.containers import set_intervals
from tests.helpers.networks import SIDE


def clip_score(network, frames):
    return ClipScorer(network, test_crops=1)(cut_crops(frames, SIDE, 1)[None], np.zeros(1))[0]


@pytest.mark.parametrize("consensus_type", ["TRNmultiscale", "TRN", "avg"])
def test_scores_are_those_of_the_last_frames_as_a_clip(consensus_type):
    network = ordering_network(consensus_type)
    frames = changing_frames(7)
    recognizer = Recognizer(network_parts(network), SIDE)
    scores = [recognizer.push(frame) for frame in frames]
    assert scores[:2] == [None, None]
    for last in range(2, 7):
        expected = clip_score(network, frames[last - 2 : last + 1])
        np.testing.assert_allclose(scores[last], expected, rtol=0, atol=1e-5)
    assert np.ptp(scores[2:], axis=0).min() > 0.05


def test_a_network_in_training_mode_is_put_into_evaluation_mode():
    network = ordering_network().set_train(True)
    Recognizer(network_parts(network), SIDE)
    assert not any(cell.training for _, cell in network.cells_and_names())


@pytest.mark.slow
def test_compiled(compiled):
    network = ordering_network()
    frames = changing_frames(4)
    recognizer = Recognizer(network_parts(network), SIDE)
    scores = [recognizer.push(frame) for frame in frames]
    np.testing.assert_allclose(scores[2], clip_score(network, frames[:3]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(scores[3], clip_score(network, frames[1:]), rtol=0, atol=1e-5)
    explained = explain.scores(explain.explain_frames(network, frames[1:], SIDE))
    np.testing.assert_allclose(explained, scores[3], rtol=0, atol=1e-5)


def test_each_frame_passes_the_backbone_once():
    network = ordering_network()
    recognizer = Recognizer(network_parts(network), SIDE)
    seen = []
    construct = network.base_model.construct
    network.base_model.construct = lambda frames: seen.append(len(frames)) or construct(frames)
    for frame in changing_frames(6):
        recognizer.push(frame)
    assert seen == [1] * 6
    assert len(recognizer.features) == 3


def taken(recognizer, times):
    """At which of these times a frame goes in."""
    found, push = [], recognizer.frame_features
    recognizer.frame_features = lambda frames: found.append(now) or push(frames)
    for now in times:
        recognizer.push(coloured("Red", 1)[0], now)
    recognizer.frame_features = push
    return found


@pytest.mark.parametrize("rate", [30, 7])
def test_frames_go_in_at_the_pace_of_the_window(rate):
    """Three in a second, so 15 in 5 s, evenly; of 7 a second that is every second or third."""
    times = taken(Recognizer(network_parts(colour_network()), SIDE, window=1.0), np.arange(5 * rate) / rate)
    assert len(times) == 15
    np.testing.assert_allclose(times, np.arange(15) / 3, atol=1 / rate)


def test_every_frame_of_a_slow_source_goes_in():
    recognizer = Recognizer(network_parts(colour_network()), SIDE, window=1.0)
    scores = [recognizer.push(frame, 2.0 * second) for second, frame in enumerate(coloured("Red", 5))]
    assert [score is None for score in scores] == [True, True, False, False, False]


def test_after_a_gap_frames_are_not_caught_up_on():
    """Ten frames a second with nine missing seconds."""
    times = np.array([*range(10), *range(100, 110)]) / 10
    assert taken(Recognizer(network_parts(colour_network()), SIDE, window=1.0), times) == [0, 0.4, 0.7, 10, 10.4, 10.7]


# -------------------------------------------------------------------------------------------------------- gestures


RULES = {"on": 0.6, "off": 0.4, "share": 0.0, "least": 1.0, "early": 2.0}


def run_detector(*scorings, **rules):
    """(time, start, end, label) of what is reported for scorings that come every half second.

    A scoring is the probability of "Red", or those of "Blue" and "Red"; the rest is "No gesture".
    """
    detector = EventDetector(NAMES, EventRules(**{**RULES, **rules}))
    found = []
    for number, scoring in enumerate(scorings):
        blue, red = scoring if isinstance(scoring, tuple) else (0.0, scoring)
        for gesture in detector.update(number / 2, np.array([blue, 0, red, 1 - blue - red])):
            found.append((number / 2, gesture.start, gesture.end, gesture.label))
    return found, detector


def test_a_gesture_is_reported_at_enough_evidence_and_ends_below_the_lower_threshold():
    # 0.6 / 2 + 0.8 / 2 + 1 / 2 + 1 / 2 = 1.7 seconds of evidence, with the next scoring 2.2.
    found, _ = run_detector(0.1, 0.6, 0.8, 1.0, 1.0, 1.0, 0.4, 0.39, 0.5)
    assert found == [(2.5, 0.5, None, "Red"), (3.5, 0.5, 3.5, "Red")]


def test_a_short_gesture_is_reported_when_it_ends():
    found, _ = run_detector(0.0, 0.8, 0.8, 0.5, 0.0)  # 1.05 seconds
    assert found == [(2.0, 0.5, None, "Red"), (2.0, 0.5, 2.0, "Red")]


def test_what_gathers_too_little_is_no_gesture():
    found, detector = run_detector(0.0, 0.8, 0.8, 0.3, 0.8, 0.8)  # twice 0.8 seconds
    assert found == []
    assert detector.finish(9.0) == []


def test_what_never_reaches_the_upper_threshold_is_no_gesture():
    assert run_detector(*[0.59] * 20)[0] == []


def test_the_same_gesture_twice():
    found, _ = run_detector(0, 1, 1, 1, 0, 1, 1, 1, 0)
    assert [row[1:] for row in found if row[2]] == [(0.5, 2.0, "Red"), (2.5, 4.0, "Red")]


def test_one_gesture_whose_probability_wavers():
    found, _ = run_detector(0.7, *[0.41, 0.59] * 10)
    assert [row[1:3] for row in found] == [(0.0, None)]


def test_the_class_with_the_most_evidence_names_the_gesture():
    # Red is ahead at first, Blue in the end: 0.45 + 0.45 against 0.4 + 0.4 + 0.4 seconds.
    found, _ = run_detector((0.1, 0.9), (0.1, 0.9), (0.8, 0.1), (0.8, 0.1), (0.8, 0.1), 0, early=9.0)
    assert found == [(2.5, 0.0, None, "Blue"), (2.5, 0.0, 2.5, "Blue")]
    # Two classes that share the probability are a gesture as well.
    found, _ = run_detector((0.4, 0.5), (0.4, 0.5), (0.4, 0.5), (0.4, 0.5), (0.4, 0.5), 0)
    assert [row[3] for row in found] == ["Red", "Red"]


def test_a_gesture_that_shares_the_stretch_with_others_is_none():
    scorings = [(0.5, 0.45)] * 6 + [0]
    assert [row[3] for row in run_detector(*scorings, share=0.49)[0]] == ["Blue", "Blue"]
    assert run_detector(*scorings, share=0.51)[0] == []
    # At first Blue has half, in the end three quarters.
    found, _ = run_detector((0.5, 0.45), (0.5, 0.45), *[(1.0, 0.0)] * 4, 0, share=0.7, least=0.5, early=0.5)
    assert found[0] == (1.5, 0.0, None, "Blue")


def test_the_label_of_a_reported_gesture_is_fixed():
    found, _ = run_detector(1, 1, 1, 1, 1, *[(1.0, 0.0)] * 10, 0)
    assert [row[3] for row in found] == ["Red", "Red"]


def test_the_probability_is_the_mean_of_the_stretch():
    detector = EventDetector(NAMES, EventRules(**RULES))
    probabilities = [0.9, 0.7, 0.5, 0.8]
    for number, red in enumerate(probabilities):
        detector.update(1 + number / 2, np.array([0.1, 0, red, 0.9 - red]))
    (started, ended) = detector.finish(3.0)
    weights = [0.375, 0.5, 0.5, 0.5]  # the first scoring stands for the default interval
    assert ended.probability == pytest.approx(np.average(probabilities, weights=weights))
    assert (started.end, ended.end) == (None, 3.0)


def test_a_gap_between_scorings_is_no_evidence():
    detector = EventDetector(NAMES, EventRules(**RULES))
    assert detector.update(0.0, np.array([0, 0, 1.0, 0])) == []
    assert detector.update(60.0, np.array([0, 0, 1.0, 0])) == []  # 0.375 + 0.75 seconds


def test_background_is_no_gesture():
    detector = EventDetector([*NAMES, "Nothing"], EventRules(**RULES), background=("No gesture", "Nothing"))
    for label in (3, 4):
        for second in range(9):
            assert detector.update(9 * label + second, np.eye(5)[label]) == []
    assert detector.best == ("Nothing", 1.0)


def test_reset_forgets_the_gesture():
    _, detector = run_detector(1, 1, 1, 1, 1)
    assert detector.current.label == "Red"
    detector.reset()
    assert (detector.current, detector.best, detector.finish(9.0)) == (None, None, [])
    assert detector.update(0.0, np.array([0, 0, 1.0, 0])) == []


@pytest.mark.parametrize(
    "rules", [{"on": 0.3}, {"on": 1.0}, {"off": 0.0}, {"share": 1.0}, {"share": -0.1}, {"least": 0.0}, {"least": 2.5}]
)
def test_thresholds_that_make_no_sense(rules):
    with pytest.raises(ValueError, match="expected 0 <"):
        EventRules(**{**RULES, **rules})


def test_detector_of_a_config():
    options = ["--event_on", "0.7", "--event_off", "0.2", "--event_share", "0.3"]
    options += ["--event_least", "0.5", "--event_early", "1.5"]
    config = load_config([*options, "--background_class", "Blue"])
    detector = build_detector(config, NAMES)
    assert detector.rules == EventRules(on=0.7, off=0.2, share=0.3, least=0.5, early=1.5)
    assert detector.is_gesture.tolist() == [False, True, True, False]
    assert build_detector(load_config([]), NAMES).rules == EventRules()
    with pytest.raises(InputError, match="event thresholds: on 0.1, off 0.5: expected 0 < off <= on < 1"):
        build_detector(load_config(["--event_on", "0.1"]), NAMES)


# --------------------------------------------------------------------------------------------------------- streams


class Clock:
    """Time that passes only by sleeping and by ``work`` seconds a frame."""

    def __init__(self, work):
        self.now, self.work, self.slept = 0.0, work, 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.slept += seconds


@pytest.mark.parametrize(("work", "looked_at"), [(0.0, 24), (0.2, 10)])
def test_realtime_waits_for_its_frames_and_not_for_itself(tmp_path, monkeypatch, work, looked_at):
    """24 frames at 12 a second take 2 s; if looking takes 0.2 s, there is time for 10 of them."""
    clock = Clock(work)
    monkeypatch.setattr(streaming, "time", clock)
    source = open_source(str(write_folder(tmp_path / "clip", coloured("Red", 24))))
    recognizer = Recognizer(network_parts(colour_network()), SIDE, window=0.1)
    pushed = []
    push = recognizer.push

    def slow_push(frame, seconds):
        clock.now += work
        pushed.append(seconds)
        return push(frame, seconds)

    recognizer.push = slow_push
    moments = list(stream(recognizer, EventDetector(NAMES), source, realtime=True))
    assert [moment.seconds for moment in moments] == pytest.approx(np.arange(24) / 12)
    assert len(pushed) == pytest.approx(looked_at, abs=2)
    assert clock.now == pytest.approx(2.0, abs=0.3)
    assert (clock.slept > 1) == (work == 0)
    clock.slept = 0.0
    assert len(list(stream(recognizer, EventDetector(NAMES), source, realtime=False))) == 24
    assert clock.slept == 0.0
    assert len(pushed) == pytest.approx(looked_at + 24, abs=2)


def test_frames_of_a_file_have_their_own_times(tmp_path):
    """A frame each 0.1 s for 1 s, then one each 2 s: the later ones all go in, of the others every third or fourth."""
    path = set_intervals(write_video(tmp_path / "v.mp4", coloured("Red", 15), 10), [0.1] * 10 + [2.0] * 5)
    recognizer = Recognizer(network_parts(colour_network()), SIDE, window=1.0)
    seen = []
    push = recognizer.frame_features
    recognizer.frame_features = lambda frames: seen.append(frames) or push(frames)
    moments = []
    for moment in stream(recognizer, EventDetector(NAMES), open_source(str(path)), realtime=False):
        moments.append((moment.seconds, len(seen)))
    times = [0.1 * i for i in range(10)] + [1.0, 3.0, 5.0, 7.0, 9.0]
    assert [seconds for seconds, _ in moments] == pytest.approx(times, abs=1e-3)
    assert np.flatnonzero(np.diff([0, *(count for _, count in moments)])).tolist() == [0, 4, 7, 10, 11, 12, 13, 14]


def test_times_that_are_due_but_for_rounding_go_in():
    """0.1 · 3 is less than 0.3 in binary, and so are other sums: three a second of ten are these all the same."""
    recognizer = Recognizer(network_parts(colour_network()), SIDE, window=0.9)  # due every 0.3 s
    assert taken(recognizer, [i / 10 for i in range(120)]) == [i / 10 for i in range(0, 120, 3)]
    recognizer.reset()
    assert taken(recognizer, [0.0, 0.297, 0.299]) == [0.0, 0.299]  # more than milliseconds round is too early


def test_times_of_milliseconds_take_the_same_frames():
    """A container that rounds to milliseconds gives 12 frames a second a mean interval a little below 1/12 s."""
    for interval in (1 / 12, 1 / 12 - 3e-5):
        times = taken(
            Recognizer(network_parts(colour_network()), SIDE, window=1.125), np.arange(40) * interval
        )  # one every 0.375 s
        assert np.rint(np.array(times) / interval).tolist() == [0, 5, 9, 14, 18, 23, 27, 32, 36]


def test_a_frame_that_is_a_little_late_does_not_delay_those_after_it():
    """Three frames are due in the default of three seconds: what comes at 1.9 is taken for 1, so the next is due at 2.

    What comes at 4.5 is late by more than an interval, so the next is due at 5.5.
    """
    times = [0.0, 0.9, 1.9, 2.1, 2.9, 4.5, 5.4, 5.6, 6.0]
    assert taken(Recognizer(network_parts(colour_network()), SIDE), times) == [0.0, 1.9, 2.1, 4.5, 5.6]


@pytest.mark.parametrize("window", [1e308, 1e-308])
def test_windows_of_any_length(window):
    recognizer = Recognizer(network_parts(colour_network()), SIDE, window=window)
    scores = [recognizer.push(frame, i / 10) for i, frame in enumerate(coloured("Red", 9))]
    assert [score is None for score in scores] == ([True] * 9 if window > 1 else [True] * 2 + [False] * 7)


class Film:
    """Frames with times of their own, and a name."""

    name = "film"

    def __init__(self, times, duration, num_frames):
        self.times, self.duration, self.num_frames = times, duration, num_frames

    def frames(self, wanted=None):
        yield from enumerate(coloured("Red", 6))


def test_in_real_time_a_frame_is_late_once_the_next_is_due(monkeypatch):
    """Frames at 0, 1, 2, 3, 3.5, 5 and the end at 6 s; looking at the second takes 2.2 s, at the others nothing."""
    clock = Clock(0)
    monkeypatch.setattr(streaming, "time", clock)
    times = []
    for seconds, _, late in streaming._timed(Film(np.array([0, 1, 2, 3, 3.5, 5]), 6.0, 6), realtime=True):
        times.append((seconds, clock.now, late))
        clock.now += 2.2 if seconds == 1 else 0
    # At 3.2 s the third is late by more than its second, the fourth is still to be seen.
    assert times == pytest.approx(
        np.array([(0, 0, 0), (1, 1, 0), (2, 3.2, 1), (3, 3.2, 0), (3.5, 3.5, 0), (5, 5, 0)]), abs=1e-9
    )


def test_the_last_frame_is_late_once_the_film_has_ended(monkeypatch):
    for passed, expected in ((5.9, False), (6.1, True)):
        clock = Clock(0)
        monkeypatch.setattr(streaming, "time", clock)
        found = []
        for seconds, _, late in streaming._timed(Film(np.array([0, 1, 2, 3, 3.5, 5]), 6.0, 6), realtime=True):
            found.append(late)
            clock.now = passed if seconds == 3.5 else clock.now
        assert found == [False] * 5 + [expected]


def test_frames_of_a_camera_have_the_time_they_come_at(monkeypatch):
    """The clock is at 100 s when the stream starts; a camera does not wait and is never late, whatever is asked for."""
    clock = Clock(0)
    clock.now = 100.0
    monkeypatch.setattr(streaming, "time", clock)
    found = []
    for seconds, _, late in streaming._timed(Film(None, None, None), realtime=True):
        found.append((seconds, late))
        clock.now += 0.75
    assert found == [(0.75 * i, False) for i in range(6)]
    assert clock.slept == 0


def test_scores_that_are_not_finite_name_the_source_and_the_time():
    recognizer = Recognizer(network_parts(colour_network()), SIDE, window=3.0)
    recognizer.head = lambda features: np.full((1, 4), np.nan, np.float32)
    film = Film(np.arange(6.0), 6.0, 6)
    with pytest.raises(InputError, match="film: the network's scores at 2.00 s are NaN or infinite"):
        list(stream(recognizer, EventDetector(NAMES), film, realtime=False))


def test_a_stream_starts_anew():
    recognizer, detector = Recognizer(network_parts(colour_network()), SIDE, window=3.0), EventDetector(NAMES)
    film = Film(np.arange(6.0), 6.0, 6)
    for _ in range(2):
        moments = list(stream(recognizer, detector, film, realtime=False))
        assert [moment.logits is None for moment in moments] == [True, True, False, False, False, False]
        assert [moment.frame.shape for moment in moments] == [(40, 52, 3)] * 6
        (started,) = [change for moment in moments for change in moment.changes]
        assert (started.label, started.end) == ("Red", None)
