"""The frames of a dataset in one tar, read by an index; for file systems on which millions of small files are slow.

    20bn-jester-v1.tar           <clip>/00001.jpg ..., sorted; any program can list and extract it
    20bn-jester-v1.tar.index     where each frame lies: arrays that processes map into memory and share

The tar begins with a comment that holds a digest of its content. The index holds the same digest, so it cannot be used
with another tar. A frame is compared with its CRC-32 whenever it is read.
"""

from __future__ import annotations

import json
import os
import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_utils.errors import InputError
from model_utils.files import open_file

FORMAT = "packed frames 1"
AGAIN = "unpack or pack the dataset again"
HEADER_SIZE = 4096  # bytes of the index before its arrays
# The tar begins with a global header of the pax format; its 64 hex digits are filled in at the end.
COMMENT = b"76 comment=%s\n"
DIGEST_PLACE = 512 + len("76 comment=")


class Arrays(NamedTuple):
    """The index. Clip i has the frames ``start[i]`` to ``start[i + 1]`` - 1 and begins with number ``first[i]``."""

    start: np.ndarray  # int64 [clips + 1]
    first: np.ndarray  # int64 [clips]
    offset: np.ndarray  # int64 [frames], where its bytes begin in the tar
    size: np.ndarray  # uint32 [frames]
    crc: np.ndarray  # uint32 [frames]
    names: np.ndarray  # bytes [clips], sorted


def tar_of(images: str | os.PathLike) -> Path:
    """The tar that replaces a folder of clips."""
    return Path(f"{os.fspath(images)}.tar")


def index_of(tar: Path) -> Path:
    """The index beside a tar."""
    return tar.with_name(f"{tar.name}.index")


def is_packed(images: str | os.PathLike) -> bool:
    """Whether a tar replaces a folder of clips. If there are both, the folder is read."""
    return not os.path.isdir(images) and tar_of(images).exists()


def write_index(path: Path, arrays: Arrays, tar_size: int, digest: str, frame_name: str) -> None:
    """Writes the index of a tar to ``path``."""
    header = {
        "format": FORMAT,
        "tar_bytes": tar_size,
        "digest": digest,
        "frame_name": frame_name,
        "arrays": {name: [array.dtype.str, len(array)] for name, array in arrays._asdict().items()},
    }
    with path.open("wb") as file:
        file.write(json.dumps(header).encode().ljust(HEADER_SIZE - 1) + b"\n")
        for array in arrays:
            file.write(np.ascontiguousarray(array).tobytes().ljust(_padded(array.nbytes), b"\0"))


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _read_index(path: Path) -> tuple[dict[str, Any], Arrays]:
    """The header of an index, and its arrays, mapped into memory.

    Raises:
        InputError: if it is missing, cut off or no index.
    """
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(HEADER_SIZE))
        if header["format"] != FORMAT:
            raise ValueError
        place, arrays = HEADER_SIZE, []
        for name in Arrays._fields:
            dtype, length = header["arrays"][name]
            # As a plain array: reading a number from a memmap takes ten times as long.
            mapped = np.memmap(path, dtype, "r", place, (length,)) if length else np.empty(0, dtype)
            arrays.append(mapped.view(np.ndarray))
            place += _padded(np.dtype(dtype).itemsize * length)
        index = Arrays(*arrays)
        counts = np.diff(index.start)
        whole = path.stat().st_size == place and len(index.names) == len(index.first) == len(counts)
        if not whole or index.start[0] or index.start[-1] != len(index.offset) or (counts < 1).any():
            raise ValueError
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the index beside the tar; {AGAIN}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        raise InputError(f"{path}: cut off, or no index of packed frames; {AGAIN}") from None
    return header, index


class PackedFrames:
    """The frames in a tar.

    Args:
        tar: the tar; its index lies beside it.

    Raises:
        InputError: if one of the two is missing, cut off or cannot be read, or if the index belongs to another tar.
    """

    def __init__(self, tar: Path) -> None:
        self.tar = tar
        header, self._index = _read_index(index_of(tar))
        self.frame_name: str = header["frame_name"]
        try:
            self._file = open_file(tar)
            size = os.fstat(self._file).st_size
            digest = os.pread(self._file, 64, DIGEST_PLACE)
        except OSError as error:
            raise InputError(f"{tar}: cannot be read: {error.strerror}") from None
        if digest != header["digest"].encode():
            raise InputError(f"{index_of(tar)}: belongs to another tar than {tar}; {AGAIN}")
        if size != header["tar_bytes"]:
            expected = f"expected {header['tar_bytes']} as its index says"
            raise InputError(f"{tar}: {size} bytes, {expected}; cut off or changed, {AGAIN}")
        self.num_frames = len(self._index.offset)  # of all clips together
        self._latest: tuple[str, range, int] = ("", range(0), 0)  # frames of a clip are read one after the other

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def numbers(self, clip: str) -> range:
        """The numbers in the names of a clip's frames; empty if there is no such clip."""
        return self._find(clip)[0]

    def has_clip(self, clip: str) -> bool:
        return bool(self.numbers(clip))

    def has_numbers(self, clip: str, numbers: range) -> bool:
        """Whether a clip's frames have these numbers."""
        return self.numbers(clip) == numbers

    def _find(self, clip: str) -> tuple[range, int]:
        """The numbers of a clip's frames, and the position of the first in the index."""
        if clip != self._latest[0]:
            name, names = os.fsencode(clip), self._index.names
            numbers, start = range(0), 0
            row = int(np.searchsorted(names, np.bytes_(name))) if 0 < len(name) <= names.dtype.itemsize else len(names)
            if row < len(names) and names[row] == name:
                first, start, end = map(int, (self._index.first[row], *self._index.start[row : row + 2]))
                numbers = range(first, first + end - start)
            self._latest = clip, numbers, start
        return self._latest[1:]

    def path(self, clip: str, number: int) -> str:
        """The name of a frame in messages."""
        return f"{self.tar}/{clip}/{self.frame_name.format(number)}"

    def frame_bytes(self, clip: str, number: int) -> bytes:
        """The content of a frame's file.

        Args:
            clip: path of its folder below the folder of all clips.
            number: in the frame's name.

        Raises:
            InputError: naming the frame, if it is missing or was changed.
        """
        index, (numbers, start) = self._index, self._find(clip)
        if not numbers:
            raise InputError(f"{self.tar}/{clip}: clip is missing in the tar")
        if number not in numbers:
            raise InputError(f"{self.path(clip, number)}: frame is missing")
        place = start + number - numbers[0]
        try:
            data = os.pread(self._file, int(index.size[place]), int(index.offset[place]))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", error)
            raise InputError(f"{self.path(clip, number)}: frame cannot be read ({reason})") from None
        if zlib.crc32(data) != index.crc[place]:
            message = "is not the frame that was packed: the tar or its index was changed"
            raise InputError(f"{self.path(clip, number)}: {message}; {AGAIN}")
        return data


def open_packed(images: str | os.PathLike) -> PackedFrames | None:
    """The tar that replaces a folder of clips, opened once per process; None if it is a folder.

    Raises:
        InputError: see ``PackedFrames``.
    """
    if not is_packed(images):
        return None
    tar = tar_of(images)
    stats = [os.stat(path) for path in (tar, index_of(tar)) if path.exists()]
    return _opened(tar, tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats))


@cache
def _opened(tar: Path, stats: tuple) -> PackedFrames:  # noqa: ARG001  # a tar that was replaced is opened anew
    return PackedFrames(tar)


def require_frame_name(images: str | os.PathLike, frame_name: str) -> PackedFrames | None:
    """``open_packed``; also raises InputError for a tar whose frames have other names."""
    packed = open_packed(images)
    if packed and packed.frame_name != frame_name:
        message = f"its frames are called {packed.frame_name}; expected --frame_name '{packed.frame_name}'"
        raise InputError(f"{packed.tar}: {message}, not '{frame_name}'")
    return packed


def find_clip(path: str | os.PathLike) -> tuple[PackedFrames, str] | None:
    """The tar that replaces a folder above ``path``, and the clip that ``path`` names in it; None without a tar.

    Raises:
        InputError: see ``PackedFrames``, and if the tar holds no such clip.
    """
    whole = Path(path)
    for images in whole.parents:
        packed = open_packed(images)
        if packed:
            clip = whole.relative_to(images).as_posix()
            if not packed.numbers(clip):
                raise InputError(f"{packed.tar}/{clip}: clip is missing in the tar")
            return packed, clip
    return None
