"""Loads one clip of a list into its row of a batch. ``src.sampling`` makes the random choices.

For a clip that cannot be read a loader returns an error message, otherwise "", and fills the row with black frames.
Training raises the message, evaluation reports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable

import numpy as np

from model_utils.errors import InputError
from src import sampling, transforms
from src.data.frame_files import FrameFolders, VideoRecord


@dataclass(frozen=True)
class TrainingLoader:
    """Loads clips for training.

    Attributes:
        num_segments: T, frames used of a clip.
        image_size: S, the side of a crop.
        subsample_num: tuples of frames drawn at each scale.
        seed: with epoch and clip, decides every random draw.
        flip: "label_aware" (half of the clips are mirrored and get the class that ``mirrored`` gives, unless that is
            -1), "plain" (half are mirrored and keep their class) or "none".
        mirrored: int32 [C], the class that each class becomes in a mirror, from ``mirror_pairs.mirrored_classes``.
        dropout: share of the features that is dropped.
        features: D, the length of the backbone's feature vector that dropout acts on.
        smallest_crop: smallest scale of the crops of ``sampling.training_crop``.
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
    smallest_crop: float = sampling.CROP_SCALES[-1]
    sliding_windows: float = 0.0
    windows_start: int = 0
    windows_full: int = 0
    background: int = -1

    @property
    def columns(self) -> np.dtype:
        """The columns of a row."""
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
            index: its position in its list.
            epoch: from 0.

        Returns:
            Label, relations, dropout mask, and an error message or "".
        """
        indices, mirror, label, relations, mask = self.draw(record, index, epoch)

        def fill() -> None:
            frames = self.frames.read(record, indices)
            height, width = frames[0].shape[:2]
            rng = sampling.generator(self.seed, epoch, index, "crop")
            crop = sampling.training_crop(height, width, self.image_size, rng, self.smallest_crop)
            transforms.crop_and_resize(frames, crop, mirror, clip)

        return label, relations, mask, _fill_or_explain(fill, clip)

    def draw(self, record: VideoRecord, index: int, epoch: int) -> tuple[np.ndarray, bool, Any, np.ndarray, np.ndarray]:
        """All random choices except the crop.

        Returns:
            Indices of the frames, int64 [T], whether to mirror them, the class then, relations and dropout mask.
        """
        rng = partial(sampling.generator, self.seed, epoch, index)
        label, background = record.label, self.background
        share = sampling.sliding_window_share(self.sliding_windows, epoch, self.windows_start, self.windows_full)
        if share > 0 and (window := rng("window")).random() < share:
            indices, whole = sampling.sliding_window(record.num_frames, self.num_segments, window, background >= 0)
            label = label if whole else background
        else:
            indices = sampling.train_segments(record.num_frames, self.num_segments, rng("frames"))
        mirror = self.flip != "none" and sampling.mirror_clip(rng("flip"))
        if mirror and self.flip == "label_aware":
            mirror = self.mirrored[label] >= 0
            label = self.mirrored[label] if mirror else label
        relations = sampling.sample_relations(self.num_segments, self.subsample_num, rng("relations"))
        mask = sampling.dropout_mask(self.num_segments, self.features, self.dropout, rng("dropout"))
        return indices, mirror, label, relations, mask


@dataclass(frozen=True)
class EvaluationLoader:
    """Loads clips for evaluation, with the crops of ``transforms.cut_crops``.

    Attributes:
        num_segments: T, frames used of a clip.
        image_size: S, the side of a crop.
        test_crops: 1, 5 or 10.
        frame_order: "natural", "reversed" or "shuffled".
        observe: fraction of the clip, from its beginning, that frames come from.
        seed: with the clip's position in its list, decides how frames are shuffled.
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
        """The columns of a row."""
        shape = (self.test_crops, self.num_segments, self.image_size, self.image_size, 3)
        return np.dtype([("clip", np.uint8, shape), ("label", np.int32), ("index", np.int32)])

    def __call__(self, clip: np.ndarray, record: VideoRecord, index: int) -> tuple[int, int, str]:
        """Loads one clip.

        Args:
            clip: uint8 [crops, T, S, S, 3], is filled.
            index: its position in its list.

        Returns:
            Label, index, and an error message or "".
        """

        def fill() -> None:
            transforms.cut_crops_into(self.read(record, index), clip)

        return record.label, index, _fill_or_explain(fill, clip)

    def read(self, record: VideoRecord, index: int) -> list[np.ndarray]:
        """The frames of the clip at position ``index`` of its list, as ``FrameFolders.read`` gives them."""
        return self.frames.read(record, self.frame_indices(record, index))

    def frame_indices(self, record: VideoRecord, index: int) -> np.ndarray:
        """The indices of the frames that ``read`` gives: int64 [T], from 0."""
        rng = sampling.generator(self.seed, 0, index, "shuffle")
        return sampling.evaluated_segments(record.num_frames, self.num_segments, self.frame_order, self.observe, rng)


@dataclass(frozen=True)
class FrameLoader:
    """Loads single frames, with the centre crop of ``transforms.cut_crops``."""

    frames: FrameFolders
    image_size: int

    @property
    def columns(self) -> np.dtype:
        """The columns of a row."""
        shape = (self.image_size, self.image_size, 3)
        return np.dtype([("frame", np.uint8, shape), ("height_width", np.int32, (2,))])

    def __call__(self, out: np.ndarray, record: VideoRecord, index: int) -> tuple[tuple[int, ...], str]:
        """Loads frame ``index`` of a clip, from 0, into ``out``, uint8 [S, S, 3].

        Returns:
            Height and width of the whole frame, and an error message or "".
        """
        size: tuple[int, ...] = (0, 0)

        def fill() -> None:
            nonlocal size
            frames = self.frames.read(record, np.array([index]))
            transforms.cut_crops_into(frames, out[None, None])
            size = frames[0].shape[:2]

        problem = _fill_or_explain(fill, out)
        return size, problem


def _fill_or_explain(fill: Callable[[], None], clip: np.ndarray) -> str:
    """ "" if ``fill()`` fills ``clip``; else black frames, and the message of its InputError."""
    try:
        fill()
    except InputError as error:
        clip[:] = 0
        return str(error)
    return ""
