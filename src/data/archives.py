"""Reads 20BN's archive parts as one stream of bytes.

    20bn-jester-v1-00.zip, -01.zip ...            parts, end to end, are one file
    20bnjester-v1-00, -01 ...                     as the vendor gives them out today

Something-Something is packed in the same way (``names.RELEASES``). There have been releases with 23 parts, with 3, and
with parts that are not zipped; all of them are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Callable

from model_utils.errors import InputError
from model_utils.files import is_folder, require_regular, status
from model_utils.progress import progress
from src.data.names import RELEASES, Release

READ_SIZE = 1 << 20  # bytes read at a time
# A frame has 10 kB and the longest label list 3 MB. A larger member is not read into memory.
MAX_FILE_SIZE = 64 << 20
BAD_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns errors of a block that reads ``path`` into InputErrors that name it."""
    try:
        found = status(path)
        if found and not is_folder(path):
            require_regular(path, found.st_mode)
        yield
    except InputError:
        raise
    except NotImplementedError as error:
        advice = "unzip it with another program, and remove it: unzipped files are read as well"
        raise InputError(f"{path}: zipped in a way that Python cannot read ({error}); {advice}") from error
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read without a password; expected an archive that needs none") from error
    except BAD_ZIP as error:
        raise InputError(f"{path}: damaged or not a zip archive ({error}); download it again") from error
    except OSError as error:
        if error.strerror is None:  # bz2 says in this way that data are damaged
            raise InputError(f"{path}: damaged ({error}); download it again") from error
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with reading(path), zipfile.ZipFile(path) as archive:
        yield archive


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MAX_FILE_SIZE:
        raise InputError(f"{archive.filename}: member {info.filename!r} of {info.file_size} bytes, refused")
    return archive.read(info)


# --- Parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArchivePart:
    """One part of the split tar.gz: a file of its own, or the file ``member`` of a zip archive."""

    path: Path
    member: str | None
    size: int
    md5: str | None

    def chunks(self) -> Iterator[bytes]:
        """The content piece by piece; an error while reading names the part."""
        with reading(self.path), contextlib.ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(self.path.open("rb"))
            if self.member is not None:
                file = stack.enter_context(stack.enter_context(zipfile.ZipFile(file)).open(self.member))
            while chunk := file.read(READ_SIZE):
                yield chunk


def find_parts(data_path: Path) -> tuple[Release, list[ArchivePart]] | None:
    """The dataset of the parts in a folder, and the parts in order; None if there are none.

    Raises:
        InputError: if they belong to several, or one is missing or unreadable.
    """
    named = {name: release for release in RELEASES for name in release.parts}
    numbered = {name: found for name in named if (found := _numbered_parts(data_path, name))}
    if not numbered:
        return None
    if len(numbered) > 1:
        names = " and ".join(f"{name}-NN" for name in numbered)
        raise InputError(f"{data_path}: holds archives {names}; expected archives of one dataset")
    [(name, found)] = numbered.items()
    suffix = found[max(found)].suffix
    for number in range(max(found)):
        if number not in found:
            missing = data_path / f"{name}-{number:02d}{suffix}"
            raise InputError(f"{missing}: this part is missing, but later ones are here")
    return named[name], [_describe_part(found[number]) for number in sorted(found)]


def _numbered_parts(data_path: Path, name: str) -> dict[int, Path]:
    found: dict[int, Path] = {}
    with reading(data_path):
        paths = sorted(data_path.iterdir())
    for path in paths:  # a zip comes after the raw part of the same number, and is preferred
        match = re.fullmatch(rf"{name}-(\d+)(\.zip)?", path.name)
        if match:
            found[int(match[1])] = path
    return found


def _describe_part(path: Path) -> ArchivePart:
    if path.suffix != ".zip":
        with reading(path):
            return ArchivePart(path, None, path.stat().st_size, _md5_in_file(path.with_name(f"{path.name}.md5")))
    name = path.stem
    with open_zip(path) as archive:
        members = {PurePosixPath(info.filename).name: info for info in archive.infolist()}
        if name not in members:
            raise InputError(f"{path}: holds {', '.join(sorted(members)) or 'nothing'}; expected the part {name}")
        if f"{name}.md5" in members:
            md5: str | None = _parse_md5(read_member(archive, members[f"{name}.md5"]), path)
        else:
            md5 = _md5_in_file(path.with_name(f"{name}.md5"))
        return ArchivePart(path, members[name].filename, members[name].file_size, md5)


def _md5_in_file(path: Path) -> str | None:
    with reading(path):
        return _parse_md5(path.read_bytes(), path) if path.is_file() else None


def _parse_md5(content: bytes, path: Path) -> str:
    match = re.search(rb"\b[0-9a-fA-F]{32}\b", content)
    if not match:
        raise InputError(f"{path}: no md5 checksum in the .md5 file")
    return match[0].decode().lower()


def check_md5(parts: list[ArchivePart]) -> None:
    """Read every part that comes with a checksum. Raises InputError naming the first part that differs."""
    checkable = [part for part in parts if part.md5]
    with progress("Check md5", sum(part.size for part in checkable), "B") as update:
        for part in checkable:
            md5 = hashlib.md5()
            for chunk in part.chunks():
                md5.update(chunk)
                update(len(chunk))
            if md5.hexdigest() != part.md5:
                raise InputError(f"{part.path}: md5 is {md5.hexdigest()}, expected {part.md5}; download it again")


class JoinedParts(io.RawIOBase):
    """Reads parts as one file. ``part`` is the current part; ``update`` is called with the bytes of each read."""

    def __init__(self, parts: list[ArchivePart], update: Callable[[int], None]) -> None:
        self.part = parts[0]
        self._chunks = self._read(parts)
        self._rest = memoryview(b"")
        self._update = update

    def _read(self, parts: list[ArchivePart]) -> Iterator[bytes]:
        for self.part in parts:
            yield from self.part.chunks()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        self._update(count)
        return count
