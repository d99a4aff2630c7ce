"""Pictures that were not prepared for training: folders of frames, video files and cameras in, a video file out.

Every source has ``name``, ``num_frames`` (None for a camera, which has no end), ``rate`` (frames a second) and
``frames(wanted)``, an iterator over (index, frame uint8 [height, width, 3] BGR) of all frames or of the wanted ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple, Union

# The libraries below print to the terminal what they think of a file; here an error is said once, in one line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from model_utils.errors import InputError
from src.data.clips import decode_frame

cv2.setLogLevel(0)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
VIDEO_SUFFIXES = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")
FOLDER_RATE = 12.0  # Jester's; a folder does not say
CAMERA_RATE = 30.0  # of cameras that do not say
PLAUSIBLE_RATES = (1.0, 1000.0)
OUTPUT_SUFFIX, OUTPUT_CODEC = ".mp4", "mp4v"


class Span(NamedTuple):
    """A stretch of a video, in seconds (``end`` None: not over yet), in which a class was seen; how probable it was."""

    start: float
    end: float | None
    label: str
    probability: float


class FrameFolder:
    """The images of a folder, in the order of the numbers in their names, at 12 frames a second."""

    rate = FOLDER_RATE

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.files = sorted(_files_in(path, IMAGE_SUFFIXES), key=_natural_order)
        if not self.files:
            raise InputError(f"{path}: no frames ({', '.join(IMAGE_SUFFIXES)} files) in this folder")
        self.num_frames = len(self.files)

    def frames(self, wanted: Container[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        for index, file in enumerate(self.files):
            if wanted is None or index in wanted:
                yield index, decode_frame(file)


class VideoFile:
    """The frames of a video file, counted and timed by decoding: what the container states is often wrong.

    ``rate`` is the mean rate, so a frame's time is its index / ``rate`` where the rate does not change.
    """

    def __init__(self, path: Path) -> None:
        self.name = self.path = str(path)
        self.num_frames, last = 0, 0.0
        stated = 0.0
        for capture in self._grab():
            self.num_frames += 1
            last = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000  # of the first frame: 0
            stated = capture.get(cv2.CAP_PROP_FPS)
        if not self.num_frames:
            raise InputError(f"{path}: not a video, no frame of it could be decoded")
        measured = (self.num_frames - 1) / last if last > 0 else 0.0
        self.rate = next((rate for rate in (measured, stated) if _plausible(rate)), FOLDER_RATE)

    def frames(self, wanted: Container[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        for index, capture in enumerate(self._grab()):
            if wanted is None or index in wanted:
                yield index, capture.retrieve()[1]

    def _grab(self) -> Iterator[cv2.VideoCapture]:
        capture = cv2.VideoCapture(self.path)
        try:
            while capture.grab():
                yield capture
        finally:
            capture.release()


class Camera:
    """The frames of a camera, as they come."""

    num_frames = None

    def __init__(self, number: int) -> None:
        self.name, self.number = f"camera {number}", number
        with contextlib.closing(self.frames()) as frames:
            next(frames)
        stated = self._stated_rate
        self.rate = stated if _plausible(stated) else CAMERA_RATE

    def frames(self, wanted: Container[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        capture = cv2.VideoCapture(self.number)
        try:
            if not capture.isOpened():
                raise InputError(f"{self.name}: cannot be opened; expected the number of a camera that is connected")
            self._stated_rate = capture.get(cv2.CAP_PROP_FPS)
            index = 0
            while True:
                read, frame = capture.read()
                if not read:
                    raise InputError(f"{self.name}: gives no more frames")
                if wanted is None or index in wanted:
                    yield index, frame
                index += 1
        finally:
            capture.release()


Source = Union[FrameFolder, VideoFile, Camera]


def find_sources(paths: list[str]) -> list[str]:
    """The paths with each folder of videos replaced by the videos in it, in the order of the numbers in their names.

    Raises:
        InputError: for a path that is no file, folder or number, and for a folder of frames and videos.
    """
    found = []
    for text in paths:
        path = Path(text)
        if not path.exists() and not text.isdecimal():
            raise InputError(f"{text}: no such folder of frames, video file or camera number")
        videos = _files_in(path, VIDEO_SUFFIXES) if path.is_dir() else []
        frames = _files_in(path, IMAGE_SUFFIXES) if videos else []
        if frames:
            raise InputError(f"{text}: {len(frames)} frames and {len(videos)} videos in a folder, expected one kind")
        found += [str(video) for video in sorted(videos, key=_natural_order)] or [text]
    return found


def open_source(path: str) -> Source:
    """A folder of frames, a video file or, if there is no file of that name, the camera of that number.

    Raises:
        InputError: if ``path`` is none of them or holds no frames.
    """
    source = Path(path)
    if source.is_dir():
        return FrameFolder(source)
    if source.is_file():
        return VideoFile(source)
    if path.isdecimal():
        return Camera(int(path))
    raise InputError(f"{path}: no such folder of frames, video file or camera number")


def frames_of_one_size(source: Source, wanted: Container[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """``source.frames(wanted)``. Raises InputError for a frame that cannot be read or is not as large as the first."""
    first = None
    with contextlib.closing(source.frames(wanted)) as frames:
        for index, frame in frames:
            height, width = frame.shape[:2]
            first = first or (height, width)
            if (height, width) != first:
                expected = f"expected {first[1]}x{first[0]} as before"
                raise InputError(f"{source.name}: frame {index} is of {width}x{height} pixels; {expected}")
            yield index, frame


def read_frames(source: Source, indices: np.ndarray) -> list[np.ndarray]:
    """The frames with these 0-based indices, uint8 [height, width, 3] BGR each. Raises what frames_of_one_size does."""
    frames = dict(frames_of_one_size(source, set(indices.tolist())))
    return [frames[index] for index in indices.tolist()]


def record(camera: Camera, seconds: float, num_segments: int) -> tuple[int, np.ndarray, list[np.ndarray]]:
    """Looks through a camera for so long: (number of frames seen, indices int64 [T], these T frames).

    Taken is the first frame in the second half of each of T equal stretches of time.
    """
    began, num_frames = time.monotonic(), 0
    indices, frames = [], []
    with contextlib.closing(frames_of_one_size(camera)) as live:
        for index, frame in live:
            passed, num_frames = time.monotonic() - began, index + 1
            while len(frames) < num_segments and passed >= seconds * (len(frames) + 0.5) / num_segments:
                indices.append(index)
                frames.append(frame)
            if len(frames) == num_segments and passed >= seconds:
                break
    return num_frames, np.array(indices), frames


class VideoWriter:
    """An MP4 file of frames uint8 [height, width, 3] BGR, all of one size, at ``rate`` frames a second.

    A context; the file takes its name at the end of it, unless that is an exception. MP4 has even sides only: of odd
    ones the last row or column is left out.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(self, path: str, rate: float) -> None:
        self.path, self.rate = Path(path), rate
        check_video_name(path)
        self.partial = self.path.with_name(f".{self.path.stem}.{os.getpid()}.partial{self.path.suffix}")
        self.writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: np.ndarray) -> None:
        self.writer = self.writer or self._open(*frame.shape[:2])
        self.writer.write(frame)

    def _open(self, height: int, width: int) -> cv2.VideoWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path}: cannot write the video: {error.strerror}") from None
        codec = cv2.VideoWriter_fourcc(*OUTPUT_CODEC)
        writer = cv2.VideoWriter(str(self.partial), codec, self.rate, (width, height))
        if not writer.isOpened():
            raise InputError(f"{self.path}: cannot write a video of {width}x{height} pixels")
        return writer

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.writer is None:
            return
        self.writer.release()
        try:
            if kind is None:
                os.replace(self.partial, self.path)
        except OSError as error:
            raise InputError(f"{self.path}: cannot write the video: {error.strerror}") from None
        finally:
            self.partial.unlink(missing_ok=True)


def check_video_name(path: str) -> None:
    """Raises InputError unless VideoWriter knows how to write a file of that name."""
    if Path(path).suffix.lower() != OUTPUT_SUFFIX:
        raise InputError(f"{path}: expected the name of a video that ends in {OUTPUT_SUFFIX}")


def _files_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        return [file for file in folder.iterdir() if file.suffix.lower() in suffixes and file.is_file()]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None


def _natural_order(file: Path) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _plausible(rate: float) -> bool:
    return PLAUSIBLE_RATES[0] <= rate <= PLAUSIBLE_RATES[1]
