"""Root that obeys permissions: tests often run as root, for whom mode bits do not count."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

PR_GET_SECUREBITS, PR_SET_SECUREBITS, SECBIT_NOROOT = 27, 28, 1
VERSION_3 = 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2

Words = ctypes.c_uint32 * 6  # effective, permitted, inheritable of capabilities 0 to 31, then of the others


@contextmanager
def obeyed_permissions() -> Iterator[None]:
    """Inside, this thread and the programs that it starts may do what mode bits allow, also as root."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, words = (ctypes.c_uint32 * 2)(VERSION_3, 0), Words()
    _check(libc.capget(header, words))
    fewer = Words(*words)
    fewer[0] &= ~(DAC_OVERRIDE | DAC_READ_SEARCH)
    bits = libc.prctl(PR_GET_SECUREBITS)
    _check(libc.prctl(PR_SET_SECUREBITS, bits | SECBIT_NOROOT))  # programs that root starts get no capabilities
    _check(libc.capset(header, fewer))
    try:
        yield
    finally:
        _check(libc.capset(header, words))
        _check(libc.prctl(PR_SET_SECUREBITS, bits))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
