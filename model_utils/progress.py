"""The progress of long work: a bar on a terminal, one plain line for every tenth of the work in a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Callable, TypeVar

from tqdm import tqdm

T = TypeVar("T")


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with the number of units just done. Writes to stdout.

    ``total`` is in the same units; ``unit`` is their name ("clip", "B"). Bytes are shown as kilo-, mega- and gigabytes.
    """
    if sys.stdout.isatty():
        with tqdm(desc=label, total=total, unit=unit, unit_scale=unit == "B", file=sys.stdout) as bar:
            yield bar.update
        return

    done = 0

    def update(count: int) -> None:
        nonlocal done
        tenths_before, done = 10 * done // max(total, 1), done + count
        tenths = 10 * done // max(total, 1)
        if tenths > tenths_before:
            amount = tqdm.format_sizeof(total, "B") if unit == "B" else f"{total} {unit}s"
            print(f"{label}: {10 * tenths}% of {amount}", flush=True)

    yield update


def with_bar(batches: Iterable[T], done: int, total: float) -> Iterator[T]:
    """Yields the batches of a training that has done ``done`` of ``total`` steps; a terminal shows a bar."""
    with tqdm(
        desc="Train", initial=done, total=total, unit="step", file=sys.stdout, disable=not sys.stdout.isatty()
    ) as bar:
        for number, batch in enumerate(batches):
            try:
                yield batch
            finally:  # also after the last step, when no other batch is requested
                if number == 0:
                    bar.unpause()  # the first step compiles the graph
                bar.update()
