"""The log of a run, on the terminal and in a file, in the model zoo's format.

logger = get_logger("eval-logs", file_name="eval.log")
logger.info("Steps: %d; top1: %f; top5: %f", 100, 0.94, 1.0)    # [2026-11-23 12:00:00]:INFO:Steps: 100; ...
log_plain(logger, "epoch: 1 step: 1800, loss is 1.47")          # as it is, without a prefix
"""

from __future__ import annotations

import contextlib
import logging
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from model_utils.config import Config
from model_utils.errors import InputError
from model_utils.util import LOGGER_NAME


def get_logger(output_dir: str | Path | None = None, rank: int = 0, file_name: str = "train.log") -> logging.Logger:
    """Sets up the logger of this process.

    Args:
        output_dir: folder of the log file, made if it is not there; None for no file. Lines are appended.
        rank: only rank 0 writes to the terminal; rank r > 0 writes to a file of its own, ``train_rank<r>.log``.

    Raises:
        InputError: if the file cannot be written, now or when a line is logged.
    """
    logger = logging.getLogger(LOGGER_NAME)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # the disk may be full
            handler.close()
    handlers: list[logging.Handler] = [_TerminalHandler(sys.stdout)] if rank == 0 else []
    if output_dir is not None:
        path = Path(output_dir, file_name)
        if rank:
            path = path.with_name(f"{path.stem}_rank{rank}{path.suffix}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handlers.append(_FileHandler(path, encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise InputError(f"{path}: cannot write the log file: {error.strerror}") from None
    for handler in handlers or [logging.NullHandler()]:
        handler.setFormatter(_Formatter("[%(asctime)s]:%(levelname)s:%(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(handler)
    vars(logger).update(save_args=partial(_save_args, logger), important_info=logger.warning)
    return logger


def log_settings(logger: logging.Logger, config: Config, output_dir: str | Path, program: str) -> None:
    """Saves the settings in ``output_dir``; logs the file and notes about them."""
    for note in config.notes:
        logger.warning("%s", note)
    logger.info("settings: %s", config.save_in(output_dir, program))


def _save_args(logger: logging.Logger, config: object) -> None:
    """The model zoo's way to log settings, ``logger.save_args(config)``."""
    for key in getattr(config, "keys", vars(config)):
        logger.info("--> %s: %s", key, getattr(config, key))


def log_plain(logger: logging.Logger, message: str) -> None:
    """Logs a line without date and level, for tools that read MindSpore's own lines."""
    logger.info(message, extra={"plain": True})


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if getattr(record, "plain", False) else super().format(record)


class _FileHandler(logging.FileHandler):
    """Raises InputError if the log file cannot be written, instead of printing a traceback for each line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise InputError(f"{self.baseFilename}: cannot write the log file: {error.strerror}") from error
        super().handleError(record)


class _TerminalHandler(logging.StreamHandler):
    """Writes above the progress bars; an error of the output ends the program."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=self.stream)
            self.flush()
        except OSError:
            raise
        except Exception:
            self.handleError(record)
