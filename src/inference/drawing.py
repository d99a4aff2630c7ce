"""What was recognised, drawn on a copy of a frame: the label, how probable it is, and when what was seen."""

from __future__ import annotations

import colorsys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Callable

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from src.data.names import BACKGROUND
from src.data.video import Recording, Source, Span, frames_of_one_size
from src.data.video_writer import VideoWriter

# Carried by matplotlib; unlike OpenCV's it knows more letters than those of ASCII.
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
SMALLEST_SIDE = 24  # pixels; on less nothing can be read
SMALLEST_FONT = 6
LINE = 1.3  # height of a line of text as a multiple of the font's size
LIVE_TIMELINE = 30.0  # seconds
Colour = tuple  # (blue, green, red)
WHITE, GREY = (255, 255, 255), (120, 120, 120)


def draw(
    frame: np.ndarray,
    shown: tuple[str, float] | None,
    spans: Iterable[Span],
    now: float,
    extent: tuple[float, float],
    colours: dict[str, Colour],
) -> np.ndarray:
    """A copy of a frame, uint8 [height, width, 3] BGR, with what is seen ``now``; of a tiny frame a mere copy.

    Args:
        shown: the label at the top and its probability, the length of a bar; None before anything is known.
        spans: the timeline at the lower edge, whose ends are ``extent``, in seconds.
        colours: of the labels, see ``palette``.
    """
    picture = frame.copy()
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        return picture
    size = max(SMALLEST_FONT, round(min(height, width) * 0.075))
    pad, thin = max(2, size // 3), max(2, size // 4)

    band = 2 * pad + round(LINE * size) + thin
    _darken(picture[:band])
    if shown:
        label, probability = shown
        percent = f"{probability:.0%}"
        _write(picture, percent, size, width - pad - _text(percent, size).shape[1], pad)
        _write(picture, *_fitting(label, size, width - 3 * pad - _text("100%", size).shape[1]), pad, pad)
        bar, full = band - pad - thin, width - 2 * pad
        picture[bar : bar + thin, pad : pad + full] = GREY
        picture[bar : bar + thin, pad : pad + round(full * probability)] = colours[label]

    strip = height - 2 * thin
    _darken(picture[strip - 2 :])
    begin, end = extent

    def column(seconds: float) -> int:
        return min(max(round((seconds - begin) * width / max(end - begin, 1e-9)), 0), width - 1)

    for span in spans:
        last = column(now if span.end is None else span.end)
        picture[strip:, column(span.start) : last + 1] = colours[span.label]
    picture[strip - 2 :, column(now) : column(now) + max(1, thin // 2)] = WHITE
    return picture


def palette(categories: list[str]) -> dict[str, Colour]:
    """A colour, BGR, for each class, as different as so many can be; grey for those that are no gesture."""
    colours = {}
    for label, name in enumerate(categories):
        rgb = colorsys.hsv_to_rgb(label / len(categories), 0.75 if label % 2 else 0.55, 0.9)
        colours[name] = GREY if name in BACKGROUND else tuple(round(255 * part) for part in reversed(rgb))
    return colours


def write_video(path: str, source: Recording, spans: list[Span], categories: list[str]) -> None:
    """Writes a folder or a file as a video with the label and the probability of the span that each frame is in.

    Raises:
        InputError: if a frame cannot be read or the video not be written.
    """
    colours = palette(categories)
    extent = 0.0, source.duration
    starts = [span.start for span in spans]
    with VideoWriter(path, source.rate) as writer:
        for index, frame in frames_of_one_size(source):
            now = float(source.times[index])
            span = spans[max(bisect_right(starts, now) - 1, 0)]
            writer.write(draw(frame, (span.label, span.probability), spans, now, extent, colours))


def nearest(timeline: list[Span]) -> list[Span]:
    """Overlapping windows as spans one after the other: at any time, that of the window whose middle is nearest."""
    middles = [(span.start + span.end) / 2 for span in timeline]
    between = [(a + b) / 2 for a, b in zip(middles, middles[1:])]
    edges = [timeline[0].start, *between, timeline[-1].end]
    return [span._replace(start=start, end=end) for span, start, end in zip(timeline, edges, edges[1:])]


@contextmanager
def live_video(path: str, source: Source, categories: list[str]) -> Iterator[Callable[..., None]]:
    """A function that adds a frame to a video: (frame, seconds, shown, spans), see ``draw``; without a path to nothing.

    The timeline is that of a whole folder or file, and of a camera's last LIVE_TIMELINE seconds.
    """
    if not path:
        yield lambda *_: None
        return
    colours = palette(categories)
    with VideoWriter(path, source.rate) as writer:

        def show(frame: np.ndarray, seconds: float, shown: tuple[str, float] | None, spans: Iterable[Span]) -> None:
            extent = (seconds - LIVE_TIMELINE, seconds) if source.duration is None else (0.0, source.duration)
            recent = [span for span in spans if span.end is None or span.end > extent[0]]
            writer.write(draw(frame, shown, recent, seconds, extent, colours))

        yield show


def _darken(area: np.ndarray) -> None:
    area[:] = (area * 0.35).astype(np.uint8)


def _fitting(text: str, size: int, width: int) -> tuple[str, int]:
    """The text and a font size with which it is no wider than ``width``, if need be without its end."""
    while size > SMALLEST_FONT and _text(text, size).shape[1] > width:
        size -= 1
    while len(text) > 1 and _text(text, size).shape[1] > width:
        text = text[:-2] + "…"
    return text, size


def _write(picture: np.ndarray, text: str, size: int, x: int, y: int) -> None:
    mask = _text(text, size)[: picture.shape[0] - y, : picture.shape[1] - x, None] / 255
    area = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
    area[:] = (area * (1 - mask) + np.array(WHITE) * mask).astype(np.uint8)


@lru_cache(maxsize=512)
def _text(text: str, size: int) -> np.ndarray:
    """How much of each pixel the letters cover, uint8 [height, width]."""
    font = _font(size)
    width = max(1, round(font.getlength(text)))
    image = Image.new("L", (width, round(LINE * size)))
    ImageDraw.Draw(image).text((0, 0), text, 255, font)
    return np.array(image)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size)
