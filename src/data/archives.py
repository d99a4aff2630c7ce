"""The archives that 20BN gives out, read as one stream of bytes and a few label lists.

    20bn-jester-v1-00.zip, -01.zip ...            parts, end to end, are one file
    20bn-jester-download-package-labels.zip       labels/*.csv

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
from model_utils.progress import progress
from src.data.names import JESTER, LABELS_DIR_NAME, RELEASES, Release

CHUNK = 1 << 20  # bytes read at a time
# A frame has 10 kB and the longest label list 3 MB. What claims more than this is not read into memory.
MAX_FILE_SIZE = 64 << 20
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong while the block reads ``path`` becomes an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except NotImplementedError as error:
        advice = "unzip it with another program, and remove it: what was in it is read as well"
        raise InputError(f"{path}: zipped in a way that Python cannot read ({error}); {advice}") from error
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read without a password; expected an archive that needs none") from error
    except DAMAGED as error:
        raise InputError(f"{path}: damaged or not a zip archive ({error}); download it again") from error
    except OSError as error:
        if error.strerror is None:  # bz2 says in this way that data are damaged
            raise InputError(f"{path}: damaged ({error}); download it again") from error
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with reading(path), zipfile.ZipFile(path) as archive:
        yield archive


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MAX_FILE_SIZE:
        raise InputError(f"{archive.filename}: member {info.filename!r} of {info.file_size} bytes, refused")
    return archive.read(info)


# --- Parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One part of the split tar.gz: a file of its own, or the file ``member`` of a zip archive."""

    path: Path
    member: str | None
    size: int
    md5: str | None

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        if self.member is None:
            with self.path.open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                yield file

    def chunks(self) -> Iterator[bytes]:
        """The content piece by piece; an error while reading names the part."""
        with reading(self.path), self.open() as file:
            while chunk := file.read(CHUNK):
                yield chunk


def find_release(data_path: Path) -> Release:
    """Which dataset the parts in a folder belong to; Jester if there are none. Raises InputError if it is several."""
    found = [release for release in RELEASES if _numbered_parts(data_path, release)]
    if len(found) > 1:
        names = " and ".join(f"{release.folder}-NN" for release in found)
        raise InputError(f"{data_path}: holds archives {names}; expected those of one dataset")
    return found[0] if found else JESTER


def _numbered_parts(data_path: Path, release: Release) -> dict[int, Path]:
    found: dict[int, Path] = {}
    with reading(data_path):
        names = sorted(data_path.iterdir())
    for path in names:  # a zip comes after the raw part of the same number, and is preferred
        match = re.fullmatch(rf"{release.folder}-(\d+)(\.zip)?", path.name)
        if match:
            found[int(match[1])] = path
    return found


def find_parts(data_path: Path, release: Release) -> list[Part]:
    """The parts in a folder, in order. Raises InputError if there are none, or one is missing or unreadable."""
    found = _numbered_parts(data_path, release)
    if not found:
        raise InputError(f"{data_path}: no archives here; expected {release.folder}-00.zip and so on")
    for number in range(max(found)):
        if number not in found:
            missing = data_path / f"{release.folder}-{number:02d}.zip"
            raise InputError(f"{missing}: this part is missing, but later ones are here")
    return [_describe_part(found[number]) for number in sorted(found)]


def _describe_part(path: Path) -> Part:
    if path.suffix != ".zip":
        with reading(path):
            return Part(path, None, path.stat().st_size, _md5_in_file(path.with_name(f"{path.name}.md5")))
    name = path.stem
    with _open_zip(path) as archive:
        members = {PurePosixPath(info.filename).name: info for info in archive.infolist()}
        if name not in members:
            raise InputError(f"{path}: holds {', '.join(sorted(members)) or 'nothing'}; expected the part {name}")
        if f"{name}.md5" in members:
            md5: str | None = _parse_md5(_read_member(archive, members[f"{name}.md5"]), path)
        else:
            md5 = _md5_in_file(path.with_name(f"{name}.md5"))
        return Part(path, members[name].filename, members[name].file_size, md5)


def _md5_in_file(path: Path) -> str | None:
    with reading(path):
        return _parse_md5(path.read_bytes(), path) if path.is_file() else None


def _parse_md5(content: bytes, path: Path) -> str:
    match = re.search(rb"\b[0-9a-fA-F]{32}\b", content)
    if not match:
        raise InputError(f"{path}: no md5 checksum in the .md5 file")
    return match[0].decode().lower()


def check_md5(parts: list[Part]) -> None:
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


class EndToEnd(io.RawIOBase):
    """Parts read as one file. ``part`` is the one being read; ``update`` gets every number of bytes that are given."""

    def __init__(self, parts: list[Part], update: Callable[[int], None]) -> None:
        self.part = parts[0]
        self._chunks = self._read(parts)
        self._rest = memoryview(b"")
        self._update = update

    def _read(self, parts: list[Part]) -> Iterator[bytes]:
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


# --- Label lists ------------------------------------------------------------------------------------------------------


def read_labels(data_path: Path, release: Release) -> dict[str, bytes]:
    """The label lists, {file name: content}.

    They come from the labels archive, else from the folder ``labels`` beside it, else from files beside it whose names
    begin with the dataset's.
    """
    archives, folder = [data_path / name for name in release.labels_archives], data_path / LABELS_DIR_NAME
    archive = next((path for path in archives if path.is_file()), None)
    loose = sorted(data_path.glob(f"{release.list_prefix}*{release.list_suffix}"))
    if archive:
        source, lists = archive, _read_zipped_labels(archive, release.list_suffix)
    elif folder.is_dir() or loose:
        source, lists = folder, {}
        for path in sorted(folder.glob(f"*{release.list_suffix}")) if folder.is_dir() else loose:
            with reading(path):
                lists[path.name] = path.read_bytes()
    else:
        raise InputError(f"{archives[0]}: no such file, and no folder {folder} either")
    if not lists:
        raise InputError(f"{source}: no label lists (*{release.list_suffix}) in it")
    return lists


def _read_zipped_labels(archive_path: Path, suffix: str) -> dict[str, bytes]:
    lists: dict[str, bytes] = {}
    with _open_zip(archive_path) as archive:
        for info in archive.infolist():
            path = PurePosixPath(info.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise InputError(f"{archive_path}: member {info.filename!r} would leave the target, refused")
            if path.suffix == suffix and "__MACOSX" not in path.parts:
                content = _read_member(archive, info)
                if lists.setdefault(path.name, content) != content:
                    raise InputError(f"{archive_path}: two different lists are called {path.name}; expected one")
    return lists
