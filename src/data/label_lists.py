"""Reads the label lists of Jester and Something-Something v1, under all their names and in all their forms.

    labels                   one class name a line
    train, validation        <clip>;<class name>, or with a comma, or with a header: video_id,label,frames,...
    test                     <clip>, or like the others
    test-answers             <clip>;<class name>

The file of ``train`` is ``train.csv``, ``jester-v1-train.csv`` or ``Train.csv``, and so on.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from model_utils.errors import InputError
from model_utils.files import exists, list_folder, read_file
from src.data.lists import is_blank, require_disjoint, split_lines
from src.data.names import JESTER, LONGEST_NAME, SOMETHING_V1, Release, check_classes

LISTS = ("labels", "train", "validation", "test", "test-answers")
CLIP_COLUMNS, LABEL_COLUMN = ("video_id", "id"), "label"  # of a header
ROW_FORMS = {True: "<clip>;<label>", False: "<clip>", None: "<clip> or <clip>;<label>"}


class LabelRow(NamedTuple):
    """One line of a label list; ``label`` is None in a list of clips only. ``place`` is file:line, for messages."""

    place: str
    clip: str
    label: str | None


class LabelList(NamedTuple):
    """A label list: its path, for messages, and its content."""

    path: str | os.PathLike
    data: bytes


def list_name(file_name: str, releases: Iterable[Release] = (JESTER, SOMETHING_V1)) -> str | None:
    """The element of ``LISTS`` that a file name means, or None."""
    for release in releases:
        names = rf"(?:{re.escape(release.list_prefix)})?({'|'.join(LISTS)}){re.escape(release.list_suffix)}"
        if match := re.fullmatch(names, file_name, re.IGNORECASE):
            return match[1].lower()
    return None


def lists_in(folder: Path, releases: Iterable[Release] = (JESTER, SOMETHING_V1)) -> dict[str, LabelList]:
    """The label lists in a folder, by name; ``train.csv`` is preferred to other names of the same list.

    Raises:
        InputError: if the folder or a list cannot be read.
    """
    found: dict[str, Path] = {}
    for path in list_folder(folder) if exists(folder) else []:
        name = list_name(path.name, releases)
        if name and (name not in found or path.stem == name):
            found[name] = path
    return {name: read_list(path) for name, path in found.items()}


def read_list(path: Path) -> LabelList:
    """A label list. Raises InputError if it cannot be read."""
    try:
        return LabelList(path, read_file(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def require_lists(names: Iterable[str], source: str | os.PathLike, release: Release = JESTER) -> None:
    """Raises InputError if the lists for training and validation are not among ``names``."""
    suffix, prefix = release.list_suffix, release.list_prefix
    for name in ("train", "validation"):
        if name not in names:
            raise InputError(
                f"{source}: no list {name}{suffix}, and no {prefix}{name}{suffix} or {name.title()}{suffix}; put the"
                " label lists there, or into a folder labels in it; data archives may come without them"
            )


def read_class_names(file: LabelList) -> list[str]:
    """The class names of ``labels``, sorted, whatever their order in the file."""
    rows = _lines_of(file, "one class name a line")
    if rows[0][1].lower() == LABEL_COLUMN and rows[1:]:
        del rows[0]
    for place, name in rows:
        if not name or ";" in name:
            raise InputError(f"{place}: {name!r}, expected a class name without ';'")
    check_classes(rows)
    return sorted(name for _, name in rows)


def read_rows(file: LabelList, labelled: bool | None) -> list[LabelRow]:
    """The clips of a list, in the order of the file.

    Args:
        labelled: whether each row has a class name; None: all have one, or none has.

    Raises:
        InputError: naming the line, for a malformed row, a clip that is not a folder's name, and a duplicate clip.
    """
    lines = _lines_of(file, f"rows {ROW_FORMS[labelled]}")
    separator, columns = _form(lines[0][1])
    expected, form = separator.join(columns), {"delimiter": separator or ",", "quoting": csv.QUOTE_MINIMAL}
    if columns:
        place, header = lines.pop(0)
        if labelled and LABEL_COLUMN not in columns:
            raise InputError(f"{place}: header {header!r}; expected a column {LABEL_COLUMN}")
    else:
        labelled = bool(separator) if labelled is None else labelled
        columns = [*CLIP_COLUMNS[:1], LABEL_COLUMN][: 1 + labelled]
        expected = ROW_FORMS[labelled].replace(";", separator or ";")
        if separator != ",":  # 20BN's own form, where a quote is a character like any other
            form = {"delimiter": ";", "quoting": csv.QUOTE_NONE}
    rows: dict[str, LabelRow] = {}
    for place, line in lines:
        row = _row(place, line, form, columns, expected)
        if row.clip in rows:
            raise InputError(f"{place}: clip {row.clip} is here twice, first in {rows[row.clip].place}")
        rows[row.clip] = row
    return list(rows.values())


def in_20bn_form(files: dict[str, LabelList]) -> dict[str, bytes]:
    """The same lists in 20BN's form, {file name: content}. A list in that form is not changed.

    A missing list of class names is made from the training list, and answers from a test list with labels.
    """
    found = {f"{name}.csv": file.data for name, file in files.items()}
    if "labels" not in files:
        names = sorted({row.label or "" for row in read_rows(files["train"], labelled=True)})
        found["labels.csv"] = "".join(f"{name}\n" for name in names).encode()
    for name, file in files.items():
        if name == "labels" or not file.data.strip():
            continue
        separator, columns = _form(_lines_of(file, "a label list")[0][1])
        is_20bn = not columns and (separator == "" or (separator == ";" and name != "test"))
        if is_20bn:
            continue
        rows = read_rows(file, labelled=None if name == "test" else True)
        labelled = "".join(f"{row.clip};{row.label}\n" for row in rows if row.label is not None).encode()
        found[f"{name}.csv"] = labelled
        if name == "test":
            found["test.csv"] = "".join(f"{row.clip}\n" for row in rows).encode()
            if labelled:
                found.setdefault("test-answers.csv", labelled)
    return found


def _lines_of(file: LabelList, expected: str) -> list[tuple[str, str]]:
    """(file:line, text) of every line; empty lines at the end do not count."""
    rows = split_lines(file.data, file.path, expected)
    while rows and not rows[-1][1]:
        rows.pop()
    if not rows:
        raise InputError(f"{file.path}: empty file; expected {expected}")
    return rows


def _form(first_line: str) -> tuple[str, list[str]]:
    """The separator of a list, ";", "," or "", and the names of its columns, [] without a header."""
    separator = next((character for character in ";," if character in first_line), "")
    fields = first_line.split(separator) if separator else [first_line]
    names = [name.strip().strip('"').lower() for name in fields]
    return separator, names if set(names) & set(CLIP_COLUMNS) else []


def _row(place: str, line: str, form: dict[str, Any], columns: list[str], expected: str) -> LabelRow:
    try:
        fields = next(csv.reader([line], strict=True, **form), [])
    except csv.Error:
        fields = []
    found = dict(zip(columns, map(str.strip, fields))) if len(fields) == len(columns) else {}
    clip, label = next((found[name] for name in CLIP_COLUMNS if name in found), ""), found.get(LABEL_COLUMN)
    if not clip or label == "":
        raise InputError(f"{place}: {line[:200]!r}, expected {expected}")
    # Names with spaces are fine: the readers of a list file split its rows from the right.
    if re.search(r"[/\\]", clip) or clip in (".", "..") or len(clip.encode()) > LONGEST_NAME:
        raise InputError(
            f"{place}: clip {clip[:200]!r}, expected {expected} with the name of one folder, without / or \\, at most"
            f" {LONGEST_NAME} bytes long"
        )
    return LabelRow(place, clip, label)


def read_test_clips(files: dict[str, LabelList]) -> list[LabelRow]:
    """Rows of the test list, in its order, with the labels of the answers if there are any; [] without a test list.

    The labels may also stand in the test list itself.
    """
    used = {name: files[name] for name in ("test", "test-answers") if name in files}
    for name in [name for name, file in used.items() if is_blank(file.data)]:
        print(f"{used.pop(name).path}: empty, not used", flush=True)
    if "test" not in used:
        return []
    rows = read_rows(used["test"], labelled=None)
    if "test-answers" not in used:
        return rows
    answers = {row.clip: row for row in read_rows(used["test-answers"], labelled=True)}
    for row in rows:
        if row.clip not in answers:
            raise InputError(f"{used['test-answers'].path}: no answer for clip {row.clip} of {row.place}")
        if row.label not in (None, answers[row.clip].label):
            raise InputError(
                f"{row.place}: {row.label!r}, but {answers[row.clip].label!r} in {answers[row.clip].place}"
            )
    return [answers[row.clip] for row in rows]


def read_lists(labels_path: Path) -> tuple[list[str], dict[str, list[LabelRow]]]:
    """The class names, sorted, and the clips of each split. Without ``labels.csv`` the training list gives the names.

    Raises:
        InputError: if a list is missing or wrong, or a clip is in two of them.
    """
    files = lists_in(labels_path)
    require_lists(files, labels_path)
    clips = {
        "training": read_rows(files["train"], labelled=True),
        "validation": read_rows(files["validation"], labelled=True),
        "test": read_test_clips(files),
    }
    require_disjoint([[(row.place, row.clip) for row in rows] for rows in clips.values()], "clip")
    if "labels" in files:
        return read_class_names(files["labels"]), clips
    categories = sorted({row.label for row in clips["training"] if row.label})
    source = files["train"].path
    print(f"{labels_path}: no labels.csv; {len(categories)} class names from {source}", flush=True)
    return categories, clips
