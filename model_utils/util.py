"""Shared by all entry points: ending a program, writing a file, locking a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, NoReturn

from model_utils.errors import InputError, missing_package, reason
from model_utils.stop_signals import Stopped

LOGGER_NAME = "trn"
INTERRUPTED = "interrupted"
# Errors of the file system that are never a bug of a program.
REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENOTDIR,
}


def run_main(main: Callable[[], None]) -> NoReturn:
    """Runs ``main()`` and ends the process.

    Exit status 0; 1 after an InputError or on a full disk, which is shown as one line; 130 after Ctrl-C; 128 + N if
    signal N has Stopped it. Any other exception is a bug and keeps its traceback. The error also goes into the log
    file, if there is one. MindSpore shows errors only, unless the environment says otherwise.
    """
    os.environ.setdefault("GLOG_v", "3")
    os.environ["MPLBACKEND"] = "agg"  # pictures are written, never shown; an unknown name ends the import of matplotlib
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that the terminal cannot show, or that are not UTF-8
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError as error:
        _end_without_output(error, "error: the reader of the output has closed it")
    except (Exception, KeyboardInterrupt) as error:
        message, status = _known_end(error)
        if _is_full_disk(error):
            _end_without_output(error, message)
        if not message:
            log_failure(error)
            raise
        if message == INTERRUPTED:
            _end_at_once(error, message, status)
        _end(error, message, status)
    sys.exit(0)


def log_failure(error: BaseException, message: str = "") -> None:
    """Writes the error that ends the program into the log file, if there is one; ``run_main``'s message by default.

    An error is written only once, so this may be called before ``run_main`` does.
    """
    if not getattr(error, "is_logged", False):
        vars(error)["is_logged"] = True
        message, logger = message or _known_end(error)[0], logging.getLogger(LOGGER_NAME)
        trace = None if message else sys.exc_info()
        record = logger.makeRecord(logger.name, logging.ERROR, "", 0, message or "unexpected error", (), trace)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                with contextlib.suppress(InputError):  # the log file itself cannot be written
                    handler.handle(record)


@contextlib.contextmanager
def write_whole(path: str | Path, kind: str = "file") -> Iterator[Path]:
    """Writes a file so that it is there whole or not at all.

    with write_whole("eval-logs/metrics.json") as partial:
        partial.write_text("{}")

    The block writes to ``partial``, a path beside ``path`` with the same suffix. It is on the disk before it is renamed
    to ``path``; after an exception ``path`` is as before. The folder is made. A symbolic link is followed. A special
    file, such as /dev/stdout, gets the content and is not replaced.

    Raises InputError "PATH: cannot write the KIND: REASON".
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        regular = target.is_file() or not target.exists()
        folder = target.parent if regular else Path(tempfile.gettempdir())
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{_short(target.stem)}.{os.getpid()}.partial{_short(target.suffix)}"
        try:
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
                if not regular:
                    with open(target, "wb") as special:
                        shutil.copyfileobj(file, special)
            if regular:
                os.replace(partial, target)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot write the {kind}: {error.strerror}") from error


def _short(name: str, longest: int = 100) -> str:
    """A name short enough to add a prefix and a suffix: most file systems take 255 bytes."""
    if len(os.fsencode(name)) <= longest:
        return name
    return f"{name[: longest // 4]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"


@contextlib.contextmanager
def locked(path: str | Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Holds a lock file. At the end it is removed, and so are folders made for it that are empty. A kill releases it.

    The package filelock would leave its file behind.

    Raises InputError with the message ``busy`` if another process holds the lock, unless ``wait``; also if the file
    cannot be written.
    """
    path = Path(path)
    made_here = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = open(path, "ab")  # noqa: SIM115
            except OSError as error:
                raise InputError(f"{path.parent}: cannot be written: {error.strerror}") from None
            with file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                except BlockingIOError:
                    raise InputError(busy) from None
                except OSError as error:  # some network file systems know no locks
                    print(f"{path}: cannot be locked: {error.strerror}", file=sys.stderr)
                if not _is_at(file.fileno(), path):
                    continue  # the last holder has just removed it, so others would lock a new file
                try:
                    yield
                finally:
                    with contextlib.suppress(OSError):
                        path.unlink()
                return
    finally:
        with contextlib.suppress(OSError):  # a folder that is not empty ends this
            for folder in made_here:
                folder.rmdir()


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def exclusive_folder(folder: str | Path, lock_name: str) -> Iterator[None]:
    """Makes a folder and keeps other processes out of it, see ``locked``.

    Raises InputError if another process holds the lock, and for an OSError in the block.
    """
    folder = Path(folder)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"{folder}: is not a folder")
    try:
        busy = f"{folder}: another process writes into this folder; wait until it has ended, or give another folder"
        with locked(folder / lock_name, busy):
            yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be written: {reason(error)}") from error


@contextlib.contextmanager
def exclusive_files(paths: Iterable[str | Path]) -> Iterator[None]:
    """Locks these files, or folders that will be replaced, against other processes that call this.

    Special files, such as /dev/null, are ignored. Raises InputError that names the path if another process holds it.
    """
    with contextlib.ExitStack() as stack:
        for path in sorted({os.path.realpath(path) for path in paths}):
            if os.path.isfile(path) or os.path.isdir(path) or not os.path.exists(path):
                folder, name = os.path.split(path)
                lock = os.path.join(folder, f".{_short(name)}.lock")
                stack.enter_context(locked(lock, f"{path}: another process writes it; wait until it has ended"))
        yield


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes a file with ``write_whole``."""
    with write_whole(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 file with ``write_whole``.

    Bytes of file names that are not UTF-8 are written as ``\\udcXX``, so that every program can read the file.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | Path, document: Any) -> None:
    """Writes an indented UTF-8 JSON file with ``write_text``. JSON reads its escapes back as the original bytes."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def check_outputs(outputs: Mapping[str, str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuses to write a file over one that is read, or over another that is written.

    Two paths to one file count as the same file, also through symbolic or hard links. If an input is a folder, every
    file in it is protected. Devices such as /dev/null may be written twice.

    Args:
        outputs: {option: file to write}; an empty path is ignored.

    Raises InputError that names the option.
    """
    taken: dict[Any, str] = {}
    for path in inputs:
        if path:
            taken[_identity(path)] = f"{path} is read"
        for file in os.scandir(path) if os.path.isdir(path) else ():
            taken[_identity(file)] = f"{file.path} is read"
    for option, path in outputs.items():
        special = os.path.exists(path) and not os.path.isfile(path)
        if not path or special:
            continue
        identity = _identity(path)
        if identity in taken:
            raise InputError(f"{option}: {path} would be written over: {taken[identity]}; choose another name")
        taken[identity] = f"{option} writes it too"


def _identity(path: str | os.PathLike) -> Any:
    """Equal for all paths to one file: its inode or, if it does not exist yet, the resolved path."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _known_end(error: BaseException) -> tuple[str, int]:
    """The message and exit status of an error that is no bug; ("", 1) for a bug."""
    if _came_from_ctrl_c(error):
        return INTERRUPTED, 130
    if isinstance(error, InputError):
        return f"error: {error}", 1
    if isinstance(error, Stopped):
        return str(error), 128 + error.number
    if _is_full_disk(error):
        return (
            f"error: {getattr(error, 'filename', None) or 'output'}: cannot be written: {os.strerror(_number(error))}",
            1,
        )
    if isinstance(error, OSError) and error.errno in REFUSALS and error.filename:
        return f"error: {error.filename}: {error.strerror}", 1
    return missing_package(error), 1


def _is_full_disk(error: BaseException) -> bool:
    return _number(error) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _number(error: BaseException | None) -> int:
    """The ``errno`` of an error, also of one that became an InputError; 0 if it has none."""
    if isinstance(error, InputError):
        error = error.__cause__
    return (error.errno or 0) if isinstance(error, OSError) else 0


def _came_from_ctrl_c(error: BaseException | None) -> bool:
    """Whether this is Ctrl-C, or an error that a library made of it, as some do during import."""
    while error is not None and not isinstance(error, (KeyboardInterrupt, Stopped)):
        error = error.__cause__ or error.__context__
    return isinstance(error, KeyboardInterrupt)


def _end(error: BaseException, message: str, status: int) -> NoReturn:
    log_failure(error, message)
    print(message, file=sys.stderr)
    sys.exit(status)


def _end_without_output(error: BaseException, message: str) -> NoReturn:
    """Ends the process without writing to stdout, not even by the interpreter's last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _end(error, message, 1)


def _end_at_once(error: BaseException, message: str, status: int) -> NoReturn:
    """Ends the process without the interpreter's cleanup, which aborts if the import of MindSpore was interrupted."""
    with contextlib.suppress(SystemExit):
        _end(error, message, status)
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)


def get_param_groups(trainable_params: Iterable[Any], other_kinds: bool = False) -> list[list[Any]]:
    """Trainable parameters in TSN's groups: first convolution's weights, its biases, gamma and beta of batch
    normalisation, other weights, other biases.

    Args:
        trainable_params: in the order of the network.
        other_kinds: parameters of other kinds join gamma and beta.

    Raises:
        ValueError: if a parameter belongs to no group.
    """
    groups: list[list[Any]] = [[] for _ in range(5)]
    first_weights, first_biases, normalisation, weights, biases = groups
    first = None
    for parameter in trainable_params:
        layer, _, kind = parameter.name.rpartition(".")
        if first is None and kind == "weight" and len(parameter.shape) == 4:
            first = layer
        if kind == "weight":
            (first_weights if layer == first else weights).append(parameter)
        elif kind == "bias":
            (first_biases if layer == first else biases).append(parameter)
        elif kind in ("gamma", "beta") or other_kinds:
            normalisation.append(parameter)
        else:
            raise ValueError(f"parameter {parameter.name} {parameter.shape} belongs to no optimiser group")
    return groups
