"""How programs read their command line. A mistake in it is an ``InputError``, reported in one line."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any, Callable, NamedTuple, NoReturn

from model_utils.errors import InputError
from model_utils.version import VERSION

BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Parser(argparse.ArgumentParser):
    """The standard parser with ``--version``; it raises InputError instead of printing its usage and exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        name = f"Temporal Relation Networks on MindSpore {VERSION}"
        self.add_argument("--version", action="version", version=name, help="show the version and exit")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"command line: {message}")

    def add_number(self, name: str, allowed: str, default: float, help: str) -> None:
        """Adds an option for a number such as "int [1, 27]" says."""
        self.add_argument(name, type=number_in(allowed), default=default, help=f"{help} (default %(default)s)")

    def add_choice(self, name: str, choices: tuple[str, ...], help: str) -> None:
        """Adds an option for one of these words, by default the first."""
        self.add_argument(name, choices=choices, default=choices[0], help=f"{help} (default %(default)s)")


class Rule(NamedTuple):
    """What a key accepts: the type, and either its choices or an open or closed interval."""

    type: type = str
    choices: tuple = ()
    interval: str = ""
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        if self.type is bool:
            return "true or false"
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        return f"{self.type.__name__} in {self.interval}" if self.interval else "text"

    @classmethod
    def within(cls, text: str) -> Rule:
        """Parses a rule such as "int [1, inf)". Raises ValueError for another text."""
        number = r"(-?\d+\.?\d*|-?inf)"
        match = re.fullmatch(rf"(int|float) ([\[(]{number}, {number}[\])])", text)
        if not match:
            raise ValueError(text)
        name, interval, low, high = match.groups()
        return cls({"int": int, "float": float}[name], (), interval, float(low), float(high))

    def parse(self, where: str, text: str) -> bool | int | float | str:
        """The value written as ``text``. Raises InputError beginning with ``where`` if the key does not accept it."""
        try:
            return self.read(text)
        except argparse.ArgumentTypeError as error:
            raise InputError(f"{where}: {error}") from None

    def read(self, text: str) -> bool | int | float | str:
        """The value written as ``text``. Raises ArgumentTypeError that says what is expected instead."""
        try:
            value = BOOLEANS.get(text.lower()) if self.type is bool else self.type(text)
            os.fsencode(text)  # a text may be the name of a file
        except (ValueError, OverflowError):
            value = None
        if value is None or "\0" in text or (self.choices and value not in self.choices) or not self._within(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed, expected {self}")
        return value

    def _within(self, value: float) -> bool:
        if not self.interval:
            return True
        above = value > self.low or (value == self.low and self.interval[0] == "[")
        below = value < self.high or (value == self.high and self.interval[-1] == "]")
        return above and below  # nan is neither


def number_in(allowed: str) -> Callable[[str], Any]:
    """The type of an option that takes a number such as "int [1, 27]" says."""
    return Rule.within(allowed).read
