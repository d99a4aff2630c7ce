"""Keeps damaged checkpoints from MindSpore's loader, which writes past the end of a tensor that is too small."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from mindspore.train.checkpoint_pb2 import Checkpoint

from model_utils.files import read_file

CRC_NAME, CRC_BYTES = b"crc_num", 17  # MindSpore may append this to the content


def check_tensor_sizes(path: Path) -> None:
    """Raises ValueError for a tensor whose number of bytes does not match its shape and type."""
    content = read_file(path)
    if content[-CRC_BYTES:].startswith(CRC_NAME):
        content = content[:-CRC_BYTES]
    parsed = Checkpoint()
    parsed.ParseFromString(content)
    held: dict[str, int] = {}
    for value in parsed.value:  # a large tensor stands in several pieces
        held[value.tag] = held.get(value.tag, 0) + len(value.tensor.tensor_content)
    for value in parsed.value:
        kind, shape = value.tensor.tensor_type, list(value.tensor.dims)
        if kind == "str":
            continue
        itemsize = 2 if kind == "BFloat16" else np.dtype(kind.lower()).itemsize
        count = 1 if shape == [0] else math.prod(shape)  # MindSpore writes a scalar's shape so
        if held[value.tag] != count * itemsize:
            raise ValueError(f"{value.tag}: {held[value.tag]} bytes for {shape} of {kind}")
