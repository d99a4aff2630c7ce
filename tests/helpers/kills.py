"""Kills: of a process, and at a chosen moment without the process's end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def kill_this_process(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killed(BaseException):
    """Stands for a kill: nothing in the program catches it."""


@contextmanager
def killed(module: Any, name: str, moment: int) -> Iterator[None]:
    """The function ``name`` of ``module`` is a kill when it is called for the time ``moment``, from 0; and it is."""
    function, left = getattr(module, name), [moment]

    def count(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return function(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, count)
        with pytest.raises(Killed):
            yield
