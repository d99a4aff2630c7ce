"""Fonts for names in any script, and a box for each character that no installed font has."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from PIL import ImageFont

from model_utils.util import LOGGER_NAME

# Matplotlib carries it: Latin, Greek, Cyrillic, Arabic and symbols.
BASE_FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
# Names of font files to try first, the best first; then every other font of the system.
PREFERRED = ("notosanscjk", "notosans", "sourcehansans", "wqy", "droidsansfallback", "arial unicode", "unifont")
STYLED = re.compile("bold|italic|oblique|black|light|thin|condensed|mono|serif", re.IGNORECASE)
BOX = "□"
ELLIPSIS = "…"
LONGEST_LABEL = 40  # columns; a Chinese character takes two


def drawable(text: str) -> str:
    """The text in one line, with a box for each character that no installed font has.

    The first box of a process is logged, with a way to get the font.
    """
    shown = "".join(_printable_character(character) for character in text)
    if shown.count(BOX) > text.count(BOX):
        _log_missing_font()
    return shown


def shorten(text: str, columns: int = LONGEST_LABEL) -> str:
    """The text without its middle if it is wider than ``columns``: names of classes often differ at their ends."""
    if _columns(text) <= columns:
        return text
    end = _fitting_prefix(text[::-1], columns // 3)[::-1]
    return _fitting_prefix(text, columns - 1 - columns // 3) + ELLIPSIS + end


def text_width(text: str, pixels: float) -> float:
    """Pixels that ``drawable`` text takes in a line of letters of this size."""
    return sum(pillow_font(file, 100).getlength(part) for file, part in font_runs(text)) * pixels / 100


def font_runs(text: str) -> list[tuple[Path, str]]:
    """The text in parts, each with the font file that has all its characters."""
    files = ((_font_file(character) or BASE_FONT, character) for character in text)
    return [(file, "".join(c for _, c in part)) for file, part in groupby(files, key=lambda pair: pair[0])]


def families(texts: Iterable[str]) -> list[str]:
    """Names of the font families that Matplotlib needs for these texts, the base font first."""
    files = dict.fromkeys(_font_file(character) for character in sorted(set().union(*texts, " ")))
    return ["DejaVu Sans", *(_family(file) for file in files if file not in (None, BASE_FONT))]


@lru_cache(maxsize=256)
def pillow_font(file: Path, pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), pixels)


def _printable_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f":  # joiners, marks of direction, variants of emoji
        return ""
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return character if _font_file(character) else BOX


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _fitting_prefix(text: str, columns: int) -> str:
    length = columns
    while _columns(text[:length]) > columns:
        length -= 1
    return text[:length]


@lru_cache(maxsize=1)
def _log_missing_font() -> None:
    """Logs one line a process: all later calls are answered from the cache."""
    logging.getLogger(LOGGER_NAME).warning(
        "no installed font has all characters of the class names: pictures show %s in their place; install a font,"
        " for example with: apt-get install fonts-noto-cjk",
        BOX,
    )


@cache
def _font_file(character: str) -> Path | None:
    """The first font file that has a character; None where there is none."""
    return next((file for file in (BASE_FONT, *_system_fonts()) if ord(character) in _characters(file)), None)


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[Path, ...]:
    """Upright fonts of normal weight, the preferred ones first. Matplotlib's own list may be older than a font."""
    from matplotlib.font_manager import findSystemFonts

    files = [Path(name) for name in findSystemFonts() if not STYLED.search(Path(name).stem)]

    def preference(file: Path) -> tuple[int, str]:
        name = file.name.lower()
        return next((i for i, start in enumerate(PREFERRED) if name.startswith(start)), len(PREFERRED)), str(file)

    return tuple(sorted(files, key=preference))


@cache
def _characters(file: Path) -> np.ndarray:
    """The code points that a font has; none for a file that is no font and for bitmaps of one size."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(file))
        return np.array(list(font.get_charmap()) if font.scalable else [], np.int64)
    except (OSError, RuntimeError):
        return np.zeros(0, np.int64)


@cache
def _family(file: Path) -> str:
    from matplotlib.font_manager import fontManager, ttfFontProperty
    from matplotlib.ft2font import FT2Font

    if str(file) not in {entry.fname for entry in fontManager.ttflist}:
        fontManager.addfont(str(file))
    return ttfFontProperty(FT2Font(str(file))).name
