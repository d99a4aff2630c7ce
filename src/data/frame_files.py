"""Reads the frames of clips, in a folder for each clip or all in one tar (``packed``)."""

from __future__ import annotations

import os
from collections.abc import Container, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np

from model_utils.errors import InputError
from model_utils.files import is_folder, require_regular
from model_utils.settings import Settings
from src.data.names import split_frame_name
from src.data.packed import PackedFrames, open_packed, require_frame_name

FOLDER_RATE = 12.0  # frames a second if none is stated, as in Jester


@dataclass(frozen=True)
class VideoRecord:
    """One row of a list file.

    Attributes:
        folder: the clip's folder below the images' root.
        num_frames: N.
        first: the number in the name of its first frame.
        is_stretch: whether the clip is only a part of the folder; its row says where it begins.
    """

    folder: str
    num_frames: int
    label: int
    first: int = 1
    is_stretch: bool = False

    @property
    def name(self) -> str:
        """The clip's name in results: its folder; for a stretch also the numbers of the first and last frame."""
        return f"{self.folder} {self.first}-{self.first + self.num_frames - 1}" if self.is_stretch else self.folder


@dataclass(frozen=True)
class FrameFolders:
    """Where a dataset's frames are: image files in a folder for each clip, or one tar.

    Attributes:
        root: folder of the clips' folders; ``packed.tar_of(root)`` may replace it.
        frame_name: names of the frames, see ``names.split_frame_name``.
    """

    root: Path
    frame_name: str

    @property
    def files(self) -> FrameFiles | PackedFrames:
        """A tar is opened once per process."""
        return open_packed(self.root) or FrameFiles(self.root, self.frame_name)

    def path(self, record: VideoRecord, index: int) -> str:
        """The file of frame ``index`` of a clip, from 0."""
        return self.files.path(record.folder, record.first + index)

    def read(self, record: VideoRecord, indices: np.ndarray) -> list[np.ndarray]:
        """The frames of a clip with these indices, from 0: uint8 [height, width, 3] BGR each.

        Raises:
            InputError: naming the file, for a missing folder or file, a file that is empty, truncated or no image, and
                a frame whose size differs from the first's.
        """
        files, frames = self.files, list[np.ndarray]()
        for number in (record.first + indices).tolist():
            path = files.path(record.folder, number)
            frame = decode_image(files.frame_bytes(record.folder, number), path)
            if frames:
                require_size(path, frame.shape[:2], frames[0].shape[:2])
            frames.append(frame)
        return frames


@dataclass(frozen=True)
class FrameFiles:
    """An image file for each frame, with the methods of ``PackedFrames``."""

    root: Path
    frame_name: str

    def path(self, clip: str, number: int) -> str:
        return os.path.join(self.root, clip, self.frame_name.format(number))

    def frame_bytes(self, clip: str, number: int) -> bytes:
        return read_frame(self.path(clip, number))

    def has_clip(self, clip: str) -> bool:
        return is_folder(os.path.join(self.root, clip))

    def has_numbers(self, clip: str, numbers: range) -> bool:
        """Looks at two of the files alone."""
        ends = numbers[0], numbers[-1] + 1
        return [os.path.exists(self.path(clip, number)) for number in ends] == [True, False]


def dataset_frames(config: Settings) -> FrameFolders:
    """Where the frames of the dataset are; reads ``dataset_root images_dir_name frame_name``.

    Raises:
        InputError: for a frame name without a number, and for a tar that was changed or has other frame names.
    """
    split_frame_name(config.frame_name)
    root = Path(config.dataset_root, config.images_dir_name)
    require_frame_name(root, config.frame_name)
    return FrameFolders(root, config.frame_name)


class FrameFolder:
    """The images of a folder, or of a clip in a dataset's tar, at 12 frames a second; a source as ``video`` describes.

    Args:
        files: the inputs of ``decode``, in order.
        decode: gives uint8 [height, width, 3] BGR.
    """

    rate = FOLDER_RATE
    warning = ""

    def __init__(self, name: str, files: Sequence[Any], decode: Callable[[Any], np.ndarray]) -> None:
        self.name, self.files, self.decode = name, files, decode
        self.num_frames = len(files)
        self.times = np.arange(self.num_frames) / self.rate
        self.duration = self.num_frames / self.rate

    def frames(self, wanted: Container[int] | None = None) -> Generator[tuple[int, np.ndarray], None, None]:
        for index, file in enumerate(self.files):
            if wanted is None or index in wanted:
                yield index, self.decode(file)


def require_size(path: str, size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises InputError for a frame whose size, (height, width), differs from the clip's first."""
    if tuple(size) != tuple(expected):
        (height, width), (first_height, first_width) = size, expected
        raise InputError(
            f"{path}: frame of {width}x{height} pixels; expected {first_width}x{first_height} like the others"
        )


def read_frame(path: str | os.PathLike) -> bytes:
    """The content of an image file. Raises InputError, naming it, if it is missing or cannot be read."""
    try:
        return _read_file(path)
    except FileNotFoundError:
        folder = Path(path).parent
        message = f"{path}: frame is missing" if is_folder(folder) else f"{folder}: clip folder is missing"
        raise InputError(message) from None
    except OSError as error:
        raise InputError(f"{path}: frame cannot be read ({error.strerror})") from None


def decode_frame(path: str | os.PathLike) -> np.ndarray:
    """One image file as uint8 [height, width, 3] BGR; raises InputError as ``read_frame`` and ``decode_image`` do."""
    return decode_image(read_frame(path), path)


def decode_image(data: bytes, path: str | os.PathLike) -> np.ndarray:
    """Decodes the content of an image file to uint8 [height, width, 3] BGR; ``path`` is its name in messages.

    Raises:
        InputError: if it is empty, truncated or no image.
    """
    if not data:
        raise InputError(f"{path}: frame is empty (0 bytes); expected a JPEG image")
    if _is_truncated_jpeg(data):
        raise InputError(f"{path}: frame is truncated after {len(data)} bytes; expected a whole JPEG image")
    if data.startswith(b"\x89PNG") and b"IEND" not in data:  # the decoder would leave the rest black
        raise InputError(f"{path}: frame is truncated after {len(data)} bytes; expected a whole PNG image")
    # An orientation tag is not part of the picture: Pillow, the reference, ignores it too.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path}: frame is not an image; expected a JPEG image")
    return image


def _read_file(path: str | os.PathLike) -> bytes:
    # Faster than ``files.read_file``, which counts for files as small as frames.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # does not wait for a named pipe
    try:
        status = os.fstat(descriptor)
        require_regular(path, status.st_mode)
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _is_truncated_jpeg(data: bytes) -> bool:
    """Whether a JPEG lacks its end-of-image marker. The decoder would fill the missing part with grey.

    The marker is searched behind the last start-of-scan marker. Inside a scan neither marker can occur by chance; the
    headers before it may hold a whole thumbnail.
    """
    if data.endswith(b"\xff\xd9") or not data.startswith(b"\xff\xd8"):
        return False
    return b"\xff\xd9" not in data[data.rfind(b"\xff\xda") :]
