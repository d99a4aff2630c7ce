"""Draws the label that was recognised, its probability and a timeline of labels on a copy of a frame."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Callable

import numpy as np
from PIL import Image, ImageDraw

from src.data.video import Camera, Recording, Source, Span, frames_of_one_size
from src.data.video_writer import VideoWriter, check_video_size
from src.evaluation import fonts
from src.evaluation.colours import BACKGROUND_GREY, class_colours

SMALLEST_SIDE = 24  # pixels; on less nothing can be read
SMALLEST_FONT = 6
LINE = 1.3  # height of a line of text as a multiple of the font's size
LONGEST_LINE = 100  # columns
LIVE_TIMELINE = 30.0  # seconds
Colour = tuple  # (blue, green, red)
WHITE = (255, 255, 255)


def draw_overlay(
    frame: np.ndarray,
    shown: tuple[str, float] | None,
    spans: Iterable[Span],
    now: float,
    extent: tuple[float, float],
    colours: dict[str, Colour],
) -> np.ndarray:
    """A copy of a frame, uint8 [height, width, 3] BGR, with a label and a timeline; a tiny frame is only copied.

    Args:
        shown: the label at the top and its probability, drawn as a bar; None draws neither.
        spans: shown in the timeline at the lower edge.
        now: the time of the frame, in seconds; the timeline's cursor.
        extent: the times of the timeline's ends, in seconds.
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
        _write_text(picture, percent, size, width - pad - _letters(percent, size).shape[1], pad)
        name = fonts.shorten(fonts.drawable(label), LONGEST_LINE)
        _write_text(picture, *_fitting(name, size, width - 3 * pad - _letters("100%", size).shape[1]), pad, pad)
        bar, full = band - pad - thin, width - 2 * pad
        picture[bar : bar + thin, pad : pad + full] = BACKGROUND_GREY
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
    """The colours of the classes, BGR."""
    return {name: colour[::-1] for name, colour in class_colours(categories).items()}


def write_video(path: str, source: Recording, spans: list[Span], categories: list[str]) -> None:
    """Writes the frames of a folder or a file as a video, each with the label and probability of its span.

    Raises:
        InputError: if a frame cannot be read or the video cannot be written.
    """
    starts = [span.start for span in spans]
    with live_video(path, source, categories) as show:
        for index, frame in frames_of_one_size(source):
            now = float(source.times[index])
            span = spans[max(bisect_right(starts, now) - 1, 0)]
            show(frame, now, (span.label, span.probability), spans)


def check_size(path: str, source: Source) -> None:
    """Raises InputError if frames as large as the first cannot be written as a video; before the work, not after it."""
    if not isinstance(source, Camera):
        with closing(frames_of_one_size(source, {0})) as frames:
            _, frame = next(frames)
        check_video_size(path, *frame.shape[:2])


def nearest(timeline: list[Span]) -> list[Span]:
    """Turns overlapping windows into consecutive spans: each moment belongs to the window with the nearest middle."""
    ends = [span.start if span.end is None else span.end for span in timeline]  # none is open
    middles = [(span.start + end) / 2 for span, end in zip(timeline, ends)]
    between = [(a + b) / 2 for a, b in zip(middles, middles[1:])]
    edges = [timeline[0].start, *between, ends[-1]]
    return [span._replace(start=start, end=end) for span, start, end in zip(timeline, edges, edges[1:])]


@contextmanager
def live_video(path: str, source: Source, categories: list[str]) -> Iterator[Callable[..., None]]:
    """Opens a video and gives a function that adds a frame: (frame, seconds, shown, spans), see ``draw_overlay``.

    Without a path the function does nothing. The timeline shows a whole folder or file, or the last LIVE_TIMELINE
    seconds of a camera.
    """
    if not path:
        yield lambda *_: None
        return
    colours = palette(categories)
    with VideoWriter(path, source.rate) as writer:

        def show(frame: np.ndarray, seconds: float, shown: tuple[str, float] | None, spans: Iterable[Span]) -> None:
            duration = source.duration
            extent = (seconds - LIVE_TIMELINE, seconds) if duration is None else (0.0, duration)
            recent = [span for span in spans if span.end is None or span.end > extent[0]]
            writer.write(draw_overlay(frame, shown, recent, seconds, extent, colours))

        yield show


def _darken(area: np.ndarray) -> None:
    area[:] = (area * 0.35).astype(np.uint8)


def _fitting(text: str, size: int, width: int) -> tuple[str, int]:
    """The text and a font size that fit into ``width`` pixels; at the smallest size the text loses its end."""
    while size > SMALLEST_FONT and _letters(text, size).shape[1] > width:
        size -= 1
    while len(text) > 1 and _letters(text, size).shape[1] > width:
        text = text[:-2] + "…"
    return text, size


def _write_text(picture: np.ndarray, text: str, size: int, x: int, y: int) -> None:
    mask = _letters(text, size)[: picture.shape[0] - y, : picture.shape[1] - x, None] / 255
    area = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
    area[:] = (area * (1 - mask) + np.array(WHITE) * mask).astype(np.uint8)


@lru_cache(maxsize=512)
def _letters(text: str, size: int) -> np.ndarray:
    """How much of each pixel the letters cover, uint8 [height, width]."""
    baseline = fonts.pillow_font(fonts.BASE_FONT, size).getmetrics()[0]
    runs = [(fonts.pillow_font(file, size), part) for file, part in fonts.font_runs(text)]
    lengths = [font.getlength(part) for font, part in runs]
    image = Image.new("L", (max(1, round(sum(lengths))), round(LINE * size)))
    x = 0.0
    for (font, part), length in zip(runs, lengths):
        ImageDraw.Draw(image).text((x, baseline), part, 255, font, anchor="ls")
        x += length
    return np.array(image)
