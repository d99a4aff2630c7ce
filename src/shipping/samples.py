"""Clips for an 8-bit export: of the training list to calibrate on, of the evaluation list to compare on."""

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
    """Centre crops, uint8 [N, T, S, S, 3] BGR. ``compared`` is held out: training clips would show a smaller error."""

    calibration: np.ndarray
    compared: np.ndarray
    provenance: dict[str, Any]  # where the clips of ``calibration`` come from
    compared_list: str  # the list file of ``compared``


def read_samples(config: Settings, num_classes: int) -> Samples:
    """Draws ``calibration_clips`` clips of the training list and up to COMPARED of the evaluation list by ``seed``.

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
    provenance = {"list_file": Path(config.train_list_file_name).name, "clips": len(calibration), "seed": config.seed}
    return Samples(calibration, compared, provenance, Path(config.eval_list_file_name).name)


def batches_of(inputs: list[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """The rows of arrays in batches of ``size``; the last one is filled up with rows from the beginning."""
    count = len(inputs[0])
    for begin in range(0, count, size):
        rows = np.arange(begin, begin + size) % count
        yield [array[rows] for array in inputs]
