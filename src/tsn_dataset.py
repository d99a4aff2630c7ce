"""From list files and frame folders to batches of clips.

    list file ─► records ─► sampled frames ─► crops ─► clips ─► batches
                 (here)     (sampling)     (transforms)       (MindSpore's GeneratorDataset)

A clip that cannot be read must neither be replaced nor surface as a library's error from deep inside the pipeline.
Each row therefore carries a `problem`, the message of what is wrong with it or nothing, next to a black clip; whoever
consumes the rows raises it (training) or hands it on (evaluation).
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Callable

import cv2
import mindspore.dataset as ds
import numpy as np
from mindspore import Tensor

from src import sampling, transforms
from src.errors import InputError

FRAME_NAME = "{:05d}.jpg"
PROBLEM_BYTES = 4096
PREFETCHED = 2
WORKER_NAME = "clip loader"


@dataclass(frozen=True)
class VideoRecord:
    """One row of a list file: the clip's folder below the images' root, its number of frames, its class index."""

    folder: str
    num_frames: int
    label: int


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


def decode_frames(folder: str | os.PathLike, indices: np.ndarray) -> list[np.ndarray]:
    """The frames of a clip with these 0-based indices (frame i is the file i + 1): uint8 [height, width, 3] BGR each.

    Raises InputError, naming the file, for a missing folder or file, data that is empty, truncated or no image, and a
    frame of another size than the first.
    """
    frames = []
    for index in indices:
        path = os.path.join(folder, FRAME_NAME.format(index + 1))
        frame = decode_frame(path)
        if frames and frame.shape != frames[0].shape:
            (height, width), (first_height, first_width) = frame.shape[:2], frames[0].shape[:2]
            raise InputError(
                f"{path}: frame of {width}x{height} pixels; expected {first_width}x{first_height} like the others"
            )
        frames.append(frame)
    return frames


def decode_frame(path: str | os.PathLike) -> np.ndarray:
    """One image file as uint8 [height, width, 3] BGR.

    Raises InputError, naming the file, if it is missing, empty, truncated or no image.
    """
    try:
        data = _read_file(path)
    except FileNotFoundError:
        folder = Path(path).parent
        message = f"{path}: frame is missing" if folder.is_dir() else f"{folder}: clip folder is missing"
        raise InputError(message) from None
    except OSError as error:
        raise InputError(f"{path}: frame cannot be read ({error.strerror})") from None
    if not data:
        raise InputError(f"{path}: frame is empty (0 bytes); expected a JPEG image")
    if _is_truncated_jpeg(data):
        raise InputError(f"{path}: frame is truncated after {len(data)} bytes; expected a whole JPEG image")
    if data.startswith(b"\x89PNG") and b"IEND" not in data:  # the decoder would silently leave the rest black
        raise InputError(f"{path}: frame is truncated after {len(data)} bytes; expected a whole PNG image")
    # An orientation tag is not part of the picture: Pillow, the reference, ignores it too.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path}: frame is not an image; expected a JPEG image")
    return image


def usable_workers(requested: int) -> int:
    """How many of the requested workers are used: MindSpore refuses more than the machine has cores."""
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
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The batches of a whole training run, one after the other, each epoch `steps_per_epoch` of them.

    A run resumed at `first_step` of `first_epoch` (both from 0) continues with exactly the batches that the run it
    continues would have seen; so does one with another number of workers. W ranks with batches of B clips see in each
    step the clips that one rank would see in a batch of W · B.

    `flip` is "label_aware" (half of the clips are mirrored and get the class that `mirrored`, from
    `transforms.mirrored_classes`, gives, unless that is -1), "plain" (mirrored, class kept) or "none".

    Yields (clip uint8 [B, T, S, S, 3] BGR, label int32 [B], relations int32 [B, T - 1, subsample_num], dropout mask
    float32 [B, T, features]).
    Raises InputError at the call if there are too few clips, and at the batch with a clip that cannot be read.
    Close the iterator (`contextlib.closing`) where it may be left early: that stops its threads.
    """
    steps = steps_per_epoch(len(records), batch_size, world_size)
    first = first_epoch * steps + first_step

    @lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return sampling.epoch_order(len(records), seed, epoch)

    def row(position: int, clip: np.ndarray) -> tuple[np.ndarray, ...]:
        step, slot = divmod(position, batch_size)
        epoch, step = divmod(first + step, steps)
        index = order(epoch)[(step * batch_size + slot) * world_size + rank]
        record = records[index]
        draw = partial(sampling.generator, seed, epoch, index)

        label = record.label
        mirror = flip != "none" and sampling.mirror_clip(draw("flip"))
        if mirror and flip == "label_aware":
            mirror = mirrored[label] >= 0
            label = mirrored[label] if mirror else label

        def load() -> None:
            indices = sampling.train_segments(record.num_frames, num_segments, draw("frames"))
            frames = decode_frames(Path(images_root) / record.folder, indices)
            crop = sampling.training_crop(*frames[0].shape[:2], image_size, draw("crop"))
            transforms.crop_and_resize(frames, crop, image_size, mirror, out=clip)

        problem = _load_or_explain(load, clip)
        relations = sampling.sample_relations(num_segments, subsample_num, draw("relations"))
        mask = sampling.dropout_mask(num_segments, features, dropout, draw("dropout"))
        return np.array(label, np.int32), relations, mask, problem

    num_rows, shape = (epochs * steps - first) * batch_size, (num_segments, image_size, image_size, 3)
    columns = ["clip", "label", "relations", "dropout_mask", "problem"]
    batches = _pipeline(row, num_rows, shape, columns, batch_size, workers)
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
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]]:
    """The clips of a list, in its order, each once; rank r of W takes every W-th from r on.

    `frame_order` and `observe` choose the frames as in `evaluated_frames`.

    Yields (clip uint8 [B, crops, T, S, S, 3] BGR, label int32 [B], index int32 [B], problems), where index is the
    clip's position in `records` and problems holds for each clip the message of what is wrong with it, or "". A clip
    with a problem is black. The last batch may be short. Close the iterator where it may be left early.
    """
    positions = range(rank, len(records), world_size)
    if not positions:
        return (batch for batch in ())

    def row(position: int, clip: np.ndarray) -> tuple[np.ndarray, ...]:
        index = positions[position]
        record = records[index]

        def load() -> None:
            chosen = evaluated_frames(record, index, num_segments, frame_order=frame_order, observe=observe, seed=seed)
            frames = decode_frames(Path(images_root) / record.folder, chosen)
            transforms.cut_test_crops(frames, clip)

        problem = _load_or_explain(load, clip)
        return np.array(record.label, np.int32), np.array(index, np.int32), problem

    shape = (test_crops, num_segments, image_size, image_size, 3)
    batches = _pipeline(row, len(positions), shape, ["clip", "label", "index", "problem"], batch_size, workers)
    return _read_problems(batches.create_tuple_iterator(num_epochs=1, output_numpy=True))


def evaluated_frames(
    record: VideoRecord, index: int, num_segments: int, *, frame_order: str, observe: float, seed: int
) -> np.ndarray:
    """The frames that the clip at position `index` of a list is evaluated with: int64 [T], 0-based.

    They come from its first part, `observe` of its length, in the order "natural", "reversed" or "shuffled", which
    depends on `seed` and `index` alone.
    """
    shuffle = sampling.generator(seed, 0, index, "shuffle")
    return sampling.evaluated_segments(record.num_frames, num_segments, frame_order, observe, shuffle)


def _pipeline(
    load: Callable[[int, np.ndarray], tuple[np.ndarray, ...]],
    num_rows: int,
    shape: tuple[int, ...],
    columns: list[str],
    batch_size: int,
    workers: int,
) -> ds.Dataset:
    """Rows 0, 1, … in batches: load(i, clip) fills `clip`, uint8 of this shape, and returns the row's other columns."""
    # OpenCV's own threads would fight the workers for the cores.
    cv2.setNumThreads(0)
    # The default, 16 batches ahead, is gigabytes of test crops.
    ds.config.set_prefetch_size(PREFETCHED)
    source = partial(_load_ahead, load, num_rows, shape, batch_size, usable_workers(workers))
    return ds.GeneratorDataset(source, columns)


def _load_ahead(
    load: Callable[[int, np.ndarray], tuple[np.ndarray, ...]],
    num_rows: int,
    shape: tuple[int, ...],
    batch_size: int,
    workers: int,
) -> Iterator[tuple[np.ndarray, ...]]:
    """The batches of rows in order, computed by worker threads at least two rows each ahead.

    Clips are written where they lie in their batch, which MindSpore takes over as it is: rows that it puts together
    itself are copied three times. Threads are enough, because decoding and resizing run outside the interpreter's lock.
    MindSpore's worker processes copy every clip once more, through shared memory that containers are short of, and its
    workers are polled.
    """
    # Not a ThreadPoolExecutor: all of those share one lock. The garbage collector, running in a thread that holds it,
    # may drop another pipeline, which waits for its own threads, and they for the lock.
    tasks: SimpleQueue = SimpleQueue()
    threads = [Thread(target=_work, args=(load, tasks), name=WORKER_NAME, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    memory = Memory((batch_size, *shape))
    try:
        ahead: deque[tuple[np.ndarray, list[Future]]] = deque()
        for first in range(0, num_rows, batch_size):
            clips = memory.array()[: num_rows - first]
            rows = [Future() for _ in clips]
            ahead.append((clips, rows))
            for slot, row in enumerate(rows):
                tasks.put((first + slot, clips[slot], row))
            if (len(ahead) - 1) * batch_size >= 2 * workers:
                yield _finished(*ahead.popleft())
        while ahead:
            yield _finished(*ahead.popleft())
    finally:
        for _ in threads:
            tasks.put(None)
        for thread in threads:
            thread.join()


class Memory:
    """Gives uint8 arrays of one shape, uninitialised, in memory that is used again once nobody sees it any more.

    Fresh memory costs a page fault for every 4 KB, which takes longer than to fill them.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.spare: list[bytearray] = []

    def array(self) -> np.ndarray:
        memory = self.spare.pop() if self.spare else bytearray(prod(self.shape))
        # Whatever is cut out of this array keeps it alive, because its memory is no array's own.
        array = np.frombuffer(memory, np.uint8)
        weakref.finalize(array, self.spare.append, memory)
        return array.reshape(self.shape)


def _work(load: Callable[[int, np.ndarray], tuple[np.ndarray, ...]], tasks: SimpleQueue) -> None:
    for position, clip, row in iter(tasks.get, None):
        try:
            row.set_result(load(position, clip))
        except Exception as error:
            row.set_exception(error)


def _finished(clips: np.ndarray, rows: list[Future]) -> tuple[np.ndarray, ...]:
    return clips, *(np.stack(column) for column in zip(*(row.result() for row in rows)))


def _load_or_explain(load: Callable[[], None], clip: np.ndarray) -> np.ndarray:
    """An empty message if load() fills `clip`; the message of its InputError, and black frames, if it does not."""
    problem = np.zeros(PROBLEM_BYTES, np.uint8)
    try:
        load()
    except InputError as error:
        message = str(error).encode("utf-8", "replace")[:PROBLEM_BYTES]
        problem[: len(message)] = np.frombuffer(message, np.uint8)
        clip[:] = 0
    return problem


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


def _read_file(path: str | os.PathLike) -> bytes:
    # open() takes as long again as everything that is needed here, for files as small as frames.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _is_truncated_jpeg(data: bytes) -> bool:
    """Whether a JPEG lacks its end-of-image marker, in whose place the decoder would silently fill in grey.

    The marker is looked for behind the last start-of-scan marker: inside a scan neither can occur by chance, whereas
    the headers before it may hold a whole thumbnail.
    """
    if data.endswith(b"\xff\xd9") or not data.startswith(b"\xff\xd8"):
        return False
    return b"\xff\xd9" not in data[data.rfind(b"\xff\xda") :]
