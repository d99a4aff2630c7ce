"""Unpacking: every packaging there has been, and every way an archive can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest

from model_utils.errors import InputError
from src.data import unpack_jester_dataset
from src.data.unpack_jester_dataset import main, unpack

IMAGES = "20bn-jester-v1"
LABELS = {name: f"{name} content\n".encode() for name in ("labels.csv", "train.csv", "validation.csv", "test.csv")}


def some_frames():
    rng = np.random.default_rng(1)
    sizes = {(clip, number): rng.integers(1, 4000) for clip in (1, 2, 30) for number in (1, 2, 3)}
    return {f"{clip}/{number:05d}.jpg": rng.bytes(size) for (clip, number), size in sizes.items()}


FRAMES = some_frames()


def tar_of(members):
    """gzipped tar of {name: bytes} plus ready-made TarInfo objects without content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def frame_members(prefix=f"{IMAGES}/"):
    return [(prefix + name, content) for name, content in FRAMES.items()]


def cut(packed, count):
    size = -(-len(packed) // count)
    return [packed[i * size : (i + 1) * size] for i in range(count)]


def md5_line(part, name):
    return f"{hashlib.md5(part).hexdigest()}  {name}\n"


def write_data(folder, parts, zipped=True, md5=True):
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        name = f"{IMAGES}-{number:02d}"
        if zipped:
            with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
                archive.writestr(name, part)
                if md5:
                    archive.writestr(f"{name}.md5", md5_line(part, name))
        else:
            (folder / name).write_bytes(part)
            if md5:
                (folder / f"{name}.md5").write_text(md5_line(part, name))


def write_labels(folder, prefix="labels/", lists=LABELS):
    with zipfile.ZipFile(folder / "20bn-jester-download-package-labels.zip", "w") as archive:
        for name, content in lists.items():
            archive.writestr(prefix + name, content)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unpacked():
    frames = {f"{IMAGES}/{name}": content for name, content in FRAMES.items()}
    return {**frames, **{f"labels/{name}": content for name, content in LABELS.items()}}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    write_data(folder, cut(tar_of(frame_members()), 3))
    write_labels(folder)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("md5", [True, False])
@pytest.mark.parametrize("count", [1, 3, 23])
def test_any_number_of_parts_zipped_or_raw(tmp_path, zipped, md5, count):
    write_data(tmp_path / "data", cut(tar_of(frame_members()), count), zipped, md5)
    write_labels(tmp_path / "data")
    unpack(tmp_path / "data", tmp_path / "deep" / "target")
    assert contents(tmp_path / "deep" / "target") == unpacked()
    assert sorted(path.name for path in (tmp_path / "deep" / "target").iterdir()) == [IMAGES, "labels"]


def test_what_is_printed(data, tmp_path, capsys):
    main([str(data), str(tmp_path / "target")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"Target data folder: {tmp_path / 'target'}", "Unzip..."]
    assert "Extract tar archives..." in lines
    assert any(line.startswith("Extract: 100% of ") for line in lines)
    assert lines[-1] == "DONE!"
    assert not any("\r" in line for line in lines)


@pytest.mark.parametrize("prefix", ["", "labels/", "20bn-jester-download-package-labels/labels/"])
def test_labels_wherever_they_lie_in_the_archive(data, tmp_path, prefix):
    write_labels(data, prefix)
    unpack(data, tmp_path / "target")
    assert contents(tmp_path / "target" / "labels") == LABELS


def test_raw_labels_folder_and_older_names(data, tmp_path):
    (data / "20bn-jester-download-package-labels.zip").unlink()
    (data / "labels").mkdir()
    (data / "labels" / "jester-v1-train.csv").write_bytes(b"1;Stop Sign\n")
    unpack(data, tmp_path / "target")
    assert contents(tmp_path / "target" / "labels") == {"jester-v1-train.csv": b"1;Stop Sign\n"}


def test_members_with_dot_and_folders_of_their_own(tmp_path):
    folder = tarfile.TarInfo(f"./{IMAGES}/1")
    folder.type = tarfile.DIRTYPE
    write_data(tmp_path / "data", [tar_of([folder, *frame_members(f"./{IMAGES}/")])])
    write_labels(tmp_path / "data")
    unpack(tmp_path / "data", tmp_path / "target")
    assert contents(tmp_path / "target") == unpacked()


def refused(data, target, message):
    """Unpacking raises one line that matches `message` and leaves everything as it was."""
    before = sorted(target.parent.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        unpack(data, target)
    assert "\n" not in str(caught.value)
    assert sorted(target.parent.rglob("*")) == before


def test_missing_part_is_named(data, tmp_path):
    (data / f"{IMAGES}-01.zip").unlink()
    refused(data, tmp_path / "target", rf"{IMAGES}-01\.zip: this part is missing")


def test_missing_first_part_is_named(data, tmp_path):
    (data / f"{IMAGES}-00.zip").unlink()
    refused(data, tmp_path / "target", rf"{IMAGES}-00\.zip: this part is missing")


def test_missing_last_part(data, tmp_path):
    (data / f"{IMAGES}-02.zip").unlink()
    refused(data, tmp_path / "target", rf"{IMAGES}-01\.zip: the archive does not end with this part")


def test_no_parts_at_all(tmp_path):
    (tmp_path / "data").mkdir()
    write_labels(tmp_path / "data")
    refused(tmp_path / "data", tmp_path / "target", "no archives here")


def test_missing_labels(data, tmp_path):
    (data / "20bn-jester-download-package-labels.zip").unlink()
    refused(data, tmp_path / "target", r"package-labels\.zip: no such file")


@pytest.mark.parametrize("zipped", [True, False])
def test_part_with_another_md5_is_named_before_anything_is_extracted(tmp_path, zipped, monkeypatch):
    parts = cut(tar_of(frame_members()), 3)
    wrong = bytes([parts[1][0] ^ 1]) + parts[1][1:]
    data = tmp_path / "data"
    write_data(data, [parts[0], wrong, parts[2]], zipped)
    write_labels(data)
    if zipped:
        with zipfile.ZipFile(data / f"{IMAGES}-01.zip", "w") as archive:
            archive.writestr(f"{IMAGES}-01", wrong)
            archive.writestr(f"{IMAGES}-01.md5", md5_line(parts[1], f"{IMAGES}-01"))
    else:
        (data / f"{IMAGES}-01.md5").write_text(md5_line(parts[1], f"{IMAGES}-01"))
    monkeypatch.setattr(unpack_jester_dataset, "extract_frames", lambda *_: pytest.fail("extracted"))
    sums = [hashlib.md5(content).hexdigest() for content in (wrong, parts[1])]
    refused(data, tmp_path / "target", rf"{IMAGES}-01.*: md5 is {sums[0]}, expected {sums[1]}")


def test_truncated_zip_is_named(data, tmp_path):
    path = data / f"{IMAGES}-02.zip"
    path.write_bytes(path.read_bytes()[:-30])
    refused(data, tmp_path / "target", rf"{IMAGES}-02\.zip: damaged or not a zip")


def test_damaged_zip_without_md5_is_named(tmp_path):
    data = tmp_path / "data"
    write_data(data, cut(tar_of(frame_members()), 3), md5=False)
    write_labels(data)
    path = data / f"{IMAGES}-01.zip"
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    refused(data, tmp_path / "target", rf"{IMAGES}-01\.zip: damaged")


def test_zip_with_something_else_in_it_is_named(data, tmp_path):
    with zipfile.ZipFile(data / f"{IMAGES}-01.zip", "w") as archive:
        archive.writestr("holiday.txt", b"")
    refused(data, tmp_path / "target", rf"{IMAGES}-01\.zip: holds holiday\.txt; expected the part {IMAGES}-01")


@pytest.mark.parametrize("kept", [5, 0.3, 0.9, -1])
def test_truncated_stream(tmp_path, kept):
    packed = tar_of(frame_members())
    kept = int(kept * len(packed)) if isinstance(kept, float) else kept
    write_data(tmp_path / "data", [packed[:kept]])
    write_labels(tmp_path / "data")
    refused(tmp_path / "data", tmp_path / "target", rf"{IMAGES}-00\.zip: the archive does not end with this part")


@pytest.mark.parametrize("position", [0, 3000, -6])
def test_damaged_stream_of_raw_parts(tmp_path, position):
    packed = bytearray(tar_of(frame_members()))
    packed[position] ^= 0x55
    write_data(tmp_path / "data", cut(bytes(packed), 2), zipped=False, md5=False)
    write_labels(tmp_path / "data")
    refused(tmp_path / "data", tmp_path / "target", f"{IMAGES}-0.: the archive is damaged in or before this part")


def test_parts_that_are_no_tar(tmp_path):
    write_data(tmp_path / "data", [gzip.compress(b"not a tar" * 1000)])
    write_labels(tmp_path / "data")
    refused(tmp_path / "data", tmp_path / "target", "damaged")


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        ("/tmp/escaped.jpg", b"x"),
        ("../escaped.jpg", b"x"),
        (f"{IMAGES}/../../escaped.jpg", b"x"),
        (f"{IMAGES}/1/../../../escaped.jpg", b"x"),
        ("elsewhere/escaped.jpg", b"x"),
        link(f"{IMAGES}/1", "/tmp", tarfile.SYMTYPE),
        link(f"{IMAGES}/1/00001.jpg", "../../../escaped", tarfile.SYMTYPE),
        link(f"{IMAGES}/1/00001.jpg", "/etc/hostname", tarfile.LNKTYPE),
        link(f"{IMAGES}/fifo", "", tarfile.FIFOTYPE),
    ],
    ids=["absolute", "parent", "inner parent", "deep parent", "elsewhere", "folder link", "link", "hard link", "fifo"],
)
def test_member_that_leaves_the_target_is_refused(tmp_path, member):
    write_data(tmp_path / "data", [tar_of([*frame_members()[:2], member, (f"{IMAGES}/1/late.jpg", b"x")])])
    write_labels(tmp_path / "data")
    refused(tmp_path / "data", tmp_path / "target", "archive member .*refused")
    assert not os.path.exists("/tmp/escaped.jpg")


@pytest.mark.parametrize("name", ["../escaped.csv", "/escaped.csv", "labels/../../escaped.csv", "..\\escaped.csv"])
def test_label_list_that_leaves_the_target_is_refused(data, tmp_path, name):
    write_labels(data, "", {name: b"x"})
    refused(data, tmp_path / "target", "would leave the target, refused")


def test_second_run_changes_nothing_and_needs_no_archives(data, tmp_path, capsys):
    target = tmp_path / "target"
    unpack(data, target)
    (target / IMAGES / "1" / "00001.jpg").write_bytes(b"kept")
    for path in data.iterdir():
        path.unlink()
    unpack(data, target)
    assert "already unpacked" in capsys.readouterr().out
    assert (target / IMAGES / "1" / "00001.jpg").read_bytes() == b"kept"


def test_only_labels_missing(data, tmp_path):
    target = tmp_path / "target"
    (target / IMAGES).mkdir(parents=True)
    unpack(data, target)
    assert contents(target / "labels") == LABELS
    assert contents(target / IMAGES) == {}


class Killed(BaseException):
    """Stands for a kill: nothing in the program catches it."""


@pytest.mark.parametrize("moment", [0, 4, 8, 9, 12])  # 9 frames, then 4 label lists
def test_run_after_a_kill_at_any_moment(data, tmp_path, monkeypatch, moment):
    target, countdown = tmp_path / "target", [moment]
    write_bytes = unpack_jester_dataset.Path.write_bytes

    def write_half(path, content):
        countdown[0] -= 1
        if countdown[0] < 0:
            write_bytes(path, content[: len(content) // 2])
            raise Killed
        return write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(unpack_jester_dataset.Path, "write_bytes", write_half)
        with pytest.raises(Killed):
            unpack(data, target)
    assert not (target / IMAGES).exists()
    stale = target / f"{IMAGES}.partial" / "99"
    stale.mkdir(parents=True)
    (stale / "00001.jpg").write_bytes(b"stale")
    unpack(data, target)
    found = contents(target)
    assert {name: found.get(name) for name in unpacked()} == unpacked()
    assert {name for name in found if not name.startswith("labels/")} == {f"{IMAGES}/{name}" for name in FRAMES}
    assert not [name for name in found if name.endswith(".partial")]


def test_full_disk_leaves_nothing(data, tmp_path, monkeypatch):
    write_bytes, left = unpack_jester_dataset.Path.write_bytes, [5]

    def full(path, content):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(unpack_jester_dataset.Path, "write_bytes", full)
    refused(data, tmp_path / "deep" / "target", "cannot be written: No space left on device")


def test_too_little_space_is_said_beforehand(data, tmp_path, monkeypatch):
    usage = type(unpack_jester_dataset.shutil.disk_usage(tmp_path))(total=10, used=10, free=0)
    monkeypatch.setattr(unpack_jester_dataset.shutil, "disk_usage", lambda _: usage)
    refused(data, tmp_path / "target", "0.0 GB free")


def test_target_that_is_a_file(data, tmp_path):
    (tmp_path / "target").write_bytes(b"mine")
    refused(data, tmp_path / "target", "cannot be written")
    assert (tmp_path / "target").read_bytes() == b"mine"


def test_data_path_that_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        main([str(tmp_path / "nothing"), str(tmp_path / "target")])
    assert list(tmp_path.iterdir()) == []


def test_stream_is_read_without_gathering_members(tmp_path, monkeypatch):
    """Millions of members must not stay in memory: the list that tarfile keeps is emptied after each."""
    write_data(tmp_path / "data", [tar_of(frame_members())])
    lengths = []
    extract = unpack_jester_dataset._extract_member

    def watched(tar, *rest):
        lengths.append(len(tar.members))
        extract(tar, *rest)

    monkeypatch.setattr(unpack_jester_dataset, "_extract_member", watched)
    (tmp_path / "frames").mkdir()
    unpack_jester_dataset.extract_frames(unpack_jester_dataset.find_parts(tmp_path / "data"), tmp_path / "frames")
    assert len(lengths) == len(FRAMES)
    assert max(lengths) == 1
