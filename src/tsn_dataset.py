"""From list files and frame folders to batches of clips.

list file ─► records ─► clips ─► batches ─► training or evaluation
             (here)    (clips) (clip_workers)     (through MindSpore's GeneratorDataset)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import mindspore.dataset as ds
import numpy as np
from mindspore import Tensor

from model_utils.errors import InputError
from src import sampling
from src.data.clip_workers import Load, load_batches
from src.data.clips import PROBLEM_BYTES, EvaluationLoader, TrainingLoader, VideoRecord
from src.ops.ranks import ALONE, Ranks

PREFETCHED = 2


def read_categories(path: str | os.PathLike) -> list[str]:
    """The class names, one a line: the class index is the line's number, from 0.

    Raises InputError for a file that cannot be read, no names, an empty line or a name given twice.
    """
    names = [line.strip() for line in _read_lines(path, "one class name a line")]
    for number, name in enumerate(names, 1):
        if not name:
            raise InputError(f"{path}:{number}: empty line; expected a class name")
        if name in names[: number - 1]:
            raise InputError(f"{path}:{number}: class {name!r} is already in line {names.index(name) + 1}")
    return names


def read_video_list(path: str | os.PathLike, num_classes: int, unknown: bool = False) -> list[VideoRecord]:
    """The clips of a list file, `<folder> <number of frames> <class index>` a line.

    Raises InputError, naming file and line, for a file that cannot be read, no rows, a row of another form, a clip
    without frames or a class index outside 0 … num_classes - 1; -1 is allowed where classes may be `unknown`.
    """
    lines = _read_lines(path, "rows '<folder> <number of frames> <class index>'")
    lowest = -1 if unknown else 0
    return [_parse_row(f"{path}:{number}", line, lowest, num_classes) for number, line in enumerate(lines, 1)]


def usable_workers(requested: int) -> int:
    """How many of the requested workers are used: more than the machine has cores would only take their memory."""
    return min(requested, os.cpu_count() or 1)


def steps_per_epoch(num_clips: int, batch_size: int, world_size: int = 1) -> int:
    """Whole batches in one epoch, for each of `world_size` ranks; what is left over waits for the next epoch's order.

    Raises InputError if there are fewer clips than one step of all ranks takes.
    """
    steps = num_clips // (batch_size * world_size)
    if steps == 0:
        raise InputError(
            f"train_batch_size {batch_size}: {num_clips} training clips are less than one step; expected at least"
            f" {batch_size * world_size} (batch size {batch_size} x {world_size} devices)"
        )
    return steps


def training_batches(
    records: list[VideoRecord],
    images_root: str | os.PathLike,
    *,
    num_segments: int,
    image_size: int,
    subsample_num: int,
    batch_size: int,
    seed: int,
    flip: str,
    mirrored: np.ndarray,
    dropout: float,
    features: int,
    workers: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    ranks: Ranks = ALONE,
    sliding_windows: float = 0.0,
    background: int = -1,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The batches of a whole training run, one after the other, each epoch `steps_per_epoch` of them.

    A run resumed at `first_step` of `first_epoch` (both from 0) continues with exactly the batches that the run it
    continues would have seen; so does one with another number of workers. W ranks with batches of B clips see in each
    step the clips that one rank would see in a batch of W · B.

    `flip` is "label_aware" (half of the clips are mirrored and get the class that `mirrored`, from
    `transforms.mirrored_classes`, gives, unless that is -1), "plain" (mirrored, class kept) or "none".

    The share `sliding_windows` of the clips is seen through a window that slides over the clip (see
    `sampling.sliding_window`). Where it does not hold the whole gesture, the label is `background`; if that is -1, only
    windows are drawn that do.

    Yields (clip uint8 [B, T, S, S, 3] BGR, label int32 [B], relations int32 [B, T - 1, subsample_num], dropout mask
    float32 [B, T, features]).
    Raises InputError at the call if there are too few clips, and at the batch with a clip that cannot be read.
    Close the iterator (`contextlib.closing`) where it may be left early: that stops its workers.
    """
    steps = steps_per_epoch(len(records), batch_size, ranks.size)
    clips_per_step = batch_size * ranks.size

    def tasks() -> Iterator[tuple[VideoRecord, int, int]]:
        for epoch in range(first_epoch, epochs):
            order = sampling.epoch_order(len(records), seed, epoch)[: steps * clips_per_step]
            begin = first_step * clips_per_step if epoch == first_epoch else 0
            for index in order[begin + ranks.rank :: ranks.size].tolist():
                yield records[index], index, epoch

    load = TrainingLoader(images_root, num_segments, image_size, subsample_num, seed, flip, mirrored, dropout, features)
    load = replace(load, sliding_windows=sliding_windows, background=background)
    columns = [
        ("clip", np.uint8, (num_segments, image_size, image_size, 3)),
        ("label", np.int32),
        ("relations", np.int32, (num_segments - 1, subsample_num)),
        ("dropout_mask", np.float32, (num_segments, features)),
    ]
    batches = _pipeline(load, tasks(), columns, batch_size, workers)
    return _raise_problems(batches.create_tuple_iterator(num_epochs=1, do_copy=False))


def evaluation_batches(
    records: list[VideoRecord],
    images_root: str | os.PathLike,
    *,
    num_segments: int,
    image_size: int,
    test_crops: int,
    batch_size: int,
    workers: int,
    frame_order: str = "natural",
    observe: float = 1.0,
    seed: int = 0,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]]:
    """The clips of a list, in its order, each once; rank r of W takes every W-th from r on.

    `frame_order` and `observe` choose the frames as in `clips.evaluated_frames`.

    Yields (clip uint8 [B, crops, T, S, S, 3] BGR, label int32 [B], index int32 [B], problems), where index is the
    clip's position in `records` and problems holds for each clip the message of what is wrong with it, or "". A clip
    with a problem is black. The last batch may be short. Close the iterator where it may be left early.
    """
    tasks = [(records[index], index) for index in range(ranks.rank, len(records), ranks.size)]
    if not tasks:
        return (batch for batch in ())
    load = EvaluationLoader(images_root, num_segments, frame_order, observe, seed)
    columns = [
        ("clip", np.uint8, (test_crops, num_segments, image_size, image_size, 3)),
        ("label", np.int32),
        ("index", np.int32),
    ]
    batches = _pipeline(load, tasks, columns, batch_size, workers)
    return _read_problems(batches.create_tuple_iterator(num_epochs=1, output_numpy=True))


def _pipeline(load: Load, tasks: Iterable[tuple], columns: list[tuple], batch_size: int, workers: int) -> ds.Dataset:
    # The default, 16 batches ahead, is gigabytes of test crops.
    ds.config.set_prefetch_size(PREFETCHED)
    row = np.dtype([*columns, ("problem", np.uint8, PROBLEM_BYTES)])
    # Whole batches: rows that MindSpore puts together itself are copied three times.
    source = partial(load_batches, load, tasks, row, batch_size, usable_workers(workers))
    return ds.GeneratorDataset(source, list(row.names))


def _messages(problems: np.ndarray) -> list[str]:
    return [row.tobytes().rstrip(b"\0").decode("utf-8", "ignore") for row in problems]


def _raise_problems(batches: Iterable) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    with _released(batches):
        for *batch, problem in batches:
            for message in filter(None, _messages(problem.asnumpy())):
                raise InputError(message)
            yield tuple(batch)


def _read_problems(batches: Iterable) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]]:
    with _released(batches):
        for clip, label, index, problem in batches:
            yield clip, label, index, _messages(problem)


@contextmanager
def _released(batches: Iterable) -> Iterator[None]:
    """Stop the pipeline behind `batches` here and now, not when the garbage collector comes upon it."""
    try:
        yield
    finally:
        batches.release()


def _read_lines(path: str | os.PathLike, expected: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{path}: cannot be read ({reason}); expected a text file with {expected}") from None
    if not lines:
        raise InputError(f"{path}: empty file; expected {expected}")
    return lines


def _parse_row(place: str, line: str, lowest: int, num_classes: int) -> VideoRecord:
    try:
        folder, num_frames, label = line.rsplit(None, 2)
        record = VideoRecord(folder.strip(), int(num_frames), int(label))
    except ValueError:
        raise InputError(f"{place}: row {line!r}; expected '<folder> <number of frames> <class index>'") from None
    if record.num_frames < 1:
        raise InputError(f"{place}: {record.num_frames} frames; expected at least 1")
    if not lowest <= record.label < num_classes:
        raise InputError(f"{place}: class index {record.label}; expected {lowest} to {num_classes - 1}")
    return record
