"""Closes gaps in the numbers of frames: 00001, 00003, 00004 become 00001, 00002, 00003."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from src.data.names import FRAME_NAME, frame_number


def closing_renames(names: Iterable[str], frame_name: str = FRAME_NAME) -> list[tuple[str, str]]:
    """(old name, new name) of each frame to rename, so that the numbers have no gaps and the order stays.

    Numbers begin with 0 if there is a frame 0, else with 1. In this order no rename meets a name that is taken. After
    an interruption the next call gives the remaining renames.

    Args:
        names: of the files in a clip's folder; other files than frames do not count.
        frame_name: names of the frames, see ``names.split_frame_name``.
    """
    numbers = sorted(number for name in names if (number := frame_number(name, frame_name)) is not None)
    first = 0 if numbers[:1] == [0] else 1
    return [(frame_name.format(old), frame_name.format(new)) for new, old in enumerate(numbers, first) if old != new]


def close_gaps(folder: str | Path, names: Iterable[str], frame_name: str = FRAME_NAME) -> bool:
    """Renames the frames in a clip's folder, which holds files of these ``names``. Returns whether there was a gap."""
    renames = closing_renames(names, frame_name)
    for old, new in renames:
        os.rename(os.path.join(folder, old), os.path.join(folder, new))
    return bool(renames)
