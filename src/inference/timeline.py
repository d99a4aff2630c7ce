"""One answer for a whole source, or one for each window: chooses the frames by their times."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from src.data.video import Camera, Recording, Source, Span, frames_of_one_size, read_frames, record_camera
from src.inference.model import Model
from src.transforms import scale_shorter_side

WINDOW = 3.0  # seconds by default; clips of Jester last about as long
TOLERANCE = 1e-6  # seconds; times are rounded sums


@dataclass(frozen=True)
class ClipFrames:
    """The T frames that stand for a whole source."""

    num_frames: int  # of the source
    seconds: float  # of the source
    indices: np.ndarray  # int64 [T]
    times: np.ndarray  # [T]
    frames: list[np.ndarray]  # T times uint8 [height, width, 3] BGR


def read_clip(source: Source, num_segments: int, seconds: float) -> ClipFrames:
    """The T frames in the middle of T equal stretches of a source, or of the next ``seconds`` of a camera."""
    if isinstance(source, Camera):
        num_frames, indices, frames = record_camera(source, seconds, num_segments)
        return ClipFrames(num_frames, seconds, indices, _middles(0.0, seconds, num_segments), frames)
    indices = frames_shown(source.times, 0.0, source.duration, num_segments)
    frames = read_frames(source, indices)
    return ClipFrames(source.num_frames, source.duration, indices, source.times[indices], frames)


def frames_shown(times: np.ndarray, start: float, end: float, num_segments: int) -> np.ndarray:
    """The frames shown in the middle of each of T equal stretches from ``start`` to ``end``: int64 [T], 0-based.

    A frame is shown from its time to the next frame's. For all N frames of a constant rate these are
    floor(N/T (i + 1/2)), as in ``sampling.test_segments``.
    """
    return np.searchsorted(times, _middles(start, end, num_segments) + TOLERANCE, side="right") - 1


def _middles(start: float, end: float, num_segments: int) -> np.ndarray:
    return start + (end - start) * (np.arange(num_segments) + 0.5) / num_segments


def recognise_windows(model: Model, source: Recording, windows: list[tuple[float, float]]) -> Iterator[Span]:
    """The likeliest class of each window of a folder or file, see ``window_times``."""
    chosen = [frames_shown(source.times, start, end, model.num_segments) for start, end in windows]
    for (start, end), frames in zip(windows, _window_frames(source, chosen, model.image_size)):
        (best,) = model.top(model.clip_logits(frames), 1)
        yield Span(start, end, **best)


def window_times(source: Recording, window: float, stride: float) -> list[tuple[float, float]]:
    """The windows over a folder or file, (start, end) in seconds: each ``window`` long, one every ``stride``.

    The last one ends with the video, so it may follow sooner. A video shorter than a window is one window. A stride
    is at least the mean interval between frames: more windows would show the same frames.
    """
    length = min(window, source.duration)
    step = max(stride, source.duration / source.num_frames)
    last = source.duration - length
    starts = [*(step * np.arange(np.ceil((last - TOLERANCE) / step))).tolist(), last]
    return [(start, start + length) for start in starts]


def _window_frames(source: Recording, chosen: list[np.ndarray], image_size: int) -> Iterator[list[np.ndarray]]:
    """The frames of each window, scaled. Each is read once and kept only as long as a window needs it."""
    waiting = deque(indices.tolist() for indices in chosen)
    kept: dict[int, np.ndarray] = {}
    for index, frame in frames_of_one_size(source, {index for indices in waiting for index in indices}):
        kept[index] = scale_shorter_side(frame, image_size)
        while waiting and waiting[0][-1] == index:
            yield [kept[i] for i in waiting.popleft()]
            for old in [i for i in kept if waiting and i < waiting[0][0]]:
                del kept[old]
