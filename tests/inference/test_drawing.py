"""The picture: what is drawn where, and that the frame itself stays as it was."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from src.data.video import Span, open_source
from src.evaluation.colours import BACKGROUND_GREY
from src.inference import drawing
from src.inference.drawing import draw_overlay, nearest, palette
from tests.helpers.colours import write_video
from tests.helpers.containers import set_intervals

CATEGORIES = ["Swiping Left", "Turning Hand Counterclockwise", "No gesture", "Рука вверх"]
COLOURS = palette(CATEGORIES)


def frame_of(height=240, width=320, level=130):
    return np.full((height, width, 3), level, np.uint8)


def columns_of(picture, row, colour):
    return np.flatnonzero((picture[row] == colour).all(-1))


def test_the_frame_itself_is_left_alone():
    frame = frame_of()
    picture = draw_overlay(frame, ("Swiping Left", 0.5), [], 0.0, (0.0, 1.0), COLOURS)
    assert np.all(frame == 130)
    assert picture.shape == frame.shape
    assert np.all(picture[60:220] == 130)
    assert not np.shares_memory(picture, frame)


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_the_bar_is_as_long_as_the_label_is_probable(probability):
    picture = draw_overlay(frame_of(), ("Swiping Left", probability), [], 0.0, (0.0, 1.0), COLOURS)
    rows = [[len(columns_of(picture, y, c)) for c in (COLOURS["Swiping Left"], BACKGROUND_GREY)] for y in range(60)]
    filled, rest = max(rows, key=sum)
    assert filled + rest > 290
    assert filled == pytest.approx(probability * (filled + rest), abs=1)
    y = max(range(60), key=lambda y: sum(rows[y]))
    grey = columns_of(picture, y, BACKGROUND_GREY)
    if 0 < probability < 1:
        assert columns_of(picture, y, COLOURS["Swiping Left"]).max() + 1 == grey.min()  # from the left


def test_label_and_percentage_are_those_given():
    picture = draw_overlay(frame_of(), ("Swiping Left", 0.426), [], 0.0, (0.0, 1.0), COLOURS)
    dark = int(130 * 0.35)

    def shows(text, x, y):
        mask = drawing._letters(text, 18)  # 0.075 of the shorter side, 240
        area = picture[y : y + mask.shape[0], x : x + mask.shape[1], 0].astype(float)
        return np.abs(area - (dark + (255 - dark) * (mask / 255.0))).max() < 2

    assert shows("Swiping Left", 6, 6)
    assert shows("43%", 320 - 6 - drawing._letters("43%", 18).shape[1], 6)
    assert not shows("Swiping Lest", 6, 6)


def test_with_nothing_known_there_is_no_bar():
    picture = draw_overlay(frame_of(), None, [], 0.0, (0.0, 1.0), COLOURS)
    assert np.all(picture[:30] == int(130 * 0.35))


@pytest.mark.parametrize("label", ["Say $x_{$", "W" * 5000, "two\nlines", "up 👍🏽", "تحريك", "\udcff"])
def test_any_name_can_be_drawn(label):
    for size in ((24, 24), (100, 176), (1080, 1920)):
        picture = draw_overlay(frame_of(*size), (label, 0.5), [], 0.0, (0.0, 1.0), palette([label]))
        assert picture.shape[:2] == size


def test_the_timeline_shows_spans_and_where_it_is():
    spans = [Span(2.0, 4.0, "Swiping Left", 0.9), Span(6.0, None, "No gesture", 0.8)]
    picture = draw_overlay(frame_of(), None, spans, 8.0, (0.0, 10.0), COLOURS)
    left = columns_of(picture, -1, COLOURS["Swiping Left"])
    still = columns_of(picture, -1, COLOURS["No gesture"])
    cursor = columns_of(picture, -1, drawing.WHITE)
    assert (left.min(), left.max()) == (64, 128)
    assert (still.min(), still.max()) == (192, 255)  # not over: until now
    assert cursor.min() == 256


@pytest.mark.parametrize("label", CATEGORIES)
@pytest.mark.parametrize("size", [(100, 120), (1080, 1920)])
def test_a_label_is_written_whole_and_does_not_run_into_the_percentage(size, label):
    """Letters are lighter than the darkened band behind them, and spaces are narrower than what is in between."""
    picture = draw_overlay(frame_of(*size), (label, 1.0), [], 0.0, (0.0, 1.0), COLOURS)
    band = picture[: round(0.1 * min(size))]
    written = np.flatnonzero((band > 100).any((0, 2)))
    gap = np.argmax(np.diff(written))
    assert np.diff(written)[gap] >= max(2, size[0] // 100)
    percentage = written[gap + 1 :]
    assert size[1] * 0.75 < percentage[0] < percentage[-1] < size[1]
    alone = drawing._letters(*drawing._fitting(label, round(0.075 * min(size)), size[1]))
    assert (written[gap] - written[0]) / np.ptp(np.flatnonzero(alone.max(0))) > 0.4
    assert drawing._fitting(label, 20, 110)[0] == label


@pytest.mark.parametrize("size", [(30, 400), (400, 30), (24, 24)])
def test_on_a_small_frame_a_label_loses_its_end(size):
    picture = draw_overlay(frame_of(*size), ("Turning Hand Counterclockwise", 1.0), [], 0.0, (0.0, 1.0), COLOURS)
    assert picture.shape[:2] == size
    assert drawing._fitting("Turning Hand Counterclockwise", 20, 30)[0].endswith("…")


def test_letters_beyond_ascii_are_letters():
    masks = [drawing._letters(letter, 40) for letter in "Рё中"]
    assert not np.array_equal(masks[0][:, :10], masks[1][:, :10])
    assert drawing._letters("?", 40).tolist() != masks[0].tolist()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (23, 200)])
def test_on_a_tiny_frame_nothing_is_drawn(size):
    picture = draw_overlay(
        frame_of(*size), ("Swiping Left", 0.5), [Span(0, 1, "Swiping Left", 0.5)], 0.5, (0, 1), COLOURS
    )
    assert np.all(picture == 130)


def test_colours_differ_and_what_is_no_gesture_is_grey():
    names = [f"gesture {i}" for i in range(27)]
    colours = palette([*names, "No gesture", "Doing other things"])
    assert len({colours[name] for name in names}) == 27
    assert colours["No gesture"] == colours["Doing other things"] == BACKGROUND_GREY


def test_colours_are_bgr():
    assert palette(["a", "b", "c"]) == {"a": (38, 38, 217), "b": (38, 217, 38), "c": (217, 38, 38)}


class Frames:
    """Five frames, two a second."""

    name, rate, num_frames = "frames", 2.0, 5
    duration, times = 2.5, np.arange(5) / 2.0


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn on each frame: the arguments of ``draw_overlay``."""
    calls = []
    writer = SimpleNamespace(write=lambda frame: None)
    monkeypatch.setattr(drawing, "VideoWriter", lambda path, rate: nullcontext(writer))
    monkeypatch.setattr(drawing, "frames_of_one_size", lambda source: ((i, frame_of()) for i in range(5)))
    monkeypatch.setattr(drawing, "draw_overlay", lambda *arguments: calls.append(arguments[1:]))
    return calls


def test_each_frame_of_a_video_has_the_span_that_it_is_in(drawn):
    spans = [Span(0.0, 1.0, "Swiping Left", 0.9), Span(1.0, 2.5, "No gesture", 0.8)]
    drawing.write_video("a.mp4", Frames(), spans, CATEGORIES)
    assert [shown for shown, *_ in drawn] == [("Swiping Left", 0.9)] * 2 + [("No gesture", 0.8)] * 3
    assert [now for _, _, now, *_ in drawn] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert {extent for *_, extent, _ in drawn} == {(0.0, 2.5)}
    assert all(call[1] == spans and call[4] == COLOURS for call in drawn)


def test_the_timeline_of_a_camera_shows_the_last_half_minute(drawn):
    old, recent, current = Span(1.0, 9.0, "a", 0.5), Span(8.0, 11.0, "b", 0.5), Span(39.0, None, "c", 0.5)
    camera = SimpleNamespace(rate=30.0, num_frames=None, duration=None)
    with drawing.live_video("a.mp4", camera, ["a", "b", "c"]) as show:
        show(frame_of(), 40.0, ("c", 0.5), [old, recent, current])
    with drawing.live_video("a.mp4", Frames(), ["a", "b", "c"]) as show:
        show(frame_of(), 2.0, None, [])
    with drawing.live_video("", camera, ["a", "b", "c"]) as show:
        show(frame_of(), 2.0, None, [])
    assert [call[:4] for call in drawn] == [
        (("c", 0.5), [recent, current], 40.0, (10.0, 40.0)),
        (None, [], 2.0, (0.0, 2.5)),
    ]


def test_at_any_time_the_window_whose_middle_is_nearest():
    windows = [Span(0, 3, "a", 0.1), Span(1, 4, "b", 0.2), Span(2, 5, "c", 0.3), Span(2.4, 5.4, "d", 0.4)]
    spans = nearest(windows)
    for now in np.arange(0, 5.4, 0.05):
        (span,) = [span for span in spans if span.start <= now < span.end]
        distances = {w.label: abs((w.start + w.end) / 2 - now) for w in windows}
        assert distances[span.label] == pytest.approx(min(distances.values()), abs=1e-9)
    assert [span.probability for span in spans] == [0.1, 0.2, 0.3, 0.4]
    assert nearest(windows[:1]) == windows[:1]


def test_a_video_is_drawn_at_the_frames_own_times(tmp_path):
    """One frame at 0 s, the others from 8 s on: the label and the place in the timeline are those of that time."""
    frames = [frame_of()] * 4
    path = set_intervals(write_video(tmp_path / "v.mp4", frames, 12), [8.0, 0.5, 0.5, 1.0])
    spans = [Span(0.0, 5.0, "Swiping Left", 1.0), Span(5.0, 10.0, "Turning Hand Counterclockwise", 1.0)]
    drawing.write_video(str(tmp_path / "out.mp4"), open_source(str(path)), spans, CATEGORIES)
    pictures = [frame for _, frame in open_source(str(tmp_path / "out.mp4")).frames()]
    cursors = [int(picture[-3].min(-1).argmax()) for picture in pictures]
    duration = 9.0 + 0.5  # the median of 8, 0.5 and 0.5
    assert cursors == pytest.approx([0, 320 * 8 / duration, 320 * 8.5 / duration, 320 * 9 / duration], abs=4)
    first, *rest = [picture[31:33, 20:300].mean((0, 1)) for picture in pictures]  # the bar, as long as it is probable
    assert np.abs(first - COLOURS["Swiping Left"]).max() < 40
    for bar in rest:
        assert np.abs(bar - COLOURS["Turning Hand Counterclockwise"]).max() < 40


def test_the_timeline_of_a_stream_is_as_long_as_the_source(tmp_path):
    path = set_intervals(write_video(tmp_path / "v.mp4", [frame_of()] * 3, 12), [6.0, 2.0, 2.0])
    source = open_source(str(path))
    with drawing.live_video(str(tmp_path / "out.mp4"), source, CATEGORIES) as show:
        for seconds, (_, frame) in zip(source.times.tolist(), source.frames()):
            show(frame, seconds, None, [])
    pictures = [frame for _, frame in open_source(str(tmp_path / "out.mp4")).frames()]
    cursors = [int(picture[-3].min(-1).argmax()) for picture in pictures]
    assert cursors == pytest.approx([0, 320 * 6 / 12, 320 * 8 / 12], abs=4)  # 8 s and the median of 6 and 2
