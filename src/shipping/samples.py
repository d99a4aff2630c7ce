"""Clips of the training list that an 8-bit export is calibrated on and compared on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_utils.settings import Settings
from src import sampling, tsn_dataset
from src.data.clips import EvaluationLoader
from src.data.frame_files import VideoRecord, dataset_frames

COMPARED = 32  # clips, at most


class Samples(NamedTuple):
    """Centre crops, uint8 [N, T, S, S, 3] BGR: of the clips to calibrate on, and of others to compare on.

    Where the list has no others, those to calibrate on are compared. ``about`` says which clips they are, for the JSON.
    """

    calibration: np.ndarray
    compared: np.ndarray
    about: dict[str, Any]


def read_samples(config: Settings, num_classes: int) -> Samples:
    """``calibration_clips`` clips of the training list and up to COMPARED others, drawn by ``seed``.

    Also reads what ``dataset_frames`` reads and ``train_list_file_name num_segments image_size``.

    Raises:
        InputError: if the list or a frame cannot be read.
    """
    path = Path(config.dataset_root) / config.train_list_file_name
    records = tsn_dataset.read_clips(config, config.train_list_file_name, num_classes)
    order = sampling.epoch_order(len(records), config.seed, 0)
    count = min(config.calibration_clips, len(records))
    clips = _read(config, [records[index] for index in order[: count + COMPARED].tolist()])
    about = {"list_file": path.name, "clips": count, "seed": config.seed}
    return Samples(clips[:count], clips[count:] if len(clips) > count else clips[:COMPARED], about)


def _read(config: Settings, records: list[VideoRecord]) -> np.ndarray:
    loader = EvaluationLoader(dataset_frames(config), config.num_segments, config.image_size, test_crops=1)
    dataset = tsn_dataset.evaluation_dataset(loader, records, batch_size=1)
    with closing(dataset.read(output_numpy=True)) as batches:
        return np.stack([clips[0, 0] for clips, *_ in batches])


def batches_of(inputs: list[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """The rows of arrays in batches of ``size``; the last one is filled up with rows from the beginning."""
    count = len(inputs[0])
    for begin in range(0, count, size):
        rows = np.arange(begin, begin + size) % count
        yield [array[rows] for array in inputs]
