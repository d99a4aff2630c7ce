"""Frame folders and label lists -> the list files that training and evaluation read.

    labels/labels.csv       names                ->  categories.txt           sorted; the class index is the line
    labels/train.csv        <clip>;<name>        ->  train_videofolder.txt    <folder> <num_frames> <class index>
    labels/validation.csv   <clip>;<name>        ->  val_videofolder.txt
    labels/test.csv         <clip>               ->  test_videofolder.txt     -1 where the answer is not known
    labels/test-answers.csv <clip>;<name>

Older downloads call the lists ``jester-v1-train.csv`` and so on. Something-Something v1 has lists and frames like
Jester. A test list that is missing or empty gives no list file; without answers the class is -1. All list files are
written, or none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # run by its path, where Python looks for modules beside this file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.files import is_folder
from model_utils.progress import progress
from model_utils.util import exclusive_folder, run_main
from src.data.frame_counts import GapError, frame_counts
from src.data.label_lists import LabelRow, read_lists
from src.data.lists import first_three, write_lists
from src.data.names import (
    FRAME_NAME,
    JESTER,
    LABELS_DIR_NAME,
    LEFT_OUT_FILE,
    LOCK_NAME,
    SOMETHING_V1,
    UNKNOWN_CLASS,
    split_frame_name,
)
from src.data.numbering import close_gaps
from src.data.packed import is_packed, require_frame_name


class CountedClips(NamedTuple):
    """The result of counting: lines of the list files by split, clips without frames and why, clips with gaps."""

    lines: dict[str, list[str]]
    missing: list[tuple[LabelRow, str]]
    gaps: list[str]


def count_clips(
    clips: dict[str, list[LabelRow]], counts: Iterator[int | Exception], images_path: Path, class_index: dict[str, int]
) -> CountedClips:
    """Lines ``<folder> <num_frames> <class index>`` of each split, in the order of its rows.

    Args:
        counts: gives for each clip its number of frames or the error met in counting.
        images_path: folder of the clips' folders.
        class_index: of each class name.

    Raises:
        InputError: naming the row, for a label that is not in ``class_index`` and for a folder that cannot be read.
    """
    found = CountedClips({}, [], [])
    for split, rows in clips.items():
        if rows:
            print(f"Prepare {split} folders list", flush=True)
            found.lines[split] = []
            with progress("Clips", len(rows), "clip") as update:
                for row, counted in zip(rows, counts):
                    _count_clip(found, split, row, counted, images_path, class_index)
                    update(1)
    return found


def _count_clip(
    found: CountedClips,
    split: str,
    row: LabelRow,
    counted: int | Exception,
    images_path: Path,
    class_index: dict[str, int],
) -> None:
    if row.label is not None and row.label not in class_index:
        raise InputError(f"{row.place}: unknown label {row.label!r}, expected a name from the list of labels")
    if isinstance(counted, GapError):
        found.gaps.append(row.clip)
    elif isinstance(counted, (FileNotFoundError, NotADirectoryError)):
        found.missing.append((row, str(counted.strerror)))
    elif isinstance(counted, OSError):
        raise InputError(f"{row.place}: clip folder {images_path / row.clip}: {counted.strerror}")
    elif isinstance(counted, Exception):
        raise counted
    else:
        label = UNKNOWN_CLASS if row.label is None else class_index[row.label]
        found.lines[split].append(f"{row.clip} {counted} {label}")


def _check_found(found: CountedClips, images_path: Path, skip: bool) -> None:
    """Raises InputError for gaps, and for missing clips unless they are skipped; each names the first three clips."""
    problems = []
    if found.missing and not skip:
        some = first_three([f"{row.clip} ({row.place}: {reason})" for row, reason in found.missing])
        clips = f"{len(found.missing)} listed clips are not there or have no frames: {some}"
        problems.append(f"{clips}; --missing skip leaves them out")
    if found.gaps:
        clips = f"{len(found.gaps)} clips have gaps in the numbers of their frames: {first_three(found.gaps)}"
        problems.append(f"{clips}; --renumber true renames the frames, in place and in their order")
    if problems:
        raise InputError(f"{images_path}: {'; '.join(problems)}")
    for split, lines in found.lines.items():
        if not lines:
            raise InputError(f"{images_path}: holds none of the clips for {split}")


def write_dataset_lists(
    images_path: Path,
    labels_path: Path,
    save_path: Path,
    frame_name: str = FRAME_NAME,
    skip_missing: bool = False,
    renumber: bool = False,
) -> None:
    """Writes the list files into ``save_path``, all or none.

    Args:
        images_path: folder of the clips' folders.
        frame_name: names of the frames, see ``names.split_frame_name``.
        skip_missing: leave out listed clips without frames, instead of raising an error.
        renumber: rename frames whose numbers have gaps.

    Raises:
        InputError: if a list or a clip's folder is wrong, or a file cannot be written.
    """
    split_frame_name(frame_name)
    packed = require_frame_name(images_path, frame_name)
    if not packed and not is_folder(images_path):
        raise InputError(f"{images_path}: no such folder; expected the folder with one folder per clip")
    categories, clips = read_lists(labels_path)
    with exclusive_folder(save_path, LOCK_NAME):
        names = [row.clip for rows in clips.values() for row in rows]
        if renumber and not packed:
            _close_gaps(images_path, names, frame_name)
        class_index = {name: index for index, name in enumerate(categories)}
        with closing(frame_counts(images_path, names, frame_name)) as counts:
            found = count_clips(clips, counts, images_path, class_index)
        _check_found(found, images_path, skip_missing)
        left_out = [f"{row.clip} {row.place}: {reason}" for row, reason in found.missing]
        write_lists(save_path, categories, found.lines, left_out)


def _close_gaps(images_path: Path, clips: list[str], frame_name: str) -> None:
    """Renames frames where their numbers have gaps. After a kill the next run continues."""
    with closing(frame_counts(images_path, clips, frame_name)) as counts:
        gaps = [images_path / clip for clip, counted in zip(clips, counts) if isinstance(counted, GapError)]
    try:
        for folder in gaps:
            close_gaps(folder, os.listdir(folder), frame_name)
    except OSError as error:
        raise InputError(f"{error.filename}: frames cannot be renamed: {error.strerror}") from error
    print(f"{len(gaps)} clips had gaps in the numbers of their frames; renamed, in their order", flush=True)


def default_images_dir_name(dataset_root: Path) -> str:
    """The folder of Something-Something v1 if only that is there, otherwise Jester's."""
    jester, v1 = (dataset_root / release.folder for release in (JESTER, SOMETHING_V1))
    is_v1 = (is_folder(v1) or is_packed(v1)) and not (is_folder(jester) or is_packed(jester))
    return (SOMETHING_V1 if is_v1 else JESTER).folder


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(
        prog="preprocess_jester_dataset", description="Write the list files that training and evaluation read."
    )
    parser.add_argument("dataset_root", type=Path, help="folder of the unpacked dataset")
    parser.add_argument("--labels_path", type=Path, help="folder with the label lists (default DATASET_ROOT/labels)")
    parser.add_argument("--save_labels_path", type=Path, help="folder for the list files (default DATASET_ROOT)")
    either = f"{JESTER.folder} or {SOMETHING_V1.folder}, whichever is there"
    parser.add_argument("--images_dir_name", help=f"folder of the clips (default {either})")
    parser.add_argument("--frame_name", default=FRAME_NAME, help="names of the frames (default %(default)s)")
    parser.add_choice("--missing", ("stop", "skip"), f"skip leaves out listed clips without frames ({LEFT_OUT_FILE})")
    parser.add_choice("--renumber", ("false", "true"), "true renames frames whose numbers have gaps")
    args = parser.parse_args(argv)
    labels_path = args.labels_path or args.dataset_root / LABELS_DIR_NAME
    save_path = args.save_labels_path or args.dataset_root
    print(f"dataset path: {args.dataset_root}\nlabels path: {labels_path}\nlabels save to: {save_path}\n", flush=True)
    options = {"skip_missing": args.missing == "skip", "renumber": args.renumber == "true"}
    try:
        images = args.images_dir_name or default_images_dir_name(args.dataset_root)
        write_dataset_lists(args.dataset_root / images, labels_path, save_path, args.frame_name, **options)
    except OSError as error:
        raise InputError(f"{error.filename or args.dataset_root}: cannot be read: {error.strerror}") from error


preprocess_dataset = main  # the model zoo's name


if __name__ == "__main__":
    run_main(main)
