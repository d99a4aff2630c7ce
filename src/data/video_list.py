"""Reads the clips of a list file; has the model zoo's ``TSNDataSet``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Callable

import numpy as np
from PIL import Image

from model_utils.errors import InputError
from model_utils.settings import Settings
from src import sampling
from src.data.frame_files import FrameFolders, VideoRecord, dataset_frames
from src.data.lists import read_lines
from src.data.names import split_frame_name

MOST_CLASSES = 2**31 - 1


def read_video_list(
    path: str | os.PathLike, num_classes: int, frames: FrameFolders, unknown: bool = False
) -> list[VideoRecord]:
    """The clips of a list file: ``<folder> [<first frame>] <number of frames> <class index>`` a line.

    Args:
        num_classes: the class index is below this.
        frames: where the frames are. The folders there decide whether a number is a first frame or the end of a
            folder's name, and whether frames are counted from 0 or from 1.
        unknown: whether the class may be unknown, index -1.

    Raises:
        InputError: naming file and line, for a malformed row, a clip without frames or a wrong class index; for a file
            that cannot be read or has no rows.
    """
    has_clip = cache(frames.files.has_clip)
    rows = read_lines(path, "rows '<folder> <number of frames> <class index>'")
    lowest = -1 if unknown else 0
    records = [_parse_row(place, line, lowest, num_classes, has_clip) for place, line in rows]
    _check_labels(rows, records)
    whole = next((record for record in records if not record.is_stretch), None)
    if whole and frames.files.has_numbers(whole.folder, range(whole.num_frames)):
        records = [record if record.is_stretch else replace(record, first=0) for record in records]
    return records


def _check_labels(rows: list[tuple[str, str]], records: list[VideoRecord]) -> None:
    """Raises InputError if a clip is listed with two classes. Two rows with the same class count twice."""
    first: dict[tuple[str, int, int], int] = {}
    for number, record in enumerate(records):
        before = first.setdefault((record.folder, record.first, record.num_frames), number)
        if records[before].label != record.label:
            place, other = rows[number][0], rows[before][0]
            raise InputError(f"{place}: {record.name} has class {record.label}, but {records[before].label} in {other}")


def read_clips(config: Settings, list_name: str, num_classes: int, unknown: bool = False) -> list[VideoRecord]:
    """``read_video_list`` of a list in ``config.dataset_root``."""
    return read_video_list(Path(config.dataset_root, list_name), num_classes, dataset_frames(config), unknown)


def _parse_row(place: str, line: str, lowest: int, num_classes: int, is_folder: Callable[[str], bool]) -> VideoRecord:
    try:
        record = record_of(line)
    except ValueError:
        expected = "'<folder> <number of frames> <class index>'"
        raise InputError(f"{place}: row {line!r}; expected {expected}") from None
    if record.num_frames < 1:
        raise InputError(f"{place}: {record.num_frames} frames; expected at least 1")
    if not lowest <= record.label < num_classes:
        raise InputError(f"{place}: class index {record.label}; expected {lowest} to {num_classes - 1}")
    longer, *first = record.folder.rsplit(None, 1)
    if first and first[0].isdecimal() and not is_folder(record.folder) and is_folder(longer):
        return replace(record, folder=longer, first=int(first[0]), is_stretch=True)
    return record


def record_of(row: str | Sequence[str]) -> VideoRecord:
    """A row ``<folder> <number of frames> <class index>``, a text or its three parts. ValueError for another row."""
    folder, num_frames, label = row.rsplit(None, 2) if isinstance(row, str) else row
    return VideoRecord(folder.strip(), int(num_frames), int(label))


class TSNDataSet:
    """The model zoo's dataset: item i is ``transforms`` of the T Pillow frames of clip i, and its label.

    Frames are drawn anew at each access, not by seed, epoch and clip as in ``src.tsn_dataset``.

    Args:
        root_path: folder of the clips' folders.
        list_file: rows ``<folder> <number of frames> <class index>``.
        num_segments: T.
        image_tmpl: names of the frames.
        transforms: function of the list of T frames; None leaves the list.
        random_shift: draw a frame of each segment instead of its middle one.
        test_mode: take the middle frames in any case.
        check_frames: raise InputError at once for a missing frame.
    """

    def __init__(
        self,
        root_path: str,
        list_file: str,
        num_segments: int = 3,
        image_tmpl: str = "img_{:05d}.jpg",
        transforms: Callable[[list[Image.Image]], Any] | None = None,
        random_shift: bool = True,
        test_mode: bool = False,
        check_frames: bool = False,
    ) -> None:
        split_frame_name(image_tmpl)
        self.frames = FrameFolders(Path(root_path), image_tmpl)
        self.video_list = read_video_list(list_file, MOST_CLASSES, self.frames)
        self.num_segments, self.transforms = num_segments, transforms
        self.draws = random_shift and not test_mode
        for record in self.video_list if check_frames else ():
            for path in (self.frames.path(record, index) for index in range(record.num_frames)):
                if not os.path.isfile(path):
                    raise InputError(f"{path}: frame is missing")

    def __len__(self) -> int:
        return len(self.video_list)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        record = self.video_list[index]
        if self.draws:
            indices = sampling.train_segments(record.num_frames, self.num_segments, np.random.default_rng())
        else:
            indices = sampling.test_segments(record.num_frames, self.num_segments)
        frames = [Image.fromarray(frame[..., ::-1]) for frame in self.frames.read(record, indices)]
        return self.transforms(frames) if self.transforms else frames, record.label
