"""Frame folders and label lists -> the list files that training and evaluation read.

    labels/labels.csv       names                ->  categories.txt           sorted; the class index is the line
    labels/train.csv        <clip>;<name>        ->  train_videofolder.txt    <folder> <num_frames> <class index>
    labels/validation.csv   <clip>;<name>        ->  val_videofolder.txt
    labels/test.csv         <clip>               ->  test_videofolder.txt     -1 where the answer is not known
    labels/test-answers.csv <clip>;<name>

Older downloads call the lists ``jester-v1-train.csv`` and so on. A test list that is missing or empty gives no list
file; without answers the class is -1. All list files are written, or none.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.progress import progress
from src.data.lists import is_blank, read_lines, write_lists
from src.data.names import CATEGORIES_FILE, FRAME_NAME, IMAGES_DIR_NAME, LABELS_DIR_NAME, LIST_FILES

UNKNOWN_CLASS = -1
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
FOLDERS_WORTH_A_PROCESS = 5000


class Row(NamedTuple):
    """One line of a label list; ``label`` is None in a list of clips only. ``place`` is file:line, for messages."""

    place: str
    clip: str
    label: str | None


def find_list(labels_path: Path, name: str) -> Path | None:
    """The label list ``name`` ("train", ...) under its present or its older file name, or None."""
    for path in (labels_path / f"{name}.csv", labels_path / f"jester-v1-{name}.csv"):
        if path.is_file():
            return path
    return None


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


@cache
def _frame_names(count: int) -> frozenset[str]:
    return frozenset(FRAME_NAME.format(number) for number in range(1, count + 1))


def count_frames(folder: str | Path) -> int:
    """How many frames 00001.jpg, 00002.jpg ... a clip has.

    Hidden files and files that are neither numbered nor pictures do not count: systems leave ._00001.jpg, .DS_Store or
    Thumbs.db.

    Raises:
        InputError: if there are none, for a gap, and for a picture with another name, such as 00003.JPG: training would
            not find it.
    """
    found = os.listdir(folder)
    if found and _frame_names(len(found)).issuperset(found):
        return len(found)
    names = sorted(name for name in found if _is_numbered(name) or _is_picture(name))
    first = FRAME_NAME.format(1)
    if not names:
        raise InputError(f"{folder}: no frames in it; expected {first}, {FRAME_NAME.format(2)} ...")
    for name in names:
        number = name.split(".")[0]
        if not _is_numbered(name) or name != FRAME_NAME.format(int(number)):
            raise InputError(f"{folder}/{name}: not the name of a frame; expected {first}, {FRAME_NAME.format(2)} ...")
    missing = _frame_names(len(names)).difference(names)
    if missing:
        raise InputError(f"{folder}: {len(names)} frames, but {min(missing)} is not among them")
    return len(names)


def _is_numbered(name: str) -> bool:
    return name.split(".")[0].isdecimal()


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURE_SUFFIXES) and name[0] != "."


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


@contextlib.contextmanager
def _frame_counts(folders: list[str]) -> Iterator[Iterator[int | Exception]]:
    """``count_frames`` of each folder, or the error it raised; for many folders, in one process for each core.

    Not threads: listing a folder takes and releases the interpreter's lock for every name in it.
    """
    processes = min(os.cpu_count() or 1, len(folders) // FOLDERS_WORTH_A_PROCESS)
    if processes < 2:
        yield map(_count_or_error, folders)
        return
    spawning = multiprocessing.get_context("spawn")  # not every library that the caller has loaded survives a fork
    with spawning.Pool(processes, _ignore_interrupt) as pool:
        yield pool.imap(_count_or_error, folders, chunksize=256)


def _count_or_error(folder: str) -> int | Exception:
    try:
        return count_frames(folder)
    except (InputError, OSError) as error:
        return error


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started the others


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


def prepare(images_path: Path, labels_path: Path, save_path: Path) -> None:
    """Writes the list files into ``save_path``, all or none.

    Raises:
        InputError: if a list or a clip's folder is wrong, or a file cannot be written.
    """
    if not images_path.is_dir():
        raise InputError(f"{images_path}: no such folder; expected the folder with one folder per clip")
    categories = read_categories(_require_list(labels_path, "labels"))
    clips = {
        "training": read_clips(_require_list(labels_path, "train"), labelled=True),
        "validation": read_clips(_require_list(labels_path, "validation"), labelled=True),
        "test": read_test_clips(labels_path),
    }
    _require_disjoint(clips)

    class_index = {name: index for index, name in enumerate(categories)}
    files: dict[str, list[str]] = {CATEGORIES_FILE: categories}
    folders = [os.path.join(images_path, row.clip) for rows in clips.values() for row in rows]
    with _frame_counts(folders) as counts:
        for split, rows in clips.items():
            if rows:
                print(f"Prepare {split} folders list", flush=True)
                files[LIST_FILES[split]] = list_lines(rows, counts, images_path, class_index)
    write_lists(files, save_path)


def _require_disjoint(clips: dict[str, list[Row]]) -> None:
    places: dict[str, str] = {}
    for rows in clips.values():
        for row in rows:
            if row.clip in places:
                raise InputError(f"{row.place}: clip {row.clip} is in another list too, {places[row.clip]}")
        places.update((row.clip, row.place) for row in rows)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(
        prog="preprocess_jester_dataset", description="Write the list files that training and evaluation read."
    )
    parser.add_argument("dataset_root", type=Path, help="folder of the unpacked dataset")
    parser.add_argument("--labels_path", type=Path, help="folder with the label lists (default DATASET_ROOT/labels)")
    parser.add_argument("--save_labels_path", type=Path, help="folder for the list files (default DATASET_ROOT)")
    parser.add_argument("--images_dir_name", default=IMAGES_DIR_NAME, help="folder of the clips (default %(default)s)")
    args = parser.parse_args(argv)
    labels_path = args.labels_path or args.dataset_root / LABELS_DIR_NAME
    save_path = args.save_labels_path or args.dataset_root
    print(f"dataset path: {args.dataset_root}\nlabels path: {labels_path}\nlabels save to: {save_path}\n", flush=True)
    prepare(args.dataset_root / args.images_dir_name, labels_path, save_path)


if __name__ == "__main__":
    from model_utils.util import run_main

    run_main(main)
