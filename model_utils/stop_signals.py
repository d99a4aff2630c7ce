"""Lets long work save its state before Ctrl-C, SIGTERM or SIGHUP ends it."""

from __future__ import annotations

import _thread
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import NoReturn

SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 3


class Stopped(Exception):
    """A signal has ended the work; ``number`` is the signal's."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class StopSignals:
    """Notes SIGINT, SIGTERM and SIGHUP in ``received`` instead of ending the process; a second one ends it at once.

    A SIGHUP that is ignored, as under nohup, stays ignored.

    with StopSignals("stopped; the state is in train-logs") as stop:
        while work and not stop.received:
            step()
            with stop.at_once():    # nothing to save here
                evaluate()

    Enter this before any thread starts: one thread receives the signals and the others block them. Otherwise MindSpore
    turns Ctrl-C into SIGTERM while a graph runs.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        self.received = 0
        self._signals = set(SIGNALS)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            self._signals.remove(signal.SIGHUP)
        self._at_once = False
        self._closed = Event()

    def __enter__(self) -> StopSignals:
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        self._thread = Thread(target=self._wait, name="stop signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside the block a signal raises Stopped; so does an earlier one."""
        self._at_once = True
        try:
            if self.received:
                self.end()
            yield
        except KeyboardInterrupt:
            self.end()
        finally:
            self._at_once = False

    def end(self) -> NoReturn:
        """Raises Stopped, also if only another rank has got the signal yet."""
        raise Stopped(self.received or signal.SIGTERM, self.message)

    def _wait(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            number = pending(self._signals)
            if number and self.received:
                os._exit(128 + number)
            if number:
                self.received = number
                print("stopping after this step; a second signal stops at once", file=sys.stderr, flush=True)
                if self._at_once:
                    _thread.interrupt_main()


def raise_on_sigterm() -> None:
    """From now on SIGTERM raises Stopped, so that child processes are ended and temporary files deleted."""

    def stop(number: int, _: object) -> None:
        raise Stopped(number, "stopped")

    signal.signal(signal.SIGTERM, stop)


def pending(signals: set[signal.Signals]) -> int:
    """Takes a pending signal, one of these blocked ones, and returns its number; 0 if there is none.

    It does not wait: with a timeout, ``sigtimedwait`` returns a random number after Ctrl-Z stopped the process.
    """
    info = signal.sigtimedwait(signals, 0)
    return info.si_signo if info else 0


@contextmanager
def ctrl_c_at_once() -> Iterator[None]:
    """Inside the block Ctrl-C raises KeyboardInterrupt within seconds, even while MindSpore compiles or runs a graph.

    For work that saves nothing midway. Without this, MindSpore prints fifty lines about an interrupted compilation, and
    turns Ctrl-C into SIGTERM while a graph runs. Enter it before other threads start. If Python does not react in time,
    the process ends with status 130.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    left, terminal = Event(), os.dup(2)

    def wait() -> None:
        while not left.wait(POLL_SECONDS):
            if pending({signal.SIGINT}):
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), 2)
                _thread.interrupt_main()
                if not left.wait(PATIENCE_SECONDS):
                    os.write(terminal, b"interrupted\n")
                    os._exit(128 + signal.SIGINT)

    thread = Thread(target=wait, name="Ctrl-C", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
        os.dup2(terminal, 2)
        os.close(terminal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
