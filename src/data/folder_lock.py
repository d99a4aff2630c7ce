"""One writer at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from model_utils.errors import InputError

LOCK_NAME = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make ``folder`` and hold it: until the block ends no other process gets past its own ``locked(folder)``.

    The lock is one of the operating system on the file ``.lock``. It ends with the process, even one that is killed.

    Raises InputError if another process holds the folder, OSError if the folder cannot be made or written into.
    """
    file = _open_and_lock(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK_NAME).unlink()
        os.close(file)


def _open_and_lock(folder: Path) -> int:
    path = folder / LOCK_NAME
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise InputError(f"{folder}: another process writes into this folder; wait until it has ended") from None
        except OSError as error:  # some network file systems have no locks
            print(f"{folder}: cannot be locked ({error.strerror}); let no second process write into it", flush=True)
        # The holder before this process may have removed the file between the opening and the locking.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(file)):
                return file
        os.close(file)
