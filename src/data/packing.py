"""Writes frames into one tar with an index (``packed``); both are complete or not there."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from model_utils.errors import InputError
from model_utils.util import write_whole
from src.data.names import FRAME_NAME, frame_number
from src.data.numbering import closing_renames
from src.data.packed import COMMENT, DIGEST_PLACE, Arrays, index_of, write_index
from src.data.tar_stream import TAR_BLOCK

END = 2 * TAR_BLOCK  # zeros that end a tar


class Packer:
    """Adds files to a tar, one folder after the other; files of a folder may come in any order.

    Attributes:
        files: how many were added.
        clips: {clip: (number of its first frame, number of frames)} of the folders written so far.
        renumbered: clips whose frames got other numbers.
    """

    def __init__(self, file: BinaryIO, frame_name: str, renumber: bool) -> None:
        self._file, self._frame_name, self._renumber = file, frame_name, renumber
        self._digest = hashlib.sha256()
        self._clip = ""
        self._waiting: dict[str, bytes | Path] = {}
        self.clips: dict[str, tuple[int, int]] = {}
        self._seen: set[str] = set()
        self._offsets, self._sizes, self._crcs = array("q"), array("I"), array("I")
        self.files = self.renumbered = 0
        self._write_header(tarfile.TarInfo("pax_global_header"), tarfile.XGLTYPE, COMMENT % (b"0" * 64))

    def _write_header(self, info: tarfile.TarInfo, kind: bytes, content: bytes) -> None:
        info.type, info.size = kind, len(content)
        header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        self._file.write(header)
        self._digest.update(header)
        if kind == tarfile.XGLTYPE:
            self._file.write(content.ljust(TAR_BLOCK, b"\0"))

    def add(self, path: str, content: bytes | Path) -> None:
        """Adds a file.

        Args:
            path: below the folder of all clips.
            content: the bytes, or the file to read them from.

        Raises:
            InputError: if it was added before, or another folder was begun in between.
        """
        clip, _, name = path.rpartition("/")
        if clip != self._clip:
            self.flush()
            self._clip = clip
            if clip in self._seen:
                raise InputError(
                    f"{path}: the files of this clip do not lie together; unpack without --packed, and pack the folders"
                    " with pack_frames.sh"
                )
            self._seen.add(clip)
        if name in self._waiting:
            raise InputError(f"{path}: there twice, refused")
        self._waiting[name] = content

    def flush(self) -> None:
        """Writes the files of the present folder: frames by number, then other files."""
        renames = dict(closing_renames(self._waiting, self._frame_name)) if self._renumber else {}
        self.renumbered += bool(renames)
        renamed = {renames.get(name, name): content for name, content in self._waiting.items()}
        numbers = [(frame_number(name, self._frame_name), name) for name in renamed]
        numbered = sorted((number, name) for number, name in numbers if number is not None)
        for place, (number, _) in enumerate(numbered):
            if number != numbered[0][0] + place:
                missing = self._frame_name.format(number - 1)
                raise InputError(f"{self._clip}: {missing} is missing; expected frames without gaps in their numbers")
        if numbered:
            self.clips[self._clip] = numbered[0][0], len(numbered)
        for _, name in numbered:
            self._write(name, renamed.pop(name), indexed=True)
        for name in sorted(renamed):
            self._write(name, renamed[name], indexed=False)
        self._waiting = {}

    def _write(self, name: str, content: bytes | Path, indexed: bool) -> None:
        data = content if isinstance(content, bytes) else content.read_bytes()
        self._write_header(tarfile.TarInfo(f"{self._clip}/{name}".lstrip("/")), tarfile.REGTYPE, data)
        crc = zlib.crc32(data)
        self._digest.update(crc.to_bytes(4, "little"))
        if indexed:
            self._offsets.append(self._file.tell())
            self._sizes.append(len(data))
            self._crcs.append(crc)
        self._file.write(data)
        self._file.write(bytes(-len(data) % TAR_BLOCK))
        self.files += 1

    def finish(self) -> tuple[Arrays, int, str]:
        """Ends the tar. Returns its index, its size and the digest that is written into it."""
        self.flush()
        self._file.write(bytes(END))
        size, digest = self._file.tell(), self._digest.hexdigest()
        self._file.seek(DIGEST_PLACE)
        self._file.write(digest.encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._sorted_index(), size, digest

    def _sorted_index(self) -> Arrays:
        names = np.array([os.fsencode(clip) for clip in self.clips], dtype="S")
        first, counts = (np.array(column, np.int64) for column in zip(*self.clips.values()))
        order = np.argsort(names)
        begins = (np.cumsum(counts) - counts)[order]
        start = np.concatenate([[0], np.cumsum(counts[order])])
        # Frames in the order of the sorted names; clip i was written from frame ``begins[i]`` on.
        frames = np.repeat(begins - start[:-1], counts[order]) + np.arange(start[-1])
        columns = ((self._offsets, np.int64), (self._sizes, np.uint32), (self._crcs, np.uint32))
        offset, size, crc = (np.frombuffer(column, dtype)[frames] for column, dtype in columns)
        return Arrays(start, first[order], offset, size, crc, names[order])


@contextmanager
def packing(tar: Path, frame_name: str = FRAME_NAME, renumber: bool = False) -> Iterator[Packer]:
    """Gives a ``Packer``. After the block the tar and its index are there; after an exception neither is.

    The index gets its name first, so that a tar always has its index.

    Args:
        frame_name: names of the frames, see ``names.split_frame_name``.
        renumber: whether gaps in the numbers of a clip's frames are closed; otherwise they are an error.

    Raises:
        InputError: if there are no frames.
    """
    partial = tar.with_name(f"{tar.name}.partial")
    try:
        with partial.open("wb", buffering=1 << 20) as file:
            packer = Packer(file, frame_name, renumber)
            yield packer
            packer.flush()
            if not packer.clips:
                raise InputError(f"{tar}: no frames to pack; expected <clip>/{frame_name.format(1)}")
            arrays, size, digest = packer.finish()
        with write_whole(index_of(tar), "index") as path:
            write_index(path, arrays, size, digest, frame_name)
        os.replace(partial, tar)
    finally:
        with suppress(OSError):
            partial.unlink()
