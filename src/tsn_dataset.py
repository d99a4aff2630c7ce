"""From list files and frame folders to batches of clips.

list file ─► records ─► clips ─► batches ─► GeneratorDataset ─► training or evaluation
             (here) (data/clips) (data/clip_workers) (ops/batch_dataset)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Callable, Union

import numpy as np

from model_utils.errors import InputError
from model_utils.settings import Settings
from src import sampling
from src.data.clip_workers import load_batches
from src.data.clips import EvaluationLoader, FrameFolders, FrameLoader, TrainingLoader, VideoRecord, dataset_frames
from src.data.lists import read_categories as read_categories  # for those who know it from here
from src.data.lists import read_lines
from src.data.mirror_pairs import mirrored_classes
from src.ops.batch_dataset import BatchDataset, Batches
from src.ops.ranks import ALONE, Ranks

Loader = Union[TrainingLoader, EvaluationLoader, FrameLoader]


def read_video_list(
    path: str | os.PathLike, num_classes: int, frames: FrameFolders, unknown: bool = False
) -> list[VideoRecord]:
    """The clips of a list file: ``<folder> [<first frame>] <number of frames> <class index>`` a line.

    Args:
        path: the list file.
        num_classes: the class index is below this.
        frames: where the frames are. The folders there tell a first frame from a folder's name that ends in a number,
            and frames that are counted from 0 from those that are counted from 1.
        unknown: whether the class may be unknown, index -1.

    Raises:
        InputError: naming file and line, for a row of another form, a clip without frames or a wrong class index; for
            a file that cannot be read or has no rows.
    """
    has_folder = cache(frames.has_folder)
    rows = read_lines(path, "rows '<folder> <number of frames> <class index>'")
    lowest = -1 if unknown else 0
    records = [_parse_row(place, line, lowest, num_classes, has_folder) for place, line in rows]
    whole = next((record for record in records if not record.is_stretch), None)
    if whole and frames.count_from_zero(whole):
        records = [record if record.is_stretch else replace(record, first=0) for record in records]
    return records


def read_clips(config: Settings, list_name: str, num_classes: int, unknown: bool = False) -> list[VideoRecord]:
    """``read_video_list`` of a list in ``dataset_root``; reads that and what ``dataset_frames`` reads."""
    return read_video_list(Path(config.dataset_root, list_name), num_classes, dataset_frames(config), unknown)


def usable_workers(requested: int, ranks_on_node: int = 1) -> int:
    """How many of the requested worker processes one rank starts: at most its share of the node's cores, at least 1.

    More would take memory and gain no time.
    """
    return max(1, min(requested, (os.cpu_count() or 1) // ranks_on_node))


def steps_per_epoch(num_clips: int, batch_size: int, world_size: int = 1) -> int:
    """The number of whole batches that each of ``world_size`` ranks gets in one epoch; the rest of the clips waits for
    the next epoch's order.

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
    """How a clip is loaded in a training with these settings; ``features``: how many the backbone gives a frame."""
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
        sliding_windows=config.sliding_windows,
        windows_start=config.sliding_windows_start,
        windows_full=config.sliding_windows_full,
        background=categories.index(background) if background in categories else -1,
    )


def training_dataset(
    loader: TrainingLoader,
    records: list[VideoRecord],
    *,
    batch_size: int,
    workers: int = 1,
    first_epoch: int = 0,
    first_step: int = 0,
    ranks: Ranks = ALONE,
) -> BatchDataset:
    """The batches of training, ``steps_per_epoch`` of them in each epoch, in an order that each epoch draws anew.

    A run resumed at ``first_step`` of ``first_epoch`` (both from 0) gets exactly the batches that the first run would
    have got next. The number of workers changes nothing. W ranks with batches of B clips see in each step the clips
    that one rank would see in a batch of W * B.

    Args:
        loader: how a clip is loaded; the order of the clips depends on its ``seed``.
        records: the clips.
        batch_size: B, clips of one rank in one step.
        workers: processes that load clips.
        first_epoch: where the run starts.
        first_step: where the run starts.
        ranks: which share of the clips is loaded here.

    Returns:
        A ``GeneratorDataset`` with the columns of ``TrainingLoader``: clip uint8 [B, T, S, S, 3] BGR, label int32 [B],
        relations int32 [B, T-1, subsample_num], dropout_mask float32 [B, T, features].

    Raises:
        InputError: at the call if there are too few clips; while it is read for a clip that cannot be read.
    """
    first = first_epoch, first_step

    def start() -> Batches:
        tasks = training_tasks(records, loader.seed, batch_size, first, ranks)
        return _load(loader, tasks, batch_size, workers)

    steps = steps_per_epoch(len(records), batch_size, ranks.size)
    return BatchDataset(start, loader.columns, batch_size, steps, first_step)


def training_tasks(
    records: list[VideoRecord], seed: int, batch_size: int, first: tuple[int, int], ranks: Ranks
) -> Iterator[tuple[VideoRecord, int, int]]:
    """The clips of ``training_dataset`` in its order, without end: record, position in the list, epoch.

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


def evaluation_dataset(
    loader: EvaluationLoader,
    records: list[VideoRecord],
    *,
    batch_size: int,
    workers: int = 1,
    ranks: Ranks = ALONE,
    problems: dict[int, str] | None = None,
) -> BatchDataset:
    """The clips of a list, in its order, each once; rank r of W loads clips r, r + W, r + 2W ...

    Args:
        loader: how a clip is loaded.
        records: the clips.
        batch_size: B, clips of a batch; the last batch may be short.
        workers: processes that load clips.
        ranks: which share of the clips is loaded here.
        problems: gets what is wrong with the clips that cannot be read, by their positions in the list, before their
            batch comes, in which they are black. Without it such a clip raises InputError.

    Returns:
        A ``GeneratorDataset`` with the columns of ``EvaluationLoader``: clip uint8 [B, crops, T, S, S, 3] BGR, label
        and index (the position in the list) int32 [B].
    """
    tasks = [(records[index], index) for index in range(ranks.rank, len(records), ranks.size)]

    def note(columns: tuple[np.ndarray, ...], wrong: list[str]) -> None:
        if problems is None:
            _refuse(columns, wrong)
        else:
            problems.update((int(index), problem) for index, problem in zip(columns[2], wrong) if problem)

    def start() -> Batches:
        return _load(loader, tasks, batch_size, workers, note)

    return BatchDataset(start, loader.columns, batch_size, -(-len(tasks) // batch_size))


def frame_dataset(
    loader: FrameLoader, records: list[VideoRecord], *, batch_size: int, workers: int = 1
) -> BatchDataset:
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


def _refuse(columns: tuple[np.ndarray, ...], wrong: list[str]) -> None:  # noqa: ARG001
    for problem in filter(None, wrong):
        raise InputError(problem)


def _load(
    loader: Loader,
    tasks: Iterable[tuple],
    batch_size: int,
    workers: int,
    note: Callable[[tuple[np.ndarray, ...], list[str]], None] = _refuse,
) -> Batches:
    """The columns of ``load_batches``; ``note`` is told what is wrong with their rows first."""
    with closing(load_batches(loader, tasks, loader.columns, batch_size, workers)) as batches:
        for columns, wrong in batches:
            note(columns, wrong)
            yield columns


def _parse_row(place: str, line: str, lowest: int, num_classes: int, is_folder: Callable[[str], bool]) -> VideoRecord:
    try:
        folder, num_frames, label = line.rsplit(None, 2)
        record = VideoRecord(folder.strip(), int(num_frames), int(label))
    except ValueError:
        expected = "'<folder> <number of frames> <class index>'"
        raise InputError(f"{place}: row {line!r}; expected {expected}") from None
    if record.num_frames < 1:
        raise InputError(f"{place}: {record.num_frames} frames; expected at least 1")
    if not lowest <= record.label < num_classes:
        raise InputError(f"{place}: class index {record.label}; expected {lowest} to {num_classes - 1}")
    longer, *first = record.folder.rsplit(None, 1)
    if first and first[0].isdecimal() and not is_folder(record.folder) and is_folder(longer):
        return replace(record, folder=longer, first=int(first[0]), is_stretch=True)
    return record
