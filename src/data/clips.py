"""One clip of a list, from its files to what a batch holds of it; the choices made on the way are `sampling`'s.

A clip that cannot be read must neither be replaced nor surface as a library's error from deep inside the pipeline.
What is loaded therefore ends with a `problem`, the message of what is wrong with the clip or nothing, next to black
frames; whoever consumes the batches raises it (training) or hands it on (evaluation).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable

import cv2
import numpy as np

from model_utils.errors import InputError
from src import sampling, transforms
from src.data.names import FRAME_NAME

PROBLEM_BYTES = 4096


@dataclass(frozen=True)
class VideoRecord:
    """One row of a list file: the clip's folder below the images' root, its number of frames, its class index."""

    folder: str
    num_frames: int
    label: int


@dataclass(frozen=True)
class TrainingLoader:
    """Loads clips for training, with `flip`, `mirrored`, `sliding_windows` and `background` as in
    `tsn_dataset.training_batches`."""

    images_root: str | os.PathLike
    num_segments: int
    image_size: int
    subsample_num: int
    seed: int
    flip: str
    mirrored: np.ndarray
    dropout: float
    features: int
    sliding_windows: float = 0.0
    background: int = -1

    def __call__(self, clip: np.ndarray, record: VideoRecord, index: int, epoch: int) -> tuple[np.ndarray, ...]:
        """Fill `clip`, uint8 [T, S, S, 3]; returns label, relations, dropout mask and problem.

        `index` is the clip's position in its list.
        """
        draw = partial(sampling.generator, self.seed, epoch, index)

        indices, label = self.frame_indices(record, draw)
        mirror = self.flip != "none" and sampling.mirror_clip(draw("flip"))
        if mirror and self.flip == "label_aware":
            mirror = self.mirrored[label] >= 0
            label = self.mirrored[label] if mirror else label

        def load() -> None:
            frames = decode_frames(Path(self.images_root) / record.folder, indices)
            crop = sampling.training_crop(*frames[0].shape[:2], self.image_size, draw("crop"))
            transforms.crop_and_resize(frames, crop, self.image_size, mirror, out=clip)

        problem = _load_or_explain(load, clip)
        relations = sampling.sample_relations(self.num_segments, self.subsample_num, draw("relations"))
        mask = sampling.dropout_mask(self.num_segments, self.features, self.dropout, draw("dropout"))
        return label, relations, mask, problem

    def frame_indices(self, record: VideoRecord, draw: Callable[[str], np.random.Generator]) -> tuple[np.ndarray, int]:
        """The frames of a clip, int64 [T], and the class that they show.

        The share ``sliding_windows`` of the clips is seen through a sliding window. One that does not hold the whole
        gesture shows the class ``background``; if that is -1, all windows hold it.
        """
        if self.sliding_windows > 0:
            rng = draw("window")
            if rng.random() < self.sliding_windows:
                parts = self.background >= 0
                indices, whole = sampling.sliding_window(record.num_frames, self.num_segments, rng, parts)
                return indices, record.label if whole else self.background
        return sampling.train_segments(record.num_frames, self.num_segments, draw("frames")), record.label


@dataclass(frozen=True)
class EvaluationLoader:
    """Loads clips for evaluation: the frames are those of `evaluated_frames`, the crops `transforms.test_crops`."""

    images_root: str | os.PathLike
    num_segments: int
    frame_order: str
    observe: float
    seed: int

    def __call__(self, clip: np.ndarray, record: VideoRecord, index: int) -> tuple[np.ndarray, ...]:
        """Fill `clip`, uint8 [crops, T, S, S, 3]; returns label, index and problem."""

        def load() -> None:
            transforms.cut_test_crops(self.frames(record, index), clip)

        return record.label, index, _load_or_explain(load, clip)

    def frames(self, record: VideoRecord, index: int) -> list[np.ndarray]:
        """The frames of the clip at position `index` of its list, as `decode_frames` gives them."""
        chosen = evaluated_frames(
            record, index, self.num_segments, frame_order=self.frame_order, observe=self.observe, seed=self.seed
        )
        return decode_frames(Path(self.images_root) / record.folder, chosen)


def evaluated_frames(
    record: VideoRecord, index: int, num_segments: int, *, frame_order: str, observe: float, seed: int
) -> np.ndarray:
    """The frames that the clip at position `index` of a list is evaluated with: int64 [T], 0-based.

    They come from its first part, `observe` of its length, in the order "natural", "reversed" or "shuffled", which
    depends on `seed` and `index` alone.
    """
    shuffle = sampling.generator(seed, 0, index, "shuffle")
    return sampling.evaluated_segments(record.num_frames, num_segments, frame_order, observe, shuffle)


def decode_frames(folder: str | os.PathLike, indices: np.ndarray) -> list[np.ndarray]:
    """The frames of a clip with these 0-based indices (frame i is the file i + 1): uint8 [height, width, 3] BGR each.

    Raises InputError, naming the file, for a missing folder or file, data that is empty, truncated or no image, and a
    frame of another size than the first.
    """
    frames = []
    for index in indices:
        path = os.path.join(folder, FRAME_NAME.format(index + 1))
        frame = decode_frame(path)
        if frames and frame.shape != frames[0].shape:
            (height, width), (first_height, first_width) = frame.shape[:2], frames[0].shape[:2]
            raise InputError(
                f"{path}: frame of {width}x{height} pixels; expected {first_width}x{first_height} like the others"
            )
        frames.append(frame)
    return frames


def decode_frame(path: str | os.PathLike) -> np.ndarray:
    """One image file as uint8 [height, width, 3] BGR.

    Raises InputError, naming the file, if it is missing, empty, truncated or no image.
    """
    try:
        data = _read_file(path)
    except FileNotFoundError:
        folder = Path(path).parent
        message = f"{path}: frame is missing" if folder.is_dir() else f"{folder}: clip folder is missing"
        raise InputError(message) from None
    except OSError as error:
        raise InputError(f"{path}: frame cannot be read ({error.strerror})") from None
    if not data:
        raise InputError(f"{path}: frame is empty (0 bytes); expected a JPEG image")
    if _is_truncated_jpeg(data):
        raise InputError(f"{path}: frame is truncated after {len(data)} bytes; expected a whole JPEG image")
    if data.startswith(b"\x89PNG") and b"IEND" not in data:  # the decoder would silently leave the rest black
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


def _load_or_explain(load: Callable[[], None], clip: np.ndarray) -> np.ndarray:
    """An empty message if load() fills `clip`; the message of its InputError, and black frames, if it does not."""
    problem = np.zeros(PROBLEM_BYTES, np.uint8)
    try:
        load()
    except InputError as error:
        message = str(error).encode("utf-8", "replace")[:PROBLEM_BYTES]
        problem[: len(message)] = np.frombuffer(message, np.uint8)
        clip[:] = 0
    return problem


def _read_file(path: str | os.PathLike) -> bytes:
    # open() takes as long again as everything that is needed here, for files as small as frames.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _is_truncated_jpeg(data: bytes) -> bool:
    """Whether a JPEG lacks its end-of-image marker, in whose place the decoder would silently fill in grey.

    The marker is looked for behind the last start-of-scan marker: inside a scan neither can occur by chance, whereas
    the headers before it may hold a whole thumbnail.
    """
    if data.endswith(b"\xff\xd9") or not data.startswith(b"\xff\xd8"):
        return False
    return b"\xff\xd9" not in data[data.rfind(b"\xff\xda") :]
