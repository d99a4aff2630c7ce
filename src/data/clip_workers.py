"""Fills batches of rows in several worker processes.

    tasks ─► pool.Worker ─► process: Filler: load ─► Memory ─► batches, in the tasks' order

Processes, not threads: loading a clip spends a fifth of its time in Python code, where threads take turns. A second
core made threads 1.3 times as fast and processes 1.8 times. All processes share the memory of the batches, so no pixel
is copied on its way to the network.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from itertools import cycle, islice
from typing import Callable

import numpy as np

from src.data.pool import Worker

Load = Callable[..., tuple]
Batch = tuple[tuple[np.ndarray, ...], list[str]]


def fill_batches(
    load: Load, tasks: Iterable[tuple], columns: np.dtype, batch_size: int, workers: int
) -> Generator[Batch, None, None]:
    """Batches of one row for each task, in order.

    At least one batch and two rows for each worker are loaded ahead, and no more than one batch beyond that.

    Args:
        load: ``load(first, *task)`` fills the array ``first``, a row's first column, and returns its other columns and
            an error message, or "". Must suit ``Worker``.
        tasks: the arguments of ``load``.
        columns: names, dtypes and shapes of a row's columns.

    Yields:
        The columns, each with an axis of ``batch_size`` in front, and for each row an error message, or "". The last
        batch may be short.

    Raises:
        InputError: if a process dies, for example because memory ran out; and what ``load`` raises.
    """
    names = columns.names or ()
    memory = Memory(np.dtype([(name, (columns[name], (batch_size,))) for name in names], align=True))
    with ExitStack() as stack:
        stack.callback(memory.close)
        filler, hint = Filler(load, memory), "fewer workers or smaller batches need less"
        started = (Worker(filler, "loads clips", hint, (memory.file,)) for _ in range(workers))
        turns = cycle([stack.enter_context(worker) for worker in started])
        tasks = iter(tasks)
        ahead: deque[tuple[tuple[np.ndarray, ...], Iterable[Worker]]] = deque()
        while rows := list(islice(tasks, batch_size)):
            number, batch = memory.block()
            shares: dict[Worker, list] = {}
            for slot, (task, worker) in enumerate(zip(rows, turns)):
                shares.setdefault(worker, []).append((slot, task))
            for worker, share in shares.items():
                worker.send((number, share))
            ahead.append((tuple(batch[name][: len(rows)] for name in names), shares))
            if (len(ahead) - 1) * batch_size >= 2 * workers:
                yield _finished(*ahead.popleft())
        while ahead:
            yield _finished(*ahead.popleft())


def _finished(columns: tuple[np.ndarray, ...], workers: Iterable[Worker]) -> Batch:
    problems = [""] * len(columns[0])
    for worker in workers:
        for slot, problem in worker.receive().items():
            problems[slot] = problem
    return columns, problems


class Memory:
    """Uninitialised blocks of one dtype. A block is reused once nothing refers to it.

    Fresh memory costs a page fault for every 4 KB, which takes longer than filling them. The memory is in no file
    system: /dev/shm is a few megabytes in many containers.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.file = os.memfd_create("clips")
        self.spare: list[tuple[int, mmap.mmap]] = []
        self.num_blocks = 0

    def block(self) -> tuple[int, np.ndarray]:
        """A free block: its number, from 0, and a 0-dimensional array over it."""
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
        """Closes the file; blocks in use stay valid."""
        os.close(self.file)


def _stride(dtype: np.dtype) -> int:
    return -(-dtype.itemsize // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY


def _map(file: int, dtype: np.dtype, number: int) -> mmap.mmap:
    return mmap.mmap(file, _stride(dtype), offset=number * _stride(dtype))


class Filler:
    """The work of a process: loads its share of each batch into the blocks of a ``Memory``."""

    def __init__(self, load: Load, memory: Memory) -> None:
        self.load, self.dtype, self.file = load, memory.dtype, memory.file
        self.blocks: dict[int, np.ndarray] = {}

    def __call__(self, share: tuple[int, list[tuple[int, tuple]]]) -> dict[int, str]:
        """Loads rows into a block.

        Args:
            share: the number of the block, and (slot in the batch, task) of each row.

        Returns:
            {slot: error message} of the rows that could not be loaded.
        """
        number, rows = share
        if number not in self.blocks:
            self.blocks[number] = np.ndarray((), self.dtype, _map(self.file, self.dtype, number))
        first, *others = (self.blocks[number][name] for name in self.dtype.names or ())
        problems = {}
        for slot, task in rows:
            *values, problem = self.load(first[slot], *task)
            for column, value in zip(others, values):
                column[slot] = value
            if problem:
                problems[slot] = problem
        return problems
