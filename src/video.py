"""Frames of a source that was not prepared for training: a folder of images or a video file."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from src.errors import InputError
from src.tsn_dataset import decode_frame

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


class FrameFolder:
    """The images of a folder, in the order of the numbers in their names."""

    def __init__(self, path: Path) -> None:
        files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise InputError(f"{path}: no frames ({', '.join(IMAGE_SUFFIXES)} files) in this folder")
        self.files = sorted(
            files, key=lambda file: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", file.name)]
        )
        self.num_frames = len(self.files)

    def read(self, indices: np.ndarray) -> list[np.ndarray]:
        """The frames with these 0-based indices, uint8 [height, width, 3] BGR."""
        return [decode_frame(self.files[i]) for i in indices]


class VideoFile:
    """The frames of a video file, counted by decoding: the number that the container states is often wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_frames = sum(1 for _ in self._grab())
        if not self.num_frames:
            raise InputError(f"{path}: no frame of video could be decoded")

    def read(self, indices: np.ndarray) -> list[np.ndarray]:
        """The frames with these 0-based, ascending indices, uint8 [height, width, 3] BGR."""
        wanted = set(indices.tolist())
        frames = {i: capture.retrieve()[1] for i, capture in enumerate(self._grab()) if i in wanted}
        return [frames[i] for i in indices]

    def _grab(self):
        capture = cv2.VideoCapture(str(self.path))
        try:
            while capture.grab():
                yield capture
        finally:
            capture.release()


def open_source(path: str) -> FrameFolder | VideoFile:
    """A folder of frames or a video file.

    Raises:
        InputError: if ``path`` is neither or holds no frames.
    """
    source = Path(path)
    if source.is_dir():
        return FrameFolder(source)
    if source.is_file():
        return VideoFile(source)
    raise InputError(f"{path}: no such folder of frames or video file")
