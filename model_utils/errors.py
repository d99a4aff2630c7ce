"""``InputError``, which means that the input is wrong and not the program; messages about missing packages."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import TracebackType

OWN = ("src", "model_utils", "tests", "benchmarks")


class InputError(ValueError):
    """Something a user gave (a file, a row, a value) cannot be used.

    The message is a single line that names the file (and line), the value and what was expected.
    Entry points print it and exit with status 1; anything else that escapes is a bug and keeps its traceback.
    """


def first_line(error: BaseException) -> str:
    """The first line of a library's error message, or the name of the error if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def reason(error: OSError) -> str:
    """The system's message; ``shutil.copytree`` raises a list of (from, to, message) without an ``strerror``."""
    if isinstance(error, shutil.Error):
        return str(error.args[0][0][-1])
    return error.strerror or first_line(error)


def missing_package(error: BaseException) -> str:
    """A line about a package that is not installed; "" for other errors, also about a module of this repository."""
    package = (getattr(error, "name", None) or "").split(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package in ("", *OWN):
        return ""
    root = Path(__file__).resolve().parents[1]
    own = root / ".venv" / "bin" / "python"
    if own.exists() and Path(sys.prefix) != own.parents[1]:
        advice = f"run it with {own}"
    else:
        advice = f"{sys.executable} -m pip install -r {root / 'requirements.txt'} installs what is needed"
    return f"error: {sys.executable} has no package {package}; {advice}"


def say_what_is_missing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A ``sys.excepthook``: prints the line of ``missing_package`` instead of a traceback."""
    message = missing_package(error)
    if message:
        print(message, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
