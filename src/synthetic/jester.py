"""Synthetic Jester: small drawn clips of the 27 gestures, packed in exactly the way 20BN packs the real ones.

The real data needs a login and 23 GB; this set needs a minute, and everything downstream treats it as the real thing.

    draw_clip -> JPEG frames -> one tar.gz -> parts with md5, each in a zip     and     a zip with the label lists

Two properties hold by construction, not by luck:

* *Time.* Opposite gestures (left/right, in/out, ...) are the same clip played forwards and backwards, so no single
  frame tells them apart (``gestures``).
* *Mirror.* A mirrored gesture to the right looks like the gesture to the left (``clips``).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.progress import progress
from model_utils.util import exclusive_folder, run_main, write_bytes
from src.data.names import FRAME_NAME, IMAGES_DIR_NAME, LABELS_ARCHIVE, LABELS_DIR_NAME, LOCK_NAME
from src.data.pool import in_processes
from src.synthetic.clips import contact_sheet, jpeg_clip
from src.synthetic.gestures import GESTURES

CLIPS_WORTH_A_PROCESS = 32  # drawn in about the time that a process takes to start


def plan_clips(labels: list[str], split_sizes: dict[str, int], seed: int) -> dict[str, list[tuple[int, str]]]:
    """Deal clip ids 1, 2, ... to the splits: {split: [(clip id, label), ...]}.

    Ids are dealt at random, and each split has equally many clips of every class (within one).
    """
    rng = np.random.default_rng([seed])
    ids = (rng.permutation(sum(split_sizes.values())) + 1).tolist()
    return {
        split: sorted((ids.pop(), labels[i % len(labels)]) for i in range(size)) for split, size in split_sizes.items()
    }


def make_archives(target: Path, labels: list[str], split_sizes: dict[str, int], seed: int, num_parts: int) -> None:
    """Draw all clips and write 20BN's archives into the folder ``target``: all of them, or none if something fails.

    Raises InputError if ``target`` is not a folder, holds such archives, or is being written by another process.
    """
    with exclusive_folder(target, LOCK_NAME):
        held = sorted(target.glob("20bn-jester*"))
        if held:
            raise InputError(f"{held[0]}: the target folder already holds Jester archives; give another or remove them")
        splits = plan_clips(labels, split_sizes, seed)
        with tempfile.TemporaryDirectory(prefix=".synthetic-jester-", dir=target) as work:
            packed = Path(work) / "frames.tar.gz"
            _write_frames(packed, sorted(clip for clips in splits.values() for clip in clips), seed)
            archives = _split_into_parts(packed, num_parts)
            archives.append(_write_labels(Path(work) / LABELS_ARCHIVE, labels, splits))
            for archive in archives:  # the labels come last: a target folder that has them is complete
                os.replace(archive, target / archive.name)


def _write_frames(path: Path, clips: list[tuple[int, str]], seed: int) -> None:
    jobs = [(label, seed, clip_id) for clip_id, label in clips]
    # mtime 0 and level 1: the same seed gives the same bytes, and JPEGs hardly compress any further.
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        packed = stack.enter_context(gzip.GzipFile("", "wb", 1, file, mtime=0))
        tar = stack.enter_context(tarfile.open(fileobj=packed, mode="w|"))
        drawn = in_processes(jpeg_clip, jobs, len(jobs) // CLIPS_WORTH_A_PROCESS, "draws clips", chunk=4)
        stack.enter_context(contextlib.closing(drawn))
        update = stack.enter_context(progress("Draw", len(jobs), "clip"))
        _add_folder(tar, IMAGES_DIR_NAME)
        for clip_id, frames in drawn:
            folder = f"{IMAGES_DIR_NAME}/{clip_id}"
            _add_folder(tar, folder)
            for number, frame in enumerate(frames, start=1):
                member = tarfile.TarInfo(f"{folder}/{FRAME_NAME.format(number)}")
                member.size = len(frame)
                tar.addfile(member, io.BytesIO(frame))
            update(1)


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(member)


def _split_into_parts(packed: Path, num_parts: int) -> list[Path]:
    """Cut a file into equal parts, each in a zip beside it together with its md5; the last part may be shorter."""
    part_size = -(-packed.stat().st_size // num_parts)
    archives = []
    with packed.open("rb") as source:
        for number in range(num_parts):
            name, content = f"{IMAGES_DIR_NAME}-{number:02d}", source.read(part_size)
            archives.append(packed.with_name(f"{name}.zip"))
            with zipfile.ZipFile(archives[-1], "w") as archive:
                archive.writestr(zipfile.ZipInfo(name), content)
                archive.writestr(zipfile.ZipInfo(f"{name}.md5"), f"{hashlib.md5(content).hexdigest()}  {name}\n")
    return archives


def _write_labels(path: Path, labels: list[str], splits: dict[str, list[tuple[int, str]]]) -> Path:
    rows = {split: [f"{clip_id};{label}" for clip_id, label in clips] for split, clips in splits.items()}
    files = {"labels": labels, "train": rows["train"], "validation": rows["validation"]}
    if splits["test"]:
        files["test"] = [str(clip_id) for clip_id, _ in splits["test"]]
        files["test-answers"] = rows["test"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in files.items():
            archive.writestr(zipfile.ZipInfo(f"{LABELS_DIR_NAME}/{name}.csv"), "".join(f"{line}\n" for line in lines))
    return path


def main(argv: list[str] | None = None) -> None:
    """Command line: write the archives, or a contact sheet of their clips, or both."""
    parser = Parser(
        prog="make_synthetic_jester", description="Draw a small Jester and pack it as 20BN packs the real one."
    )
    parser.add_argument("target", type=Path, nargs="?", help="folder for the archives; made if it is not there")
    parser.add_number("--gestures", f"int [1, {len(GESTURES)}]", len(GESTURES), "how many classes, 1 to 27")
    parser.add_number("--train", "int [1, inf)", 1080, "training clips of all classes")
    parser.add_number("--val", "int [1, inf)", 270, "validation clips")
    parser.add_number("--test", "int [0, inf)", 54, "test clips; 0 for no test list")
    parser.add_number("--seed", "int [0, inf)", 1, "another seed draws another set")
    parser.add_number("--parts", "int [1, 100]", 3, "how many data archives")
    parser.add_argument("--contact_sheet", type=Path, help="write a PNG with six frames of every gesture")
    args = parser.parse_args(argv)
    if not args.target and not args.contact_sheet:
        parser.error("give a target folder or --contact_sheet")
    labels = list(GESTURES)[: args.gestures]
    if args.contact_sheet:
        write_bytes(args.contact_sheet, cv2.imencode(".png", contact_sheet(labels, args.seed))[1].tobytes())
    if args.target:
        split_sizes = {"train": args.train, "validation": args.val, "test": args.test}
        make_archives(args.target, labels, split_sizes, args.seed, args.parts)
        print(f"{sum(split_sizes.values())} clips of {len(labels)} gestures are in {args.target}")


if __name__ == "__main__":
    run_main(main)
