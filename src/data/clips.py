"""One clip of a list: from its files to its row in a batch. ``src.sampling`` decides what is random.

A clip that cannot be read must neither be replaced by another nor raise a library's error from deep inside a worker.
A loader therefore returns what is wrong with the clip, or "", and fills its row with black frames. Training raises it,
evaluation hands it on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np

from model_utils.errors import InputError
from model_utils.files import is_folder, require_regular
from model_utils.settings import Settings
from src import sampling, transforms
from src.data.names import split_frame_name


@dataclass(frozen=True)
class VideoRecord:
    """One row of a list file.

    Attributes:
        folder: the clip's folder below the images' root.
        num_frames: N.
        label: class index.
        first: the number in the name of its first frame.
        is_stretch: whether the folder holds more than this clip: its row says where it begins.
    """

    folder: str
    num_frames: int
    label: int
    first: int = 1
    is_stretch: bool = False

    @property
    def name(self) -> str:
        """How results name the clip: its folder, of a stretch with the numbers of the first and last frame."""
        return f"{self.folder} {self.first}-{self.first + self.num_frames - 1}" if self.is_stretch else self.folder


@dataclass(frozen=True)
class FrameFolders:
    """Where the frames of a dataset's clips are: an image file for each, in a folder for each clip.

    Attributes:
        root: folder of the clips' folders.
        frame_name: names of the frames, see ``names.split_frame_name``.
    """

    root: Path
    frame_name: str

    def path(self, record: VideoRecord, index: int) -> str:
        """The file of frame ``index`` of a clip, from 0."""
        return os.path.join(self.root, record.folder, self.frame_name.format(record.first + index))

    def read(self, record: VideoRecord, indices: np.ndarray) -> list[np.ndarray]:
        """The frames of a clip with these indices, from 0: uint8 [height, width, 3] BGR each.

        Raises:
            InputError: naming the file, for a missing folder or file, a file that is empty, truncated or no image, and
                a frame of another size than the first.
        """
        frames: list[np.ndarray] = []
        for index in indices.tolist():
            path = self.path(record, index)
            frame = decode_frame(path)
            if frames:
                require_size(path, frame.shape[:2], frames[0].shape[:2])
            frames.append(frame)
        return frames

    def has_folder(self, name: str) -> bool:
        """Whether a clip may have this folder."""
        return os.path.isdir(os.path.join(self.root, name))

    def count_from_zero(self, record: VideoRecord) -> bool:
        """Whether the numbers in the names of a whole clip's frames begin with 0."""
        names = (self.frame_name.format(number) for number in (0, record.num_frames))
        return [os.path.exists(os.path.join(self.root, record.folder, name)) for name in names] == [True, False]


def dataset_frames(config: Settings) -> FrameFolders:
    """Where the frames of the dataset are; reads ``dataset_root images_dir_name frame_name``."""
    split_frame_name(config.frame_name)
    return FrameFolders(Path(config.dataset_root, config.images_dir_name), config.frame_name)


@dataclass(frozen=True)
class TrainingLoader:
    """Loads clips for training.

    Attributes:
        frames: where the frames are.
        num_segments: T, the frames of a clip that are used.
        image_size: S, the side of a crop.
        subsample_num: tuples of frames drawn at each scale.
        seed: with epoch and clip decides all that is random.
        flip: "label_aware" (half of the clips are mirrored and get the class that ``mirrored`` gives, unless that is
            -1), "plain" (half are mirrored and keep their class) or "none".
        mirrored: int32 [C], the class that each class becomes in a mirror, from ``mirror_pairs.mirrored_classes``.
        dropout: share of the features that is dropped.
        features: D, the length of the backbone's feature vector that dropout acts on.
        sliding_windows, windows_start, windows_full: share of the clips that are seen through a sliding window, and
            how it grows (``sampling.sliding_window``, ``sampling.sliding_window_share``).
        background: class index of windows that do not hold the whole gesture; with -1 all windows hold it.
    """

    frames: FrameFolders
    num_segments: int
    image_size: int
    subsample_num: int
    seed: int
    flip: str
    mirrored: np.ndarray
    dropout: float
    features: int
    sliding_windows: float = 0.0
    windows_start: int = 0
    windows_full: int = 0
    background: int = -1

    @property
    def columns(self) -> np.dtype:
        """What a row of a batch holds."""
        return np.dtype(
            [
                ("clip", np.uint8, (self.num_segments, self.image_size, self.image_size, 3)),  # BGR
                ("label", np.int32),
                ("relations", np.int32, (self.num_segments - 1, self.subsample_num)),
                ("dropout_mask", np.float32, (self.num_segments, self.features)),
            ]
        )

    def __call__(
        self, clip: np.ndarray, record: VideoRecord, index: int, epoch: int
    ) -> tuple[Any, np.ndarray, np.ndarray, str]:
        """Loads one clip.

        Args:
            clip: uint8 [T, S, S, 3], is filled.
            record: the clip.
            index: its position in its list.
            epoch: from 0.

        Returns:
            Label, relations and dropout mask, and what is wrong with the clip, or "".
        """
        rng = partial(sampling.generator, self.seed, epoch, index)

        indices, label, mirror = self.draw(record, epoch, rng)

        def fill() -> None:
            frames = self.frames.read(record, indices)
            height, width = frames[0].shape[:2]
            crop = sampling.training_crop(height, width, self.image_size, rng("crop"))
            transforms.crop_and_resize(frames, crop, self.image_size, mirror, out=clip)

        problem = _fill_or_explain(fill, clip)
        return label, *self.draw_masks(rng), problem

    def draw(
        self, record: VideoRecord, epoch: int, rng: Callable[[str], np.random.Generator]
    ) -> tuple[np.ndarray, Any, bool]:
        """The frames of a clip, int64 [T], the class that they show, and whether they are mirrored."""
        indices, label = self.frame_indices(record, epoch, rng)
        mirror = self.flip != "none" and sampling.mirror_clip(rng("flip"))
        if mirror and self.flip == "label_aware":
            mirror = self.mirrored[label] >= 0
            label = self.mirrored[label] if mirror else label
        return indices, label, mirror

    def draw_masks(self, rng: Callable[[str], np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """The relations and the dropout mask of a clip."""
        relations = sampling.sample_relations(self.num_segments, self.subsample_num, rng("relations"))
        return relations, sampling.dropout_mask(self.num_segments, self.features, self.dropout, rng("dropout"))

    def frame_indices(
        self, record: VideoRecord, epoch: int, rng: Callable[[str], np.random.Generator]
    ) -> tuple[np.ndarray, int]:
        """The frames of a clip, int64 [T], and the class that they show, with ``rng(stream)`` as random numbers."""
        if self.sliding_windows > 0:
            window = rng("window")
            growth = self.windows_start, self.windows_full
            if window.random() < sampling.sliding_window_share(self.sliding_windows, epoch, *growth):
                parts = self.background >= 0
                indices, whole = sampling.sliding_window(record.num_frames, self.num_segments, window, parts)
                return indices, record.label if whole else self.background
        return sampling.train_segments(record.num_frames, self.num_segments, rng("frames")), record.label


@dataclass(frozen=True)
class EvaluationLoader:
    """Loads clips for evaluation, with the crops of ``transforms.cut_crops``.

    Attributes:
        frames: where the frames are.
        num_segments: T, the frames of a clip that are used.
        image_size: S, the side of a crop.
        test_crops: 1, 5 or 10.
        frame_order: "natural", "reversed" or "shuffled".
        observe: the frames come from this first part of the clip, a fraction of its length.
        seed: with the clip's position in its list decides how it is shuffled.
    """

    frames: FrameFolders
    num_segments: int
    image_size: int
    test_crops: int
    frame_order: str = "natural"
    observe: float = 1.0
    seed: int = 0

    @property
    def columns(self) -> np.dtype:
        """What a row of a batch holds."""
        shape = (self.test_crops, self.num_segments, self.image_size, self.image_size, 3)
        return np.dtype([("clip", np.uint8, shape), ("label", np.int32), ("index", np.int32)])

    def __call__(self, clip: np.ndarray, record: VideoRecord, index: int) -> tuple[int, int, str]:
        """Loads one clip.

        Args:
            clip: uint8 [crops, T, S, S, 3], is filled.
            record: the clip.
            index: its position in its list.

        Returns:
            Label and index, and what is wrong with the clip, or "".
        """

        def fill() -> None:
            transforms.cut_crops_into(self.read(record, index), clip)

        return record.label, index, _fill_or_explain(fill, clip)

    def read(self, record: VideoRecord, index: int) -> list[np.ndarray]:
        """The frames of the clip at position ``index`` of its list, as ``FrameFolders.read`` gives them."""
        return self.frames.read(record, self.frame_indices(record, index))

    def frame_indices(self, record: VideoRecord, index: int) -> np.ndarray:
        """Which frames those are: int64 [T], from 0."""
        rng = sampling.generator(self.seed, 0, index, "shuffle")
        return sampling.evaluated_segments(record.num_frames, self.num_segments, self.frame_order, self.observe, rng)


@dataclass(frozen=True)
class FrameLoader:
    """Loads single frames, with the centre crop of ``transforms.cut_crops``."""

    frames: FrameFolders
    image_size: int

    @property
    def columns(self) -> np.dtype:
        """What a row of a batch holds."""
        shape = (self.image_size, self.image_size, 3)
        return np.dtype([("frame", np.uint8, shape), ("height_width", np.int32, (2,))])

    def __call__(self, out: np.ndarray, record: VideoRecord, index: int) -> tuple[tuple[int, ...], str]:
        """Loads frame ``index`` of a clip, from 0, into ``out``, uint8 [S, S, 3].

        Returns:
            Height and width of the whole frame, and what is wrong with it, or "".
        """
        size: tuple[int, ...] = (0, 0)

        def fill() -> None:
            nonlocal size
            frames = self.frames.read(record, np.array([index]))
            transforms.cut_crops_into(frames, out[None, None])
            size = frames[0].shape[:2]

        problem = _fill_or_explain(fill, out)
        return size, problem


def require_size(path: str, size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises InputError for a frame of another height and width than the clip's first."""
    if tuple(size) != tuple(expected):
        (height, width), (first_height, first_width) = size, expected
        raise InputError(
            f"{path}: frame of {width}x{height} pixels; expected {first_width}x{first_height} like the others"
        )


def decode_frame(path: str | os.PathLike) -> np.ndarray:
    """One image file as uint8 [height, width, 3] BGR.

    Raises:
        InputError: naming the file, if it is missing, empty, truncated or no image.
    """
    try:
        data = _read_file(path)
    except FileNotFoundError:
        folder = Path(path).parent
        message = f"{path}: frame is missing" if is_folder(folder) else f"{folder}: clip folder is missing"
        raise InputError(message) from None
    except OSError as error:
        raise InputError(f"{path}: frame cannot be read ({error.strerror})") from None
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


def _fill_or_explain(fill: Callable[[], None], clip: np.ndarray) -> str:
    """ "" if ``fill()`` fills ``clip``; else black frames, and the message of its InputError."""
    try:
        fill()
    except InputError as error:
        clip[:] = 0
        return str(error)
    return ""


def _read_file(path: str | os.PathLike) -> bytes:
    # For files as small as frames, open() takes as long as all of this, and so does ``files.read_file``.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would be waited for
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
