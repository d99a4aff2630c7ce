"""The truth about streams: which gestures a video shows, and when.

JSON: {"one.mp4": [{"start": 1.5, "end": 3.9, "label": "Thumb Up"}, ...], "two.mp4": []}
CSV:  video,start,end,label
      one.mp4,1.5,3.9,Thumb Up
      two.mp4,,,

Times are seconds. A video without gestures is listed as well. Gestures of one label do not overlap in a video. A CSV
may have its columns in any order, and a column ``split``, which counts for training only: it may be the annotations of
``prepare_videos``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from model_utils.errors import InputError
from model_utils.files import read_file
from src.data.lists import parse_seconds, separator_of
from src.data.names import BACKGROUND
from src.data.video import Span

TRUTH_COLUMNS = ["video", "start", "end", "label"]
FORM = '{video: [{"start", "end", "label"}, ...]}'

TruthRow = tuple  # place in the file, video[, start, end, label]: without these for a video without gestures


def read_truth(
    path: str | Path, categories: list[str], videos: Collection[str], background: Collection[str] = BACKGROUND
) -> dict[str, list[Span]]:
    """The gestures of each video, in order of start.

    Args:
        categories: the classes that a label may be, those of ``background`` excepted.
        videos: names of the videos that there are; the file must list these and no others.
        background: the classes that are no gesture.

    Raises:
        InputError: naming the file and the line or entry, if it cannot be read or is wrong.
    """
    path = Path(path)
    try:
        text = read_file(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{path}: cannot be read ({reason}); expected a .json or .csv file") from None
    rows = {".json": _json_rows, ".csv": _csv_rows}.get(path.suffix.lower())
    if rows is None:
        raise InputError(f"{path}: expected a file whose name ends in .json or .csv")
    truth = _collect(rows(path, text), categories, videos, background)
    missing = [video for video in videos if video not in truth]
    if missing:
        raise InputError(f"{path}: nothing about {_some(missing)}; expected all videos, also those without gestures")
    return {video: sorted(spans) for video, spans in truth.items()}


def _collect(
    rows: Iterator[TruthRow], categories: list[str], videos: Collection[str], background: Collection[str]
) -> dict[str, dict[Span, str]]:
    """The gestures of each video, with their places in the file."""
    truth: dict[str, dict[Span, str]] = {}
    known = set(videos)
    empty: dict[str, str] = {}  # places of the rows without a gesture
    for place, video, *gesture in rows:
        if video not in known:
            raise InputError(f"{place}: there is no video {video!r}; expected one of {_some(videos)}")
        spans = truth.setdefault(video, {})
        if gesture:
            start, end, label = gesture
            if label in background:
                raise InputError(f"{place}: label {label!r} is no gesture; leave such rows out")
            span = _span(place, start, end, label, categories)
            if span in spans:
                raise InputError(f"{place}: the same gesture as {spans[span]}; expected each once")
            spans[span] = place
        else:
            empty[video] = place
        if spans and video in empty:
            raise InputError(f"{empty[video]}: {video} has no gesture here, and one in {next(iter(spans.values()))}")
    for spans in truth.values():
        _check_overlaps(spans)
    return truth


def _json_rows(path: Path, text: str) -> Iterator[TruthRow]:
    try:
        document = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]!r} is listed twice; expected each video once") from None
    except (ValueError, RecursionError) as error:  # a number or a nesting that Python does not read
        raise InputError(f"{path}: not JSON that can be read: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected {FORM}")
    for video, gestures in document.items():
        if not isinstance(gestures, list):
            raise InputError(f"{path}: {video}: {gestures!r}; expected a list of gestures")
        if not gestures:
            yield f"{path}: {video}", video
        for number, gesture in enumerate(gestures, 1):
            place = f"{path}: {video}: gesture {number}"
            if not isinstance(gesture, dict) or gesture.keys() != {"start", "end", "label"}:
                raise InputError(f'{place}: {gesture!r}; expected {{"start", "end", "label"}}')
            yield place, video, gesture["start"], gesture["end"], gesture["label"]


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; KeyError for a key that it has twice, of which the standard parser keeps the last."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise KeyError(key)
        found[key] = value
    return found


def _csv_rows(path: Path, text: str) -> Iterator[TruthRow]:
    lines, header = text.splitlines(), TRUTH_COLUMNS
    separator = separator_of(lines[0] if lines else "")
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        for row in reader:
            place = f"{path}:{reader.line_num}"
            if reader.line_num == 1:
                header = [name.strip().lower() for name in row]
                if not set(TRUTH_COLUMNS) <= set(header) <= {*TRUTH_COLUMNS, "split"} or len(header) != len(
                    set(header)
                ):
                    raise InputError(f"{place}: header {','.join(row)!r}; expected {','.join(TRUTH_COLUMNS)!r}")
                continue
            if len(row) != len(header):
                raise InputError(f"{place}: {len(row)} values; expected {','.join(header)}")
            video, start, end, label = (row[header.index(name)] for name in TRUTH_COLUMNS)
            if separator != ",":
                start, end = start.replace(",", "."), end.replace(",", ".")
            yield (place, video, *((start, end, label) if start or end or label else ()))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None


def _check_overlaps(spans: dict[Span, str]) -> None:
    latest: dict[str, Span] = {}
    for span in sorted(spans):
        before = latest.get(span.label)
        if before and before.end and span.start < before.end:
            raise InputError(f"{spans[span]}: {span.label} overlaps {spans[before]}; expected one after the other")
        latest[span.label] = span


def _span(place: str, start: Any, end: Any, label: Any, categories: list[str]) -> Span:
    start, end = parse_seconds(place, "start", start), parse_seconds(place, "end", end)
    if end <= start:
        raise InputError(f"{place}: end {end:g} s, start {start:g} s; expected an end after the start")
    if label not in categories:
        raise InputError(f"{place}: label {label!r}; expected one of {', '.join(categories)}")
    return Span(start, end, label, 1.0)


def _some(names: Collection[str], at_most: int = 3) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(list(names)[:at_most]) + more
