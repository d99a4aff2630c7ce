"""Frame folders -> one tar with an index (``packed``), and back.

    20bn-jester-v1/<clip>/00001.jpg ...   <->   20bn-jester-v1.tar, 20bn-jester-v1.tar.index

The new form is complete before the old one is removed. The folder is renamed before its files are removed one by one.
So after a kill at any moment the next run finds a complete dataset and continues.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.progress import progress
from model_utils.util import locked, run_main
from src.data.frame_counts import GapError, count_frames, is_picture
from src.data.names import FRAME_NAME, IMAGES_DIR_NAME, LOCK_NAME, frame_number
from src.data.packed import PackedFrames, index_of, is_packed, tar_of
from src.data.packing import packing
from src.data.tar_stream import path_inside


def pack_folders(images: Path, frame_name: str = FRAME_NAME) -> None:
    """Packs the folders of all clips into ``tar_of(images)`` and removes them.

    Raises:
        InputError: for gaps in the numbers of a clip's frames, a special file such as a pipe, a dataset without frames,
            and a file that cannot be read or written.
    """
    _remove_rest(images)
    folders = sorted(Path(path) for path, _, names in _walk(images) if names)
    with progress("Pack", len(folders), "folder") as update, packing(tar_of(images), frame_name) as packer:
        for folder in folders:
            inside = folder.relative_to(images).as_posix()
            names = sorted(entry.name for entry in os.scandir(folder) if not entry.is_dir())
            if any(map(is_picture, names)):
                with suppress(GapError):  # a folder of stretches may begin with any number; the packer finds real gaps
                    count_frames(folder, frame_name)
            for name in names:
                if not stat.S_ISREG(os.stat(folder / name).st_mode):
                    raise InputError(f"{folder / name}: not a regular file; expected a frame")
                packer.add(name if inside == "." else f"{inside}/{name}", folder / name)
            update(1)
    removed = images.with_name(f"{images.name}.removing")
    if images.is_symlink():
        images.unlink()
        print(f"{images}: was a link; the folder that it names is left as it is", flush=True)
    else:
        os.replace(images, removed)
        shutil.rmtree(removed)
    print(f"{packer.files} files in {tar_of(images)}", flush=True)


def _walk(images: Path) -> list[tuple[str, list[str], list[str]]]:
    def refuse(error: OSError) -> None:
        raise error

    found = list(os.walk(images, onerror=refuse))
    for path, folders, _ in found:
        for name in folders:
            if os.path.islink(os.path.join(path, name)):
                raise InputError(f"{path}/{name}: a link to a folder; expected the folder itself, or none")
    return found


def unpack_tar(images: Path) -> None:
    """Extracts ``tar_of(images)`` into folders and removes the tar.

    Raises:
        InputError: if the tar was changed after packing, and if a file cannot be read or written.
    """
    _remove_rest(images)
    tar_path, partial = tar_of(images), images.with_name(f"{images.name}.partial")
    packed = PackedFrames(tar_path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    frames = 0
    try:
        with progress("Unpack", tar_path.stat().st_size, "B") as update, tarfile.open(tar_path, "r:") as tar:
            place = 0
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it remembers every member; there are millions
                frames += _unpack_member(tar, member, partial, packed)
                update(tar.offset - place)
                place = tar.offset
        if frames != packed.num_frames:
            raise InputError(f"{tar_path}: {frames} frames, expected {packed.num_frames} as its index says")
        os.replace(partial, images)
    except tarfile.TarError as error:
        raise InputError(f"{tar_path}: damaged: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    tar_path.unlink()
    index_of(tar_path).unlink()
    print(f"{frames} frames in {images}", flush=True)


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, packed: PackedFrames) -> bool:
    """Writes a file of the tar. Returns whether it is a frame of the index, with the content that was packed."""
    path = folder / path_inside("", member.name, packed.tar)
    source = tar.extractfile(member) if member.isfile() else None
    if source is None:
        raise InputError(f"{packed.tar}: archive member {member.name!r}: not a file, refused")
    content = source.read()
    clip, _, name = member.name.rpartition("/")
    number = frame_number(name, packed.frame_name)
    is_frame = number in packed.numbers(clip)
    if number is not None and is_frame and packed.frame_bytes(clip, number) != content:
        raise InputError(f"{packed.tar}: archive member {member.name!r}: not the frame that the index names, refused")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
    return is_frame


def _remove_rest(images: Path) -> None:
    """Removes the rest of a folder, if a run was killed while it removed it."""
    rest = images.with_name(f"{images.name}.removing")
    if rest.exists():
        print(f"Remove unnecessary data: {rest}, left by a run that did not finish", flush=True)
        shutil.rmtree(rest)


def convert(images: Path, frame_name: str, back: bool) -> None:
    """Packs the folders, or with ``back`` unpacks the tar. Does nothing if that is done already.

    Raises:
        InputError: see ``pack_folders`` and ``unpack_tar``; if there is neither, or another process writes there.
    """
    busy = f"{images.parent}: another process writes into this folder; wait until it has ended"
    try:
        with locked(images.parent / LOCK_NAME, busy):
            is_folder = images.is_dir()
            if not is_folder and not is_packed(images):
                raise InputError(f"{images}: no such folder, and no {tar_of(images).name}; expected the clips' folders")
            if is_folder == back:
                _remove_rest(images)
                print(f"{images if back else tar_of(images)} is there already", flush=True)
            elif back:
                unpack_tar(images)
            else:
                pack_folders(images, frame_name)
    except OSError as error:
        raise InputError(f"{error.filename or images}: {error.strerror}") from error


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="pack_frames", description="Put the frames of a dataset into one tar, or back into folders.")
    parser.add_argument("dataset_root", type=Path, help="folder of the dataset")
    parser.add_argument("--images_dir_name", default=IMAGES_DIR_NAME, help="folder of the clips (default %(default)s)")
    parser.add_argument("--frame_name", default=FRAME_NAME, help="names of the frames (default %(default)s)")
    parser.add_choice("--unpack", ("false", "true"), "true turns the tar into folders again")
    args = parser.parse_args(argv)
    convert(args.dataset_root / args.images_dir_name, args.frame_name, args.unpack == "true")
    print("DONE!")


if __name__ == "__main__":
    run_main(main)
