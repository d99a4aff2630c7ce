"""Does work in several processes.

    messages ─► Worker ─► process: work ─► results, in the messages' order

Each process has its own pipe, so its death is noticed at once, even in the middle of a message. A
``multiprocessing.Pool`` would wait for ever for the job of a dead process; so would ``ProcessPoolExecutor`` before
Python 3.12.1, if a job or result is larger than a pipe.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Callable, TypeVar

import cv2

from model_utils.errors import InputError

WATCH_SECONDS = 0.5

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], processes: int, task: str, chunk: int = 1
) -> Generator[Result, None, None]:
    """``work(job)`` of each job, in their order.

    Args:
        work: picklable.
        jobs: the jobs, picklable.
        processes: how many to start, at most one per core. Below two, this process does the work itself.
        task: what the processes do, for messages: "decodes videos".
        chunk: jobs that a process gets at once.

    Raises:
        InputError: if a process dies, for example because memory ran out. Errors of ``work`` are raised as they are.
    """
    processes = min(processes, os.cpu_count() or 1, len(jobs))
    if processes < 2:
        yield from map(work, jobs)
        return
    chunks = iter(enumerate(jobs[first : first + chunk] for first in range(0, len(jobs), chunk)))
    done: dict[int, list[Result]] = {}
    turn = 0
    with ExitStack() as stack:
        idle = [stack.enter_context(Worker(partial(_do_chunk, work), task)) for _ in range(processes)]
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


def _do_chunk(work: Callable[[Job], Result], numbered: tuple[int, Sequence[Job]]) -> tuple[int, list[Result]]:
    number, jobs = numbered
    return number, [work(job) for job in jobs]


class Worker:
    """A process that answers each message with ``work(message)``, in their order.

    Args:
        work: picklable, and not defined in the main module.
        task: what the process does, for messages.
        hint: advice for the case that memory runs out.
        files: descriptors that the process inherits.
    """

    def __init__(
        self, work: Callable, task: str, hint: str = "free some and start again", files: tuple[int, ...] = ()
    ) -> None:
        self.task, self.hint = task, hint
        self.connection, theirs = Pipe()
        call = f"serve({theirs.fileno()}, {os.getpid()})"
        # Not multiprocessing's, which would run the program's main module again. In a session of its own, because
        # Ctrl-C goes to all processes of a terminal's session and the program alone decides when its workers end.
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path}; from {__name__} import serve; {call}"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # NumPy would start one idle thread for each core
            pass_fds=(theirs.fileno(), *files),
            start_new_session=True,
        )
        theirs.close()
        self.send(work)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def send(self, message: object) -> None:
        """Queues a message; earlier ones may still be unanswered."""
        try:
            self.connection.send(message)
        except OSError:
            raise self._death() from None

    def receive(self) -> Any:
        """The next result, in the order of the messages. Raises the error of ``work``."""
        try:
            result, error, place = self.connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if error:
            raise error from RuntimeError(f"in a process that {self.task}\n{place}")
        return result

    def _death(self) -> InputError:
        status = self.process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            return InputError(f"a process that {self.task} was ended by {name}; if memory ran out, {self.hint}")
        return InputError(f"a process that {self.task} ended with status {status}; its messages are above")


def serve(connection: int, parent: int) -> None:
    """The loop of a worker process, until its connection is closed or the program that started it dies."""
    _end_with(parent)
    cv2.setNumThreads(0)  # its threads would compete with the other processes for the cores
    with Connection(connection) as program, suppress(EOFError, OSError):
        work = program.recv()
        while True:
            message = program.recv()
            try:
                program.send((work(message), None, ""))
            except Exception as error:
                program.send((None, error, traceback.format_exc()))


def _end_with(parent: int) -> None:
    """Ends this process when ``parent``, which started it, is gone.

    A thread does it: the main thread may wait for a file system that does not answer.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
