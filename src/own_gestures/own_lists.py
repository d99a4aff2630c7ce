"""The lists to train with. Clips without a background class get one: rest, or stretches without annotation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model_utils.util import write_bytes, write_text
from src.data.annotations import SPLITS, VideoClip
from src.data.frame_files import FrameFolders, VideoRecord
from src.data.lists import read_categories, read_lines
from src.data.names import CATEGORIES_FILE, FRAME_NAME, IMAGES_DIR_NAME, LIST_FILES
from src.data.video import VideoFile
from src.data.video_list import read_video_list
from src.evaluation.tables import csv_bytes

OWN_LISTS = {"categories": "own_categories.txt", "training": "own_train.txt", "validation": "own_val.txt"}
NAMES_OF_REST = {"no gesture", "nogesture", "background", "rest", "idle", "nothing", "none", "doing other things"}
REST_SHARE = 0.12  # at either end of a clip, as for sliding windows
BEGUN = (0.3, 0.2, 0.25)  # shares of a clip, in turns, that show no gesture yet
BEGUN_DIR_NAME = ".begun"
LEAST_GAP, GESTURE_MARGIN, PIECE = 1.0, 0.25, 4.0  # seconds, of stretches between annotated gestures


def background_among(names: list[str]) -> str:
    """The class that is no gesture, by its name; "" if there is none."""
    return next((name for name in names if name.lower().replace("_", " ").strip() in NAMES_OF_REST), "")


def with_stretches_between(clips: list[VideoClip], videos: Path, label: str) -> list[VideoClip]:
    """The clips, and the stretches of their videos without annotation as clips of class ``label``."""
    between = []
    for video in sorted({clip.video for clip in clips}):
        its_clips = sorted((clip for clip in clips if clip.video == video), key=lambda clip: clip.start)
        if any(not clip.start and clip.end is None for clip in its_clips):  # a whole video
            continue
        duration, gap_start = VideoFile(videos / video).duration, 0.0
        for start, end in [*((clip.start, clip.end) for clip in its_clips), (duration, duration)]:
            pieces = _pieces(gap_start, start)
            between += [VideoClip("", video, label, *piece, its_clips[0].split) for piece in pieces]
            gap_start = max(gap_start, duration if end is None else end)
    return clips + between


def _pieces(start: float, end: float) -> Iterator[tuple[float, float]]:
    """Cuts a gap into pieces of at most PIECE seconds, a little away from the gestures."""
    start, end = (start + GESTURE_MARGIN if start else 0.0), end - GESTURE_MARGIN
    count = int(np.ceil((end - start) / PIECE)) if end - start >= LEAST_GAP else 0
    edges = np.linspace(start, end, count + 1).round(3).tolist() if count else []
    yield from zip(edges, edges[1:])


def write_annotations(path: Path, clips: list[VideoClip]) -> None:
    """The CSV that ``prepare_videos`` reads."""
    names = {side: name for name, side in SPLITS.items()}
    rows: list[list[object]] = [["video", "label", "start", "end", *([] if clips[0].split is None else ["split"])]]
    for clip in clips:
        split = [names[clip.split]] if clip.split is not None else []
        rows.append([clip.video, clip.label, clip.start or "", "" if clip.end is None else clip.end, *split])
    write_bytes(path, csv_bytes(rows))


def write_own_lists(dataset: Path, background: str, label: str) -> str:
    """Writes the lists to train with: the dataset's, with rest as a background class if there is none.

    The background also gets clips in which a gesture is begun and the hand goes back, as fidgeting hands do.

    Args:
        dataset: made by ``prepare_videos``.
        background: the class that is no gesture, "" if there is none.
        label: name of the new class in that case.

    Returns:
        A line for the user: where the background comes from.
    """
    categories = read_categories(dataset / CATEGORIES_FILE)
    frames = frames_of(dataset)
    lists = {
        side: read_video_list(dataset / LIST_FILES[side], len(categories), frames)
        for side in ("training", "validation")
    }
    rows = {side: [f"{clip.folder} {clip.num_frames} {clip.label}" for clip in clips] for side, clips in lists.items()}
    clips = lists["training"]
    if background:
        report = f"background: your own clips of {background}"
    else:
        wanted = max(2, round(len(clips) / len(categories)))
        rows["training"] += _rest_rows(clips, len(categories), wanted)
        categories = [*categories, label]
        report = f"background: {label}, rest from both ends of the clips; a folder of clips without gestures is better"
    index = categories.index(background or label)
    rows["training"] += _write_begun(frames, [clip for clip in clips if clip.label != index], index)
    for name, lines in {"categories": categories, **rows}.items():
        write_text(dataset / OWN_LISTS[name], "".join(f"{line}\n" for line in lines))
    return report


def own_rows(dataset: Path, side: str) -> list[str]:
    """The rows of a list of ``write_own_lists``, "training" or "validation"."""
    return [row for _, row in read_lines(dataset / OWN_LISTS[side], "rows")]


def frames_of(dataset: Path) -> FrameFolders:
    """Where ``prepare_videos`` puts the frames."""
    return FrameFolders(dataset / IMAGES_DIR_NAME, FRAME_NAME)


def to_and_fro(num_frames: int, share: float) -> np.ndarray:
    """The frames of a gesture that is only begun: the first ``share`` of a clip and back; int64, from 0."""
    there = np.arange(max(1, round(share * num_frames)))
    return np.concatenate([there, there[::-1]])


def _write_begun(frames: FrameFolders, gestures: list[VideoRecord], label: int) -> list[str]:
    """Makes a clip whose gesture is only begun from every second clip; returns the rows of the new clips."""
    shutil.rmtree(frames.root / BEGUN_DIR_NAME, ignore_errors=True)
    rows = []
    for number, clip in enumerate(gestures[::2]):
        shown = to_and_fro(clip.num_frames, BEGUN[number % len(BEGUN)])
        folder = f"{BEGUN_DIR_NAME}/{clip.folder}"
        (frames.root / folder).mkdir(parents=True)
        for place, index in enumerate(shown.tolist(), 1):
            shutil.copyfile(frames.path(clip, index), frames.root / folder / frames.frame_name.format(place))
        rows.append(f"{folder} {len(shown)} {label}")
    return rows


def _rest_rows(clips: list[VideoRecord], label: int, wanted: int) -> list[str]:
    """Stretches of rest: the first frames of some clips, the last ones of others."""
    rows = []
    for number, index in enumerate(np.linspace(0, len(clips) - 1, wanted).round().astype(int).tolist()):
        clip = clips[index]
        count = max(1, round(REST_SHARE * clip.num_frames))
        first = 1 if number % 2 == 0 else clip.num_frames - count + 1
        rows.append(f"{clip.folder} {first} {count} {label}")
    return rows
