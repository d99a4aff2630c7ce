"""Reads the files in the tar.gz that 20BN's parts form, one after the other, without a copy of it on the disk."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Callable, NamedTuple

from model_utils.errors import InputError
from src.data.archives import MAX_FILE_SIZE, READ_SIZE, ArchivePart, JoinedParts

BAD_TAR = (tarfile.TarError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError, RecursionError)
TAR_BLOCK = tarfile.BLOCKSIZE
# JPEG files and videos do not shrink when packed. An archive that grows by more than this is refused.
LARGEST_GROWTH, SMALL_ARCHIVE = 4, 256 << 20


class Member(NamedTuple):
    """A file of a dataset.

    Attributes:
        path: below the images' folder, such as ``12/00001.jpg``.
        origin: the archive that it comes from, for messages, or the file itself.
        content: its bytes; None where ``origin`` is the file itself.
    """

    path: str
    origin: Path
    content: bytes | None


class _Header(tarfile.TarInfo):
    """Raises an error for a damaged header, which `tarfile` takes for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error


class _ForwardGzip(gzip.GzipFile):
    """The decompressed stream, forwards only. A read of more bytes than a file may have is an error.

    `tarfile` believes any size that a header claims.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_FILE_SIZE + TAR_BLOCK:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return super().read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset < self.tell():
            raise tarfile.ReadError("a header points backwards")
        return super().seek(offset, whence)

    def skip_zeros(self) -> bool:
        """Skip the zeros that end an archive. Returns whether anything follows; a header never begins with a zero."""
        while window := self.peek(TAR_BLOCK):
            zeros = len(window) - len(window.lstrip(b"\0"))
            self.read(zeros)
            if zeros < len(window):
                return True
        return False


def tar_members(parts: list[ArchivePart], name: str, update: Callable[[int], None]) -> Iterator[Member]:
    """Yields the files in the folder ``name`` of the tar.gz. Archives that follow the first one are read too.

    Args:
        parts: in order.
        name: of the folder in the archive.
        update: is called with the number of bytes just read.

    Raises:
        InputError: if the stream is damaged, ends early or has no files, if a member cannot be a frame, and if the
            files are much larger than the parts.
    """
    count, size = 0, 0
    limit = LARGEST_GROWTH * sum(part.size for part in parts) + SMALL_ARCHIVE
    packed = JoinedParts(parts, update)
    tape = _ForwardGzip(fileobj=io.BufferedReader(packed, READ_SIZE))
    try:
        while tape.skip_zeros():
            with tarfile.open(fileobj=tape, mode="r:", tarinfo=_Header) as tar:
                while (entry := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # it remembers every member; there are millions
                    member = _read_member(tar, entry, name, packed.part.path)
                    if member is None:
                        continue
                    count, size = count + 1, size + entry.size
                    check_growth(size, limit, packed.part.path)
                    yield member
    except InputError:
        raise
    except EOFError as error:
        raise InputError(
            f"{packed.part.path}: the archive does not end with this part; a later one is missing"
        ) from error
    except BAD_TAR as error:
        raise InputError(f"{packed.part.path}: the archive is damaged in or before this part: {error}") from error
    if not count:
        raise InputError(f"{parts[0].path}: no files in the archive; expected {name}/...")


def check_growth(size: int, limit: int, archive: Path) -> None:
    """Raises InputError if the files of an archive have more than ``limit`` bytes together."""
    if size > limit:
        message = f"{archive}: unpacks to more than {limit / 1e6:.0f} MB; frames do not shrink when packed, refused"
        raise InputError(message)


def _read_member(tar: tarfile.TarFile, entry: tarfile.TarInfo, name: str, part: Path) -> Member | None:
    path = str(path_inside(name, entry.name, part))
    if entry.isdir():
        return None
    if not entry.isfile():
        raise InputError(f"{part}: archive member {entry.name!r}: neither a file nor a folder, refused")
    if entry.size > MAX_FILE_SIZE:
        raise InputError(f"{part}: archive member {entry.name!r}: {entry.size} bytes, more than any frame has, refused")
    source = tar.extractfile(entry)
    assert source is not None  # None only for special files
    return Member(path, part, source.read())


def path_inside(folder: str, name: str, archive: Path) -> PurePosixPath:
    """The path of an archive's member below ``folder``, "" for the top. Raises InputError if it is not below it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or (folder and path.parts[:1] != (folder,)):
        raise InputError(f"{archive}: archive member {name!r}: not inside {folder}/, refused")
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise InputError(f"{archive}: archive member {name!r}: not a file name in UTF-8, refused")
    return path.relative_to(folder)
