"""MP4 files as OpenCV writes them, changed in single fields: rotation, times of frames, bytes that are lost."""

from __future__ import annotations

import struct
from pathlib import Path

MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
PARENTS_OF_TIMES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def rotate(path: Path, degrees: int) -> Path:
    """States that the picture is to be turned clockwise, as phones do: the display matrix in ``tkhd``."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    for place, value in zip((0, 1, 3, 4), MATRICES[degrees]):
        struct.pack_into(">i", data, matrix + 4 * place, value << 16)
    path.write_bytes(data)
    return path


def set_intervals(path: Path, seconds: list[float]) -> Path:
    """States for how long each frame is shown: the table ``stts``, and the durations that depend on it."""
    data = bytearray(path.read_bytes())
    ticks, movie_ticks = (struct.unpack_from(">I", data, data.index(box) + 16)[0] for box in (b"mdhd", b"mvhd"))
    at = data.index(b"stts") - 4
    size = struct.unpack_from(">I", data, at)[0]
    rows = b"".join(struct.pack(">II", 1, round(interval * ticks)) for interval in seconds)
    table = struct.pack(">I4sII", 16 + len(rows), b"stts", 0, len(seconds)) + rows
    data[at : at + size] = table
    for box in PARENTS_OF_TIMES:
        start = data.index(box) - 4
        struct.pack_into(">I", data, start, struct.unpack_from(">I", data, start)[0] + len(table) - size)
    whole = sum(seconds)
    fields = [(b"mdhd", 20, ticks), (b"mvhd", 20, movie_ticks), (b"tkhd", 24, movie_ticks), (b"elst", 12, movie_ticks)]
    for box, offset, scale in fields:
        struct.pack_into(">I", data, data.index(box) + offset, round(whole * scale))
    path.write_bytes(data)
    return path


def set_rate(path: Path, rate: int, scale: int) -> Path:
    """States rate / scale frames a second in the header of an AVI file."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, data.index(b"strh") + 8 + 20, scale, rate)
    path.write_bytes(data)
    return path


def damage(path: Path, share: float, until: float) -> Path:
    """Overwrites the frames' bytes from one share of them to another with zeros."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = struct.unpack_from(">I", data, start - 8)[0] - 8
    first, end = start + int(size * share), start + int(size * until)
    data[first:end] = bytes(end - first)
    path.write_bytes(data)
    return path


def refer_to(path: Path, other: Path) -> Path:
    """States that the frames are in another file: an alias in ``dref``, as QuickTime writes it."""
    data = bytearray(path.read_bytes())
    name = str(other).encode()
    name += b"\0" * (len(name) % 2)
    alias = struct.pack(
        ">4s4x10xB27s12xB63s16xhh16xHH", b"alis", 0, b"", len(other.name), other.name.encode(), -1, -1, 2, len(name)
    )
    alias += name + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I", 4 + len(alias)) + alias
    at = data.index(b"dref") - 4
    size = struct.unpack_from(">I", data, at)[0]
    box = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    data[at : at + size] = box
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        start = data.index(parent) - 4
        struct.pack_into(">I", data, start, struct.unpack_from(">I", data, start)[0] + len(box) - size)
    path.write_bytes(data)
    return path
