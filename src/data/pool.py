"""Work side by side in processes: one helper for everything but the batches of a training (``clip_workers``).

    jobs ─► Worker ─► process: work ─► results, in the jobs' order

Each process has a pipe of its own, so that its death is noticed at once, also in the middle of a message. With
``multiprocessing.Pool`` the program would wait for ever for the job of a process that has died, and so does
``ProcessPoolExecutor`` before Python 3.12.1 if a job or result on its way is larger than a pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Callable, TypeVar

import cv2

from model_utils.errors import InputError

WATCH_SECONDS = 0.5

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], processes: int, what: str, chunk: int = 1
) -> Generator[Result, None, None]:
    """``work(job)`` of each job, in their order.

    Args:
        work: what to do, picklable.
        jobs: the jobs, picklable.
        processes: how many processes the work is worth; no more are started than there are cores. With less than two
            this process does it itself: to start one takes longer than many a job.
        what: what the processes do, for messages: "decodes videos".
        chunk: jobs that a process gets at once.

    Raises:
        InputError: if a process dies, as one does when memory runs out; and what ``work`` raises. All processes have
            ended when this is closed, and end by themselves when this program is killed.
    """
    processes = min(processes, os.cpu_count() or 1, len(jobs))
    if processes < 2:
        yield from map(work, jobs)
        return
    chunks = iter(enumerate(jobs[first : first + chunk] for first in range(0, len(jobs), chunk)))
    done: dict[int, list[Result]] = {}
    turn = 0
    with ExitStack() as stack:
        with _ctrl_c_ignored():
            idle = [stack.enter_context(Worker(work, what)) for _ in range(processes)]
        busy: dict[Connection, Worker] = {}
        while True:
            for worker, numbered in zip(idle, chunks):
                worker.send(numbered)
                busy[worker.connection] = worker
            if not busy:
                return
            idle = [busy.pop(connection) for connection in wait(list(busy)) if isinstance(connection, Connection)]
            done.update(worker.receive() for worker in idle)
            while turn in done:
                yield from done.pop(turn)
                turn += 1


class Worker:
    """A process that does one chunk of jobs after the other."""

    def __init__(self, work: Callable, what: str) -> None:
        self.what = what
        spawning = multiprocessing.get_context("spawn")  # not every library that the caller has loaded survives a fork
        self.connection, theirs = spawning.Pipe()
        self.process = spawning.Process(target=_run, args=(work, theirs, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def send(self, numbered: tuple[int, Sequence]) -> None:
        """Gives it a chunk and the chunk's number."""
        try:
            self.connection.send(numbered)
        except OSError:
            raise self._death() from None

    def receive(self) -> tuple[int, list]:
        """The number of its chunk and the results."""
        try:
            number, results, error, place = self.connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if error:
            raise error from RuntimeError(f"in a process that {self.what}\n{place}")
        return number, results

    def _death(self) -> InputError:
        self.process.join()
        code = self.process.exitcode or 0
        if code < 0:
            hint = "if memory ran out, free some and start again"
            return InputError(f"a process that {self.what} was ended by {signal.Signals(-code).name}; {hint}")
        return InputError(f"a process that {self.what} ended with status {code}; above is what it said")


def end_with(parent: int) -> None:
    """From now on this process ends when ``parent``, which has started it, is no more, whatever it is busy with."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _run(work: Callable[[Any], Any], connection: Connection, parent: int) -> None:
    end_with(parent)
    cv2.setNumThreads(1)  # the processes work side by side instead
    with suppress(EOFError, OSError):
        while True:
            number, jobs = connection.recv()
            try:
                connection.send((number, [work(job) for job in jobs], None, ""))
            except Exception as error:
                connection.send((number, [], error, traceback.format_exc()))


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C: it is for the program that has started them, which ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
