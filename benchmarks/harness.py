"""Measures both sides of a claim side by side.

A side is a process of its own, with its own memory and thread pools, that runs a round when it is told to over a pipe.
While one side runs the others are stopped (SIGSTOP), because idle threads of some libraries spin.

To add an item, write for each side a function that prepares one round and returns it, and append an `Item` to `ITEMS`
of a module that `benchmarks/run.py` names in `MODULES`:

    def prepare_ours(data: Path, clips: int) -> Round:
        import mindspore                   # inside, so that only this side's process imports it
        ...
        def one_round() -> int:            # timed, including what it starts and joins
            ...
            return clips                   # how many units it did
        return one_round                   # its attribute `before`, if any, is called first and not timed

    ITEMS = [
        Item(
            name="forward", title="Forward pass of 2 clips", unit="clip",
            sides=(
                side("this project", prepare_ours, clips=8),
                side("PyTorch eager", prepare_torch, 1.2, clips=8),
            ),
            growth={"clips": "clips"},     # option -> what it is: measured again with it 2 and 4 times as large
                                           # (`factors`); options are whole numbers then
        )
    ]

The claim is about the first side. The ratio of another side is its time for a unit divided by the first side's in the
same round: above 1 the first side is faster. `data` is the folder made by `benchmarks/data.py`. A round should take 1
to 5 seconds; sides may do different amounts of work, because times are for a unit.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import statistics
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable

GROWTH_ROUNDS = 3
POLL_SECONDS = 0.2
PR_SET_PDEATHSIG = 1


Round = Callable[[], int]  # does some work and returns how many units that was


@dataclass(frozen=True)
class Side:
    """One side of an item."""

    label: str
    prepare: Callable[..., Round]  # a function of an importable module
    options: dict[str, Any]
    at_least: float | None = None  # goal for the ratio
    at_most: float | None = None  # goal for the seconds a unit


def side(
    label: str,
    prepare: Callable[..., Round],
    at_least: float | None = None,
    at_most: float | None = None,
    **options: Any,
) -> Side:
    return Side(label, prepare, options, at_least, at_most)


def repeated(times: int, work: Callable[[], Any], units: int = 1) -> Round:
    """A round that does ``work`` ``times`` times; each time counts as ``units`` units."""

    def one_round() -> int:
        for _ in range(times):
            work()
        return times * units

    return one_round


@dataclass(frozen=True)
class Item:
    name: str
    title: str
    unit: str
    sides: tuple[Side, ...]
    growth: dict[str, str] = field(default_factory=dict)
    factors: tuple[float, ...] = (1, 2, 4)  # one of them 1


class SideProcess:
    """A side, prepared and stopped."""

    def __init__(self, side: Side, data: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, side.prepare, side.options, data))
        self.process.start()
        theirs.close()
        self.label, self.peak_kb = side.label, 0
        self._receive()
        os.killpg(self.process.pid, signal.SIGSTOP)

    def round(self, watch_memory: bool = False) -> dict[str, float]:
        """Units done, seconds, seconds of CPU time, and CPU time that other programs used meanwhile, of one round."""
        before = _busy_seconds()
        os.killpg(self.process.pid, signal.SIGCONT)
        self.connection.send("round")
        if watch_memory:
            self._watch_memory()
        measured = self._receive()
        measured["others_cpu_seconds"] = _busy_seconds() - before - measured["cpu_seconds"]
        os.killpg(self.process.pid, signal.SIGSTOP)
        self.peak_kb = max(self.peak_kb, measured.pop("peak_kb"))
        return measured

    def _watch_memory(self) -> None:
        # The kernel records the peak of one process. With children that share memory it must be sampled, which takes a
        # twentieth of a core.
        while not self.connection.poll(POLL_SECONDS):
            tree = _process_tree(self.process.pid)
            if len(tree) > 1:
                self.peak_kb = max(self.peak_kb, sum(map(_proportional_kb, tree)))

    def _receive(self) -> dict[str, float]:
        try:
            return self.connection.recv()
        except EOFError:
            raise SystemExit(f"{self.label}: ended with the error above") from None

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()


def measure_item(item: Item, data: Path, rounds: int, with_growth: bool) -> dict[str, Any]:
    """The results of an item: rounds, memory and ratios of each side, and how the times grow with the work."""
    began = time.time()
    sides = _measure_sides(item, data, rounds)
    growth = {}
    for option, meaning in item.growth.items() if with_growth else ():
        measured = [
            sides if factor == 1 else _measure_sides(_with(item, option, factor), data, GROWTH_ROUNDS)
            for factor in item.factors
        ]
        growth[option] = {
            "meaning": meaning,
            "factors": item.factors,
            "sides": _growth(measured, "median_seconds"),
            "cpu": _growth(measured, "median_cpu_seconds"),
        }
    return {
        "name": item.name,
        "title": item.title,
        "unit": item.unit,
        "date": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began)),
        "cores_busy_with_other_things": max(side["cores_busy_with_other_things"] for side in sides),
        "sides": sides,
        "growth": growth,
    }


def _with(item: Item, option: str, factor: float) -> Item:
    """The item with ``factor`` times the work, with only the sides that have the option."""

    def scaled(side: Side) -> Side:
        return replace(side, options={**side.options, option: int(factor * side.options[option])})

    return replace(item, sides=tuple(scaled(side) for side in item.sides if option in side.options))


def _measure_sides(item: Item, data: Path, rounds: int) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        processes, measured = [], []
        for side in item.sides:
            processes.append(SideProcess(side, data))
            stack.callback(processes[-1].close)
        for process in processes:
            process.round(watch_memory=True)  # compiles, fills caches
        for _ in range(rounds):
            measured.append([process.round() for process in processes])
        return [
            _summary(side, process, [row[column] for row in measured], [row[0] for row in measured])
            for column, (side, process) in enumerate(zip(item.sides, processes))
        ]


def _summary(side: Side, process: SideProcess, rounds: list[dict], first: list[dict]) -> dict[str, Any]:
    seconds = [row["seconds"] / row["units"] for row in rounds]
    ratios = [mine / (row["seconds"] / row["units"]) for mine, row in zip(seconds, first)]
    others = sum(row["others_cpu_seconds"] for row in rounds) / sum(row["seconds"] for row in rounds)
    median = statistics.median
    return {
        "label": side.label,
        "options": side.options,
        "at_least": side.at_least,
        "at_most": side.at_most,
        "units_a_round": rounds[0]["units"],
        "seconds_a_unit": seconds,
        "cores_busy_with_other_things": round(max(0.0, others), 2),
        "median_seconds": median(seconds),
        "median_cpu_seconds": median(row["cpu_seconds"] / row["units"] for row in rounds),
        "ratios": ratios,
        "ratio": median(seconds) / median(row["seconds"] / row["units"] for row in first),
        "peak_mb": round(process.peak_kb / 1024),
    }


def _growth(measured: list[list[dict]], time_of_unit: str) -> dict[str, list[float]]:
    """For each side the time of a round, as a multiple of that with the least work."""
    rounds = [{side["label"]: side[time_of_unit] * side["units_a_round"] for side in sides} for sides in measured]
    labels = [label for label in rounds[0] if all(label in row for row in rounds)]
    return {label: [row[label] / rounds[0][label] for row in rounds] for label in labels}


def _serve(connection: Any, prepare: Callable[..., Round], options: dict[str, Any], data: Path) -> None:
    os.setpgid(0, 0)
    # As in a normal program: in a spawned process a DataLoader would also spawn its workers, which import all anew.
    multiprocessing.set_start_method("fork", force=True)
    # Otherwise a stopped side would outlive a harness that is killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    one_round = prepare(data, **options)
    connection.send({})
    while connection.recv():
        getattr(one_round, "before", bool)()  # what is not timed
        cpu, began = sum(os.times()[:4]), time.perf_counter()
        units = one_round()
        seconds, cpu = time.perf_counter() - began, sum(os.times()[:4]) - cpu
        connection.send({"units": units, "seconds": seconds, "cpu_seconds": cpu, "peak_kb": _peak_kb()})


def _peak_kb() -> int:
    """The peak of this process or of an ended child, whichever is larger."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _process_tree(pid: int) -> list[int]:
    tree = [pid]
    for parent in tree:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                tree += map(int, Path(f"/proc/{parent}/task/{thread}/children").read_text().split())
    return tree


def _proportional_kb(pid: int) -> int:
    """Memory of a process; memory that n processes share counts as 1/n."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _busy_seconds() -> float:
    """CPU time that this machine has spent on anything since it started."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
