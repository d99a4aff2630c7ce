"""Archives as 20BN gives them out -> frame folders and label lists.

The data archives hold the parts of one split tar.gz:

    20bn-jester-v1-00.zip, -01.zip ... -> parts, end to end -> gzip -> tar -> 20bn-jester-v1/<clip>/00001.jpg ...

All of that is one stream: nothing but the frames is written to disk. There have been releases with 23 parts, with 3,
and with parts that are not zipped; all of them are read. What can be checked beforehand is checked beforehand: that no
part is missing, and the md5 of those parts that come with one.

The frames are written into `20bn-jester-v1.partial`, which gets its real name when it is complete.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Callable

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.progress import progress
from model_utils.util import write_bytes
from src.data.names import IMAGES_DIR_NAME, LABELS_ARCHIVE, LABELS_DIR_NAME

CHUNK = 1 << 20  # bytes read at a time


# --- Parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One part of the split tar.gz: a file of its own, or the file `member` of a zip archive."""

    path: Path
    member: str | None
    size: int
    md5: str | None

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        if self.member is None:
            with self.path.open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                yield file

    def chunks(self) -> Iterator[bytes]:
        """The content piece by piece; an error while reading names the part."""
        try:
            with self.open() as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last if it is encrypted
            raise InputError(f"{self.path}: damaged ({error}); download it again") from error
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error


def find_parts(data_path: Path) -> list[Part]:
    """The parts in a folder, in order. Raises `InputError` if there are none, or one is missing or unreadable."""
    found: dict[int, Path] = {}
    for path in sorted(data_path.iterdir()):  # a zip comes after the raw part of the same number, and is preferred
        match = re.fullmatch(rf"{IMAGES_DIR_NAME}-(\d+)(\.zip)?", path.name)
        if match:
            found[int(match[1])] = path
    if not found:
        raise InputError(f"{data_path}: no archives here; expected {IMAGES_DIR_NAME}-00.zip and so on")
    for number in range(max(found)):
        if number not in found:
            missing = data_path / f"{IMAGES_DIR_NAME}-{number:02d}.zip"
            raise InputError(f"{missing}: this part is missing, but later ones are here")
    return [_describe_part(found[number]) for number in sorted(found)]


def _describe_part(path: Path) -> Part:
    if path.suffix != ".zip":
        return Part(path, None, path.stat().st_size, _md5_in_file(path.with_name(f"{path.name}.md5")))
    name = path.stem
    with _open_zip(path) as archive:
        members = {PurePosixPath(info.filename).name: info for info in archive.infolist()}
        if name not in members:
            raise InputError(f"{path}: holds {', '.join(sorted(members)) or 'nothing'}; expected the part {name}")
        if f"{name}.md5" in members:
            md5 = _parse_md5(archive.read(members[f"{name}.md5"]), path)
        else:
            md5 = _md5_in_file(path.with_name(f"{name}.md5"))
        return Part(path, members[name].filename, members[name].file_size, md5)


@contextlib.contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path}: damaged or not a zip archive ({error}); download it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _md5_in_file(path: Path) -> str | None:
    return _parse_md5(path.read_bytes(), path) if path.is_file() else None


def _parse_md5(content: bytes, path: Path) -> str:
    match = re.search(rb"\b[0-9a-fA-F]{32}\b", content)
    if not match:
        raise InputError(f"{path}: no md5 checksum in the .md5 file")
    return match[0].decode().lower()


def check_md5(parts: list[Part]) -> None:
    """Read every part that comes with a checksum. Raises `InputError` naming the first part that differs."""
    checkable = [part for part in parts if part.md5]
    with progress("Check md5", sum(part.size for part in checkable), "B") as update:
        for part in checkable:
            md5 = hashlib.md5()
            for chunk in part.chunks():
                md5.update(chunk)
                update(len(chunk))
            if md5.hexdigest() != part.md5:
                raise InputError(f"{part.path}: md5 is {md5.hexdigest()}, expected {part.md5}; download it again")


class _EndToEnd(io.RawIOBase):
    """Parts read as one file. `part` is the one being read; `update` is called with every number of bytes given."""

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

    def readinto(self, buffer: memoryview) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        self._update(count)
        return count


# --- Unpacking --------------------------------------------------------------------------------------------------------


def extract_frames(parts: list[Part], folder: Path) -> None:
    """Unpack the tar.gz that the parts make up; what it keeps in `20bn-jester-v1/` goes into `folder`.

    Raises `InputError` if the stream is damaged or ends early, if a member is a link or lies elsewhere, or if a file
    cannot be written.
    """
    with progress("Extract", sum(part.size for part in parts), "B") as update:
        packed = _EndToEnd(parts, update)
        stream = gzip.GzipFile(fileobj=io.BufferedReader(packed, CHUNK))
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                while (member := tar.next()) is not None:
                    _extract_member(tar, member, folder, packed.part.path)
                    tar.members.clear()  # it remembers every member, and there are millions
            while stream.read(CHUNK):  # gzip compares its checksum at the very end
                pass
        except EOFError as error:
            raise InputError(
                f"{packed.part.path}: the archive does not end with this part; a later one is missing"
            ) from error
        except (tarfile.TarError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{packed.part.path}: the archive is damaged in or before this part: {error}") from error


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, part: Path) -> None:
    inside = _path_inside(member.name, part)
    if member.isdir():
        (folder / inside).mkdir(parents=True, exist_ok=True)
    elif member.isfile():
        content = tar.extractfile(member).read()
        path = folder / inside
        try:
            path.write_bytes(content)
        except FileNotFoundError:  # archives need not list folders
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    else:
        raise InputError(f"{part}: archive member {member.name!r}: neither a file nor a folder, refused")


def _path_inside(name: str, part: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != (IMAGES_DIR_NAME,):
        raise InputError(f"{part}: archive member {name!r}: not inside {IMAGES_DIR_NAME}/, refused")
    return path.relative_to(IMAGES_DIR_NAME)


def read_labels(data_path: Path) -> dict[str, bytes]:
    """The label lists, {file name: content}, from the labels archive or from an unpacked `labels` folder beside it."""
    archive_path, folder = data_path / LABELS_ARCHIVE, data_path / LABELS_DIR_NAME
    if archive_path.is_file():
        source = archive_path
        with _open_zip(archive_path) as archive:
            lists = {}
            for info in archive.infolist():
                path = PurePosixPath(info.filename.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts:
                    raise InputError(f"{archive_path}: member {info.filename!r} would leave the target, refused")
                if path.suffix == ".csv" and "__MACOSX" not in path.parts:
                    lists[path.name] = archive.read(info)
    elif folder.is_dir():
        source = folder
        lists = {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}
    else:
        raise InputError(f"{archive_path}: no such file, and no folder {folder} either")
    if not lists:
        raise InputError(f"{source}: no label lists (*.csv) in it")
    return lists


def unpack(data_path: Path, target_path: Path) -> None:
    """Unpack the archives in `data_path` into `target_path`. Does nothing where that has been done before.

    Raises `InputError` for inputs that are missing or damaged and for a target that cannot be written; nothing of
    what was extracted stays behind then, or after Ctrl-C. A run that was killed leaves `20bn-jester-v1.partial` to the
    next run.
    """
    frames, partial = target_path / IMAGES_DIR_NAME, target_path / f"{IMAGES_DIR_NAME}.partial"
    labels = target_path / LABELS_DIR_NAME
    if frames.is_dir() and labels.is_dir():
        print(f"{frames} is already unpacked; remove it to unpack again")
        return
    made_here = [path for path in (target_path, *target_path.parents) if not path.exists()]
    try:
        print("Unzip...", flush=True)
        lists = read_labels(data_path)
        if not frames.is_dir():
            _unpack_frames(data_path, partial)
        _write_labels(lists, labels)
        if partial.is_dir():
            os.replace(partial, frames)
    except (InputError, OSError, KeyboardInterrupt) as error:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            for path in made_here:
                path.rmdir()
        if not isinstance(error, OSError):
            raise
        raise InputError(f"{error.filename or target_path}: cannot be written: {error.strerror}") from error


def _unpack_frames(data_path: Path, partial: Path) -> None:
    parts = find_parts(data_path)
    for part in parts:
        print(f"{part.path.name}: {part.size / 1e6:.1f} MB{'' if part.md5 else ', comes without md5'}", flush=True)
    check_md5(parts)
    if partial.exists():
        print(f"Remove unnecessary data: {partial}, left by a run that did not finish", flush=True)
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    needed, free = sum(part.size for part in parts), shutil.disk_usage(partial).free
    if needed > free:  # JPEG files do not shrink when packed, so that the parts are as large as the frames
        raise InputError(f"{partial}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB expected")
    print("Extract tar archives...", flush=True)
    extract_frames(parts, partial)


def _write_labels(lists: dict[str, bytes], folder: Path) -> None:
    for name, content in lists.items():
        write_bytes(folder / name, content)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="unpack_jester_dataset", description="Unpack the Jester archives.")
    parser.add_argument("data_path", type=Path, help="folder with the archives")
    parser.add_argument("target_path", type=Path, help="folder for the unpacked dataset; made if it is not there")
    args = parser.parse_args(argv)
    if not args.data_path.is_dir():
        raise InputError(f"{args.data_path}: no such folder; expected the folder with the archives")
    print(f"Target data folder: {args.target_path}", flush=True)
    unpack(args.data_path, args.target_path.absolute())
    print("DONE!")


if __name__ == "__main__":
    from model_utils.util import run_main

    run_main(main)
