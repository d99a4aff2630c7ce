"""The folder of a training run: one run at a time, never over another run; which checkpoint is newest, which may go."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from model_utils.errors import InputError
from model_utils.util import locked
from src.ops.ranks import Ranks
from src.training.checkpoint import read_checkpoint
from src.training.state import Progress

LAST_NAME = "checkpoint_last.ckpt"
BEST_NAME = "checkpoint_best.ckpt"
RUN_LOCK = "train.lock"

Position = tuple[float, float, float]  # rewinds, epoch, step of the epoch


def numbered_name(epoch: int, step: int) -> str:
    return f"checkpoint_trn-{epoch}_{step}.ckpt"


@contextmanager
def open_run(folder: str | Path, resume: str, ranks: Ranks) -> Iterator[Path | None]:
    """Keeps other trainings out of ``folder``; gives the checkpoint to resume from, None for a new run.

    Rank 0 holds the lock, which ends with its process, for all ranks.

    Args:
        folder: the run's folder, made if it is not there.
        resume: "" for a new run, a checkpoint, or "auto" for the newest in ``folder``, if there is one.
        ranks: all of them must call this at the same moment.

    Raises:
        InputError: if another training uses the folder, or if it holds a run that ``resume`` does not resume.
    """
    with ExitStack() as stack:
        problem = None
        try:
            if ranks.rank == 0:
                used = f"{folder}: another training uses this folder; give another --train_output_dir"
                stack.enter_context(locked(Path(folder) / RUN_LOCK, used))
                _refuse_other_run(Path(folder), resume)
        except InputError as error:
            problem = error
        if ranks.sum([problem is not None])[0]:
            raise problem or InputError(f"{folder}: rank 0 cannot use this folder")
        yield find_checkpoint(resume, folder)


def _refuse_other_run(folder: Path, resume: str) -> None:
    others = (path for path in (folder / LAST_NAME, folder / BEST_NAME, folder / "metrics.csv") if path.exists())
    found = sorted(path.name for path in [*_numbered(folder), *others])
    ours = (
        newest_checkpoint(folder) if resume == "auto" else resume and Path(resume).resolve().parent == folder.resolve()
    )
    if found and not ours:
        first = "" if resume == "auto" else "--resume auto to resume it, or "
        raise InputError(f"{folder}: holds a training run already ({found[0]}); give {first}another --train_output_dir")


def find_checkpoint(resume: str, folder: str | Path) -> Path | None:
    """The checkpoint that ``resume`` means, see ``open_run``."""
    if resume == "auto":
        return newest_checkpoint(folder)
    return Path(resume) if resume else None


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint in ``folder`` with the most steps that a training can be resumed from, if there is one.

    The time of the files is ignored: they may be copies, or from a machine whose clock was wrong.
    """
    return max(_resumable(folder), key=_order, default=None)


def keep_newest(folder: str | Path, count: int, saved: str | Path) -> None:
    """Deletes all but the ``count`` newest numbered checkpoints in ``folder``; ``saved`` stays in any case."""
    others = sorted((path for path in _numbered(folder) if path.name != Path(saved).name), key=_order, reverse=True)
    for path in others[count - 1 :]:
        path.unlink()


def rewinds(folder: str | Path, path: str | Path) -> int:
    """Returns the number of times this run has gone back to an older checkpoint.

    Resuming from ``path`` adds one if ``folder`` holds newer checkpoints. Those count as older from then on, so that
    ``newest_checkpoint`` and ``keep_newest`` do not choose them.
    """
    own, newest = position(path), max(map(position, _resumable(folder)), default=(0.0, 0.0, 0.0))
    return int(own[0] if own >= newest else newest[0] + 1)


def delete_partial(folder: str | Path) -> None:
    """Deletes the unfinished files that killed runs left in ``folder``."""
    for path in Path(folder).glob(".checkpoint_*.partial.*"):
        path.unlink()


def position(path: str | Path) -> Position:
    """How far the run was when it saved ``path``, from its description or else from its name.

    Raises:
        InputError: for a file that cannot be read and whose name does not say it.
    """
    path = Path(path)
    named = re.fullmatch(r"checkpoint_trn-(\d+)_(\d+)\.ckpt", path.name)
    try:
        return _described_position(path, _version(path)) or _named_position(named)
    except InputError:
        if named is None:
            raise
        return _named_position(named)


def _named_position(named: re.Match[str] | None) -> Position:
    return (0, int(named[1]), int(named[2])) if named else (0, 0, 0)


@lru_cache(maxsize=100)  # a checkpoint is read once, not at each save
def _described_position(path: Path, _version: Any) -> Position | None:
    _, description = read_checkpoint(path)
    try:
        progress = Progress.parse(description.get("progress"))
    except ValueError:
        epoch, step = description.get("epoch"), description.get("step", math.inf)
        return (0, epoch, step) if isinstance(epoch, int) and isinstance(step, (int, float)) else None
    if progress.step:
        return progress.rewinds, progress.epochs_done + 1, progress.step
    return progress.rewinds, progress.epochs_done, math.inf


def _version(path: Path) -> Any:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _order(path: Path) -> tuple[Position, bool, str]:
    return position(path), path.name != LAST_NAME, path.name


def _resumable(folder: str | Path) -> list[Path]:
    return [*_numbered(folder), *Path(folder).glob(LAST_NAME)]


def _numbered(folder: str | Path) -> list[Path]:
    return [path for path in Path(folder).glob("checkpoint_trn-*_*.ckpt") if re.search(r"-\d+_\d+\.ckpt$", path.name)]
