"""Batches of rows, filled side by side by worker processes.

    tasks ─► Worker ─► process: load ─► Memory ─► batches, in the tasks' order

Processes, not threads: a fifth of a training clip's millisecond is Python's own, and threads take turns there. A second
core made threads 1.3 times as fast and processes 1.8 times. All processes share the memory of the batches, so no pixel
is copied on its way to the network.
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
from collections.abc import Generator, Iterable
from contextlib import ExitStack, suppress
from functools import cache
from itertools import cycle, islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Callable

import cv2
import numpy as np

from model_utils.errors import InputError
from src.data.pool import end_with

Load = Callable[..., tuple]
Batch = tuple[tuple[np.ndarray, ...], list[str]]


def load_batches(
    load: Load, tasks: Iterable[tuple], columns: np.dtype, batch_size: int, workers: int
) -> Generator[Batch, None, None]:
    """Batches of one row for each task, in order.

    At least one batch and two rows for each worker are loaded ahead, and no more than one batch beyond that.

    Args:
        load: ``load(first, *task)`` fills the array ``first``, a row's first column, and returns its other columns and
            what is wrong with the row, or "". It must be picklable; its module is imported from where this process
            would import it.
        tasks: the arguments of ``load``.
        columns: names, dtypes and shapes of a row's columns.
        batch_size: rows of a batch.
        workers: processes.

    Yields:
        The columns, each with an axis of ``batch_size`` in front, and for each row what is wrong with it, or "". The
        last batch may be short.

    Raises:
        RuntimeError: with the traceback, where ``load`` raises.
        InputError: if a process dies, for example because memory ran out.
    """
    names = columns.names or ()
    memory = Memory(np.dtype([(name, (columns[name], (batch_size,))) for name in names], align=True))
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
            ahead.append((tuple(batch[name][: len(rows)] for name in names), shares))
            if (len(ahead) - 1) * batch_size >= 2 * workers:
                yield _finished(*ahead.popleft())
        while ahead:
            yield _finished(*ahead.popleft())


def _finished(columns: tuple[np.ndarray, ...], workers: Iterable[Worker]) -> Batch:
    problems = [""] * len(columns[0])
    for worker in workers:
        for slot, problem in worker.finish().items():
            problems[slot] = problem
    return columns, problems


class Memory:
    """Blocks of one dtype, uninitialised, in memory that is used again once nothing refers to it.

    Fresh memory costs a page fault for every 4 KB, which takes longer than to fill them. It belongs to no file system:
    /dev/shm is a few megabytes in many containers.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.file = os.memfd_create("clips")
        self.spare: list[tuple[int, mmap.mmap]] = []
        self.num_blocks = 0

    def block(self) -> tuple[int, np.ndarray]:
        """A block that nothing refers to: its number, from 0, and an array of no dimensions over it."""
        if self.spare:
            number, memory = self.spare.pop()
        else:
            number, self.num_blocks = self.num_blocks, self.num_blocks + 1
            os.ftruncate(self.file, self.num_blocks * _stride(self.dtype))
            memory = _map(self.file, self.dtype, number)
        # Views of this array keep it alive: NumPy passes on the base of an array only where that is an array too.
        array: np.ndarray = np.ndarray((), self.dtype, memory)
        weakref.finalize(array, self.spare.append, (number, memory))
        return number, array

    def close(self) -> None:
        """Release the file; blocks in use stay valid, new ones cannot be had."""
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
        call = f"run{(*files, os.getpid())}"
        # Not multiprocessing's, which would run the program's main module again. In a session of its own, because
        # Ctrl-C goes to all processes of a terminal's session and the program alone decides when its workers end.
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path}; from {__name__} import run; {call}"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # NumPy would start one idle thread for each core
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
        """Queues rows for this worker. ``share`` lists (slot in the batch, task). Earlier shares are loaded first."""
        self._send((block, share))

    def finish(self) -> dict[int, str]:
        """Wait until the earliest unfinished share is loaded.

        Returns:
            What is wrong with its rows, by slot; rows without a problem are left out.
        """
        try:
            failure, problems = self.connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if failure:
            raise RuntimeError(f"a process that loads clips failed\n{failure}")
        return problems

    def _send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except OSError:
            raise self._death() from None

    def _death(self) -> InputError:
        status = self.process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            hint = "if memory ran out, fewer workers or smaller batches need less"
            return InputError(f"a process that loads clips was ended by {name}; {hint}")
        return InputError(f"a process that loads clips ended with status {status}; above is what it said")


def run(connection: int, file: int, parent: int) -> None:
    """What a worker process does until its connection is closed or the program that started it dies."""
    end_with(parent)  # a file system that does not answer would keep it from looking at its connection
    cv2.setNumThreads(0)  # its threads would compete with the workers for the cores
    with Connection(connection) as program, suppress(EOFError, OSError):
        load, dtype = program.recv()

        @cache
        def block(number: int) -> np.ndarray:
            return np.ndarray((), dtype, _map(file, dtype, number))

        while True:
            number, share = program.recv()
            program.send(_load_share(load, block(number), share))


def _load_share(load: Load, batch: np.ndarray, share: list[tuple[int, tuple]]) -> tuple[str, dict[int, str]]:
    """Load rows into a batch; returns the traceback if that fails, or "", and the problems of the rows by slot."""
    first, *others = (batch[name] for name in batch.dtype.names or ())
    problems = {}
    try:
        for slot, task in share:
            *values, problem = load(first[slot], *task)
            for column, value in zip(others, values):
                column[slot] = value
            if problem:
                problems[slot] = problem
    except Exception:
        return traceback.format_exc(), {}
    return "", problems
