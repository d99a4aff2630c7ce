"""From list files and frame folders to batches of clips.

list file ─► records ─► clips ─► batches ─► training or evaluation
             (here)    (data/clips) (data/clip_workers)
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Callable

import numpy as np
from mindspore import Tensor

from model_utils.errors import InputError
from model_utils.settings import Settings
from src import sampling
from src.data.clip_workers import Batch, load_batches
from src.data.clips import EvaluationLoader, TrainingLoader, VideoRecord
from src.data.lists import read_categories as read_categories  # for those who know it from here
from src.data.lists import read_lines
from src.data.mirror_pairs import mirrored_classes
from src.data.names import FRAME_NAME, split_frame_name
from src.ops.ranks import ALONE, Ranks


def read_video_list(
    path: str | os.PathLike,
    num_classes: int,
    unknown: bool = False,
    images_root: str | os.PathLike | None = None,
    frame_name: str = FRAME_NAME,
) -> list[VideoRecord]:
    """The clips of a list file: ``<folder> [<first frame>] <number of frames> <class index>`` a line.

    Args:
        path: the list file.
        num_classes: the class index is below this.
        unknown: whether the class may be unknown, index -1.
        images_root: folder of the clips' folders. It tells a first frame from a folder's name that ends in a number,
            and frames that are counted from 0 from those that are counted from 1. Without it no row has a first frame.
        frame_name: names of the frames.

    Raises:
        InputError: naming file and line, for a row of another form, a clip without frames or a wrong class index; for
            a file that cannot be read or has no rows; for a frame name without a number.
    """
    split_frame_name(frame_name)

    @cache
    def is_folder(name: str) -> bool:
        return images_root is not None and os.path.isdir(os.path.join(images_root, name))

    rows = read_lines(path, "rows '<folder> <number of frames> <class index>'")
    lowest = -1 if unknown else 0
    records = [_parse_row(place, line, lowest, num_classes, is_folder) for place, line in rows]
    whole = next((record for record in records if not record.is_stretch), None)
    if whole and images_root is not None and _counts_from_zero(Path(images_root, whole.folder), whole, frame_name):
        records = [record if record.is_stretch else replace(record, first=0) for record in records]
    return records


def read_clips(config: Settings, list_name: str, num_classes: int, unknown: bool = False) -> list[VideoRecord]:
    """``read_video_list`` of a list in ``dataset_root``; reads ``dataset_root images_dir_name frame_name``."""
    root = Path(config.dataset_root)
    return read_video_list(root / list_name, num_classes, unknown, root / config.images_dir_name, config.frame_name)


def _counts_from_zero(folder: Path, record: VideoRecord, frame_name: str) -> bool:
    names = (frame_name.format(number) for number in (0, record.num_frames))
    return [(folder / name).exists() for name in names] == [True, False]


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
        Path(config.dataset_root, config.images_dir_name),
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
        frame_name=config.frame_name,
    )


def training_batches(
    loader: TrainingLoader,
    records: list[VideoRecord],
    *,
    batch_size: int,
    epochs: int,
    workers: int = 1,
    first_epoch: int = 0,
    first_step: int = 0,
    ranks: Ranks = ALONE,
) -> Generator[tuple[Tensor, ...], None, None]:
    """The batches of a whole training run, ``steps_per_epoch`` of them in each epoch.

    A run resumed at ``first_step`` of ``first_epoch`` (both from 0) gets exactly the batches that the first run would
    have got next. The number of workers changes nothing. W ranks with batches of B clips see in each step the clips
    that one rank would see in a batch of W * B.

    Args:
        loader: how a clip is loaded; the order of the clips depends on its ``seed``.
        records: the clips.
        batch_size: clips of one rank in one step.
        epochs: the last epoch's number, from 1.
        workers: processes that load clips.
        first_epoch: where the run starts.
        first_step: where the run starts.
        ranks: which share of the clips is loaded here.

    Returns:
        An iterator over batches: the columns of ``loader.columns``, each with an axis B in front. Close it
        (``contextlib.closing``) where it may be left early: that ends the workers.

    Raises:
        InputError: at the call if there are too few clips, and at the batch with a clip that cannot be read.
    """
    tasks = training_tasks(records, loader.seed, batch_size, epochs, (first_epoch, first_step), ranks)
    return _readable(load_batches(loader, tasks, loader.columns, batch_size, workers))


def training_tasks(
    records: list[VideoRecord], seed: int, batch_size: int, epochs: int, first: tuple[int, int], ranks: Ranks
) -> Iterator[tuple[VideoRecord, int, int]]:
    """The clips of ``training_batches`` in its order: record, position in the list, epoch.

    ``first``: epoch and step where the run starts. Raises InputError, at the call, if there are too few clips.
    """
    clips_per_step = batch_size * ranks.size
    clips_per_epoch = steps_per_epoch(len(records), batch_size, ranks.size) * clips_per_step
    first_epoch, first_step = first

    def tasks() -> Iterator[tuple[VideoRecord, int, int]]:
        for epoch in range(first_epoch, epochs):
            order = sampling.epoch_order(len(records), seed, epoch)[:clips_per_epoch]
            begin = first_step * clips_per_step if epoch == first_epoch else 0
            for index in order[begin + ranks.rank :: ranks.size].tolist():
                yield records[index], index, epoch

    return tasks()


def evaluation_batches(
    loader: EvaluationLoader,
    records: list[VideoRecord],
    *,
    batch_size: int,
    workers: int = 1,
    ranks: Ranks = ALONE,
) -> Generator[tuple[np.ndarray, np.ndarray, np.ndarray, list[str]], None, None]:
    """The clips of a list, in its order, each once; rank r of W loads clips r, r + W, r + 2W ...

    Args:
        loader: how a clip is loaded.
        records: the clips.
        batch_size: clips of a batch; the last batch may be short.
        workers: processes that load clips.
        ranks: which share of the clips is loaded here.

    Yields:
        The columns of ``loader.columns``, each with an axis B in front, and for each clip what is wrong with it, or "".
        A clip that cannot be read is black. Close the iterator where it may be left early: that ends the workers.
    """
    tasks = [(records[index], index) for index in range(ranks.rank, len(records), ranks.size)]
    if not tasks:
        return
    with closing(load_batches(loader, tasks, loader.columns, batch_size, workers)) as batches:
        for (clips, labels, indices), problems in batches:
            yield clips, labels, indices, problems


def _readable(batches: Generator[Batch, None, None]) -> Generator[tuple[Tensor, ...], None, None]:
    """The batches as tensors over the same memory; InputError for the first clip that could not be read."""
    with closing(batches):
        for columns, problems in batches:
            for problem in filter(None, problems):
                raise InputError(problem)
            yield tuple(Tensor.from_numpy(column) for column in columns)


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
