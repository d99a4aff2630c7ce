"""A download folder -> frame folders (videos for Something-Something v2) and label lists.

    parts, zips or folders (packagings) ─► 20bn-jester-v1.partial/<clip>/00001.jpg ... ─► 20bn-jester-v1/
    label lists (label_lists)           ─► labels.partial/train.csv ...                ─► labels/

No second copy is written to disk: parts are read as one stream, and unzipped folders are linked. Before the first file
is written, the program checks that no part is missing, and the md5 of each part that has one. A folder gets its name
when it is complete.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.files import is_folder
from model_utils.util import exclusive_folder, run_main, write_bytes
from src.data.archives import reading
from src.data.label_lists import in_20bn_form, require_lists
from src.data.names import LABELS_DIR_NAME, LOCK_NAME, RELEASES, SOMETHING_V2
from src.data.numbering import close_gaps
from src.data.packagings import Packaging, find_lists, find_packaging
from src.data.packed import is_packed, tar_of
from src.data.packing import packing
from src.data.tar_stream import Member


def unpack(data_path: Path, target_path: Path, packed: bool = False) -> None:
    """Unpacks ``data_path`` into ``target_path``. Does nothing if that is done already.

    With ``packed`` the frames go into one tar with an index (``packed``), and no folders are made.

    Raises InputError for missing or damaged inputs, and for a target that cannot be written or is in use. After an
    error or Ctrl-C no extracted file is left. A killed run leaves ``20bn-jester-v1.partial``; the next run removes it.
    """
    with reading(target_path):
        if _is_unpacked(target_path):
            return
    with exclusive_folder(target_path, LOCK_NAME):
        if not _is_unpacked(target_path):  # by now
            _unpack(data_path, target_path, packed)


def _is_unpacked(target_path: Path) -> bool:
    for release in RELEASES:
        frames = target_path / release.folder
        if (frames.is_dir() or is_packed(frames)) and (target_path / LABELS_DIR_NAME).is_dir():
            there = frames if frames.is_dir() else tar_of(frames)
            print(f"{there} is already unpacked; remove it to unpack again, or give another folder")
            return True
    return False


def _unpack(data_path: Path, target_path: Path, packed: bool) -> None:
    print("Unzip...", flush=True)
    packaging = find_packaging(data_path, target_path)
    release = packaging.release
    print(f"found: {packaging.found}", flush=True)
    lists = _label_lists(data_path, packaging)
    packaging.check()
    frames, labels = target_path / release.folder, target_path / LABELS_DIR_NAME
    partials = [path.with_name(f"{path.name}.partial") for path in (frames, labels)]
    for partial in partials:
        if partial.exists():
            print(f"Remove unnecessary data: {partial}, left by a run that did not finish", flush=True)
            shutil.rmtree(partial)
    try:
        for name, content in lists.items():
            write_bytes(partials[1] / name, content)
        if not frames.is_dir() and not is_packed(frames):
            _unpack_frames(packaging, frames, partials[0], packed)
        print("Remove unnecessary data...", flush=True)
        _publish_lists(partials[1], labels)
    except (Exception, KeyboardInterrupt):
        for partial in partials:
            shutil.rmtree(partial, ignore_errors=True)
        raise


def _label_lists(data_path: Path, packaging: Packaging) -> dict[str, bytes]:
    """The lists, {file name: content}."""
    source, lists = find_lists(data_path, packaging)
    require_lists(lists, source, packaging.release)
    print(f"label lists: {', '.join(dict.fromkeys(str(file.path) for file in lists.values()))}", flush=True)
    if packaging.release is SOMETHING_V2:
        return {Path(file.path).name: file.data for file in lists.values()}
    return in_20bn_form(lists)


def _publish_lists(partial: Path, labels: Path) -> None:
    if not labels.exists():
        os.replace(partial, labels)
        return
    for path in partial.iterdir():
        os.replace(path, labels / path.name)
    partial.rmdir()


def _unpack_frames(packaging: Packaging, frames: Path, partial: Path, packed: bool) -> None:
    if packed and packaging.release is SOMETHING_V2:
        raise InputError(f"--packed true: {packaging.found}; expected frames; make them of the videos first")
    free = shutil.disk_usage(frames.parent).free
    if packaging.size > free:  # JPEG files do not shrink when packed: parts are as large as the frames
        raise InputError(f"{partial}: {free / 1e6:.0f} MB are free, but {packaging.size / 1e6:.0f} MB are needed")
    print("Extract tar archives...", flush=True)
    if packed:
        count, renumbered = _pack_files(packaging, tar_of(frames))
        print(f"{count} files in the archive, as many in {tar_of(frames)}", flush=True)
    else:
        count, renumbered = _write_files(packaging, partial)
        os.replace(partial, frames)
        print(f"{count} files in the archive, as many on the disk", flush=True)
    if renumbered:
        print(f"{renumbered} clips had gaps in the numbering of their frames; numbered anew, in order", flush=True)


def _pack_files(packaging: Packaging, tar: Path) -> tuple[int, int]:
    """Returns the number of files, and the number of clips whose frames were renamed."""
    with packing(tar, renumber=True) as packer:
        for member in packaging.files():
            try:
                packer.add(member.path, member.origin if member.content is None else member.content)
            except InputError as error:
                raise InputError(f"{member.origin}: archive member {error}") from None
    return packer.files, packer.renumbered


def _write_files(packaging: Packaging, partial: Path) -> tuple[int, int]:
    """The same for folders."""
    partial.mkdir(parents=True)
    found = on_disk = renumbered = 0
    for member in packaging.files():
        _write_member(member, partial)
        found += 1
    for folder, _, names in os.walk(partial):
        on_disk += len(names)
        renumbered += close_gaps(folder, names)
    if on_disk != found:
        raise InputError(f"{partial}: {on_disk} files on the disk, {found} in the archive; unpack again")
    return on_disk, renumbered


def _write_member(member: Member, folder: Path) -> None:
    path = folder / member.path

    def write() -> None:
        _write_new(path, member.content) if member.content is not None else _link(path, member.origin)

    try:
        try:
            write()
        except FileNotFoundError:  # archives need not list folders; a check before each of millions of files is slow
            path.parent.mkdir(parents=True, exist_ok=True)
            write()
    except FileExistsError:
        raise InputError(f"{member.origin}: archive member {member.path!r}: there twice, refused") from None


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)


def _link(path: Path, source: Path) -> None:
    """A hard link, or a copy where there can be none: on another disk, or of a symbolic link."""
    if not source.is_file():
        raise InputError(f"{source}: not a regular file; expected a frame")
    if not source.is_symlink():
        try:
            return os.link(source, path)
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError:
            pass
    with reading(source):
        content = source.read_bytes()
    return _write_new(path, content)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="unpack_jester_dataset", description="Unpack a download of Jester or Something-Something.")
    parser.add_argument("data_path", type=Path, help="folder of the download")
    parser.add_argument("target_path", type=Path, help="folder for the unpacked dataset; made if it is not there")
    parser.add_choice("--packed", ("false", "true"), "true writes the frames into one tar instead of folders")
    args = parser.parse_args(argv)
    with reading(args.data_path):
        if not is_folder(args.data_path):
            raise InputError(f"{args.data_path}: no such folder; expected the folder with the archives")
    print(f"Target data folder: {args.target_path}", flush=True)
    unpack(args.data_path, args.target_path.absolute(), args.packed == "true")
    print("DONE!")


if __name__ == "__main__":
    run_main(main)
