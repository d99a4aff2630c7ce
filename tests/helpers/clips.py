"""Small clips for tests: folders of random JPEG frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from src.data.frame_files import FrameFolders


def folders(root: str | Path, frame_name: str = "{:05d}.jpg") -> FrameFolders:
    return FrameFolders(Path(root), frame_name)


def read_frames(folder: str | Path, indices: list[int], first: int = 1, frame_name: str = "{:05d}.jpg") -> list:
    """Frames of a clip, counted from 0, read by Pillow: uint8 [height, width, 3] BGR."""
    paths = [Path(folder) / frame_name.format(first + index) for index in indices]
    return [np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1] for path in paths]


def write_clip(folder: str | Path, num_frames: int, height: int = 100, width: int = 140, seed: int = 0) -> Path:
    """Write `num_frames` JPEG frames 00001.jpg … into `folder`, every one different, and return the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(1, num_frames + 1):
        noise = rng.integers(256, size=(height, width, 3), dtype=np.uint8)
        # Blurred, because pictures are smooth and pure noise is neither compressed nor resized like them.
        image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))
        image.save(folder / f"{number:05d}.jpg", quality=90)
    return folder
