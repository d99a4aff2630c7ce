"""Text files that a user brings: lists with one entry a line, tables and JSON."""

from __future__ import annotations

import codecs
import csv
import json
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from model_utils.errors import InputError
from model_utils.files import exists, path_text, read_file
from model_utils.util import write_whole
from src.data.names import CATEGORIES_FILE, LEFT_OUT_FILE, LIST_FILES, check_classes

# [hours:]minutes:seconds; below 60 behind a colon.
CLOCK = r"(?:([0-9]{1,4}):(?=[0-5]?[0-9]:))?([0-9]{1,4}):([0-5]?[0-9](?:\.[0-9]+)?)"


def read_lines(path: str | os.PathLike, expected: str) -> list[tuple[str, str]]:
    """``split_lines`` of a file.

    Raises:
        InputError: also for a file that cannot be read.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a text file with {expected}") from None
    return split_lines(data, path, expected)


def split_lines(data: bytes, path: str | os.PathLike, expected: str) -> list[tuple[str, str]]:
    """``(file:line, text)`` of every line, without the whitespace around the text.

    The text is UTF-8, with or without a byte order mark; lines end as on Linux, Windows or macOS.

    Args:
        path: the file, for the messages.
        expected: what its lines are, for the messages.

    Raises:
        InputError: for a file that is empty or is not UTF-8, and for a NUL byte.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        number, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        reason = f"line {number} is not UTF-8: byte 0x{byte:02x}"
        raise InputError(f"{path}: cannot be read ({reason}); expected a UTF-8 file with {expected}") from None
    # str.splitlines would also split at characters that may stand in a name, such as U+2028.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{path}: empty file; expected {expected}")
    rows = [(f"{path}:{number}", line.strip()) for number, line in enumerate(lines, 1)]
    for place, line in rows:
        if "\0" in line:
            raise InputError(f"{place}: NUL byte; expected {expected}")
    return rows


def is_blank(data: bytes) -> bool:
    """Whether a text file's content is nothing but whitespace."""
    return not data.removeprefix(codecs.BOM_UTF8).strip()


def require_disjoint(lists: list[list[tuple[str, str]]], kind: str) -> None:
    """Raises InputError if a name is in two lists of (place, name); ``kind`` says what it names."""
    places: dict[str, str] = {}
    for rows in lists:
        for place, name in rows:
            if name in places:
                raise InputError(f"{place}: {kind} {name} is in another list too, {places[name]}")
        places.update((name, place) for place, name in rows)


def missing_files(rows: list[tuple[str, Path]], kind: str, skip: bool) -> dict[str, str]:
    """{place: error message} of the ``rows``, (place, file), whose file does not exist.

    Raises:
        InputError: naming the first three, unless ``skip``; also if no row is left.
    """
    missing = {place: f"{place}: {path_text(path)}: no such {kind}" for place, path in rows if not exists(path)}
    if missing and (not skip or len(missing) == len(rows)):
        raise InputError(f"{first_three(missing.values())}; --missing skip leaves such rows out")
    return missing


def first_three(names: Collection[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(list(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def write_lists(folder: Path, categories: list[str], rows: dict[str, list[str]], left_out: list[str]) -> None:
    """Writes the lists of a dataset into ``folder``, all or none.

    An earlier run's test list and list of missing clips are removed if this run has none.

    Args:
        rows: {split, a key of ``LIST_FILES``: its lines}.
        left_out: a line for each missing clip.

    Raises:
        InputError: if a file cannot be written.
    """
    files = {CATEGORIES_FILE: categories, **{LIST_FILES[split]: lines for split, lines in rows.items()}}
    if left_out:
        files[LEFT_OUT_FILE] = left_out
        print(f"left out: {len(left_out)} clips, listed in {folder / LEFT_OUT_FILE}", flush=True)
    with ExitStack() as stack:
        for name, lines in files.items():
            partial = stack.enter_context(write_whole(folder / name, "list file"))
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for name in {LIST_FILES["test"], LEFT_OUT_FILE} - files.keys():
        (folder / name).unlink(missing_ok=True)


def read_categories(path: str | os.PathLike) -> list[str]:
    """The class names, one a line: the class index is the line's number, from 0.

    Raises:
        InputError: for a file that cannot be read, an empty line, and names that ``check_classes`` refuses.
    """
    rows = read_lines(path, "one class name a line")
    check_classes(rows)
    return [name for _, name in rows]


def parse_seconds(place: str, name: str, value: Any) -> float:
    """Seconds in a file: a number, or text such as 2.5, 1:23 (minutes and seconds) or 00:02:10.99.

    Raises:
        InputError: naming ``place`` and ``name``, if the value is not a time.
    """
    try:
        clock = re.fullmatch(CLOCK, value.strip()) if isinstance(value, str) else None
        if clock:
            hours, minutes, rest = clock.groups()
            seconds = 3600 * int(hours or 0) + 60 * int(minutes) + float(rest)
        else:
            seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf or isinstance(value, bool):
        raise InputError(f"{place}: {name} {value!r}; expected seconds, 0 or more, such as 2.5, 1:23 or 00:02:10.99")
    return seconds


def read_table(path: str | os.PathLike, form: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV with a header: ``file:line`` and {column: cell}; the cells of an empty line are "".

    Tabs or semicolons may replace the commas; then ``start`` and ``end`` may have decimal commas.

    Args:
        form: the columns, such as "video,label[,start,end]", in any order; columns in brackets are optional.

    Raises:
        InputError: naming the line, for a malformed header or row.
    """
    (place, header), *lines = read_lines(path, f"a header {form} and rows")
    separator = next((separator for separator in "\t,;" if separator in header), ",")
    columns = [name.strip().lower() for name in _cells(place, header, separator)]
    needed, known = (set(re.findall(r"\w+", text)) for text in (re.sub(r"\[.*?\]", "", form), form))
    if not needed <= set(columns) <= known or len(columns) != len(set(columns)):
        raise InputError(f"{place}: {header!r}; expected a header {form}")
    for place, line in lines:
        cells = [cell.strip() for cell in _cells(place, line, separator)]
        if separator == "\t" or not any(cells):  # a line has lost the tabs at its end
            cells += [""] * (len(columns) - len(cells))
        if len(cells) != len(columns) and any(cells):
            raise InputError(f"{place}: {line!r} has {len(cells)} values; expected {','.join(columns)}")
        row = dict(zip(columns, cells))
        if separator != ",":
            row.update({name: row[name].replace(",", ".") for name in ("start", "end") if name in row})
        yield place, row


def _cells(place: str, line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise InputError(f"{place}: not valid CSV: {error}") from None


def read_json(path: str | os.PathLike) -> Any:
    """The document in a JSON file.

    Raises:
        InputError: for a file that cannot be read, that is not JSON, or whose objects have a key twice.
    """
    try:
        return json.loads(read_file(path).decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{path}: cannot be read ({reason}); expected a JSON file") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]!r} is listed twice; expected it once") from None
    except (ValueError, RecursionError) as error:  # a number or a nesting that Python does not read
        raise InputError(f"{path}: not JSON that can be read: {error}") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; KeyError for a duplicate key, where the standard parser would keep the last value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyError(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return found
