"""Archives as 20BN gives them out -> frame folders (of Something-Something v2: videos) and label lists.

The data archives hold the parts of one split tar.gz:

    20bn-jester-v1-00.zip, -01.zip ... -> parts, end to end -> gzip -> tar -> 20bn-jester-v1/<clip>/00001.jpg ...

Something-Something has the same packaging; the names of the parts say which dataset it is (``names.RELEASES``). All of
that is one stream: nothing but the files is written to disk. Before the first one is written, the parts are checked:
that none is missing, and the md5 of those that come with one. The files go into ``20bn-jester-v1.partial``, which gets
its real name when as many files are in it as in the archive.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.progress import progress
from model_utils.util import locked, write_bytes
from src.data.archives import CHUNK, MAX_FILE_SIZE, EndToEnd, Part, check_md5, find_parts, find_release, read_labels
from src.data.names import LABELS_DIR_NAME, LOCK_NAME, Release

DAMAGED = (tarfile.TarError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError, RecursionError)
BLOCK = tarfile.BLOCKSIZE


class _Header(tarfile.TarInfo):
    """A header that is damaged is an error, where `tarfile` takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from error


class _Tape(gzip.GzipFile):
    """The unpacked stream: it only runs forwards, and gives no more at a time than a file may have.

    `tarfile` reads into memory whatever size a header claims.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_FILE_SIZE + BLOCK:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return super().read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset < self.tell():
            raise tarfile.ReadError("a header points backwards")
        return super().seek(offset, whence)

    def skip_zeros(self) -> bool:
        """Skip the zeros that end an archive. Returns whether anything follows; a header never begins with a zero."""
        while window := self.peek(BLOCK):
            zeros = len(window) - len(window.lstrip(b"\0"))
            self.read(zeros)
            if zeros < len(window):
                return True
        return False


def extract_files(parts: list[Part], name: str, folder: Path) -> int:
    """Unpack the tar.gz that the parts make up; what it keeps in the folder ``name`` goes into ``folder``.

    Further archives behind the first one are unpacked too.

    Returns:
        The number of files in the archives.

    Raises InputError if the stream is damaged, ends early or has no files, or if a member cannot be a frame.
    """
    count = 0
    with progress("Extract", sum(part.size for part in parts), "B") as update:
        packed = EndToEnd(parts, update)
        tape = _Tape(fileobj=io.BufferedReader(packed, CHUNK))
        try:
            while tape.skip_zeros():
                with tarfile.open(fileobj=tape, mode="r:", tarinfo=_Header) as tar:
                    while (member := tar.next()) is not None:
                        count += _extract_member(tar, member, name, folder, packed.part.path)
                        tar.members.clear()  # type: ignore[attr-defined]  # it remembers every member; there are millions
        except InputError:
            raise
        except EOFError as error:
            raise InputError(
                f"{packed.part.path}: the archive does not end with this part; a later one is missing"
            ) from error
        except DAMAGED as error:
            raise InputError(f"{packed.part.path}: the archive is damaged in or before this part: {error}") from error
    if not count:
        raise InputError(f"{parts[0].path}: no files in the archive; expected {name}/...")
    return count


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, folder: Path, part: Path) -> int:
    """Write a member; returns the number of files that it is, 0 or 1."""
    path = folder / _path_inside(name, member.name, part)
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return 0
    if not member.isfile():
        raise InputError(f"{part}: archive member {member.name!r}: neither a file nor a folder, refused")
    if member.size > MAX_FILE_SIZE:
        raise InputError(
            f"{part}: archive member {member.name!r}: {member.size} bytes, more than any frame has, refused"
        )
    source = tar.extractfile(member)
    assert source is not None  # only of what is no file
    content = source.read()
    try:
        _write_new(path, content)
    except FileNotFoundError:  # archives need not list folders
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(path, content)
    except FileExistsError:
        raise InputError(f"{part}: archive member {member.name!r}: there twice, refused") from None
    return 1


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)


def _path_inside(folder: str, name: str, part: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != (folder,):
        raise InputError(f"{part}: archive member {name!r}: not inside {folder}/, refused")
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise InputError(f"{part}: archive member {name!r}: not a file name in UTF-8, refused")
    return path.relative_to(folder)


def unpack(data_path: Path, target_path: Path) -> None:
    """Unpack the archives in ``data_path`` into ``target_path``. Does nothing where that has been done before.

    Raises InputError for inputs that are missing or damaged, and for a target that cannot be written or into which
    another process writes. Nothing of what was extracted stays behind then, or after Ctrl-C. A run that was killed
    leaves ``20bn-jester-v1.partial``, which the next run removes.
    """
    if target_path.exists() and not target_path.is_dir():
        raise InputError(f"{target_path}: is not a folder")
    release = find_release(data_path)
    if _is_unpacked(target_path, release):
        return
    made_here = [path for path in (target_path, *target_path.parents) if not path.exists()]
    busy = f"{target_path}: another process writes into this folder; wait until it has ended"
    try:
        with locked(target_path / LOCK_NAME, busy):
            if not _is_unpacked(target_path, release):  # by now
                _unpack(data_path, target_path, release)
    except (InputError, OSError, KeyboardInterrupt) as error:
        with contextlib.suppress(OSError):
            for path in made_here:
                path.rmdir()
        if not isinstance(error, OSError):
            raise
        raise InputError(f"{error.filename or target_path}: cannot be written: {error.strerror}") from error


def _is_unpacked(target_path: Path, release: Release) -> bool:
    frames = target_path / release.folder
    if frames.is_dir() and (target_path / LABELS_DIR_NAME).is_dir():
        print(f"{frames} is already unpacked; remove it to unpack again")
        return True
    return False


def _unpack(data_path: Path, target_path: Path, release: Release) -> None:
    frames, partial = target_path / release.folder, target_path / f"{release.folder}.partial"
    print("Unzip...", flush=True)
    lists = read_labels(data_path, release)
    try:
        if not frames.is_dir():
            _unpack_frames(data_path, partial, release)
        for name, content in lists.items():
            write_bytes(target_path / LABELS_DIR_NAME / name, content)
        if partial.is_dir():
            os.replace(partial, frames)
    except (Exception, KeyboardInterrupt):
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _unpack_frames(data_path: Path, partial: Path, release: Release) -> None:
    parts = find_parts(data_path, release)
    for part in parts:
        print(f"{part.path.name}: {part.size / 1e6:.1f} MB{'' if part.md5 else ', comes without md5'}", flush=True)
    check_md5(parts)
    if partial.exists():
        print(f"Remove unnecessary data: {partial}, left by a run that did not finish", flush=True)
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    needed, free = sum(part.size for part in parts), shutil.disk_usage(partial).free
    if needed > free:  # JPEG files do not shrink when packed, so that the parts are as large as the frames
        raise InputError(f"{partial}: {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB expected")
    print("Extract tar archives...", flush=True)
    in_archive = extract_files(parts, release.folder, partial)
    on_disk = sum(len(names) for _, _, names in os.walk(partial))
    if on_disk != in_archive:
        raise InputError(f"{partial}: {on_disk} files on the disk, {in_archive} in the archive; unpack again")
    print(f"{on_disk} files in the archive, as many on the disk", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="unpack_jester_dataset", description="Unpack the archives of Jester or Something-Something.")
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
