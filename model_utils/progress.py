"""How far long work has come: a bar on a terminal, one plain line for every tenth of the work in a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

from tqdm import tqdm


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Give the caller a function to call with the number of units just done.

    ``total`` is in the same units; ``unit`` is what is written after a number ("clip", "B"). Bytes are written as
    kilo-, mega- and gigabytes. Output goes to stdout.
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
