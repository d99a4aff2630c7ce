"""Pictures of an evaluation or a training run, of a bounded size for any number of classes.

Figures are not made through pyplot, which keeps state and may look for a display. Functions import Matplotlib, which
takes a second.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import cv2
import numpy as np

from model_utils.errors import InputError
from model_utils.util import LOGGER_NAME, Stopped, write_bytes
from src.evaluation import fonts
from src.evaluation.metrics import confused_pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
MAX_PIXELS = 16_000_000  # of any picture
BLUE, ORANGE, GREY, PALE = "#2a6fb0", "#d1701f", "#8a8f98", "#e4e7eb"
NUMBERED_CLASSES = 40  # up to here a confusion matrix has a number in each cell
OVERVIEW_SIDE = 2000  # pixels of a matrix without numbers
MOST_CONFUSED = 24  # classes
WIDEST_THUMBNAIL = 4  # times its height


def picture_or_warning(name: str, draw: Callable[[], bytes]) -> bytes | None:
    """A picture, or None and a line in the log: a failed picture must not cost the results."""
    try:
        return draw()
    except Stopped:
        raise
    except InputError as error:
        problem = str(error)
    except Exception as error:  # Matplotlib, Pillow and OpenCV raise many kinds
        problem = " ".join(f"{type(error).__name__}: {error}".split())
    logging.getLogger(LOGGER_NAME).warning("%s: left out, it could not be drawn: %s", name, problem)
    return None


def write_picture(path: Path, draw: Callable[[], bytes]) -> bytes | None:
    """Writes and returns the picture of ``picture_or_warning``, if there is one."""
    picture = picture_or_warning(str(path), draw)
    if picture:
        write_bytes(path, picture)
    return picture


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG file of at most MAX_PIXELS. Texts are no markup, and get fonts that have their characters."""
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    family = fonts.families(text.get_text() for text in texts)
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(family)
    width, height = figure.get_size_inches()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=min(DPI, (MAX_PIXELS / (width * height)) ** 0.5))
    return buffer.getvalue()


def label_texts(names: list[str]) -> list[str]:
    """Names as a figure can show them: in one line, in characters that a font has, not too long."""
    return [fonts.shorten(fonts.drawable(name)) for name in names]


def thumbnails(frames: list[np.ndarray], height: int) -> list[np.ndarray]:
    """Frames uint8 [height, width, 3] of one size as small pictures, at most WIDEST_THUMBNAIL times as wide as high."""
    width = round(frames[0].shape[1] * height / frames[0].shape[0])
    size = min(max(1, width), WIDEST_THUMBNAIL * height), height
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


# ------------------------------------------------------------------------------------------------ confusion matrix


def draw_confusion(categories: list[str], confusion: np.ndarray) -> Figure:
    """The whole confusion matrix, a row a true class. A larger part of the true class makes a darker cell.

    With few classes each cell shows its number of clips.
    """
    fractions = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    count = len(categories)
    if count <= NUMBERED_CLASSES:
        return _draw_numbered(categories, confusion, fractions)
    shade = np.where(confusion > 0, 0.4 + 0.6 * np.sqrt(fractions), 0)  # even a single mistake is visible
    cell = min(max(OVERVIEW_SIDE // count, 11), 22)
    return _matrix_figure(shade, cell, label_texts(categories), min(9.0, 0.85 * cell * 72 / DPI))[0]


def draw_most_confused(categories: list[str], confusion: np.ndarray) -> Figure:
    """The rows and columns of the classes with the most frequent mistakes, with the number of clips in each cell."""
    labels = most_confused(confusion)
    fractions = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    cells = np.ix_(labels, labels)
    return _draw_numbered([categories[label] for label in labels], confusion[cells], fractions[cells])


def most_confused(confusion: np.ndarray) -> list[int]:
    """The classes of the most frequent mistakes, at most MOST_CONFUSED, with confused pairs side by side."""
    labels: dict[int, None] = {}
    for true, answer, _ in confused_pairs(confusion):
        if len(labels.keys() | {true, answer}) > MOST_CONFUSED:
            break
        labels.update(dict.fromkeys((true, answer)))
    return list(labels)


def _draw_numbered(names: list[str], numbers: np.ndarray, fractions: np.ndarray) -> Figure:
    shade = np.sqrt(fractions)  # the root makes rare mistakes visible
    figure, axes = _matrix_figure(shade, min(max(400 // len(names), 40), 110), label_texts(names), 10.0)
    for row, column in np.argwhere(numbers):
        colour = "white" if fractions[row, column] > 0.3 else "black"
        size = 9 if numbers[row, column] < 1000 else 6
        axes.text(column, row, str(numbers[row, column]), ha="center", va="center", color=colour, fontsize=size)
    return figure


def _matrix_figure(shade: np.ndarray, cell: int, names: list[str], size: float) -> tuple[Figure, Any]:
    """A figure with an image of ``cell`` pixels a cell, and its axes, with ``names`` of ``size`` points beside them."""
    from matplotlib.figure import Figure

    longest = max(fonts.text_width(name, size * DPI / 72) for name in names)
    side, before, behind = cell * len(shade), round(longest) + 45, 25  # pixels
    across = before + side + behind
    inches = (across + 1e-6) / DPI  # Matplotlib rounds down: whole pixels must not become one less
    figure = Figure(figsize=(inches, inches), dpi=DPI)
    axes = figure.add_axes((before / across, before / across, side / across, side / across))
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    kept: dict[str, Any] = {"parse_math": False, "fontsize": size}
    axes.set_xticks(range(len(names)), names, rotation=90, **kept)
    axes.set_yticks(range(len(names)), names, **kept)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=PALE, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure, axes


# ---------------------------------------------------------------------------------------------------------- curves


def draw_recognition(points: list[dict[str, float]]) -> Figure:
    """Accuracy against the part of each clip that was seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    seen = [100 * point["observe"] for point in points]
    _plot_accuracies(axes, seen, points)
    for x, point in zip(seen, points):
        y, text = 100 * point["top1"], f"{100 * point['top1']:.1f}"
        axes.annotate(text, (x, y), (0, -14), textcoords="offset points", ha="center", fontsize=9, color=BLUE)
    axes.set(xlabel="part of each clip that was seen (%)", ylabel="accuracy (%)", xlim=(0, 105), ylim=(0, 105))
    _style(axes)
    return figure


def draw_training(epochs: list[dict[str, float | None]]) -> Figure:
    """Loss, learning rate and, if there is any, validation accuracy of each epoch, one below the other."""
    from matplotlib.figure import Figure

    validated = [epoch for epoch in epochs if epoch["top1"] is not None]
    heights = (3, 1, 3) if validated else (3, 1)
    figure = Figure(figsize=(7, sum(heights)), layout="constrained")
    loss, rate, *accuracies = figure.subplots(len(heights), sharex=True, height_ratios=heights)
    numbers = [epoch["epoch"] for epoch in epochs]
    loss.plot(numbers, [epoch["loss"] for epoch in epochs], "o-", markersize=3, color=GREY)
    loss.set(ylabel="training loss")
    loss.set_ylim(bottom=0)
    rate.step(numbers, [epoch["lr"] for epoch in epochs], where="mid", color=GREY)
    rate.set(ylabel="learning rate", yscale="log")
    rate.yaxis.set_major_formatter("{x:g}")  # the default is markup
    rate.minorticks_off()
    rate.margins(y=0.3)
    for accuracy in accuracies:
        _plot_accuracies(accuracy, [epoch["epoch"] for epoch in validated], validated, markersize=3)
        accuracy.set(ylabel="validation (%)", ylim=(0, 105))
    figure.axes[-1].set(xlabel="epoch")
    figure.axes[-1].xaxis.get_major_locator().set_params(integer=True)
    for axes in figure.axes:
        _style(axes)
    return figure


def _plot_accuracies(axes: Any, places: list, rows: Sequence[Mapping[str, float | None]], **style: Any) -> None:
    for key, label, colour in (("top1", "top-1", BLUE), ("top5", "top-5", ORANGE)):
        axes.plot(places, [100 * (row[key] or 0) for row in rows], "o-", color=colour, label=label, **style)


def _style(axes: Any) -> None:
    axes.grid(color=PALE)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="lower right")
