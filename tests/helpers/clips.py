"""Small clips for tests: folders of random JPEG frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image, ImageFilter

from src.data.frame_files import FrameFolders


def folders(root: str | Path, frame_name: str = "{:05d}.jpg") -> FrameFolders:
    return FrameFolders(Path(root), frame_name)


def read_frames(folder: str | Path, indices: list[int], first: int = 1, frame_name: str = "{:05d}.jpg") -> list:
    """Frames of a clip, counted from 0, read by Pillow: uint8 [height, width, 3] BGR."""
    paths = [Path(folder) / frame_name.format(first + index) for index in indices]
    return [np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1] for path in paths]


def load_here(
    load: Callable, tasks: Iterable[tuple], columns: np.dtype, batch_size: int, workers: int
) -> Iterator[tuple[tuple, list[str]]]:
    """``fill_batches`` without processes."""
    tasks = iter(tasks)
    while rows := list(islice(tasks, batch_size)):
        batch = np.zeros(len(rows), columns)
        problems = []
        for row, task in zip(batch, rows):
            *values, problem = load(row[columns.names[0]], *task)
            for name, value in zip(columns.names[1:], values):
                row[name] = value
            problems.append(problem)
        yield tuple(batch[name] for name in columns.names), problems


def write_dataset(root: Path, lengths: list[int], categories: list[str], **lists: range) -> Path:
    """Clips clip0, clip1 … with so many frames, of the classes by turns, and lists of those with these numbers."""
    for index, num_frames in enumerate(lengths):
        write_clip(root / "20bn-jester-v1" / f"clip{index}", num_frames, 40, 48, seed=index)
    (root / "categories.txt").write_text("".join(f"{name}\n" for name in categories))
    for name, numbers in lists.items():
        rows = (f"clip{index} {lengths[index]} {index % len(categories)}\n" for index in numbers)
        (root / f"{name}_videofolder.txt").write_text("".join(rows))
    return root


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
