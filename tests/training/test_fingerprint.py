"""Which changes of lists and frames a fingerprint notices, and which it does not."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace

import pytest

from src.data.frame_files import FrameFolders, VideoRecord
from src.training.fingerprint import fingerprint

RECORDS = [VideoRecord(f"clip {number}", 3, number % 2) for number in range(40)]
ROWS, FRAMES = "the training list", "frames of the training list"


@pytest.fixture
def images(tmp_path):
    for record in RECORDS:
        (tmp_path / record.folder).mkdir()
        for number in (1, 2, 3):
            (tmp_path / record.folder / f"{number:05d}.jpg").write_bytes(f"{record.folder} {number}".encode())
    return tmp_path


def changed(images, records=RECORDS, name="{:05d}.jpg") -> set[str]:
    before = fingerprint("training", RECORDS, FrameFolders(images, "{:05d}.jpg"))
    assert before.keys() == {ROWS, FRAMES}
    after = fingerprint("training", records, FrameFolders(images, name))
    return {what for what in before if before[what] != after[what]}


@pytest.mark.parametrize(
    "change",
    [{"folder": "clip 2"}, {"num_frames": 2}, {"label": 0}, {"first": 0}],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_a_row_counts(images, change):
    assert ROWS in changed(images, [*RECORDS[:11], replace(RECORDS[11], **change), *RECORDS[12:]])


def test_the_order_of_the_rows_counts(images):
    assert ROWS in changed(images, [RECORDS[1], RECORDS[0], *RECORDS[2:]])


def test_32_middle_frames_are_read_from_the_first_clip_to_the_last(images):
    """Each of those that are read counts; also one that is not there."""
    read = []
    for record in RECORDS:
        frame = images / record.folder / "00002.jpg"
        content = frame.read_bytes()
        before = fingerprint("training", RECORDS, FrameFolders(images, "{:05d}.jpg"))
        frame.write_bytes(b"another")
        after = fingerprint("training", RECORDS, FrameFolders(images, "{:05d}.jpg"))
        frame.unlink()
        gone = fingerprint("training", RECORDS, FrameFolders(images, "{:05d}.jpg"))
        frame.write_bytes(content)
        assert (before == after) == (before == gone)
        read += [record.folder] if before != after else []
    assert len(read) == 32
    assert {"clip 0", "clip 39"} <= set(read)


def test_frames_that_were_moved_and_renamed_are_the_same(images, tmp_path):
    shutil.copytree(images, tmp_path / "moved")
    for frame in list((tmp_path / "moved").glob("*/*.jpg")):
        frame.rename(frame.with_name(f"img_{frame.name}"))
    assert changed(images) == set()
    moved = fingerprint("training", RECORDS, FrameFolders(tmp_path / "moved", "img_{:05d}.jpg"))
    assert moved == fingerprint("training", RECORDS, FrameFolders(images, "{:05d}.jpg"))


def test_a_list_of_one_clip(images):
    digest = hashlib.sha256(hashlib.sha256(b"clip 0 2").digest()).hexdigest()
    assert fingerprint("training", RECORDS[:1], FrameFolders(images, "{:05d}.jpg"))[FRAMES] == digest
