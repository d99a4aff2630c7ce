"""Videos to frame folders: which frames, in which size, in several processes.

Frames are chosen by the times at which the video shows them, so a video at an uneven rate keeps its true speed.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Callable, NamedTuple

import cv2
import numpy as np

from model_utils.errors import InputError
from model_utils.progress import progress
from src.data.names import FRAME_NAME
from src.data.pool import Job, Result, in_processes
from src.data.video import TIME_ROUNDING, VideoFile, frames_of_one_size

JPEG_QUALITY = 95
BYTES_PER_PIXEL = 0.5  # of a JPEG file; measured: 0.33 for drawn frames of 100 pixels, 1.27 for noise
BYTES_WORTH_A_PROCESS = 500_000  # of video: decoded in half a second, in which a process starts


class ClipRequest(NamedTuple):
    """A clip to make: its folder, where it is listed (for messages), its video, start and end in seconds."""

    folder: str
    place: str
    video: Path
    start: float = 0.0
    end: float | None = None  # None: the end of the video


class DecodeJob(NamedTuple):
    """A video and the clips to write, by the folders to make for them."""

    video: VideoFile
    clips: dict[Path, ClipRequest]
    fps: float
    height: int  # of the frames, at most


def inspect_video(path: Path) -> VideoFile | InputError:
    """A video with the times of its frames, or the error."""
    try:
        video = VideoFile(path)
    except InputError as error:
        return error
    return InputError(video.warning) if video.warning else video


def write_frames(job: DecodeJob) -> list[int] | InputError:
    """Writes frames 00001.jpg ... of each clip into its folder; decodes the video once.

    Returns:
        The number of frames of each clip, or the error.
    """
    places: dict[int, list[Path]] = {}
    counts = []
    for folder, clip in job.clips.items():
        folder.mkdir(parents=True)
        indices = frame_indices(job.video, clip, job.fps)
        counts.append(len(indices))
        for number, index in enumerate(indices.tolist(), 1):
            places.setdefault(index, []).append(folder / FRAME_NAME.format(number))
    try:
        for index, frame in frames_of_one_size(job.video, places):
            picture = cv2.imencode(".jpg", shrink(frame, job.height), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            for path in places[index]:
                path.write_bytes(picture.tobytes())
    except InputError as error:
        return error
    return counts


def frame_indices(video: VideoFile, clip: ClipRequest, fps: float) -> np.ndarray:
    """The frames that the video shows at ``start``, ``start`` + 1 / fps ... seconds, before ``end``.

    Returns:
        int64 [N], from 0, at least one; frames may repeat.
    """
    moments = clip.start + np.arange(num_frames(video, clip, fps)) / fps
    # The frame shown at a moment is the last one whose time has come; containers round times.
    return np.maximum(np.searchsorted(video.times, moments + TIME_ROUNDING, side="right") - 1, 0)


def num_frames(video: VideoFile, clip: ClipRequest, fps: float) -> int:
    """How many indices ``frame_indices`` gives."""
    length = (video.duration if clip.end is None else min(clip.end, video.duration)) - clip.start
    return max(1, int(np.ceil((length - TIME_ROUNDING) * fps)))


def expected_bytes(video: VideoFile, clip: ClipRequest, fps: float, height: int) -> float:
    """About how many bytes ``write_frames`` writes for a clip."""
    shrunk = min(1.0, height / max(video.height, 1))
    return num_frames(video, clip, fps) * video.width * video.height * shrunk**2 * BYTES_PER_PIXEL


def shrink(frame: np.ndarray, height: int) -> np.ndarray:
    """A frame of ``height`` pixels with the same proportions; one that is not higher stays as it is."""
    rows, columns = frame.shape[:2]
    if rows <= height:
        return frame
    return cv2.resize(frame, (max(1, round(columns * height / rows)), height), interpolation=cv2.INTER_AREA)


def run_on_videos(
    work: Callable[[Job], Result], jobs: Iterable[Job], video_of: Callable[[Job], Path], label: str
) -> Generator[tuple[Job, Result], None, None]:
    """Yields (job, ``work(job)``) in order, with a report of progress; large videos are shared among processes."""
    jobs = list(jobs)
    size = sum(os.path.getsize(video_of(job)) for job in jobs if os.path.isfile(video_of(job)))
    results = in_processes(work, jobs, size // BYTES_WORTH_A_PROCESS, "decodes videos")
    with closing(results), progress(label, len(jobs), "video") as update:
        for job, result in zip(jobs, results):
            yield job, result
            update(1)
