"""Finds the clips in a folder of videos: from class folders, or from a CSV with segments.

VIDEOS/<class>/<anything>.mp4                     one clip for each video
video,label[,start,end][,split]                   one clip for each row; seconds; split is train, val or test

Tabs or semicolons may replace the commas.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from model_utils.errors import InputError
from model_utils.files import is_folder, list_folder, path_text
from src.data.lists import missing_files, parse_seconds, read_table
from src.data.video import VIDEO_SUFFIXES

SPLITS = {"train": "training", "val": "validation", "test": "test"}  # name in a CSV: key of LIST_FILES
ANNOTATION_COLUMNS = "video,label[,start,end][,split]"
STREAM_COLUMNS = ("start", "end", "label")


@dataclass(frozen=True)
class VideoClip:
    """A video, or a stretch of one.

    Attributes:
        place: where it is named, for messages: ``file:line`` of a CSV, or the video.
        video: path below the folder of videos.
        start: seconds.
        end: seconds; None is the end of the video.
        split: a key of ``LIST_FILES``; None if it is still to be drawn.
    """

    place: str
    video: str
    label: str
    start: float = 0.0
    end: float | None = None
    split: str | None = None

    @property
    def folder(self) -> str:
        """Name of its frame folder. Each stretch of a video has its own."""
        if not self.start and self.end is None:
            return self.video
        end = "end" if self.end is None else f"{self.end:.3f}"
        return f"{self.video}@{self.start:.3f}-{end}"

    @property
    def ends(self) -> float:
        """``end``; infinite if it is the video's."""
        return math.inf if self.end is None else self.end


def find_clips(videos: Path) -> list[VideoClip]:
    """The videos in the class folders of ``videos``, each as one clip, sorted. Hidden files and folders do not count.

    Raises:
        InputError: for a video outside a class folder, if there are no videos, and for a name that a list cannot hold.
    """
    clips = []
    for entry in _visible(videos):
        if is_folder(entry):
            found = [path.relative_to(videos) for path in _videos_below(entry)]
            if not found:
                print(f"{path_text(entry)}: no videos in this folder, so it is no class", flush=True)
            clips += [VideoClip(path_text(videos / path), str(path), entry.name) for path in sorted(found)]
        elif entry.suffix.lower() in VIDEO_SUFFIXES:
            expected = f"expected {path_text(videos)}/<class>/{path_text(entry.name)}, or a CSV with --annotations"
            raise InputError(f"{path_text(entry)}: is in no class folder; {expected}")
    if not clips:
        raise InputError(f"{path_text(videos)}: no videos ({', '.join(VIDEO_SUFFIXES)}) in folders <class>/ here")
    for clip in clips:
        _check_name(clip.place, "video", clip.video)
        _check_name(clip.place, "class", clip.label)
    return clips


def _videos_below(folder: Path) -> list[Path]:
    found = []
    for path in _visible(folder):
        if is_folder(path) and not path.is_symlink():
            found += _videos_below(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            found.append(path)
    return found


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in list_folder(folder) if entry.name[0] != "."]


def read_annotations(path: Path, videos: Path, left_out: list[str] | None = None) -> list[VideoClip]:
    """The clips of a CSV with a header, in its order.

    Args:
        path: the CSV, UTF-8.
        videos: folder that the paths of its column ``video`` start from.
        left_out: gets a message for each row whose video is missing; such a row is left out. None makes it an error.

    Raises:
        InputError: naming the line, for a malformed header or row, a missing video, an end before the start, a
            duplicate clip, and overlapping stretches of one video in different splits.
    """
    clips: dict[str, VideoClip] = {}
    for place, row in read_table(path, ANNOTATION_COLUMNS):
        if not any(row.values()):
            continue
        if set(STREAM_COLUMNS) <= row.keys() and [row[column] for column in STREAM_COLUMNS] == ["", "", ""]:
            continue  # a video without gestures, in a CSV of stream evaluation
        clip = _read_row(place, row, videos)
        if clip.folder in clips:
            raise InputError(f"{place}: this clip is here twice, first in {clips[clip.folder].place}")
        clips[clip.folder] = clip
    if not clips:
        raise InputError(f"{path}: no rows; expected a header {ANNOTATION_COLUMNS} and a row for each clip")
    files = [(clip.place, videos / clip.video) for clip in clips.values()]
    missing = missing_files(files, "video", left_out is not None)
    if left_out is not None:
        left_out += missing.values()
    found = [clip for clip in clips.values() if clip.place not in missing]
    if found[0].split is not None:
        _check_splits(found)
    return found


def _read_row(place: str, row: dict[str, str], videos: Path) -> VideoClip:
    _check_name(place, "video", row["video"])
    _check_name(place, "label", row["label"])
    video = os.path.normpath(row["video"])
    if os.path.isabs(video) or video.startswith(".."):
        raise InputError(f"{place}: video {row['video']!r}; expected a path below {path_text(videos)}")
    start, end = (parse_seconds(place, name, row[name]) if row.get(name) else None for name in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise InputError(f"{place}: from {start or 0.0:g} s to {end:g} s; expected an end after the start")
    split = row.get("split")
    if split is not None and split not in SPLITS:
        raise InputError(f"{place}: split {split!r}; expected {', '.join(SPLITS)} in every row, or no such column")
    return VideoClip(place, video, row["label"], start or 0.0, end, SPLITS[split] if split else None)


def _check_name(place: str, kind: str, name: str) -> None:
    """Raises InputError for a name that a line of a list cannot hold."""
    if not name or name != name.strip() or set(name) & set("\0\n\r") or path_text(name) != name:
        raise InputError(f"{path_text(place)}: {kind} {name!r}; expected a UTF-8 name without spaces around it")


def _check_splits(clips: list[VideoClip]) -> None:
    """Raises InputError for stretches of one video that overlap and are in different splits."""
    latest: dict[tuple[str, str | None], VideoClip] = {}  # by video and split, the clip that ends last
    for clip in sorted(clips, key=lambda clip: clip.start):
        for split in SPLITS.values():
            other = latest.get((clip.video, split))
            if other and split != clip.split and other.ends > clip.start:
                raise InputError(
                    f"{clip.place}: {clip.video} in {clip.split} overlaps {other.place} in {other.split};"
                    " expected each moment in one split only"
                )
        own = clip.video, clip.split
        latest[own] = max(latest.get(own, clip), clip, key=lambda clip: clip.ends)
