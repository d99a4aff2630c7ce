"""The picture: what is drawn where, and that the frame itself stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

from src.data.video import Span
from src.inference import drawing
from src.inference.drawing import draw_overlay, nearest, palette

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
    rows = [[len(columns_of(picture, y, c)) for c in (COLOURS["Swiping Left"], drawing.GREY)] for y in range(60)]
    filled, rest = max(rows, key=sum)
    assert filled + rest > 290
    assert filled == pytest.approx(probability * (filled + rest), abs=1)


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
@pytest.mark.parametrize("size", [(100, 120), (100, 176), (1920, 1080), (2160, 3840)])
def test_a_label_is_written_whole_and_does_not_run_into_the_percentage(size, label):
    """Letters are lighter than the darkened band behind them, and spaces are narrower than what is in between."""
    picture = draw_overlay(frame_of(*size), (label, 1.0), [], 0.0, (0.0, 1.0), COLOURS)
    band = picture[: round(0.1 * min(size))]
    written = np.flatnonzero((band > 100).any((0, 2)))
    gap = np.argmax(np.diff(written))
    assert np.diff(written)[gap] >= max(2, size[0] // 100)
    percentage = written[gap + 1 :]
    assert size[1] * 0.75 < percentage[0] < percentage[-1] < size[1]
    alone = drawing._text(*drawing._fitting(label, round(0.075 * min(size)), size[1]))
    assert (written[gap] - written[0]) / np.ptp(np.flatnonzero(alone.max(0))) > 0.4
    assert drawing._fitting(label, 20, 110)[0] == label


@pytest.mark.parametrize("size", [(30, 400), (400, 30), (24, 24)])
def test_on_a_small_frame_a_label_loses_its_end(size):
    picture = draw_overlay(frame_of(*size), ("Turning Hand Counterclockwise", 1.0), [], 0.0, (0.0, 1.0), COLOURS)
    assert picture.shape[:2] == size
    assert drawing._fitting("Turning Hand Counterclockwise", 20, 30)[0].endswith("…")


def test_letters_beyond_ascii_are_letters():
    masks = [drawing._text(letter, 40) for letter in "Рё中"]
    assert not np.array_equal(masks[0][:, :10], masks[1][:, :10])
    assert drawing._text("?", 40).tolist() != masks[0].tolist()


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
    assert colours["No gesture"] == colours["Doing other things"] == drawing.GREY


def test_at_any_time_the_window_whose_middle_is_nearest():
    windows = [Span(0, 3, "a", 0.1), Span(1, 4, "b", 0.2), Span(2, 5, "c", 0.3), Span(2.4, 5.4, "d", 0.4)]
    spans = nearest(windows)
    for now in np.arange(0, 5.4, 0.05):
        (span,) = [span for span in spans if span.start <= now < span.end]
        distances = {w.label: abs((w.start + w.end) / 2 - now) for w in windows}
        assert distances[span.label] == pytest.approx(min(distances.values()), abs=1e-9)
    assert [span.probability for span in spans] == [0.1, 0.2, 0.3, 0.4]
    assert nearest(windows[:1]) == windows[:1]
