"""Frames in one tar with an index: the same bytes as in folders, nothing half taken for whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest

from model_utils.errors import InputError
from src.data import pack_frames, packing, unpack_jester_dataset
from src.data.frame_files import FrameFolders, VideoRecord
from src.data.pack_frames import main as convert
from src.data.packed import HEADER_SIZE, Arrays, PackedFrames, find_clip, index_of, open_packed, tar_of, write_index
from src.data.unpack_jester_dataset import main as unpack
from src.preprocess_jester_dataset import main as preprocess
from tests.data.test_packagings import one_zip, original, remove_some, split_folders, twenty_bn, two_zips  # noqa: F401
from tests.data.test_unpack_jester_dataset import contents, frame_members, write_data
from tests.data.test_unpack_jester_dataset import tar_of as gzipped_tar
from tests.helpers import ROOT
from tests.helpers.clips import read_frames, write_clip
from tests.helpers.kills import killed

NAME = "20bn-jester-v1"
LONG = "x" * 120 + "é"  # more than a plain tar header holds


@pytest.fixture
def root(tmp_path):
    """Frames of three clips, in folders upon folders too, and files that are no frames."""
    images = tmp_path / "Jester" / NAME
    for seed, (clip, count) in enumerate({"7": 3, "12": 5, f"Thumb Up/{LONG}": 2}.items()):
        write_clip(images / clip, count, 20, 24, seed=seed)
    (images / "12" / ".source.json").write_text("{}")
    (images / "notes.txt").write_text("mine")
    (images / "7" / "Thumbs.db").write_bytes(b"")
    return tmp_path / "Jester"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_tar_that_any_program_lists_and_extracts(root, tmp_path):
    before = contents(root / NAME)
    convert([str(root)])
    assert names_in(root) == [f"{NAME}.tar", f"{NAME}.tar.index"]
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", root / f"{NAME}.tar", "-C", tmp_path / "out"], check=True)
    assert contents(tmp_path / "out") == before
    listed = subprocess.run(["tar", "-tf", root / f"{NAME}.tar"], check=True, capture_output=True, text=True).stdout
    assert len(listed.splitlines()) == len(before)


def test_back_to_the_same_folders(root):
    before = contents(root / NAME)
    convert([str(root)])
    first = (root / f"{NAME}.tar").read_bytes()
    convert([str(root), "--unpack", "true"])
    assert names_in(root) == [NAME]
    assert contents(root / NAME) == before
    convert([str(root)])
    assert (root / f"{NAME}.tar").read_bytes() == first
    convert([str(root)])  # does nothing
    assert names_in(root) == [f"{NAME}.tar", f"{NAME}.tar.index"]


def test_a_tar_that_was_replaced_is_opened_anew(root):
    convert([str(root)])
    assert open_packed(root / NAME).num_frames == 10
    convert([str(root), "--unpack", "true"])
    write_clip(root / NAME / "8", 4, 20, 24, seed=9)
    convert([str(root)])
    assert open_packed(root / NAME).num_frames == 14


def test_every_frame_is_read_as_it_was(root):
    before = contents(root / NAME)
    pictures = FrameFolders(root / NAME, "{:05d}.jpg").read(VideoRecord("12", 5, 0), np.array([4, 0, 2]))
    by_pillow = read_frames(root / NAME / "12", [4, 0, 2])
    convert([str(root)])
    packed = open_packed(root / NAME)
    assert packed.num_frames == 10
    for clip, count in {"7": 3, "12": 5, f"Thumb Up/{LONG}": 2}.items():
        assert packed.numbers(clip) == range(1, count + 1)
        for number in packed.numbers(clip):
            assert packed.frame_bytes(clip, number) == before[f"{clip}/{number:05d}.jpg"]
    frames = FrameFolders(root / NAME, "{:05d}.jpg")
    for image, as_folder, as_pillow in zip(
        frames.read(VideoRecord("12", 5, 0), np.array([4, 0, 2])), pictures, by_pillow
    ):
        np.testing.assert_array_equal(image, as_folder)
        assert np.abs(image.astype(int) - as_pillow).max() <= 1
    assert [frames.files.has_clip(name) for name in ("7", "77", "x" * 500)] == [True, False, False]
    for clip, number, message in (
        ("99", 1, rf"{NAME}\.tar/99: clip is missing in the tar"),
        ("", 1, "clip is missing in the tar"),
        ("7", 4, rf"{NAME}\.tar/7/00004\.jpg: frame is missing"),
        ("7", 0, rf"{NAME}\.tar/7/00000\.jpg: frame is missing"),
    ):
        with pytest.raises(InputError, match=message):
            packed.frame_bytes(clip, number)


def test_find_clip(root):
    convert([str(root)])
    packed, clip = find_clip(root / NAME / "Thumb Up" / LONG)
    assert (packed.tar, clip) == (root / f"{NAME}.tar", f"Thumb Up/{LONG}")
    assert find_clip(root / "elsewhere" / "12") is None
    with pytest.raises(InputError, match="99: clip is missing"):
        find_clip(root / NAME / "99")


def empty_first_clip(tar):
    """The index begins with the first frame of each clip, int64: the second clip begins where the first does."""
    with index_of(tar).open("r+b") as file:
        file.seek(HEADER_SIZE + 8)
        file.write(bytes(8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda tar: os.truncate(tar, tar.stat().st_size - 1),
            r"\.tar: \d+ bytes, expected \d+ as its index says; cut off",
        ),
        (lambda tar: tar.write_bytes(tar.read_bytes() + b"x"), r"\.tar: \d+ bytes, expected \d+ as its index says"),
        (
            lambda tar: index_of(tar).unlink(),
            r"\.tar\.index: no such file; expected the index beside the tar; unpack or",
        ),
        (lambda tar: index_of(tar).write_bytes(b""), r"\.tar\.index: cut off, or no index of packed frames"),
        (lambda tar: index_of(tar).write_bytes(b"x" * 9999), r"\.tar\.index: cut off, or no index of packed frames"),
        (lambda tar: os.truncate(index_of(tar), index_of(tar).stat().st_size - 1), r"\.tar\.index: cut off, or no"),
        (lambda tar: (index_of(tar).unlink(), index_of(tar).mkdir()), r"\.tar\.index: cannot be read: Is a directory"),
        (empty_first_clip, r"\.tar\.index: cut off, or no index"),
    ],
    ids="cut off|longer|no index|empty index|no index at all|a byte|folder|empty clip".split("|"),
)
def test_damage_is_told_when_the_tar_is_opened(root, damage, message):
    convert([str(root)])
    damage(tar_of(root / NAME))
    for use in (open_packed, lambda images: FrameFolders(images, "{:05d}.jpg").files.has_clip("7")):
        with pytest.raises(InputError, match=message):
            use(root / NAME)
    with pytest.raises(InputError, match=message):
        convert([str(root), "--unpack", "true"])
    assert tar_of(root / NAME).exists()


def test_the_index_of_another_tar(root, tmp_path):
    write_clip(tmp_path / "other" / NAME / "7", 3, 20, 24, seed=9)
    for folder in (root, tmp_path / "other"):
        convert([str(folder)])
    index_of(tar_of(tmp_path / "other" / NAME)).replace(index_of(tar_of(root / NAME)))
    with pytest.raises(InputError, match=r"v1\.tar\.index: belongs to another tar than .*v1\.tar; unpack or pack"):
        open_packed(root / NAME)


def test_a_frame_that_was_changed_in_the_tar(root):
    frame = (root / NAME / "12" / "00003.jpg").read_bytes()
    convert([str(root)])
    tar = tar_of(root / NAME)
    data = bytearray(tar.read_bytes())
    data[data.index(frame) + 40] ^= 1
    tar.write_bytes(data)
    packed = open_packed(root / NAME)
    assert packed.frame_bytes("12", 2)
    message = r"v1\.tar/12/00003\.jpg: is not the frame that was packed: the tar or its index was changed"
    with pytest.raises(InputError, match=message):
        packed.frame_bytes("12", 3)
    with pytest.raises(InputError, match=message):
        convert([str(root), "--unpack", "true"])
    assert names_in(root) == [f"{NAME}.tar", f"{NAME}.tar.index"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: (images / "12" / "00002.jpg").unlink(), r"^12: 00002\.jpg is missing; expected frames without"),
        (lambda images: (images / "12" / "00003.JPG").write_bytes(b"x"), r"12/00003\.JPG: not the name of a frame"),
        (lambda images: os.mkfifo(images / "12" / "x.jpg"), r"12/x\.jpg"),
        (
            lambda images: (images / "link").symlink_to(images / "12"),
            r"v1/link: a link to a folder; expected the folder",
        ),
    ],
    ids=["gap", "other name", "pipe", "link to a folder"],
)
def test_folders_that_are_not_packed(root, change, message):
    change(root / NAME)
    with pytest.raises(InputError, match=message):
        convert([str(root)])
    assert names_in(root) == [NAME]


def test_nothing_to_pack(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(InputError, match=r"v1\.tar: no frames to pack; expected <clip>/00001\.jpg"):
        convert([str(tmp_path)])
    with pytest.raises(InputError, match=r"other: no such folder, and no other\.tar; expected the clips' folders"):
        convert([str(tmp_path), "--images_dir_name", "other"])
    assert names_in(tmp_path) == [NAME]


def test_a_full_disk(root, monkeypatch):
    def full(self, name, content, indexed):
        raise OSError(28, "No space left on device", str(root))

    before = contents(root)
    monkeypatch.setattr(packing.Packer, "_write", full)
    with pytest.raises(InputError, match="No space left on device"):
        convert([str(root)])
    assert contents(root) == before


# ------------------------------------------------------------------------------------------------------------- kills


KILLS = [
    (packing.Packer, "_write", 4),
    (packing, "write_index", 0),
    (packing.os, "replace", 1),
    (packing.os, "replace", 2),
]
KILLS += [(pack_frames.shutil, "rmtree", 0), (os, "unlink", 5)]


@pytest.mark.parametrize(("module", "name", "moment"), KILLS)
def test_a_kill_while_packing_leaves_a_whole_dataset(root, module, name, moment):
    before = contents(root / NAME)
    with killed(module, name, moment):
        convert([str(root)])
    record = VideoRecord("12", 5, 0)
    assert len(FrameFolders(root / NAME, "{:05d}.jpg").read(record, np.arange(5))) == 5
    convert([str(root)])
    assert names_in(root) == [f"{NAME}.tar", f"{NAME}.tar.index"]
    convert([str(root), "--unpack", "true"])
    assert contents(root / NAME) == before


@pytest.mark.parametrize("moment", [0, 2, 9])
def test_a_kill_while_unpacking_leaves_a_whole_dataset(root, moment):
    before = contents(root / NAME)
    convert([str(root)])
    with killed(pack_frames, "_unpack_member", moment):
        convert([str(root), "--unpack", "true"])
    assert open_packed(root / NAME).num_frames == 10
    convert([str(root), "--unpack", "true"])
    assert contents(root / NAME) == before


@pytest.mark.slow
def test_three_real_kills_while_packing(tmp_path):
    images = tmp_path / NAME
    frame = os.urandom(20_000)
    for clip in range(300):
        (images / str(clip)).mkdir(parents=True)
        for number in range(1, 11):
            (images / str(clip) / f"{number:05d}.jpg").write_bytes(frame + bytes([clip % 256, number]))
    before = contents(images)
    command = [sys.executable, "-m", "src.data.pack_frames", str(tmp_path)]
    partial, removing = tmp_path / f"{NAME}.tar.partial", tmp_path / f"{NAME}.removing"
    size = lambda least: lambda: partial.exists() and partial.stat().st_size > least  # noqa: E731
    for wait in (size(1 << 20), size(30 << 20), removing.exists):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not wait() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        packed = open_packed(images)
        assert packed.num_frames == 3000 if packed else contents(images) == before
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert names_in(tmp_path) == [f"{NAME}.tar", f"{NAME}.tar.index"]
    convert([str(tmp_path), "--unpack", "true"])
    assert contents(images) == before


# --------------------------------------------------------------------------------------------- unpacking, preprocessing


@pytest.mark.parametrize("packaging", [twenty_bn, one_zip, two_zips, split_folders], ids=lambda one: one.__name__)
def test_unpacking_into_a_tar_gives_the_same_frames_and_lists(original, tmp_path, capsys, packaging):  # noqa: F811
    archives, files = original
    if packaging is not twenty_bn:
        files, _ = remove_some(files)
    packaging(tmp_path / "data", files, archives)
    unpack([str(tmp_path / "data"), str(tmp_path / "folders")])
    unpack([str(tmp_path / "data"), str(tmp_path / "packed"), "--packed", "true"])
    assert names_in(tmp_path / "packed") == [f"{NAME}.tar", f"{NAME}.tar.index", "labels"]
    for target in ("folders", "packed"):
        preprocess([str(tmp_path / target)])
    expected = contents(tmp_path / "folders")
    unpack([str(tmp_path / "data"), str(tmp_path / "packed"), "--packed", "true"])
    assert f"{NAME}.tar is already unpacked" in capsys.readouterr().out
    convert([str(tmp_path / "packed"), "--unpack", "true"])
    assert contents(tmp_path / "packed") == expected


@pytest.mark.parametrize(("module", "name", "moment"), [(packing.Packer, "_write", 3), (packing.os, "replace", 5)])
def test_unpacking_into_a_tar_again_after_a_kill(original, tmp_path, module, name, moment):  # noqa: F811
    archives, files = original
    twenty_bn(tmp_path / "data", files, archives)
    target = tmp_path / "target"
    with killed(module, name, moment):
        unpack([str(tmp_path / "data"), str(target), "--packed", "true"])
    assert not (target / f"{NAME}.tar").exists()
    unpack([str(tmp_path / "data"), str(target), "--packed", "true"])
    assert names_in(target) == [f"{NAME}.tar", f"{NAME}.tar.index", "labels"]


def test_a_clip_whose_files_do_not_lie_together(tmp_path):
    members = frame_members()
    write_data(tmp_path / "data", [gzipped_tar([members[0], members[3], members[1]])])
    for name in ("train", "validation"):
        (tmp_path / "data" / f"{name}.csv").write_text(f"{name};a\n")
    with pytest.raises(
        InputError, match=r"-00\.zip: archive member 1/0000.\.jpg: the files of this clip do not lie together"
    ):
        unpack([str(tmp_path / "data"), str(tmp_path / "target"), "--packed", "true"])
    assert not (tmp_path / "target").exists()


def test_videos_are_not_packed(tmp_path):
    (tmp_path / "data" / "v2").mkdir(parents=True)
    (tmp_path / "data" / "v2" / "1.webm").write_bytes(b"x")
    for name in ("train", "validation"):
        (tmp_path / "data" / f"{name}.json").write_text("[]")
    with pytest.raises(InputError, match="--packed true: videos, already unzipped; expected frames"):
        unpack([str(tmp_path / "data"), str(tmp_path / "target"), "--packed", "true"])


def test_preprocessing_a_tar(root):
    labels = root / "labels"
    labels.mkdir()
    (labels / "train.csv").write_text("7;a\n12;b\n")
    (labels / "validation.csv").write_text("99;a\n98;b\n")
    convert([str(root)])
    with pytest.raises(InputError, match=r"2 listed clips are not there .*: 99 \(.*:1: not in the tar\), 98"):
        preprocess([str(root), "--renumber", "true"])
    (labels / "validation.csv").write_text("99;a\n")
    (labels / "train.csv").write_text("12;b\n98;a\n")
    (labels / "validation.csv").write_text("7;a\n")
    (labels / "labels.csv").write_text("a\nb\n")
    preprocess([str(root), "--missing", "skip"])
    assert (root / "train_videofolder.txt").read_text() == "12 5 1\n"
    assert (root / "val_videofolder.txt").read_text() == "7 3 0\n"
    with pytest.raises(
        InputError, match=r"v1\.tar: its frames are called {:05d}\.jpg; expected --frame_name '{:05d}\.jpg'"
    ):
        preprocess([str(root), "--frame_name", "{}.png"])


# --------------------------------------------------------------------------------------------------------------- scale


def test_the_index_of_all_of_jester_opens_at_once(tmp_path):
    """148,092 clips of 37 frames; the tar itself is a file with a hole."""
    clips, frames = 148_092, 37
    count = clips * frames
    names = np.array(sorted(str(clip) for clip in range(1, clips + 1)), "S")
    start, first = np.arange(clips + 1, dtype=np.int64) * frames, np.ones(clips, np.int64)
    offset = np.arange(count, dtype=np.int64) * 10_752 + 1024
    size, crc = np.full(count, 10_000, np.uint32), np.zeros(count, np.uint32)
    tar = tmp_path / "frames.tar"
    with tar.open("wb") as file:
        file.write(bytes(512) + b"76 comment=" + b"5" * 64)
        file.truncate(count * 10_752 + 2048)
    write_index(
        index_of(tar), Arrays(start, first, offset, size, crc, names), tar.stat().st_size, "5" * 64, "{:05d}.jpg"
    )
    assert index_of(tar).stat().st_size < 100e6
    begin = time.perf_counter()
    packed = PackedFrames(tar)
    assert packed.numbers("148092") == range(1, 38)
    assert time.perf_counter() - begin < 1
    assert [packed.numbers(str(clip)) for clip in (1, 77_777, 148_093)] == [range(1, 38), range(1, 38), range(0)]
    with pytest.raises(InputError, match=r"frames\.tar/500/00001\.jpg: is not the frame that was packed"):
        packed.frame_bytes("500", 1)  # nothing but zeros


def test_the_digest_is_in_a_header_that_tar_knows(root):
    convert([str(root)])
    tar = tar_of(root / NAME)
    with tarfile.open(tar) as archive:
        comment = archive.pax_headers["comment"]
    about = json.loads(index_of(tar).read_bytes()[:HEADER_SIZE])
    assert comment == about["digest"]
    assert about["tar_bytes"] == tar.stat().st_size
    assert unpack_jester_dataset.tar_of is tar_of
