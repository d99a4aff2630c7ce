"""Counts the frames of clips, and checks that training will find all of them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Generator
from contextlib import closing
from functools import cache, partial
from pathlib import Path

from model_utils.errors import InputError
from src.data.names import FRAME_NAME, split_frame_name
from src.data.packed import PackedFrames, open_packed
from src.data.pool import in_processes

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
FOLDERS_WORTH_A_PROCESS = 5000


class GapError(InputError):
    """The numbers of a clip's frames have a gap."""


@cache
def _frame_names(count: int, first: int, frame_name: str) -> frozenset[str]:
    return frozenset(frame_name.format(number) for number in range(first, first + count))


def count_frames(folder: str | Path, frame_name: str = FRAME_NAME) -> tuple[int, int]:
    """The number of a clip's first frame, 0 or 1, and how many frames it has.

    Hidden files and files that are neither numbered nor pictures do not count: systems leave ._00001.jpg, .DS_Store or
    Thumbs.db.

    Args:
        frame_name: names of the frames, see ``names.split_frame_name``.

    Raises:
        InputError: for a gap, and for a picture with another name, such as 00003.JPG: training would not find it.
        OSError: if there are none, or if the folder cannot be read.
    """
    found = os.listdir(folder)
    if found and _frame_names(len(found), 1, frame_name).issuperset(found):
        return 1, len(found)
    names = sorted(name for name in found if name.split(".")[0].isdecimal() or is_picture(name))
    if not names:
        raise FileNotFoundError(errno.ENOENT, "no frames", folder)
    before, behind = split_frame_name(frame_name)
    for name in names:
        number = name[len(before) : len(name) - len(behind)]
        if not number.isdecimal() or name != frame_name.format(int(number)):
            expected = f"{frame_name.format(1)}, {frame_name.format(2)} ...{_other_frame_name(name, frame_name)}"
            raise InputError(f"{folder}/{name}: not the name of a frame; expected {expected}")
    first = 0 if frame_name.format(0) in names else 1
    missing = _frame_names(len(names), first, frame_name).difference(names)
    if missing:
        raise GapError(f"{folder}: {len(names)} frames, but {min(missing)} is not among them")
    return first, len(names)


def _other_frame_name(name: str, frame_name: str) -> str:
    """Advice to give ``--frame_name``, if this may be a frame with another form of name."""
    match = re.fullmatch(r"([^{}]*?)(\d+)(\.\w+)", name)
    if not match or not is_picture(name):
        return ""
    other = f"{match[1]}{{:0{len(match[2])}d}}{match[3]}"
    return f", or --frame_name '{other}'" if other != frame_name else ""


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its name, and not hidden."""
    return name.lower().endswith(PICTURE_SUFFIXES) and name[0] != "."


def frame_counts(images: Path, clips: list[str], frame_name: str) -> Generator[int | Exception, None, None]:
    """Yields the number of frames of each clip, in its folder or in the tar, or the error met in counting.

    Many folders are counted in one process per core. Threads gain nothing: listing a folder takes and releases the
    interpreter's lock for every name. All clips must count from the same number as the first one.
    """
    packed = open_packed(images)
    if packed:
        counts = (_count_packed(packed, clip) for clip in clips)
    else:
        count, folders = partial(_count_or_error, frame_name=frame_name), [os.path.join(images, clip) for clip in clips]
        counts = in_processes(count, folders, len(folders) // FOLDERS_WORTH_A_PROCESS, "counts frames", chunk=256)
    base, its_clip = None, ""
    with closing(counts):
        for clip, counted in zip(clips, counts):
            if isinstance(counted, Exception):
                yield counted
                continue
            first, num_frames = counted
            if base is None:
                base, its_clip = first, clip
            if first == base:
                yield num_frames
            else:
                other = f"frames are counted from {first}, but in {images / its_clip} from {base}; rename them"
                yield InputError(f"{images / clip}: {other}")


def _count_packed(packed: PackedFrames, clip: str) -> tuple[int, int] | Exception:
    numbers = packed.numbers(clip)
    return (numbers[0], len(numbers)) if numbers else FileNotFoundError(errno.ENOENT, "not in the tar")


def _count_or_error(folder: str, frame_name: str) -> tuple[int, int] | Exception:
    try:
        return count_frames(folder, frame_name)
    except (InputError, OSError) as error:
        return error
