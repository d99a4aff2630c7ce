"""Batches of rows, filled side by side by worker processes.

    tasks ─► Worker ─► process: load ─► Memory ─► batches, in the tasks' order

Processes, not threads: of a training clip's millisecond a fifth is Python's own, and threads, which take turns there,
gained 1.3 x from a second core where processes gain 1.8 x. Batches lie in memory that all of them share, so that no
pixel is copied on its way to the network.
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import traceback
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from itertools import cycle, islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Callable

import cv2
import numpy as np

Load = Callable[..., tuple]


def load_batches(
    load: Load, tasks: Iterable[tuple], columns: np.dtype, batch_size: int, workers: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of one row for each task, in order, computed at least two rows a worker ahead; the last may be short.

    `columns` names a row's columns, with the dtype and shape of each. load(first, *task) fills the array `first`, a
    row's first column, and returns its others. It must be picklable, and find what it imports where this process does.

    Raises RuntimeError, with the traceback, where `load` raises, and if a worker process dies.
    """
    memory = Memory(np.dtype([(name, (columns[name], (batch_size,))) for name in columns.names], align=True))
    with ExitStack() as stack:
        stack.callback(memory.close)
        turns = cycle([stack.enter_context(Worker(load, memory)) for _ in range(workers)])
        tasks = iter(tasks)
        ahead: deque[tuple[tuple[np.ndarray, ...], Iterable[Worker]]] = deque()
        while rows := list(islice(tasks, batch_size)):
            number, batch = memory.block()
            shares: dict[Worker, list] = {}
            for slot, (task, worker) in enumerate(zip(rows, turns)):
                shares.setdefault(worker, []).append((slot, task))
            for worker, share in shares.items():
                worker.start(number, share)
            ahead.append((tuple(batch[name][: len(rows)] for name in columns.names), shares))
            if (len(ahead) - 1) * batch_size >= 2 * workers:
                yield _finished(*ahead.popleft())
        while ahead:
            yield _finished(*ahead.popleft())


def _finished(batch: tuple[np.ndarray, ...], workers: Iterable[Worker]) -> tuple[np.ndarray, ...]:
    for worker in workers:
        worker.finish()
    return batch


class Memory:
    """Blocks of one dtype, uninitialised, in memory that is used again once nobody sees it any more.

    Fresh memory costs a page fault for every 4 KB, which takes longer than to fill them. It belongs to no file system:
    /dev/shm is a few megabytes in many containers.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.file = os.memfd_create("clips")
        self.spare: list[tuple[int, mmap.mmap]] = []
        self.num_blocks = 0

    def block(self) -> tuple[int, np.ndarray]:
        """A block nobody sees: its number, from 0, and an array of no dimensions."""
        if self.spare:
            number, memory = self.spare.pop()
        else:
            number, self.num_blocks = self.num_blocks, self.num_blocks + 1
            os.ftruncate(self.file, self.num_blocks * _stride(self.dtype))
            memory = _map(self.file, self.dtype, number)
        # Whatever is cut out of this array keeps it alive, because its memory is no array's own.
        array = np.ndarray((), self.dtype, memory)
        weakref.finalize(array, self.spare.append, (number, memory))
        return number, array

    def close(self) -> None:
        """There will be no further block; those in use stay."""
        os.close(self.file)


def _stride(dtype: np.dtype) -> int:
    return -(-dtype.itemsize // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY


def _map(file: int, dtype: np.dtype, number: int) -> mmap.mmap:
    return mmap.mmap(file, _stride(dtype), offset=number * _stride(dtype))


class Worker:
    """A process that loads rows into the blocks of a `Memory`, one share of a batch after the other."""

    def __init__(self, load: Load, memory: Memory) -> None:
        self.connection, theirs = Pipe()
        files = (theirs.fileno(), memory.file)
        # Not multiprocessing's: that would run the program's main module once more, and Ctrl-C would reach it.
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path}; from {__name__} import run; run{files}"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # NumPy would start a thread a core, for nothing
            pass_fds=files,
            start_new_session=True,
        )
        theirs.close()
        self._send((load, memory.dtype))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def start(self, block: int, share: list[tuple[int, tuple]]) -> None:
        """Begin to load a share, (slot in the batch, task) of each row, once those before it are loaded."""
        self._send((block, share))

    def finish(self) -> None:
        """Wait until the earliest share that is not finished is loaded."""
        try:
            problem = self.connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if problem:
            raise RuntimeError(f"a process that loads clips failed\n{problem}")

    def _send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except OSError:
            raise self._death() from None

    def _death(self) -> RuntimeError:
        status = self.process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            hint = "if memory ran out, fewer workers or smaller batches need less"
            return RuntimeError(f"a process that loads clips was ended by {name}; {hint}")
        return RuntimeError(f"a process that loads clips ended with status {status}; above is what it said")


def run(connection: int, file: int) -> None:
    """What a worker process does until its connection is closed, or the program behind it dies."""
    cv2.setNumThreads(0)  # its threads would fight the workers for the cores
    with Connection(connection) as program, suppress(EOFError, OSError):
        load, dtype = program.recv()

        @cache
        def block(number: int) -> np.ndarray:
            return np.ndarray((), dtype, _map(file, dtype, number))

        while True:
            number, share = program.recv()
            program.send(_load_share(load, block(number), share))


def _load_share(load: Load, batch: np.ndarray, share: list[tuple[int, tuple]]) -> str:
    """Load rows into a batch; the traceback if that fails, or nothing."""
    first, *others = (batch[name] for name in batch.dtype.names)
    try:
        for slot, task in share:
            for column, value in zip(others, load(first[slot], *task)):
                column[slot] = value
    except Exception:
        return traceback.format_exc()
    return ""
