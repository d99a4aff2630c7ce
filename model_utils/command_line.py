"""How programs read their command line: a mistake in it is an input error like any other, said in one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from model_utils.errors import InputError
from model_utils.version import VERSION


class Parser(argparse.ArgumentParser):
    """The standard parser with ``--version``, which raises InputError instead of printing its usage and ending."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        name = f"Temporal Relation Networks on MindSpore {VERSION}"
        self.add_argument("--version", action="version", version=name, help="show the version and exit")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"command line: {message}")
