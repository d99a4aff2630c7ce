"""Access to files and folders that a user names, with the same messages in every program.

Only regular files are opened: opening a named pipe would wait for ever. All functions that raise ``OSError`` put the
path and a printable reason into it. ``Path.is_file`` and the like are no substitute: inside a folder without permission
they raise ``PermissionError``, and ``os.path.isfile`` returns False.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Callable

from model_utils.errors import InputError

SPECIAL_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_file(path: str | os.PathLike) -> int:
    """A descriptor of a regular file, opened for reading.

    Raises:
        OSError: if the file cannot be read, or is a folder, a pipe, a socket or a device, which is not opened.
    """
    file_status(path)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without waiting, should a pipe have taken the file's place


def file_status(path: str | os.PathLike) -> os.stat_result:
    """The stat of a regular file. Raises OSError if there is none, or if the system refuses."""
    try:
        found = os.stat(path)
    except ValueError:
        raise OSError(errno.EINVAL, "no file has a NUL byte in its name", os.fspath(path)) from None
    except FileNotFoundError as error:
        if os.path.islink(path):
            error.strerror = f"No such file: it is a link to {path_text(os.readlink(os.fspath(path)))}"
        raise
    require_regular(path, found.st_mode)
    return found


def require_regular(path: str | os.PathLike, mode: int) -> None:
    """Raises OSError for a path of this ``st_mode`` that is no regular file."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        kind = SPECIAL_KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}; expected a regular file", os.fspath(path))


def read_file(path: str | os.PathLike) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: as ``open_file`` does, and if the system cannot read them.
    """
    with open(open_file(path), "rb") as file:
        try:
            return file.read()
        except OSError as error:
            error.filename = os.fspath(path)
            raise


def digest(path: str | os.PathLike) -> str:
    """The SHA-256 of a regular file. Raises OSError as ``open_file`` does."""
    value = hashlib.sha256()
    with open(open_file(path), "rb") as file:
        while block := file.read(1 << 20):
            value.update(block)
    return value.hexdigest()


def require_file(path: str | os.PathLike, kind: str) -> None:
    """Raises InputError "PATH: no such KIND", or names the reason why the file cannot be opened."""
    try:
        os.close(open_file(path))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path_text(path)}: no such {kind}") from None
    except OSError as error:
        raise cannot_be_read(path, error) from None


def status(path: str | os.PathLike) -> os.stat_result | None:
    """The stat of a path, following links; None if nothing is there.

    Raises:
        InputError: if the system refuses, as in a folder without permission.
    """
    return _ask(os.stat, path)


def exists(path: str | os.PathLike) -> bool:
    """Whether something is there, even a dangling link. Raises what ``status`` does."""
    return _ask(os.lstat, path) is not None


def _ask(system: Callable[[str | os.PathLike], os.stat_result], path: str | os.PathLike) -> os.stat_result | None:
    try:
        return system(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise cannot_be_read(path, error) from None


def is_folder(path: str | os.PathLike) -> bool:
    """Whether a folder is there. Raises what ``status`` does."""
    found = status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def list_folder(path: str | os.PathLike) -> list[Path]:
    """The entries of a folder, sorted by name.

    Raises:
        InputError: naming the reason, if it cannot be read.
    """
    try:
        return sorted(Path(path).iterdir())
    except OSError as error:
        raise cannot_be_read(path, error) from None


def cannot_be_read(path: str | os.PathLike, error: OSError) -> InputError:
    """The error to raise for a path that cannot be read."""
    return InputError(f"{path_text(path)}: cannot be read ({error.strerror})")


def path_text(path: str | os.PathLike) -> str:
    """The path with each byte that is not UTF-8 written as ``\\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
