"""From list files and frame folders to batches of clips.

list file ─► records ─► clips ─► batches ─► GeneratorDataset ─► training or evaluation
             (here) (data/clips) (data/clip_workers) (ops/batch_dataset)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Callable, Union

import numpy as np

from model_utils.errors import InputError
from model_utils.settings import Settings
from src import sampling
from src.data import frame_files
from src.data.clip_workers import fill_batches
from src.data.clips import EvaluationLoader, FrameLoader, TrainingLoader
from src.data.frame_files import FrameFolders, dataset_frames
from src.data.lists import read_categories as read_categories  # users import it from here
from src.data.mirror_pairs import mirrored_classes
from src.data.names import CATEGORIES_FILE, FRAME_NAME
from src.data.video_list import TSNDataSet as TSNDataSet
from src.data.video_list import read_clips as read_clips
from src.data.video_list import read_video_list as read_video_list
from src.data.video_list import record_of as VideoRecord  # noqa: F401, N812
from src.ops.batch_dataset import BatchDataset, Batches
from src.ops.ranks import ALONE, Ranks
from src.transforms import CAFFE_PIXELS

Records = list[frame_files.VideoRecord]
Loader = Union[TrainingLoader, EvaluationLoader, FrameLoader]
ZOO_CROPS = 10


def usable_workers(requested: int, ranks_on_node: int = 1) -> int:
    """The number of worker processes of one rank: ``requested``, but at most its share of the node's cores."""
    return max(1, min(requested, (os.cpu_count() or 1) // ranks_on_node))


def steps_per_epoch(num_clips: int, batch_size: int, world_size: int = 1) -> int:
    """The number of whole batches that each of ``world_size`` ranks gets in one epoch. Clips left over are skipped.

    Raises:
        InputError: if there are fewer clips than one step of all ranks takes.
    """
    steps = num_clips // (batch_size * world_size)
    if steps == 0:
        raise InputError(
            f"train_batch_size {batch_size}: {num_clips} training clips are less than one step; expected at least"
            f" {batch_size * world_size} (batch size {batch_size} x {world_size} devices)"
        )
    return steps


def training_loader(config: Settings, categories: list[str], features: int) -> TrainingLoader:
    """The loader of training clips; ``features`` is the length of the backbone's feature vector."""
    background = config.background_class
    return TrainingLoader(
        dataset_frames(config),
        num_segments=config.num_segments,
        image_size=config.image_size,
        subsample_num=config.subsample_num,
        seed=config.seed,
        flip=config.flip,
        mirrored=mirrored_classes(categories, config.mirror_pairs),
        dropout=config.dropout,
        features=features,
        smallest_crop=config.smallest_crop,
        sliding_windows=config.sliding_windows,
        windows_start=config.sliding_windows_start,
        windows_full=config.sliding_windows_full,
        background=categories.index(background) if background in categories else -1,
    )


def training_dataset(
    loader: TrainingLoader,
    records: Records,
    *,
    batch_size: int,
    workers: int = 1,
    first_epoch: int = 0,
    first_step: int = 0,
    ranks: Ranks = ALONE,
) -> BatchDataset:
    """The training batches: ``steps_per_epoch`` in each epoch, in a new random order in each.

    A run resumed at ``first_step`` of ``first_epoch`` (both from 0) gets exactly the batches that the first run would
    have got next. The number of workers changes nothing. W ranks with batches of B clips see in each step the clips
    that one rank would see in a batch of W * B.

    Args:
        loader: how a clip is loaded; the order of the clips depends on its ``seed``.
        batch_size: B, clips of one rank in one step.
        first_epoch, first_step: where the run starts.
        ranks: which share of the clips is loaded here.

    Returns:
        A ``GeneratorDataset`` with the columns of ``TrainingLoader``: clip uint8 [B, T, S, S, 3] BGR, label int32 [B],
        relations int32 [B, T-1, subsample_num], dropout_mask float32 [B, T, features].

    Raises:
        InputError: if there are too few clips; during iteration, for a clip that cannot be read.
    """
    first = first_epoch, first_step

    def start() -> Batches:
        tasks = training_tasks(records, loader.seed, batch_size, first, ranks)
        return _load(loader, tasks, batch_size, workers)

    steps = steps_per_epoch(len(records), batch_size, ranks.size)
    return BatchDataset(start, loader.columns, batch_size, steps, first_step)


def training_tasks(
    records: Records, seed: int, batch_size: int, first: tuple[int, int], ranks: Ranks
) -> Iterator[tuple[frame_files.VideoRecord, int, int]]:
    """Yields (record, position in the list, epoch) in the order of ``training_dataset``, without end.

    ``first``: epoch and step where the run starts.
    """
    clips_per_step = batch_size * ranks.size
    clips_per_epoch = steps_per_epoch(len(records), batch_size, ranks.size) * clips_per_step
    first_epoch, first_step = first
    for epoch in count(first_epoch):
        order = sampling.epoch_order(len(records), seed, epoch)[:clips_per_epoch]
        begin = first_step * clips_per_step if epoch == first_epoch else 0
        for index in order[begin + ranks.rank :: ranks.size].tolist():
            yield records[index], index, epoch


def evaluation_loader(settings: Settings, test_crops: int) -> EvaluationLoader:
    """The loader of evaluated clips; reads ``num_segments image_size frame_order seed`` and the keys of the frames."""
    segments, size, order = settings.num_segments, settings.image_size, settings.frame_order
    return EvaluationLoader(dataset_frames(settings), segments, size, test_crops, order, seed=settings.seed)


def evaluation_dataset(
    loader: EvaluationLoader,
    records: Records,
    *,
    batch_size: int,
    workers: int = 1,
    ranks: Ranks = ALONE,
    problems: dict[int, str] | None = None,
) -> BatchDataset:
    """The clips of a list, in its order, each once; rank r of W loads clips r, r + W, r + 2W ...

    Args:
        batch_size: B, clips of a batch; the last batch may be short.
        ranks: which share of the clips is loaded here.
        problems: gets {position in the list: error message} of clips that cannot be read, before their batch, where
            they are black. None raises InputError instead.

    Returns:
        A ``GeneratorDataset`` with the columns of ``EvaluationLoader``: clip uint8 [B, crops, T, S, S, 3] BGR, label
        and index (the position in the list) int32 [B].
    """
    tasks = [(records[index], index) for index in range(ranks.rank, len(records), ranks.size)]
    start = partial(_load, loader, tasks, batch_size, workers, problems)
    return BatchDataset(start, loader.columns, batch_size, -(-len(tasks) // batch_size))


def frame_dataset(loader: FrameLoader, records: Records, *, batch_size: int, workers: int = 1) -> BatchDataset:
    """Every frame of every clip, in order; the last batch may be short.

    Returns:
        A ``GeneratorDataset`` with the columns of ``FrameLoader``: frame uint8 [B, S, S, 3] BGR, height_width
        int32 [B, 2]. A frame that cannot be read raises InputError.
    """
    steps = -(-sum(record.num_frames for record in records) // batch_size)

    def start() -> Batches:
        tasks = ((record, index) for record in records for index in range(record.num_frames))
        return _load(loader, tasks, batch_size, workers)

    return BatchDataset(start, loader.columns, batch_size, steps)


def _load(
    loader: Loader, tasks: Iterable[tuple], batch_size: int, workers: int, problems: dict[int, str] | None = None
) -> Batches:
    """The columns of ``fill_batches``. ``problems``: see ``evaluation_dataset``; its third column is the index."""
    with closing(fill_batches(loader, tasks, loader.columns, batch_size, workers)) as batches:
        for columns, wrong in batches:
            for row, problem in enumerate(wrong):
                if problem and problems is None:
                    raise InputError(problem)
                if problem and problems is not None:
                    problems[int(columns[2][row])] = problem
            yield columns


def get_categories_list(root_dir: str, categories_list_name: str) -> list[str]:
    """``read_categories`` by the model zoo's name."""
    return read_categories(Path(root_dir, categories_list_name))


def get_dataset_for_training(  # noqa: PLR0913
    dataset_root: str,
    images_dir_name: str,
    files_list_name: str,
    image_size: int,
    num_segments: int,
    batch_size: int,
    subsample_num: int,
    seed: int,
    rank: int,
    group_size: int,
    train_workers: int = 8,
) -> tuple[BatchDataset, int]:
    """``training_dataset`` with ``flip`` label_aware, and the number of classes.

    Columns: images float32 [B, T*3, S, S], combinations int32 [B, T-1, subsample_num], labels int32 [B].
    """
    categories, frames, records = _zoo_clips(dataset_root, images_dir_name, files_list_name)
    mirrored = mirrored_classes(categories)
    loader = TrainingLoader(frames, num_segments, image_size, subsample_num, seed, "label_aware", mirrored, 0.0, 1)
    workers, ranks = usable_workers(train_workers, group_size), Ranks(rank, group_size)
    dataset = training_dataset(loader, records, batch_size=batch_size, workers=workers, ranks=ranks)

    def batch(clips: np.ndarray, labels: np.ndarray, relations: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, ...]:
        return _images(clips), relations, labels

    shapes = (num_segments * 3, image_size, image_size), (num_segments - 1, subsample_num)
    return _zoo_dataset(dataset, batch, batch_size, *shapes), len(categories)


def get_dataset_for_evaluation(
    dataset_root: str,
    images_dir_name: str,
    files_list_name: str,
    image_size: int,
    num_segments: int,
    subsample_num: int,
    seed: int,
) -> tuple[BatchDataset, int]:
    """``evaluation_dataset`` of ten crops, clip by clip, and the number of classes.

    Columns: images float32 [1, 10*T*3, S, S], combinations int32 [1, 10, T-1, subsample_num], labels int32 [1].
    """
    categories, frames, records = _zoo_clips(dataset_root, images_dir_name, files_list_name)
    loader = EvaluationLoader(frames, num_segments, image_size, ZOO_CROPS)
    dataset = evaluation_dataset(loader, records, batch_size=1)

    def batch(clips: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        draw = sampling.generator(seed, 0, int(indices[0]), "relations")  # as an evaluation draws them
        relations = sampling.sample_relations(num_segments, subsample_num, draw)
        return _images(clips), np.stack([relations] * ZOO_CROPS)[None], labels

    shapes = (ZOO_CROPS * num_segments * 3, image_size, image_size), (ZOO_CROPS, num_segments - 1, subsample_num)
    return _zoo_dataset(dataset, batch, 1, *shapes), len(categories)


def _zoo_clips(root: str, images_dir: str, list_name: str) -> tuple[list[str], FrameFolders, Records]:
    categories, frames = get_categories_list(root, CATEGORIES_FILE), FrameFolders(Path(root, images_dir), FRAME_NAME)
    return categories, frames, read_video_list(Path(root, list_name), len(categories), frames)


def _images(clips: np.ndarray) -> np.ndarray:
    """uint8 [B, ..., S, S, 3] -> BNInception's input, float32 [B, n*3, S, S]."""
    side = clips.shape[-2]
    return CAFFE_PIXELS.prepare(clips.reshape(-1, side, side, 3)).reshape(len(clips), -1, side, side)


def _zoo_dataset(
    dataset: BatchDataset, batch: Callable[..., tuple[np.ndarray, ...]], size: int, *shapes: tuple[int, ...]
) -> BatchDataset:
    """``dataset`` with the model zoo's columns; ``batch`` converts the columns of one batch."""

    def start() -> Batches:
        with closing(dataset.source.start()) as batches:
            for columns in batches:
                yield batch(*columns)

    images, combinations = shapes
    columns = [("images", np.float32, images), ("combinations", np.int32, combinations), ("labels", np.int32)]
    return BatchDataset(start, np.dtype(columns), size, dataset.dataset_size)
