"""What every entry point shares: how it ends, and how it writes a small file."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Callable, NoReturn

from model_utils.stop_signals import Stopped
from src.errors import InputError

LOGGER_NAME = "trn"
INTERRUPTED = "interrupted"


def run_main(main: Callable[[], None]) -> NoReturn:
    """Run `main()` and end the process.

    Exit status 0; 1 after an InputError, which is shown as one line; 130 after Ctrl-C; 128 + N if signal N has Stopped
    it. Any other exception is a bug and keeps its traceback. What went wrong also goes into the log file, if there is
    one by then.

    Of MindSpore's own log only errors are shown, unless the environment says otherwise.
    """
    os.environ.setdefault("GLOG_v", "3")
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError as error:
        # Whoever read the output has gone: nothing more can be said there, not even by the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end(error, "error: the reader of the output has closed it", 1)
    except (Exception, KeyboardInterrupt) as error:
        message, status = _known_end(error)
        if not message:
            log_failure(error)
            raise
        if message == INTERRUPTED:
            _end_at_once(error, message, status)
        _end(error, message, status)
    sys.exit(0)


def log_failure(error: BaseException, message: str = "") -> None:
    """Write what ends the program, by default what `run_main` says about it, into the log file, if there is one.

    Once for each error: who knows that the log file is needed earlier than `run_main` may call this earlier.
    """
    if not getattr(error, "is_logged", False):
        error.is_logged = True
        message = message or _known_end(error)[0]
        _log_to_file(message or "unexpected error", exc_info=not message)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file, making its folder: the file is there whole or not at all.

    Raises InputError naming the file if that is not possible.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise InputError(f"{path}: cannot write the file: {error.strerror}") from None


def _known_end(error: BaseException) -> tuple[str, int]:
    """What to say about an error that is no bug, and the exit status; ("", 1) for a bug."""
    if _came_from_ctrl_c(error):
        return INTERRUPTED, 130
    if isinstance(error, InputError):
        return f"error: {error}", 1
    if isinstance(error, Stopped):
        return str(error), 128 + error.number
    return "", 1


def _came_from_ctrl_c(error: BaseException | None) -> bool:
    """Whether this is Ctrl-C, or what a library that it met made of it, as some do while being imported."""
    while error is not None and not isinstance(error, (KeyboardInterrupt, Stopped)):
        error = error.__cause__ or error.__context__
    return isinstance(error, KeyboardInterrupt)


def _end(error: BaseException, message: str, status: int) -> NoReturn:
    log_failure(error, message)
    print(message, file=sys.stderr)
    sys.exit(status)


def _end_at_once(error: BaseException, message: str, status: int) -> NoReturn:
    """Spare the interpreter its own end, which aborts where MindSpore was interrupted half imported."""
    with contextlib.suppress(SystemExit):
        _end(error, message, status)
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)


def _log_to_file(message: str, exc_info: bool = False) -> None:
    logger = logging.getLogger(LOGGER_NAME)
    record = logger.makeRecord(logger.name, logging.ERROR, "", 0, message, (), sys.exc_info() if exc_info else None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
