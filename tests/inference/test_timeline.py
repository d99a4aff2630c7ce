"""Which frames stand for a source and for a window, by the frames' own times."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from src.data.video import Camera, open_source
from src.inference import timeline
from src.inference.timeline import frames_shown, read_clip, recognise_windows, window_times
from src.utils import softmax
from tests.helpers.colours import NAMES, coloured, write_folder, write_video
from tests.helpers.containers import set_intervals


def source_of(times, duration):
    return SimpleNamespace(times=np.array(times, float), duration=duration, num_frames=len(times))


@pytest.mark.parametrize(("rate", "num_segments"), [(12, 1), (29.97, 8), (1 / 60, 3), (240, 8)])
def test_at_a_constant_rate_frames_are_those_of_the_test_segments(rate, num_segments):
    """Frame floor(N/T (i + 1/2)), in integers because N/T (i + 1/2) may be a whole number."""
    for num_frames in range(1, 120):
        expected = [num_frames * (2 * i + 1) // (2 * num_segments) for i in range(num_segments)]
        times = np.arange(num_frames) / rate
        assert frames_shown(times, 0.0, num_frames / rate, num_segments).tolist() == expected


def test_at_an_uneven_rate_a_frame_counts_for_as_long_as_it_is_shown():
    times = np.array([0.0, 0.1, 0.2, 3.0, 9.0])
    # Middles of five stretches of 2 s: 1, 3, 5, 7 and 9 s.
    assert frames_shown(times, 0.0, 10.0, 5).tolist() == [2, 3, 3, 3, 4]
    assert frames_shown(times, 0.0, 0.4, 4).tolist() == [0, 1, 2, 2]  # 0.05, 0.15, 0.25 and 0.35 s
    assert frames_shown(times, 2.0, 4.0, 2).tolist() == [2, 3]  # 2.5 and 3.5 s


def test_windows_follow_each_other_by_a_stride_and_the_last_ends_with_the_video():
    ten = source_of(np.arange(100) / 10, 10.0)
    starts, ends = zip(*window_times(ten, 3.0, 2.0))
    assert starts == pytest.approx([0, 2, 4, 6, 7])
    assert ends == pytest.approx([3, 5, 7, 9, 10])
    assert [start for start, _ in window_times(ten, 4.0, 2.0)] == pytest.approx([0, 2, 4, 6])  # no 6 twice
    assert [start for start, _ in window_times(ten, 1.0, 0.3)] == pytest.approx([*np.arange(30) * 0.3, 9.0])
    assert window_times(ten, 10.0, 1.0) == window_times(ten, 1e308, 1e308) == window_times(ten, 99, 1e-308) == [(0, 10)]


def test_windows_closer_than_the_frames_are_a_frame_apart():
    ten = source_of(np.arange(100) / 10, 10.0)
    for stride in (0.1, 0.01, 1e-308):
        starts = [start for start, _ in window_times(ten, 1.0, stride)]
        assert starts == pytest.approx(np.arange(91) / 10)
    assert len(window_times(ten, 1e-308, 1e-308)) == 101


def test_a_window_lasts_as_long_as_was_asked_for_at_any_rate():
    odd = source_of(np.arange(125) / 12.5, 10.0)
    assert window_times(odd, 1.0, 0.5)[1] == pytest.approx((0.5, 1.5))  # 6.25 to 18.75 frames


def test_the_clip_of_an_uneven_video(tmp_path):
    """Red for 3 frames of 0.1 s, then green for one of 6 s: it fills the middles of all but the first stretch."""
    frames = coloured("Red", 3) + coloured("Green", 1) + coloured("Blue", 1)
    path = set_intervals(write_video(tmp_path / "v.mp4", frames, 10), [0.1, 0.1, 2.0, 6.0, 1.0])
    source = open_source(str(path))
    clip = read_clip(source, 3, 99.0)
    assert source.duration == pytest.approx(8.2 + 1.05, abs=1e-3)  # the median of 0.1, 0.1, 2 and 6
    assert clip.indices.tolist() == [2, 3, 3]  # 1.54, 4.63 and 7.71 s
    assert clip.times == pytest.approx([0.2, 2.2, 2.2], abs=1e-3)
    assert (clip.num_frames, clip.seconds) == (5, source.duration)
    assert [int(frame.mean((0, 1)).argmax()) for frame in clip.frames] == [2, 1, 1]  # of blue, green, red


def test_the_clip_of_a_camera(monkeypatch):
    asked = []

    def record(camera, seconds, num_segments):
        asked.append((seconds, num_segments))
        return 90, np.array([15, 45, 75]), ["a", "b", "c"]

    monkeypatch.setattr(timeline, "record_camera", record)
    clip = read_clip(Camera.__new__(Camera), 3, 6.0)  # one that was never opened
    assert asked == [(6.0, 3)]
    assert (clip.num_frames, clip.seconds, clip.frames) == (90, 6.0, ["a", "b", "c"])
    assert clip.times.tolist() == [1.0, 3.0, 5.0]


class MeanColour:
    """A model whose logits are the mean blue, green and red of the frames, and that notes what it saw."""

    num_segments, image_size = 3, 16

    def __init__(self):
        self.seen = []

    def clip_logits(self, frames):
        self.seen.append([frame.shape for frame in frames])
        return np.append(np.mean([frame.mean((0, 1)) for frame in frames], axis=0) / 20, -99.0)

    def top(self, logits, count):
        best = int(np.argmax(logits))
        return [{"label": NAMES[best], "probability": float(softmax(logits)[best])}][:count]


def test_windows_of_an_uneven_video(tmp_path):
    """20 frames a second for 1 s, then a frame a second for 4 s: what is shown at a time is what counts."""
    frames = coloured("Red", 20) + coloured("Green", 2) + coloured("Blue", 2)
    path = set_intervals(write_video(tmp_path / "v.mp4", frames, 20), [0.05] * 20 + [1.0] * 4)
    source = open_source(str(path))
    model = MeanColour()
    spans = list(recognise_windows(model, source, window_times(source, 1.0, 1.0)))
    assert [span.label for span in spans] == ["Red", "Green", "Green", "Blue", "Blue"]
    assert [span.start for span in spans] == pytest.approx([0, 1, 2, 3, source.duration - 1], abs=1e-3)
    assert [span.end for span in spans] == pytest.approx([1, 2, 3, 4, source.duration], abs=1e-3)
    assert all(min(shape[:2]) == 18 for shapes in model.seen for shape in shapes)  # 16 · 256 / 224


def test_frames_are_kept_only_as_long_as_a_window_needs_them(tmp_path):
    source = open_source(str(write_folder(tmp_path / "clip", coloured("Red", 60))))
    chosen = [np.array([first, first + 1, first + 4]) for first in range(0, 56, 2)]
    windows = timeline._window_frames(source, chosen, 16)
    held = [(next(windows), len(windows.gi_frame.f_locals["kept"]))[1] for _ in chosen]
    assert max(held) <= 6
