"""The explanation of a clip's score as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from src.evaluation import plots
from src.inference.explain import Scale, scores
from src.utils import softmax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THUMBNAIL = 90  # height in pixels


def draw_explanation(
    scales: list[Scale],
    label: int,
    categories: list[str],
    frames: list[np.ndarray],
    frame_indices: np.ndarray,
    frame_times: np.ndarray,
) -> Figure:
    """The representative frames of a clip: a row for each scale shows the tuple that contributes most to a class.

    The frames of the tuple are clear, the others pale. A bar beside the row is the sum over all tuples of the scale.

    Args:
        frames: the T frames of the clip that the network saw, uint8 [height, width, 3] BGR.
        frame_indices, frame_times: their indices in the clip, and times in seconds.
    """
    # Not through pyplot, which keeps state and may look for a display. Imported here because it takes a second.
    from matplotlib.figure import Figure

    scales = sorted(scales, key=lambda scale: scale.size)
    best = [scale.tuples[scale.ranked(label)[0]] for scale in scales]
    grid = _grid(frames, [range(len(frames)), *best])
    # Positions in inches, so that the bars are beside the rows of pictures.
    left, across, gap, beside, above, below = 0.9, 8.0, 0.15, 3.0, 1.15, 0.1
    down = across * grid.shape[0] / grid.shape[1]
    width, height = left + across + gap + beside, above + down + below
    figure = Figure(figsize=(width, height))

    pictures = figure.add_axes((left / width, below / height, across / width, down / height))
    pictures.imshow(grid, aspect="auto", extent=(0, len(frames), 1 + len(scales), 0))
    names = ["clip", *("1 frame" if scale.size == 1 else f"{scale.size} frames" for scale in scales)]
    pictures.set_yticks(np.arange(len(names)) + 0.5, names)
    times = [f"frame {index}\n{seconds:.2f} s" for index, seconds in zip(frame_indices, frame_times)]
    pictures.set_xticks(np.arange(len(times)) + 0.5, times)
    pictures.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    pictures.spines[:].set_visible(False)

    bars = figure.add_axes(((left + across + gap) / width, below / height, beside / width, down / height))
    _draw_bars(bars, [scale.contributions[:, label] for scale in scales])

    total, bias = scores(scales), sum(scale.bias[label] for scale in scales)
    (name,) = plots.label_texts([categories[label]])
    top = 1 - 0.35 / height
    figure.text(left / width, top, f"{name}: {softmax(total)[label]:.1%}", fontsize=15)
    parts = f"score {total[label]:.2f} = {total[label] - bias:+.2f} of frame tuples {bias:+.2f} of biases"
    figure.text(1 - 0.1 / width, top, parts, fontsize=9, ha="right")
    return figure


def _draw_bars(axes: Any, shares: list[np.ndarray]) -> None:
    """The sum of each scale's contributions, beside the scale's row of pictures."""
    sums = [share.sum() for share in shares]
    places = [i + 1.6 for i in range(len(shares))]
    axes.barh(places, sums, 0.4, color=[plots.BLUE if share > 0 else plots.ORANGE for share in sums])
    for place, share, total in zip(places, shares, sums):
        most = f" of {len(share)} tuples, the one shown {share.max():+.3f}" if len(share) > 1 else ""
        where = {"xycoords": ("axes fraction", "data"), "va": "bottom", "fontsize": 8}
        axes.annotate(f"{total:+.2f}{most}", (0, place - 0.24), **where)
    axes.axvline(0, color=plots.GREY, linewidth=0.8)
    axes.set(ylim=(1 + len(shares), 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _grid(frames: list[np.ndarray], chosen: list[Any]) -> np.ndarray:
    """The frames in a row for each choice of them, the others pale: uint8 [height, width, 3] RGB."""
    small = [image[..., ::-1] for image in plots.thumbnails(frames, THUMBNAIL)]
    framed = [cv2.copyMakeBorder(image, *(2, 2, 2, 2), cv2.BORDER_CONSTANT, value=(255,) * 3) for image in small]
    pale = [(255 - 0.15 * (255.0 - image)).astype(np.uint8) for image in framed]
    rows = [np.hstack([framed[i] if i in row else pale[i] for i in range(len(frames))]) for row in chosen]
    return np.vstack(rows)
