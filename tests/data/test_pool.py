"""Work in processes: in order, few jobs here, and what is said and left when something dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from src.data import pool
from src.data.pool import in_processes
from tests.helpers import ROOT
from tests.helpers.kills import kill_this_process
from tests.helpers.refusals import refusal


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)


def later_first(number):
    """The first jobs take longest. Gives the process too."""
    time.sleep(0.3 if number == 0 else 0)
    return number, os.getpid()


@pytest.mark.parametrize("chunk", [1, 3])
def test_results_come_in_the_order_of_the_jobs(chunk):
    results = list(in_processes(later_first, range(20), 2, "tests", chunk))
    assert [number for number, _ in results] == list(range(20))
    workers = {worker for _, worker in results}
    assert os.getpid() not in workers
    assert len(workers) == 2


@pytest.mark.parametrize(("jobs", "processes"), [(20, 1), (20, 0), (1, 4), (0, 4)])
def test_little_work_is_done_here(jobs, processes):
    assert list(in_processes(later_first, range(jobs), processes, "tests")) == [(n, os.getpid()) for n in range(jobs)]


def die_at_two(job, how):
    if job[0] == 2:
        how()
    return job


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (kill_this_process, "a process that tests was ended by SIGKILL; if memory ran out, free some and start again"),
        (partial(os._exit, 3), "a process that tests ended with status 3; its messages are above"),
    ],
)
def test_a_process_that_dies_is_said(how, message):
    jobs = [np.full(10**6, number) for number in range(8)]  # larger than a pipe
    assert refusal(list, in_processes(partial(die_at_two, how=how), jobs, 2, "tests")) == message


def fail(error):
    raise error


def test_what_the_work_raises_is_raised_here():
    with pytest.raises(OSError, match="No space left") as full:
        list(in_processes(fail, [OSError(28, "No space left on device", "00001.jpg")] * 2, 2, "tests"))
    assert (full.value.errno, full.value.filename) == (28, "00001.jpg")
    with pytest.raises(KeyError) as bug:
        list(in_processes(fail, [KeyError("x")] * 2, 2, "tests"))
    assert ", in fail" in str(bug.value.__cause__)


def wait_long(number):
    if number:
        time.sleep(60)
    return os.getpid()


def has_ended(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return "State:\tZ" in Path(f"/proc/{number}/status").read_text()


def test_the_processes_have_ended_when_it_is_closed():
    began = time.monotonic()
    with closing(in_processes(wait_long, range(4), 2, "tests")) as results:
        worker = next(results)
    assert has_ended(worker)
    assert time.monotonic() - began < 30


PROGRAM = """
import os
import signal
from tests.data.test_pool import wait_long
from src.data.pool import in_processes
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    os.cpu_count = lambda: 2
    for worker in in_processes(wait_long, [0, 1, 2, 3], 2, "tests"):
        print(worker, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_processes_end_with_the_program(tmp_path, number):
    """Silently, and also one that is busy and would not look at its pipe for a minute."""
    (tmp_path / "program.py").write_text(PROGRAM)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, tmp_path / "program.py"]
    program = subprocess.Popen(command, **pipes, env={**os.environ, "PYTHONPATH": str(ROOT)})
    worker = int(program.stdout.readline())
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    workers = {worker, *map(int, children.read_text().split())} if children.exists() else {worker}
    program.send_signal(number)
    _, said = program.communicate(timeout=60)  # ends when all have closed it
    assert program.returncode == -number
    assert number == signal.SIGINT or said == ""
    end = time.monotonic() + 10 * pool.WATCH_SECONDS
    while not all(map(has_ended, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert [worker for worker in workers if not has_ended(worker)] == []
