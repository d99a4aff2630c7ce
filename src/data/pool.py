"""Work side by side in processes.

    messages ─► Worker ─► process: work ─► results, in the messages' order

Each process has a pipe of its own, so that its death is noticed at once, also in the middle of a message. With
``multiprocessing.Pool`` the program would wait for ever for the job of a process that has died, and so does
``ProcessPoolExecutor`` before Python 3.12.1 if a job or result on its way is larger than a pipe.
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
        idle = [stack.enter_context(Worker(partial(_do_chunk, work), what)) for _ in range(processes)]
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
        work: picklable; its module is imported from where this process would import it, but not as its main module.
        what: what the process does, for messages.
        hint: what helps if memory runs out.
        files: descriptors that the process gets, under the same numbers.
    """

    def __init__(
        self, work: Callable, what: str, hint: str = "free some and start again", files: tuple[int, ...] = ()
    ) -> None:
        self.what, self.hint = what, hint
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
        """Queues a message; the process need not have answered those before."""
        try:
            self.connection.send(message)
        except OSError:
            raise self._death() from None

    def receive(self) -> Any:
        """The result of the earliest message that has none yet. Raises what ``work`` raised."""
        try:
            result, error, place = self.connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if error:
            raise error from RuntimeError(f"in a process that {self.what}\n{place}")
        return result

    def _death(self) -> InputError:
        status = self.process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            return InputError(f"a process that {self.what} was ended by {name}; if memory ran out, {self.hint}")
        return InputError(f"a process that {self.what} ended with status {status}; above is what it said")


def serve(connection: int, parent: int) -> None:
    """What a worker process does until its connection is closed or the program that started it dies."""
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
    """From now on this process ends when ``parent``, which has started it, is no more, whatever it is busy with.

    A file system that does not answer would keep it from looking at its connection.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
