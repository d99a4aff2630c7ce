"""Clips that an 8-bit export is calibrated on, of the training list, and compared on, of the evaluation list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_utils.settings import Settings
from src import sampling, tsn_dataset
from src.data.clips import EvaluationLoader
from src.data.frame_files import dataset_frames

COMPARED = 128  # clips, at most


class Samples(NamedTuple):
    """Centre crops, uint8 [N, T, S, S, 3] BGR: of the clips to calibrate on, and of those to compare on.

    Clips that the network was trained on show a smaller error. ``about`` and ``compared_list`` say which clips they
    are.
    """

    calibration: np.ndarray
    compared: np.ndarray
    about: dict[str, Any]
    compared_list: str


def read_samples(config: Settings, num_classes: int) -> Samples:
    """``calibration_clips`` clips of the training list and up to COMPARED of the evaluation list, drawn by ``seed``.

    Also reads what ``dataset_frames`` reads and ``train_list_file_name eval_list_file_name num_segments image_size``.

    Raises:
        InputError: if a list or a frame cannot be read.
    """

    def drawn(list_name: str, count: int) -> np.ndarray:
        records = tsn_dataset.read_clips(config, list_name, num_classes)
        order = sampling.epoch_order(len(records), config.seed, 0)[:count]
        loader = EvaluationLoader(dataset_frames(config), config.num_segments, config.image_size, test_crops=1)
        dataset = tsn_dataset.evaluation_dataset(loader, [records[index] for index in order.tolist()], batch_size=1)
        with closing(dataset.read(output_numpy=True)) as batches:
            return np.stack([clips[0, 0] for clips, *_ in batches])

    calibration = drawn(config.train_list_file_name, config.calibration_clips)
    compared = drawn(config.eval_list_file_name, COMPARED)
    about = {"list_file": Path(config.train_list_file_name).name, "clips": len(calibration), "seed": config.seed}
    return Samples(calibration, compared, about, Path(config.eval_list_file_name).name)


def batches_of(inputs: list[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """The rows of arrays in batches of ``size``; the last one is filled up with rows from the beginning."""
    count = len(inputs[0])
    for begin in range(0, count, size):
        rows = np.arange(begin, begin + size) % count
        yield [array[rows] for array in inputs]
