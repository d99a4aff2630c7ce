"""The ground truth of streams: which gestures a video shows, and when.

JSON: {"one.mp4": [{"start": 1.5, "end": 3.9, "label": "Thumb Up"}, ...], "two.mp4": []}
CSV:  video,start,end,label
      one.mp4,1.5,3.9,Thumb Up
      two.mp4,,,

Times are seconds. Videos without gestures are listed as well. Gestures of one label do not overlap in a video. A CSV
may have its columns in any order. The annotations of ``prepare_videos`` work too; their column ``split`` is ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from model_utils.errors import InputError
from src.data.lists import first_three, parse_seconds, read_json, read_table
from src.data.names import BACKGROUND
from src.data.video import Span

TRUTH_COLUMNS = "video,start,end,label[,split]"
FORM = '{video: [{"start", "end", "label"}, ...]}'


class TruthRow(NamedTuple):
    place: str  # in the file
    video: str
    gesture: tuple[Any, Any, Any] | None  # start, end, label; None for a video without gestures


def read_truth(
    path: str | Path, categories: list[str], videos: Collection[str], background: Collection[str] = BACKGROUND
) -> dict[str, list[Span]]:
    """The gestures of each video, in order of start.

    Args:
        categories: the classes; a label is one of them, but not of ``background``.
        videos: names of the videos; the file must list all of them and no others.
        background: the classes that are no gesture.

    Raises:
        InputError: naming the file and the line or entry, if it cannot be read or is wrong.
    """
    rows = {".json": _json_rows, ".csv": _csv_rows}.get(Path(path).suffix.lower())
    if rows is None:
        raise InputError(f"{path}: expected a file whose name ends in .json or .csv")
    truth = _collect(rows(path), categories, videos, background)
    missing = [video for video in videos if video not in truth]
    if missing:
        expected = "expected all videos, also those without gestures"
        raise InputError(f"{path}: nothing about {first_three(missing)}; {expected}")
    return {video: sorted(spans) for video, spans in truth.items()}


def _collect(
    rows: Iterator[TruthRow], categories: list[str], videos: Collection[str], background: Collection[str]
) -> dict[str, dict[Span, str]]:
    """The gestures of each video, with their places in the file."""
    truth: dict[str, dict[Span, str]] = {}
    known = set(videos)
    empty: dict[str, str] = {}  # places of the rows without a gesture
    for place, video, gesture in rows:
        if video not in known:
            raise InputError(f"{place}: there is no video {video!r}; expected one of {first_three(videos)}")
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


def _json_rows(path: str | Path) -> Iterator[TruthRow]:
    document = read_json(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected {FORM}")
    for video, gestures in document.items():
        if not isinstance(gestures, list):
            raise InputError(f"{path}: {video}: {gestures!r}; expected a list of gestures")
        if not gestures:
            yield TruthRow(f"{path}: {video}", video, None)
        for number, gesture in enumerate(gestures, 1):
            place = f"{path}: {video}: gesture {number}"
            if not isinstance(gesture, dict) or gesture.keys() != {"start", "end", "label"}:
                raise InputError(f'{place}: {gesture!r}; expected {{"start", "end", "label"}}')
            yield TruthRow(place, video, (gesture["start"], gesture["end"], gesture["label"]))


def _csv_rows(path: str | Path) -> Iterator[TruthRow]:
    for place, row in read_table(path, TRUTH_COLUMNS):
        gesture = row["start"], row["end"], row["label"]
        yield TruthRow(place, row["video"], gesture if any(gesture) else None)


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
