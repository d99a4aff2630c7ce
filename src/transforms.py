"""Pixels of a clip in, pixels out: resizing, cropping and mirroring, as chosen in ``src.sampling``.

Frames are uint8 arrays [height, width, 3] in BGR order, as OpenCV decodes them. They stay 8-bit; the device subtracts
the channel means. Pillow's resize is the reference, because the published weights were trained with it. OpenCV enlarges
several times faster and within one level of Pillow. Frames are shrunk by Pillow itself, which antialiases; OpenCV's
bilinear resize does not.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from src.sampling import crop_offsets

CHANNEL_MEANS_BGR = (104, 117, 128)
FLIPS = ("label_aware", "plain", "none")  # how clips are mirrored


class Pixels(NamedTuple):
    """The input format of a backbone: (8-bit value - mean) * scale for each channel, in this order of channels."""

    order: str  # "BGR" or "RGB"
    means: tuple[float, ...]
    scales: tuple[float, ...]

    def prepare(self, frames: np.ndarray) -> np.ndarray:
        """uint8 frames [N, H, W, 3], BGR -> the network's input, float32 [N, 3, H, W]."""
        ordered = frames[..., ::-1] if self.order == "RGB" else frames
        prepared = np.empty((len(frames), 3, *frames.shape[1:3]), np.float32)
        for channel, (mean, scale) in enumerate(zip(self.means, self.scales)):
            np.subtract(ordered[..., channel], np.float32(mean), out=prepared[:, channel])
            if scale != 1:
                prepared[:, channel] *= np.float32(scale)
        return prepared

    @property
    def unscaled(self) -> bool:
        return set(self.scales) == {1.0}


CAFFE_PIXELS = Pixels("BGR", CHANNEL_MEANS_BGR, (1.0, 1.0, 1.0))  # BNInception's
IMAGENET_PIXELS = Pixels("RGB", (123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375))  # mindcv's


def crop_and_resize(frames: list[np.ndarray], crop: tuple[int, int, int, int], mirror: bool, clip: np.ndarray) -> None:
    """Crops each frame, resizes it to S x S, mirrors it if ``mirror``, and writes it into ``clip``, uint8 [T, S, S, 3].

    ``crop`` is (x, y, width, height) in pixels.
    """
    x, y, width, height = crop
    for frame, resized in zip(frames, clip):
        _resize(frame[y : y + height, x : x + width], resized)
        if mirror:
            cv2.flip(resized, 1, dst=resized)


def scale_shorter_side(frame: np.ndarray, image_size: int) -> np.ndarray:
    """Resizes a frame so that the shorter side is R = image_size · 256 // 224 and the longer int(R · long / short).

    Returns:
        uint8 [height, width, 3].
    """
    height, width = frame.shape[:2]
    scaled = np.empty((*scaled_size(height, width, image_size), 3), np.uint8)
    _resize(frame, scaled)
    return scaled


def scaled_size(height: int, width: int, image_size: int) -> tuple[int, int]:
    """Height and width of a frame after ``scale_shorter_side``."""
    target, shorter = image_size * 256 // 224, min(height, width)
    return target * height // shorter, target * width // shorter


def cut_crops(frames: list[np.ndarray], image_size: int, test_crops: int) -> np.ndarray:
    """The 1, 5 or 10 test crops of a clip, in the order of ``sampling.crop_offsets``.

    Returns:
        uint8 [crops, T, S, S, 3].
    """
    crops = np.empty((test_crops, len(frames), image_size, image_size, 3), np.uint8)
    cut_crops_into(frames, crops)
    return crops


def cut_crops_into(frames: list[np.ndarray], crops: np.ndarray) -> None:
    """Writes the test crops, as ``cut_crops`` returns them, into ``crops``, uint8 [crops, T, S, S, 3]."""
    image_size = crops.shape[2]
    height, width = frames[0].shape[:2]
    height, width = scaled_size(height, width, image_size)
    offsets = crop_offsets(height, width, image_size, len(crops))
    # One frame after the other: its crops are then read from the processor's cache.
    scaled = np.empty((height, width, 3), np.uint8)
    for segment, frame in enumerate(frames):
        _resize(frame, scaled)
        for (x, y, mirrored), crop in zip(offsets, crops[:, segment]):
            window = scaled[y : y + image_size, x : x + image_size]
            if mirrored:
                cv2.flip(window, 1, dst=crop)
            else:
                crop[:] = window


def _resize(image: np.ndarray, out: np.ndarray) -> None:
    """Writes ``image``, resized bilinearly, into ``out`` (uint8 [height, width, 3], contiguous)."""
    height, width = out.shape[:2]
    if image.shape == out.shape:
        out[:] = image
    elif image.shape[0] <= height and image.shape[1] <= width:
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
    else:
        out[:] = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BILINEAR)
