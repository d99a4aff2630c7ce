"""Writes a video file frame by frame. The file gets its name only after every frame was read back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from model_utils.errors import InputError
from model_utils.files import path_text
from model_utils.util import write_whole
from src.data.video import PLAUSIBLE_RATES, grabbed_frames

OUTPUT_CODECS = {".mp4": "mp4v", ".webm": "VP80"}  # browsers play the second


class VideoWriter:
    """Writes frames uint8 [height, width, 3] BGR of one size into an MP4 or WebM file at a constant rate.

    A context manager. The file is written under another name, read back and then renamed, so after an exception, or on
    a full disk, an older file of that name is still there. Videos have even sides: the last row of an odd height and
    the last column of an odd width are left out.

    Args:
        path: name of the file, which ends in ``.mp4`` or ``.webm``.
        rate: frames a second; clipped to PLAUSIBLE_RATES.

    Raises:
        InputError: if the file cannot be written or not read back.
    """

    def __init__(self, path: str, rate: float) -> None:
        check_video_name(path)
        self.name, self.path = path_text(path), Path(path)
        self.rate = float(np.clip(rate, *PLAUSIBLE_RATES))
        self.stack = contextlib.ExitStack()
        self.writer: cv2.VideoWriter | None = None
        self.num_frames = 0

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: np.ndarray) -> None:
        if self.writer is None:
            self.partial = self.stack.enter_context(write_whole(self.path, "video"))
            path = self.stack.enter_context(_opencv_path(self.partial))
            self.writer = _open_writer(path, self.rate, frame.shape[:2], self.name)
        self.writer.write(frame)
        self.num_frames += 1

    def __exit__(self, *raised: Any) -> None:
        if self.writer is not None:
            self.writer.release()
        if raised[0] is None and self.num_frames:
            with self.stack:  # renames the file at its end
                self._check()
        else:
            self.stack.__exit__(*raised)

    def _check(self) -> None:
        """Counts the frames that can be read back: OpenCV's writer does not report a full disk."""
        readable = sum(1 for _ in grabbed_frames(self.partial))
        if readable != self.num_frames:
            counts = f"{readable} of {self.num_frames} frames can be read back"
            raise InputError(f"{self.name}: cannot write the video: {counts}; is the disk full?")


def check_video_name(path: str) -> None:
    """Raises InputError unless the name ends like a format that VideoWriter writes."""
    if Path(path).suffix.lower() not in OUTPUT_CODECS:
        raise InputError(f"{path_text(path)}: expected the name of a video that ends in {' or '.join(OUTPUT_CODECS)}")


def check_video_size(path: str, height: int, width: int) -> None:
    """Raises InputError if no video of this size can be written to ``path``: the formats have bounds."""
    with TemporaryDirectory() as folder:
        probe = str(Path(folder) / f"video{Path(path).suffix}")
        _open_writer(probe, PLAUSIBLE_RATES[0], (height, width), path_text(path)).release()


def _open_writer(path: str, rate: float, size: tuple[int, ...], name: str) -> cv2.VideoWriter:
    """``name`` is what an error calls the file; ``size`` is (height, width)."""
    height, width = size
    codec = cv2.VideoWriter.fourcc(*OUTPUT_CODECS[Path(path).suffix.lower()])
    with _without_stderr():  # OpenCV warns that it does not know VP80 in WebM, and writes it all the same
        writer = cv2.VideoWriter(path, codec, rate, (width, height))
    if not writer.isOpened():
        Path(path).write_bytes(bytes(4096))  # OSError if it is the disk that is full
        raise InputError(f"{name}: cannot write a video of {width}x{height} pixels")
    return writer


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def _opencv_path(path: Path) -> Iterator[str]:
    """The path as OpenCV can write to it.

    It takes no name that is not UTF-8; such a file gets a temporary symbolic link. A path that begins with letters and
    a colon would be the address of a stream, an absolute one never is.
    """
    absolute = os.path.abspath(path)
    if path_text(absolute) == absolute:
        yield absolute
        return
    with TemporaryDirectory() as folder:
        link = os.path.join(folder, "video" + path_text(path.suffix))
        os.symlink(absolute, link)
        yield link
