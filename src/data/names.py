"""Names of files and of gestures, each in one place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from model_utils.errors import InputError

# Archives and their content.
IMAGES_DIR_NAME = "20bn-jester-v1"
LABELS_ARCHIVE = "20bn-jester-download-package-labels.zip"
LABELS_DIR_NAME = "labels"
ANNOTATIONS_DIR_NAME = "annotations"  # where label lists are found, too
V2_VIDEOS_DIR_NAME = "20bn-something-something-v2"
V2_IMAGES_DIR_NAME = "20bn-something-something-v2-frames"
LOCK_NAME = ".lock"  # in a folder while a program writes a dataset or archives there


@dataclass(frozen=True)
class Release:
    """A dataset of 20BN and the names of its files.

    Attributes:
        folder: the folder in the archive.
        parts: names of the parts, without -00, -01 ...
        labels_archive: the zip with the label lists.
        list_prefix: prefix of loose label lists; some come without it.
        list_suffix: suffix of label lists.
    """

    folder: str
    parts: tuple[str, ...]
    labels_archive: str
    list_prefix: str
    list_suffix: str


# The vendor's download page of today leaves out a hyphen.
JESTER = Release(IMAGES_DIR_NAME, (IMAGES_DIR_NAME, "20bnjester-v1"), LABELS_ARCHIVE, "jester-v1-", ".csv")
_SOMETHING_LABELS = "20bn-something-something-download-package-labels.zip"
_SOMETHING = "20bn-something-something-v1"
SOMETHING_V1 = Release(_SOMETHING, (_SOMETHING,), _SOMETHING_LABELS, "something-something-v1-", ".csv")
_V2 = V2_VIDEOS_DIR_NAME
SOMETHING_V2 = Release(_V2, (_V2,), _SOMETHING_LABELS, "something-something-v2-", ".json")
RELEASES = (JESTER, SOMETHING_V1, SOMETHING_V2)

# Below the dataset root.
CATEGORIES_FILE = "categories.txt"
UNKNOWN_CLASS = -1  # of a listed clip
LIST_FILES = {
    "training": "train_videofolder.txt",
    "validation": "val_videofolder.txt",
    "test": "test_videofolder.txt",
}
LEFT_OUT_FILE = "left_out.txt"  # listed clips without data, if they were left out
MIRROR_PAIRS_FILE = "mirror_pairs.txt"  # the user's own, beside the list of classes
PREPARED_MARKER = ".made-by-prepare_videos"  # prepare_videos replaces the lists of a dataset that has this file
SOURCE_FILE = ".source.json"  # in a clip's folder: which video its frames come from, and how
FRAME_NAME = "{:05d}.jpg"
LONGEST_NAME = 255  # bytes, on all usual file systems

UNPRINTED = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories that no class name has: controls, surrogates, separators

# Classes of Jester that are no gesture.
BACKGROUND = ("No gesture", "Doing other things")
# Played backwards, a clip of the one shows the other. Thumb Up and Thumb Down are held still, not moved.
REVERSED_PAIRS = (
    ("Pulling Hand In", "Pushing Hand Away"),
    ("Pulling Two Fingers In", "Pushing Two Fingers Away"),
    ("Rolling Hand Backward", "Rolling Hand Forward"),
    ("Sliding Two Fingers Down", "Sliding Two Fingers Up"),
    ("Sliding Two Fingers Left", "Sliding Two Fingers Right"),
    ("Swiping Down", "Swiping Up"),
    ("Swiping Left", "Swiping Right"),
    ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
    ("Zooming In With Full Hand", "Zooming Out With Full Hand"),
    ("Zooming In With Two Fingers", "Zooming Out With Two Fingers"),
)


def background_of(categories: Iterable[str], background_class: str) -> list[str]:
    """The classes that are no gesture: Jester's, and the user's own ``background_class``."""
    return [name for name in categories if name in (*BACKGROUND, background_class)]


def background_warning(background_class: str) -> str:
    """The warning that a network for streams has no background class."""
    return (
        f"there is no background class (background_class is {background_class!r}), so every moment of a stream is taken"
        " for a gesture. Record clips without gestures (rest, other movements), as many as of a gesture, in a class"
        f" folder {background_class!r}, or set background_class to the class that has them; train with sliding_windows"
        " 0.5"
    )


def check_classes(names: Iterable[tuple[str, str]]) -> None:
    """Checks class names, given as (place, name).

    Raises:
        InputError: naming the place, for a name that is empty, that has control characters (a terminal would obey them)
            or lone surrogates, or that is there twice, also if its accents are written in another way.
    """
    places: dict[str, str] = {}
    for place, name in names:
        if not name or any(unicodedata.category(character) in UNPRINTED for character in name):
            raise InputError(f"{place}: class {name!r}; expected a name without control characters")
        same = unicodedata.normalize("NFC", name)
        if same in places:
            raise InputError(f"{place}: class {ascii(name)} is here twice, first in {places[same]}")
        places[same] = place


def split_frame_name(template: str) -> tuple[str, str]:
    """The text before and after the number in the names of frames, such as ``("img_", ".jpg")``.

    Args:
        template: the names, with ``{:05d}`` for a number of five digits or ``{}`` for one of any length.

    Raises:
        InputError: for a template without exactly one number.
    """
    match = re.fullmatch(r"([^{}/\0]*)\{0?(?::(?:0\d\d?)?d?)?\}([^{}/\0]*)", template)
    if match:
        return match[1], match[2]
    raise InputError(f"frame_name {template!r}: expected a file name with one number in it, such as {FRAME_NAME}")


def frame_number(name: str, template: str) -> int | None:
    """The number in the name of a frame; None for any other file."""
    before, behind = split_frame_name(template)
    digits = name[len(before) : len(name) - len(behind)]
    return int(digits) if digits.isdecimal() and name == template.format(int(digits)) else None
