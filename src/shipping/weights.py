"""Reads the weights in an exported file without MindSpore or onnx: both formats are protobuf messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from src.utils import require_usable_weights

# Field numbers. A model holds its graph, a graph its weights, a weight its type, its name and its values.
GRAPH, TYPE, RAW_VALUES = 7, 2, 9
WEIGHTS, NAME, FLOAT_VALUES = {".onnx": 5, ".mindir": 3}, {".onnx": 8, ".mindir": 7}, {".onnx": 4, ".mindir": 3}
FLOATS: dict[int, np.dtype] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}


def check_weights(path: Path) -> None:
    """``require_usable_weights`` for a .onnx or .mindir file, which must be whole."""
    require_usable_weights(dict(_weights(path)), path)


def _weights(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of each floating-point weight."""
    places = path.suffix
    for number, graph in _fields(memoryview(path.read_bytes())):
        for place, weight in _fields(graph) if number == GRAPH else ():
            held = dict(_fields(weight)) if place == WEIGHTS[places] else {}
            kind = FLOATS.get(held.get(TYPE, 0))
            if kind is not None:
                name = bytes(held[NAME[places]]).decode(errors="replace").rsplit(":", 1)[-1]  # without the graph's name
                yield name, np.frombuffer(held.get(RAW_VALUES, held.get(FLOAT_VALUES[places], b"")), kind)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """(field number, content) of a protobuf message: a number, or the bytes of a text, an array or a message."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
        else:
            size, place = _varint(message, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
            yield key >> 3, message[place : place + size]
            place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place
