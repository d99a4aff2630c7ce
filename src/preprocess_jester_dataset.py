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
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # run by its path, where Python looks for modules beside this file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.progress import progress
from src.data.frame_counts import frame_counts
from src.data.lists import is_blank, read_lines, require_disjoint, write_lists
from src.data.names import (
    CATEGORIES_FILE,
    FRAME_NAME,
    JESTER,
    LABELS_DIR_NAME,
    LIST_FILES,
    SOMETHING_V1,
    split_frame_name,
)

UNKNOWN_CLASS = -1


class Row(NamedTuple):
    """One line of a label list; ``label`` is None in a list of clips only. ``place`` is file:line, for messages."""

    place: str
    clip: str
    label: str | None


def find_list(labels_path: Path, name: str) -> Path | None:
    """The label list ``name`` ("train", ...) under its present or an older file name, or None."""
    paths = [labels_path / f"{prefix}{name}.csv" for prefix in ("", JESTER.list_prefix, SOMETHING_V1.list_prefix)]
    return next((path for path in paths if path.is_file()), None)


def _require_list(labels_path: Path, name: str) -> Path:
    path = find_list(labels_path, name)
    if path is None:
        raise InputError(f"{labels_path / name}.csv: no such file, and no jester-v1-{name}.csv either")
    return path


def _find_optional_list(labels_path: Path, name: str) -> Path | None:
    path = find_list(labels_path, name)
    if path is not None and is_blank(path):
        print(f"{path}: empty, not used", flush=True)
        return None
    return path


def _read_label_list(path: Path, expected: str) -> list[tuple[str, str]]:
    """(file:line, text) of every line; empty lines at the end do not count."""
    if is_blank(path):
        raise InputError(f"{path}: empty file; expected {expected}")
    rows = read_lines(path, expected)
    while not rows[-1][1]:
        rows.pop()
    return rows


def read_categories(path: Path) -> list[str]:
    """The class names in ``labels.csv``, sorted, whatever their order in the file."""
    places: dict[str, str] = {}
    for place, name in _read_label_list(path, "one class name a line"):
        if not name or ";" in name:
            raise InputError(f"{place}: {name!r}, expected a class name without ';'")
        if name in places:
            raise InputError(f"{place}: {name!r} is here twice, first in {places[name]}")
        places[name] = place
    return sorted(places)


def read_clips(path: Path, labelled: bool) -> list[Row]:
    """Rows ``<clip>;<label>`` (or ``<clip>`` where ``labelled`` is false), in the order of the file."""
    expected = "<clip>;<label>" if labelled else "<clip>"
    rows: dict[str, Row] = {}
    for place, line in _read_label_list(path, f"rows {expected}"):
        clip, *label = (part.strip() for part in line.split(";"))
        if not clip or len(label) != labelled or "" in label:
            raise InputError(f"{place}: {line!r}, expected {expected}")
        # Names with spaces are fine: the readers of a list file split its rows from the right.
        if re.search(r"[/\\]", clip) or clip in (".", ".."):
            raise InputError(
                f"{place}: clip {clip!r}, expected {expected} with the name of one folder, without / or \\"
            )
        if clip in rows:
            raise InputError(f"{place}: clip {clip} is here twice, first in {rows[clip].place}")
        rows[clip] = Row(place, clip, label[0] if labelled else None)
    return list(rows.values())


def list_lines(
    rows: list[Row], counts: Iterator[int | Exception], images_path: Path, class_index: dict[str, int]
) -> list[str]:
    """Lines ``<folder> <num_frames> <class index>``, one for each row, in their order.

    Args:
        rows: the clips.
        counts: gives for each clip its number of frames or the error met in counting.
        images_path: folder of the clips' folders.
        class_index: of each class name.

    Raises:
        InputError: naming the row, for a label that is not in ``class_index`` and for a clip without folder.
    """
    lines = []
    with progress("Clips", len(rows), "clip") as update:
        for row, num_frames in zip(rows, counts):
            if row.label is not None and row.label not in class_index:
                raise InputError(f"{row.place}: unknown label {row.label!r}, expected a name from the list of labels")
            if isinstance(num_frames, OSError):
                raise InputError(f"{row.place}: clip folder {images_path / row.clip}: {num_frames.strerror}")
            if isinstance(num_frames, InputError):
                raise num_frames
            lines.append(f"{row.clip} {num_frames} {UNKNOWN_CLASS if row.label is None else class_index[row.label]}")
            update(1)
    return lines


def read_test_clips(labels_path: Path) -> list[Row]:
    """Rows of the test list, in its order, with the labels of the answers if there are any; [] without a test list."""
    clips_path = _find_optional_list(labels_path, "test")
    answers_path = _find_optional_list(labels_path, "test-answers")
    if clips_path is None:
        return []
    rows = read_clips(clips_path, labelled=False)
    if answers_path is None:
        return rows
    answers = {row.clip: row for row in read_clips(answers_path, labelled=True)}
    for row in rows:
        if row.clip not in answers:
            raise InputError(f"{answers_path}: no answer for clip {row.clip} of {row.place}")
    return [answers[row.clip] for row in rows]


def prepare(images_path: Path, labels_path: Path, save_path: Path, frame_name: str = FRAME_NAME) -> None:
    """Writes the list files into ``save_path``, all or none.

    Raises:
        InputError: if a list or a clip's folder is wrong, or a file cannot be written.
    """
    split_frame_name(frame_name)
    if not images_path.is_dir():
        raise InputError(f"{images_path}: no such folder; expected the folder with one folder per clip")
    categories = read_categories(_require_list(labels_path, "labels"))
    clips = {
        "training": read_clips(_require_list(labels_path, "train"), labelled=True),
        "validation": read_clips(_require_list(labels_path, "validation"), labelled=True),
        "test": read_test_clips(labels_path),
    }
    require_disjoint([[(row.place, row.clip) for row in rows] for rows in clips.values()], "clip")

    class_index = {name: index for index, name in enumerate(categories)}
    files: dict[str, list[str]] = {CATEGORIES_FILE: categories}
    folders = [os.path.join(images_path, row.clip) for rows in clips.values() for row in rows]
    with frame_counts(folders, frame_name) as counts:
        for split, rows in clips.items():
            if rows:
                print(f"Prepare {split} folders list", flush=True)
                files[LIST_FILES[split]] = list_lines(rows, counts, images_path, class_index)
    write_lists(files, save_path)


def default_images_dir_name(dataset_root: Path) -> str:
    """The folder of Something-Something v1 if only that is there, else that of Jester."""
    v1 = (dataset_root / SOMETHING_V1.folder).is_dir() and not (dataset_root / JESTER.folder).is_dir()
    return SOMETHING_V1.folder if v1 else JESTER.folder


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
    args = parser.parse_args(argv)
    labels_path = args.labels_path or args.dataset_root / LABELS_DIR_NAME
    save_path = args.save_labels_path or args.dataset_root
    images = args.images_dir_name or default_images_dir_name(args.dataset_root)
    print(f"dataset path: {args.dataset_root}\nlabels path: {labels_path}\nlabels save to: {save_path}\n", flush=True)
    prepare(args.dataset_root / images, labels_path, save_path, args.frame_name)


preprocess_dataset = main  # the model zoo's name


if __name__ == "__main__":
    from model_utils.util import run_main

    run_main(main)
