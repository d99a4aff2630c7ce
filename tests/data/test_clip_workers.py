"""Rows filled by worker processes: what comes out, in which order, and what happens when a process ends early."""

from __future__ import annotations

import os
import time
from contextlib import closing

import numpy as np
import pytest

from model_utils.errors import InputError
from src.data.clip_workers import Memory, fill_batches
from tests.helpers.kills import kill_this_process

COLUMNS = np.dtype([("pixels", np.uint8, (5,)), ("square", np.int32), ("process", np.int64), ("halves", np.float32, 2)])


SESSION_COLUMNS = np.dtype([("pixels", np.uint8, (5,)), ("session", np.int64), ("process", np.int64), ("-", np.int32)])


def load(pixels, number, name):
    pixels[:] = number + np.arange(5)
    return number**2, os.getpid(), [number / 2, len(name)], f"no {number}" if number % 5 == 3 else ""


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_load_batches(workers, batch_size):
    tasks = [(number, "x" * number) for number in range(11)]
    processes = set()
    first = 0
    for (pixels, squares, pids, halves), problems in fill_batches(load, tasks, COLUMNS, batch_size, workers):
        numbers = np.arange(first, min(first + batch_size, 11))
        assert problems == [{3: "no 3", 8: "no 8"}.get(number, "") for number in numbers]
        first += len(numbers)
        assert (pixels.dtype, squares.dtype, halves.dtype) == (np.uint8, np.int32, np.float32)
        np.testing.assert_array_equal(pixels, numbers[:, None] + np.arange(5))
        np.testing.assert_array_equal(squares, numbers**2)
        np.testing.assert_array_equal(halves, np.stack([numbers / 2, numbers], axis=1))
        assert all(column.flags.c_contiguous and column.flags.aligned for column in (pixels, squares, pids, halves))
        processes.update(pids.tolist())
    assert first == 11
    assert len(processes) == workers
    assert os.getpid() not in processes


def mark(pixels, folder, number):
    (folder / str(number)).touch()
    return 0, 0, 0, ""


def test_rows_are_loaded_ahead(tmp_path):
    """Two for each worker while nobody asks for them, and not much more."""
    tasks = ((tmp_path, number) for number in range(1000))
    with closing(fill_batches(mark, tasks, COLUMNS, 1, 2)) as batches:
        next(batches)
        expected = {str(number) for number in range(1 + 2 * 2)}
        wait_for(lambda: {path.name for path in tmp_path.iterdir()} == expected)
        time.sleep(0.1)
        assert {path.name for path in tmp_path.iterdir()} == expected


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def fail(pixels, number):
    return 1 / number, 0, 0, ""


def test_what_load_raises_ends_the_batches():
    batches = fill_batches(fail, [(1,), (1,), (0,), (1,)], COLUMNS, 2, 2)
    assert len(next(batches)[1]) == 2
    with pytest.raises(ZeroDivisionError) as error:
        next(batches)
    assert "a process that loads clips" in str(error.value.__cause__)


def test_a_process_that_dies_ends_the_batches():
    with pytest.raises(InputError, match="a process that loads clips was ended by SIGKILL; if memory ran out, fewer"):
        list(fill_batches(kill_this_process, [(number,) for number in range(100)], COLUMNS, 1, 2))


def session(pixels, number):
    return os.getsid(0), os.getpid(), 0, ""


def test_workers_are_out_of_reach_of_ctrl_c():
    """The terminal sends it to all processes of a session: the program decides when its workers end."""
    for (_, sessions, pids, _), _ in fill_batches(session, [(0,), (1,)], SESSION_COLUMNS, 2, 2):
        assert sessions.tolist() == pids.tolist()
        assert os.getsid(0) not in sessions


def test_memory_is_used_again():
    memory = Memory(np.dtype([("first", np.uint8, (2, 3)), ("second", np.int32, (2,))], align=True))
    (number, first), (other, second) = memory.block(), memory.block()
    assert number != other
    places = {number: first.ctypes.data, other: second.ctypes.data}
    part = first["first"][1:, ::2]
    part[:] = 7
    del first, second
    again, block = memory.block()
    assert (again, block.ctypes.data) == (other, places[other])
    third, block = memory.block()
    assert third not in places
    block["first"] = 0
    assert (part == 7).all()
    memory.close()
    del block, part
    assert sorted(number for number, _ in memory.spare) == [0, 1, 2]
