"""A colour for each class, the same in reports, in videos and on the page of ``make_page.sh`` (``js/drawing.js``)."""

from __future__ import annotations

import colorsys
from collections.abc import Collection

from src.data.names import BACKGROUND

BACKGROUND_GREY = (150, 150, 150)


def class_colours(categories: list[str], background: Collection[str] = BACKGROUND) -> dict[str, tuple[int, int, int]]:
    """Red, green and blue of each class: hues at equal distances, grey for the background classes."""
    colours = {}
    for label, name in enumerate(categories):
        red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(label / len(categories), 0.5, 0.7))
        colours[name] = BACKGROUND_GREY if name in background else (red, green, blue)
    return colours
