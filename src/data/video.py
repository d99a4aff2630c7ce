"""Sources of frames for inference: folders of images, video files and cameras.

Every source has these attributes:
    name: how messages call it; can always be printed.
    num_frames: number of frames; None for a camera, as ``times`` and ``duration`` are.
    times: float64 [num_frames], when each frame is shown, in seconds from 0.
    duration: seconds, up to the end of the last frame.
    rate: frames a second, the mean.
    warning: one line about damage; empty if none is known.

``frames(wanted)`` iterates over (index, frame uint8 [height, width, 3] BGR) of all frames, or of the wanted ones.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Container, Generator, Iterator
from pathlib import Path
from typing import NamedTuple, Union

import cv2
import numpy as np

from model_utils.errors import InputError
from model_utils.files import exists, is_folder, list_folder, path_text
from src.data.containers import open_container
from src.data.frame_files import FOLDER_RATE, FrameFolder, decode_frame, decode_image
from src.data.packed import PackedFrames, find_clip

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
VIDEO_SUFFIXES = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")
CAMERA_RATE = 30.0  # if the camera states none
PLAUSIBLE_RATES = (1.0, 1000.0)
LONGEST_INTERVAL = 60.0  # mean seconds between two frames; with more the header is damaged
# Containers round times to milliseconds. Times this near to a constant rate are taken as constant.
TIME_ROUNDING = 0.002  # seconds
# Containers overstate their number of frames by a few.
UNREAD_FRAMES, UNREAD_SHARE = 3, 0.01
SIZE_PROPERTIES = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
LARGEST_CAMERA = 2**31 - 1  # OpenCV takes a 32-bit integer


IndexedFrames = Generator[tuple[int, np.ndarray], None, None]  # (index, frame), closed as soon as it is no longer used


class Span(NamedTuple):
    """A stretch of a video in seconds (``end`` None: not over yet), the class recognised in it and its probability."""

    start: float
    end: float | None
    label: str
    probability: float

    @property
    def ended_at(self) -> float:
        """The end of a stretch that is over."""
        assert self.end is not None, self
        return self.end


class VideoFile:
    """The frames of a video file, upright. They are counted by decoding: the container's count is often wrong."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path_text(path)
        milliseconds, stated_rate, stated_frames = [], 0.0, 0.0
        for capture in grabbed_frames(path):
            milliseconds.append(capture.get(cv2.CAP_PROP_POS_MSEC))
            stated_rate = capture.get(cv2.CAP_PROP_FPS)
            stated_frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self.width, self.height = (int(capture.get(side)) for side in SIZE_PROPERTIES)
        if not milliseconds:
            raise InputError(f"{self.name}: not a video, no frame of it could be decoded")
        self.num_frames = len(milliseconds)
        self.times, self.duration = frame_times(np.array(milliseconds) / 1000, stated_rate)
        self.rate = self.num_frames / self.duration
        self.warning = ""
        if stated_frames - self.num_frames > max(UNREAD_FRAMES, UNREAD_SHARE * stated_frames):
            states = f"the file states {stated_frames:.0f} frames"
            self.warning = f"{self.name}: only {self.num_frames} frames could be decoded, {states}; is it damaged?"
        apart = _mean_interval(np.array(milliseconds) / 1000)
        if apart > LONGEST_INTERVAL:
            states = f"the file states {apart:.0f} s between two frames, expected at most {LONGEST_INTERVAL:.0f}"
            self.warning = f"{self.name}: {states}; taken as {self.rate:g} frames a second"

    def frames(self, wanted: Container[int] | None = None) -> IndexedFrames:
        count = 0
        for index, capture in enumerate(grabbed_frames(self.path)):
            if wanted is None or index in wanted:
                decoded, frame = capture.retrieve()
                if not decoded:
                    raise InputError(f"{self.name}: frame {index} cannot be decoded")
                yield index, frame
            count = index + 1
        if count < self.num_frames:
            raise InputError(f"{self.name}: {count} frames, before {self.num_frames}; has the file changed?")


def grabbed_frames(path: Path) -> Iterator[cv2.VideoCapture]:
    """Yields the capture after it has grabbed each frame of a video file; frames are rotated as the file says."""
    with open_container(path) as capture:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # on by default in OpenCV 4.8, off in 4.11
        while capture.grab():
            yield capture


def frame_times(stamps: np.ndarray, stated_rate: float) -> tuple[np.ndarray, float]:
    """When frames are shown.

    Args:
        stamps: times in the file, float64 [N], in seconds, one for each frame in the order of decoding.
        stated_rate: frames a second that the file states; used if the times are not plausible.

    Returns:
        times float64 [N] from 0, and the time at which the last frame ends: it is shown for the median interval.
    """
    num_frames, times = len(stamps), stamps - stamps[0]
    mean = _mean_interval(stamps)
    intervals = np.diff(times)
    plausible = mean * PLAUSIBLE_RATES[1] >= 1 and mean <= LONGEST_INTERVAL
    if not plausible or not np.isfinite(times).all() or intervals.min() < 0:
        rate = stated_rate if _plausible(stated_rate) else FOLDER_RATE
        return np.arange(num_frames) / rate, num_frames / rate
    constant = np.arange(num_frames) * mean
    if np.abs(times - constant).max() <= TIME_ROUNDING:
        return constant, num_frames * mean
    return times, float(times[-1] + (np.median(intervals) or mean))


class Camera:
    """The frames of a camera, as they come."""

    num_frames: None = None
    times: None = None
    duration: None = None
    warning = ""

    def __init__(self, number: int) -> None:
        self.name, self.number = f"camera {number}", number
        with contextlib.closing(self.frames()) as frames:
            next(frames)
        stated = self._stated_rate
        self.rate = stated if _plausible(stated) else CAMERA_RATE

    def frames(self, wanted: Container[int] | None = None) -> IndexedFrames:
        capture = cv2.VideoCapture()
        try:
            if self.number > LARGEST_CAMERA or not capture.open(self.number):
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


Recording = Union[FrameFolder, VideoFile]
Source = Union[Recording, Camera]


def find_sources(paths: list[str]) -> list[str]:
    """The paths with each folder of videos replaced by the videos in it, in the order of the numbers in their names.

    A folder that holds neither videos nor frames stands for the videos in its folders, such as class folders.

    Raises:
        InputError: for a path that is no file, folder or number, and for a folder of frames and videos.
    """
    found = []
    for text in paths:
        path = Path(text)
        if not exists(path) and not text.isdecimal() and not find_clip(path):
            raise InputError(f"{path_text(text)}: no such folder of frames, video file or camera number")
        videos = _videos_in(path) if is_folder(path) else []
        frames = _files_in(path, IMAGE_SUFFIXES) if videos else []
        if frames:
            held = f"{len(frames)} frames and {len(videos)} videos in a folder"
            raise InputError(f"{path_text(text)}: {held}, expected one kind")
        found += list(map(str, videos)) or [text]
    return found


def _videos_in(folder: Path) -> list[Path]:
    """The videos in a folder or, if it holds neither videos nor frames, in its folders."""
    videos = sorted(_files_in(folder, VIDEO_SUFFIXES), key=_natural_order)
    if videos or _files_in(folder, IMAGE_SUFFIXES):
        return videos
    inner = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "." and not entry.is_symlink()]
    return [video for entry in sorted(inner, key=_natural_order) for video in _videos_in(entry)]


def open_source(path: str) -> Source:
    """A folder of frames, a video file or, if there is no file of that name, the camera of that number.

    Raises:
        InputError: if ``path`` is none of them or holds no frames.
    """
    if is_folder(path):
        return _open_folder(Path(path))
    if exists(path):
        return VideoFile(Path(path))
    if path.isdecimal():
        return Camera(int(path))
    packed = find_clip(path)
    if packed:
        return _open_packed(*packed)
    raise InputError(f"{path_text(path)}: no such folder of frames, video file or camera number")


def _open_folder(path: Path) -> FrameFolder:
    files = sorted(_files_in(path, IMAGE_SUFFIXES), key=_natural_order)
    if not files:
        raise InputError(f"{path_text(path)}: no frames ({', '.join(IMAGE_SUFFIXES)} files) in this folder")
    return FrameFolder(path_text(path), files, decode_frame)


def _open_packed(packed: PackedFrames, clip: str) -> FrameFolder:
    def decode(number: int) -> np.ndarray:
        return decode_image(packed.frame_bytes(clip, number), packed.path(clip, number))

    return FrameFolder(path_text(f"{packed.tar}/{clip}"), packed.numbers(clip), decode)


def frames_of_one_size(source: Source, wanted: Container[int] | None = None) -> IndexedFrames:
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


def record_camera(camera: Camera, seconds: float, num_segments: int) -> tuple[int, np.ndarray, list[np.ndarray]]:
    """Reads a camera for some seconds and keeps T frames: the first after the middle of each of T equal stretches.

    Returns:
        number of frames read, indices int64 [T] of those kept, and the T frames.
    """
    began, num_frames = time.monotonic(), 0
    indices: list[int] = []
    frames: list[np.ndarray] = []
    with contextlib.closing(frames_of_one_size(camera)) as live:
        for index, frame in live:
            passed, num_frames = time.monotonic() - began, index + 1
            while len(frames) < num_segments and passed >= seconds * (len(frames) + 0.5) / num_segments:
                indices.append(index)
                frames.append(frame)
            if len(frames) == num_segments and passed >= seconds:
                break
    return num_frames, np.array(indices), frames


def _files_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files with these suffixes. One that cannot be read is included: opening it raises an error that names it.

    Hidden files do not count: macOS puts ``._00001.jpg`` beside ``00001.jpg``.
    """
    found = [path for path in list_folder(folder) if path.suffix.lower() in suffixes and path.name[0] != "."]
    return [path for path in found if not is_folder(path)]


def _natural_order(file: Path) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _mean_interval(stamps: np.ndarray) -> float:
    """Seconds from one frame to the next, on average, to the millisecond that containers round to; 0 for one frame."""
    return round(float(stamps[-1] - stamps[0]) / max(len(stamps) - 1, 1), 9)


def _plausible(rate: float) -> bool:
    return PLAUSIBLE_RATES[0] <= rate <= PLAUSIBLE_RATES[1]
