"""How programs read their command line: a mistake in it is an input error like any other, said in one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from model_utils.errors import InputError


class Parser(argparse.ArgumentParser):
    """The standard parser, which raises InputError instead of printing its usage and ending the process itself."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"command line: {message}")
