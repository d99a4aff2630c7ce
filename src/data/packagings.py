"""Finds the dataset in a download folder, in every packaging of Jester and Something-Something.

    parts       20bn-jester-v1-00.zip ..., raw parts, or the vendor's 20bnjester-v1-00 ...       (archives, tar_stream)
    zips        jester1.zip, jester2.zip ...    <clip>/00001.jpg, inside a folder or not
    zips        20bn-jester.zip                 Train/<clip>/00001.jpg, Validation/..., Test/..., Train.csv ...
    folders     the content of such zips, already unzipped

Each gives files ``<clip>/00001.jpg`` (Something-Something v2: ``<id>.webm``) and label lists.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Callable

from model_utils.errors import InputError
from model_utils.progress import progress
from src.data.archives import MAX_FILE_SIZE, check_md5, find_parts, open_zip, read_member, reading
from src.data.label_lists import LabelList, list_name, lists_in
from src.data.names import ANNOTATIONS_DIR_NAME, JESTER, LABELS_DIR_NAME, RELEASES, SOMETHING_V1, SOMETHING_V2, Release
from src.data.tar_stream import LARGEST_GROWTH, SMALL_ARCHIVE, Member, check_growth, tar_members

FRAME = re.compile(r"(?:[^/]+/){0,3}(?P<path>[^/]+/\d+\.jpg)")
VIDEO = re.compile(r"(?:[^/]+/){0,2}(?P<path>[^/]+\.webm)")
SPLIT_FOLDERS = {"Train", "Validation", "Test"}
MAX_LISTS_SIZE = 4 * MAX_FILE_SIZE  # Something-Something v2 has 40 MB of lists


@dataclass(frozen=True)
class Packaging:
    """The dataset in a download folder.

    Attributes:
        found: a description for the log.
        size: bytes of the files, or of the archives that hold them.
        unit: of progress, "B" or "file".
        total: work in that unit.
        members: yields the files; it calls its argument with the work just done.
        lists: label lists among the files, by name.
        check: raises InputError for a file that does not match its checksum.
    """

    found: str
    release: Release
    size: int
    unit: str
    total: int
    members: Callable[[Callable[[int], None]], Iterator[Member]]
    lists: dict[str, LabelList] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None

    def files(self) -> Iterator[Member]:
        """The files, with a report of progress."""
        with progress("Extract", self.total, self.unit) as update:
            yield from self.members(update)


def find_packaging(data_path: Path, target_path: Path) -> Packaging:
    """The dataset in the folder; of several packagings the one that comes first above.

    Raises:
        InputError: if there is none, if a part or a zip is damaged or missing, or if a file in it cannot be a frame.
    """
    if found := find_parts(data_path):
        release, parts = found
        for part in parts:
            print(f"{part.path.name}: {part.size / 1e6:.1f} MB{'' if part.md5 else ', comes without md5'}", flush=True)
        name, size = parts[0].path.name.partition(".")[0].rpartition("-")[0], sum(part.size for part in parts)
        whose = "the vendor's" if name != release.folder else "20BN's"
        line = f"{whose} parts {name}-NN, {len(parts)} of them"
        members = partial(tar_members, parts, release.folder)
        return Packaging(line, release, size, "B", size, members, check=partial(check_md5, parts))
    packaging = _find_zips(data_path) or _find_folders(data_path, target_path)
    if packaging is None:
        expected = f"expected {JESTER.parts[0]}-00.zip or {JESTER.parts[1]}-00 and so on, zips of frame folders, or"
        raise InputError(f"{data_path}: no archives here; {expected} folders <clip>/00001.jpg")
    return packaging


def _release_of(names: list[str], is_video: bool) -> Release:
    if is_video:
        return SOMETHING_V2
    return SOMETHING_V1 if any("something" in name.lower() for name in names) else JESTER


def _member_path(name: str) -> str:
    """The path of a frame or video below the images' folder, "" for any other file."""
    match = None if name.startswith("__MACOSX/") else FRAME.fullmatch(name) or VIDEO.fullmatch(name)
    return match["path"] if match else ""


def _kind(folders: set[str], is_video: bool) -> str:
    """The layout of the files, in words."""
    if SPLIT_FOLDERS & folders:
        return "Train, Validation and Test folders"
    return "videos" if is_video else "frame folders"


# --- Zips -------------------------------------------------------------------------------------------------------------


def _find_zips(data_path: Path) -> Packaging | None:
    labels = {release.labels_archive for release in RELEASES}
    with reading(data_path):
        zips = [path for path in sorted(data_path.iterdir()) if path.suffix == ".zip" and path.name not in labels]
    used, folders, lists, size, is_video = [], set(), {}, 0, False
    for path in zips:
        with open_zip(path) as archive:
            infos = _infos(archive)
            if not infos:
                continue
            used.append(path)
            size += sum(info.file_size for info in infos)
            check_growth(size, LARGEST_GROWTH * path.stat().st_size + SMALL_ARCHIVE, path)
            folders |= {part for info in infos for part in PurePosixPath(info.filename).parts[:-2]}
            is_video |= infos[0].filename.endswith(".webm")
            lists.update(zipped_lists(archive, _release_of([path.name], is_video)))
    if not used:
        return None
    line = f"{_kind(folders, is_video)} in {', '.join(path.name for path in used)}"
    release = _release_of([*folders, *(path.name for path in used)], is_video)
    return Packaging(line, release, size, "B", size, partial(_zip_members, used), lists)


def _infos(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The frames or videos, sorted by name, so that each clip's are adjacent."""
    return sorted((info for info in archive.infolist() if _member_path(_name(info))), key=_name)


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.replace("\\", "/")


def _zip_members(zips: list[Path], update: Callable[[int], None]) -> Iterator[Member]:
    for path in zips:
        with open_zip(path) as archive:
            for info in _infos(archive):
                _check_member(path, info)
                content = read_member(archive, info)
                update(len(content))
                yield Member(_member_path(_name(info)), path, content)


def _check_member(archive: Path, info: zipfile.ZipInfo) -> None:
    name = _name(info)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{archive}: archive member {info.filename!r}: would leave the target, refused")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{archive}: archive member {info.filename!r}: neither a file nor a folder, refused")


def zipped_lists(archive: zipfile.ZipFile, release: Release) -> dict[str, LabelList]:
    """The label lists in a zip, by name.

    Raises:
        InputError: for a list that would leave its folder or is too large, and for two of the same name that differ.
    """
    found: dict[str, LabelList] = {}
    path, size = Path(str(archive.filename)), 0
    for info in archive.infolist():
        inside = PurePosixPath(_name(info))
        name = list_name(inside.name, (release,))
        if name is None or "__MACOSX" in inside.parts:
            continue
        _check_member(path, info)
        size += info.file_size
        check_growth(size, MAX_LISTS_SIZE, path)
        file = LabelList(f"{path}/{inside}", read_member(archive, info))
        if found.setdefault(name, file).data != file.data:
            raise InputError(f"{path}: two different lists are called {inside.name}; expected one")
    return found


# --- Folders ----------------------------------------------------------------------------------------------------------


def _find_folders(data_path: Path, target_path: Path) -> Packaging | None:
    folders = list(_folders_of_files(data_path, "", {target_path.absolute(), (data_path / LABELS_DIR_NAME).absolute()}))
    if not folders:
        return None
    is_video = not FRAME.fullmatch(folders[0][2])
    above = {part for folder, _, _ in folders for part in PurePosixPath(folder).parts[: None if is_video else -1]}
    release, total = _release_of(list(above), is_video), sum(count for _, count, _ in folders)
    members = partial(_folder_members, data_path, [folder for folder, _, _ in folders])
    line, lists = f"{_kind(above, is_video)}, already unzipped", _lists_among(data_path, release)
    return Packaging(line, release, 0, "file", total, members, lists)


def _folders_of_files(data_path: Path, folder: str, skipped: set[Path]) -> Iterator[tuple[str, int, str]]:
    """The folders at most four below ``data_path`` that hold frames or videos, how many, and the first one."""
    with reading(data_path / folder):
        entries = sorted(os.scandir(data_path / folder), key=lambda entry: entry.name)
    found = [name for entry in entries if _member_path(name := f"{folder}/{entry.name}")]
    if folder and found:
        yield folder, len(found), found[0]
    elif folder.count("/") < 3:
        for entry in entries:
            hidden = entry.name.startswith(".") or entry.name.endswith(".partial")
            if not hidden and entry.is_dir() and Path(entry.path).absolute() not in skipped:
                yield from _folders_of_files(data_path, f"{folder}/{entry.name}".lstrip("/"), skipped)


def _folder_members(data_path: Path, folders: list[str], update: Callable[[int], None]) -> Iterator[Member]:
    for folder in folders:
        with reading(data_path / folder):
            names = sorted(os.listdir(data_path / folder))
        for name in names:
            if path := _member_path(f"{folder}/{name}"):
                update(1)
                yield Member(path, data_path / folder / name, None)


def _lists_among(data_path: Path, release: Release) -> dict[str, LabelList]:
    """The label lists one folder deeper, where a zip with a single folder was unzipped."""
    with reading(data_path):
        folders = [path for path in sorted(data_path.iterdir()) if path.is_dir() and path.name[0] != "."]
    return next((found for folder in folders if (found := lists_in(folder, (release,)))), {})


# --- Label lists ------------------------------------------------------------------------------------------------------


def find_lists(data_path: Path, packaging: Packaging) -> tuple[Path, dict[str, LabelList]]:
    """Where the label lists of a dataset lie, and the lists, by name.

    They are in the labels archive, else in the folder ``labels`` or ``annotations``, else loose, else among the files.

    Raises:
        InputError: if there are none, or one cannot be read.
    """
    release, archive_path = packaging.release, data_path / packaging.release.labels_archive
    if archive_path.is_file():
        with open_zip(archive_path) as archive:
            lists = zipped_lists(archive, release)
        if not lists:
            raise InputError(f"{archive_path}: no label lists (*{release.list_suffix}) in it")
        return archive_path, lists
    for folder in (data_path / LABELS_DIR_NAME, data_path / ANNOTATIONS_DIR_NAME, data_path):
        if folder.is_dir() and (lists := lists_in(folder, (release,))):
            return folder, lists
    return data_path, packaging.lists
