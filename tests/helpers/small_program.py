"""Programs whose BNInception has one block of its ten, so that it compiles in seconds.

python -m tests.helpers.small_program PROGRAM ARGUMENT...
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

PYTHON = """#!/bin/sh
case "$1" in */src/*) exec "{0}" "$@";; esac
exec "{0}" -m tests.helpers.small_program "$@"
"""


def write_python(folder: Path) -> str:
    """A Python that runs programs so, for the environment variable PYTHON of scripts; those of src have no network."""
    path = folder / "python"
    path.write_text(PYTHON.format(sys.executable))
    path.chmod(0o755)
    return str(path)


def main() -> None:
    from tests.helpers.networks import one_block

    del sys.argv[0]
    with one_block():
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
