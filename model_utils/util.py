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
    except InputError as error:
        if _came_from_ctrl_c(error):
            _end_interrupted()
        _end(f"error: {error}", 1)
    except Stopped as stopped:
        _end(str(stopped), 128 + stopped.number)
    except KeyboardInterrupt:
        _end_interrupted()
    except BrokenPipeError:
        # Whoever read the output has gone: nothing more can be said there, not even by the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end("error: the reader of the output has closed it", 1)
    except Exception as error:
        if _came_from_ctrl_c(error):
            _end_interrupted()
        _log_to_file("unexpected error", exc_info=True)
        raise
    sys.exit(0)


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


def _end(message: str, status: int) -> NoReturn:
    _log_to_file(message)
    print(message, file=sys.stderr)
    sys.exit(status)


def _came_from_ctrl_c(error: BaseException | None) -> bool:
    """Whether a library that was interrupted made an error of its own out of it, as some do while being imported."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _end_interrupted() -> NoReturn:
    """End at once: the interpreter's own end would abort where MindSpore was interrupted half imported."""
    with contextlib.suppress(SystemExit):
        _end("interrupted", 130)
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(130)


def _log_to_file(message: str, exc_info: bool = False) -> None:
    logger = logging.getLogger(LOGGER_NAME)
    record = logger.makeRecord(logger.name, logging.ERROR, "", 0, message, (), sys.exc_info() if exc_info else None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
