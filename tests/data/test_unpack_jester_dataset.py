"""Unpacking: every packaging there has been, and every way an archive can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

from model_utils.errors import InputError
from src.data import archives, tar_stream, unpack_jester_dataset
from src.data.unpack_jester_dataset import main, unpack
from tests.helpers.kills import Killed
from tests.helpers.refusals import refusal

IMAGES = "20bn-jester-v1"
LABELS_ZIP = "20bn-jester-download-package-labels.zip"
LABELS = {
    "labels.csv": b"Thumb Up\nStop Sign\n",
    "train.csv": b"1;Stop Sign\n",
    "validation.csv": b"2;Thumb Up\n",
    "test.csv": b"30\n",
}


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
    with zipfile.ZipFile(folder / LABELS_ZIP, "w") as archive:
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


@pytest.mark.parametrize(("count", "zipped", "md5"), [(1, True, False), (3, False, True), (23, True, True)])
def test_any_number_of_parts_zipped_or_raw(tmp_path, count, zipped, md5):
    write_data(tmp_path / "data", cut(tar_of(frame_members()), count), zipped, md5)
    write_labels(tmp_path / "data")
    unpack(tmp_path / "data", tmp_path / "deep" / "target")
    assert contents(tmp_path / "deep" / "target") == unpacked()
    assert sorted(path.name for path in (tmp_path / "deep" / "target").iterdir()) == [IMAGES, "labels"]


def test_what_is_printed(data, tmp_path, capsys):
    main([str(data), str(tmp_path / "target")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"Target data folder: {tmp_path / 'target'}", "Unzip..."]
    founding = ["Unzip...", "Extract tar archives...", "Remove unnecessary data...", "DONE!"]
    assert [line for line in lines if line in founding] == founding
    assert any(line.startswith("Extract: 100% of ") for line in lines)
    assert lines[-1] == "DONE!"
    assert not any("\r" in line for line in lines)


@pytest.mark.parametrize("prefix", ["", "labels/", "20bn-jester-download-package-labels/labels/"])
def test_labels_wherever_they_lie_in_the_archive(data, tmp_path, prefix):
    write_labels(data, prefix)
    unpack(data, tmp_path / "target")
    assert contents(tmp_path / "target" / "labels") == LABELS


def test_what_a_mac_adds_to_an_archive_is_no_label_list(data, tmp_path):
    lists = {f"labels/{name}": content for name, content in LABELS.items()}
    write_labels(data, "", {**lists, "__MACOSX/labels/._train.csv": b"junk", "__MACOSX/labels/train.csv": b"junk"})
    unpack(data, tmp_path / "target")
    assert contents(tmp_path / "target" / "labels") == LABELS


@pytest.mark.parametrize("zipped", [True, False])
def test_an_md5_in_capitals(data, tmp_path, zipped):
    for path in data.glob(f"{IMAGES}-*"):
        path.unlink()
    parts = cut(tar_of(frame_members()), 2)
    write_data(data, parts, zipped, md5=False)
    for number, part in enumerate(parts):
        name = f"{IMAGES}-{number:02d}"
        (data / f"{name}.md5").write_text(md5_line(part, name).upper())
    unpack(data, tmp_path / "target")
    assert contents(tmp_path / "target") == unpacked()


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
    assert re.search(message, refusal(unpack, data, target))
    assert sorted(target.parent.rglob("*")) == before


@pytest.mark.parametrize("zipped", [True, False])
def test_part_with_another_md5_is_named_before_anything_is_extracted(tmp_path, zipped, monkeypatch):
    parts, data, name = cut(tar_of(frame_members()), 3), tmp_path / "data", f"{IMAGES}-01"
    wrong = flipped(parts[1], 0)
    write_data(data, [parts[0], wrong, parts[2]], zipped, md5=False)
    if zipped:
        with zipfile.ZipFile(data / f"{name}.zip", "a") as archive:
            archive.writestr(f"{name}.md5", md5_line(parts[1], name))
    else:
        (data / f"{name}.md5").write_text(md5_line(parts[1], name))
    write_labels(data)
    monkeypatch.setattr(unpack_jester_dataset, "_write_files", lambda *_: pytest.fail("extracted"))
    sums = [hashlib.md5(content).hexdigest() for content in (wrong, parts[1])]
    refused(data, tmp_path / "target", rf"{IMAGES}-01.*: md5 is {sums[0]}, expected {sums[1]}")


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


def each_write_first(monkeypatch, act):
    """Calls ``act(write, path, content)`` for each frame and each label list instead of writing it."""
    for name in ("_write_new", "write_bytes"):
        write = getattr(unpack_jester_dataset, name)
        monkeypatch.setattr(unpack_jester_dataset, name, lambda path, content, write=write: act(write, path, content))


@pytest.mark.parametrize("moment", [3, 4, 12])  # 4 label lists, then 9 frames
def test_run_after_a_kill_at_any_moment(data, tmp_path, monkeypatch, moment):
    target, countdown = tmp_path / "target", [moment]

    def write_half(write, path, content):
        countdown[0] -= 1
        if countdown[0] < 0:
            write(path, content[: len(content) // 2])
            raise Killed
        return write(path, content)

    with monkeypatch.context() as patch:
        each_write_first(patch, write_half)
        with pytest.raises(Killed):
            unpack(data, target)
    assert not (target / IMAGES).exists()
    stale = target / f"{IMAGES}.partial" / "99"
    stale.mkdir(parents=True)
    (stale / "00001.jpg").write_bytes(b"stale")
    unpack(data, target)
    assert contents(target) == unpacked()


@pytest.mark.parametrize(
    ("left", "error", "raised"),
    [(5, KeyboardInterrupt(), KeyboardInterrupt), (12, OSError(28, "No space left on device"), InputError)],
)
def test_what_ends_the_writing_leaves_nothing(data, tmp_path, monkeypatch, left, error, raised):
    countdown = [left]

    def end(write, path, content):
        countdown[0] -= 1
        if countdown[0] < 0:
            raise error
        return write(path, content)

    with monkeypatch.context() as patch:
        each_write_first(patch, end)
        with pytest.raises(raised) as caught:
            unpack(data, tmp_path / "deep" / "target")
    if raised is InputError:
        assert str(caught.value).endswith("cannot be written: No space left on device")
    assert list(tmp_path.iterdir()) == [data]
    unpack(data, tmp_path / "deep" / "target")
    assert contents(tmp_path / "deep" / "target") == unpacked()


def test_too_little_space_is_said_beforehand(data, tmp_path, monkeypatch):
    usage = type(unpack_jester_dataset.shutil.disk_usage(tmp_path))(total=10, used=10, free=0)
    monkeypatch.setattr(unpack_jester_dataset.shutil, "disk_usage", lambda _: usage)
    refused(data, tmp_path / "target", "partial: 0 MB are free, but 0 MB are needed")


def test_stream_is_read_without_gathering_members(tmp_path, monkeypatch):
    """Millions of members must not stay in memory: the list that tarfile keeps is emptied at each."""
    write_data(tmp_path / "data", [tar_of(frame_members())])
    lengths = []
    read = tar_stream._read_member

    def watched(tar, *rest):
        lengths.append(len(tar.members))
        return read(tar, *rest)

    monkeypatch.setattr(tar_stream, "_read_member", watched)
    _, parts = archives.find_parts(tmp_path / "data")
    members = list(tar_stream.tar_members(parts, IMAGES, lambda count: None))
    assert {member.path: member.content for member in members} == FRAMES
    assert lengths == [0] * len(FRAMES)


# ----------------------------------------------------------------------------------------- all of the archive, no more


def test_files_on_the_disk_are_counted_against_the_archive(data, tmp_path, monkeypatch, capsys):
    """Whatever takes a frame away meanwhile: another process, a file system that forgets."""
    target = tmp_path / "target"
    write = unpack_jester_dataset._write_member

    def lose_one(member, folder):
        write(member, folder)
        if member.path == "2/00003.jpg":
            (folder / member.path).unlink()

    monkeypatch.setattr(unpack_jester_dataset, "_write_member", lose_one)
    refused(data, target, r"partial: 8 files on the disk, 9 in the archive")
    monkeypatch.undo()
    unpack(data, target)
    assert "9 files in the archive, as many on the disk" in capsys.readouterr().out


def test_frames_are_renamed_not_copied(data, tmp_path, monkeypatch):
    """A copy of the frames would need their space twice."""
    target, inodes = tmp_path / "target", []

    def look(write, path, content):
        write(path, content)
        if path.suffix == ".jpg":
            inodes.append(path.stat().st_ino)

    each_write_first(monkeypatch, look)
    unpack(data, target)
    assert sorted(path.stat().st_ino for path in (target / IMAGES).rglob("*.jpg")) == sorted(inodes)


SECOND = [(f"{IMAGES}/31/{number:05d}.jpg", bytes([number]) * 700) for number in (1, 2)]


def plain_tar(members, padded=True):
    tar = gzip.decompress(tar_of(members))
    return tar if padded else tar[: -(-sum(512 + -(-len(content) // 512) * 512 for _, content in members) // 512) * 512]


@pytest.mark.parametrize(
    "packed",
    [
        tar_of(frame_members()) + tar_of(SECOND),
        gzip.compress(plain_tar(frame_members()) + plain_tar(SECOND)),
        gzip.compress(plain_tar(frame_members(), padded=False) + bytes(1024) + plain_tar(SECOND)),
        gzip.compress(plain_tar(frame_members(), padded=False) + plain_tar(SECOND, padded=False)),
        tar_of(frame_members()) + gzip.compress(bytes(40000)) + tar_of(SECOND) + bytes(77),
        tar_of([]) + tar_of(frame_members() + SECOND),
    ],
    ids=["gzip after gzip", "tar after tar", "short padding", "no padding", "zeros between", "empty one first"],
)
def test_an_archive_behind_the_first_one_is_unpacked_too(tmp_path, packed):
    write_data(tmp_path / "data", cut(packed, 2))
    write_labels(tmp_path / "data")
    unpack(tmp_path / "data", tmp_path / "target")
    assert contents(tmp_path / "target") == {**unpacked(), **dict(SECOND)}


# ------------------------------------------------------------------------------------------------ claims of a size


def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.fixture(scope="module")
def zeros():
    """48 MB, packed."""
    return gzip.compress(bytes(48 << 20), 1)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.REGTYPE, "archive member '20bn-jester-v1/1/00001.jpg': 200000000000 bytes, more than"),
        (tarfile.XHDTYPE, "damaged in or before this part: a header claims 2000000"),
        (tarfile.XGLTYPE, "damaged in or before this part: a header claims 2000000"),
        (tarfile.GNUTYPE_LONGNAME, "damaged in or before this part: a header claims 2000000"),
        (tarfile.GNUTYPE_LONGLINK, "damaged in or before this part: a header claims 2000000"),
    ],
    ids=["file", "pax", "pax global", "long name", "long link"],
)
def test_member_that_claims_200_gb_is_not_read_into_memory(tmp_path, zeros, kind, message):
    write_data(tmp_path / "data", [gzip.compress(header(f"{IMAGES}/1/00001.jpg", 200 * 10**9, kind)) + zeros])
    write_labels(tmp_path / "data")
    tracemalloc.start()
    refused(tmp_path / "data", tmp_path / "target", message)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


# -------------------------------------------------------------------------------- what is refused, and leaves nothing


def parts(packed, count=1, **how):
    """The data archives are these bytes, in so many parts."""

    def damage(data):
        for path in data.glob(f"{IMAGES}-*"):
            path.unlink()
        write_data(data, cut(packed, count), **how)

    return damage


def members(*members):
    return parts(tar_of(members))


def without(number):
    return lambda data: (data / f"{IMAGES}-{number:02d}.zip").unlink()


def changed(name, change):
    """The bytes of an archive, as ``change`` edits them."""

    def damage(data):
        content = bytearray((data / name).read_bytes())
        (data / name).write_bytes(change(content) or content)

    return damage


def both(*damages):
    return lambda data: [damage(data) for damage in damages]


def labels(lists):
    return lambda data: write_labels(data, "", lists)


def no_labels(data):
    (data / LABELS_ZIP).unlink()


def label_folder(data):
    no_labels(data)
    (data / "labels" / "train.csv").mkdir(parents=True)


def something_else(data):
    with zipfile.ZipFile(data / f"{IMAGES}-01.zip", "w") as archive:
        archive.writestr("holiday.txt", b"")


def large_list(data):
    with zipfile.ZipFile(data / LABELS_ZIP, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("labels/train.csv", bytes(65 << 20))


def flipped(packed, position):
    content = bytearray(packed)
    content[position] ^= 0x55
    return bytes(content)


def wrong_checksum(name):
    """A header that is none any more, also of a file without content, which another header follows at once."""
    some = [*frame_members()[:3], (f"{IMAGES}/1/empty.jpg", b""), *frame_members()[3:]]
    tar = plain_tar(some)
    return parts(gzip.compress(flipped(tar, tar.index(name.encode()) + 150)))


def info(name, kind=tarfile.DIRTYPE, target="", **fields):
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def edited(offset, value):
    """Sets a 16-bit field in both headers of every member of a zip: 6 is the flags, 8 the method of the local one."""

    def change(content):
        for signature, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
            start = content.find(signature)
            while start >= 0:
                struct.pack_into("<H", content, start + offset + shift, value)
                start = content.find(signature, start + 4)

    return change


def zeros_in(method):
    """A part that is packed with this method, and damaged."""

    def damage(data):
        content = cut(tar_of(frame_members()), 2)[1]
        with zipfile.ZipFile(data / f"{IMAGES}-01.zip", "w", method) as archive:
            archive.writestr(f"{IMAGES}-01", content)
        changed(f"{IMAGES}-01.zip", lambda content: content[:200] + bytes(1800) + content[2000:])(data)

    return damage


WHOLE = tar_of(frame_members())
UNPADDED = plain_tar(frame_members(), padded=False)
CUT_OFF = rf"{IMAGES}-00\.zip: the archive does not end with this part"
DAMAGED = "damaged in or before this part"
LEAVES = "archive member .*refused"
UNREADABLE = "zipped in a way that Python cannot read"
SPARSE = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(200 * 10**9)}
LONG_NAME = header("././@LongLink", 512, tarfile.GNUTYPE_LONGNAME) + bytes(512)

REFUSED = [
    ("a part is missing", without(1), rf"{IMAGES}-01\.zip: this part is missing"),
    ("the first part is missing", without(0), rf"{IMAGES}-00\.zip: this part is missing"),
    ("the last part is missing", without(2), rf"{IMAGES}-01\.zip: the archive does not end with this part"),
    ("no parts", both(without(0), without(1), without(2)), "no archives here"),
    ("no labels", no_labels, r"data: no list train\.csv, and no jester-v1-train\.csv .*put the label lists there"),
    ("truncated zip", changed(f"{IMAGES}-02.zip", lambda c: c[:-30]), rf"{IMAGES}-02\.zip: damaged or not a zip"),
    (
        "damaged zip without md5",
        both(parts(WHOLE, 3, md5=False), changed(f"{IMAGES}-01.zip", lambda c: flipped(c, 200))),
        rf"{IMAGES}-01\.zip: damaged",
    ),
    ("something else in a zip", something_else, rf"-01\.zip: holds holiday\.txt; expected the part {IMAGES}-01"),
    *((f"stream of {kept} bytes", parts(WHOLE[:kept]), CUT_OFF) for kept in (5, 3000, -1)),
    *(
        (f"damaged at {place}", parts(flipped(WHOLE, place), 2, zipped=False, md5=False), f"{IMAGES}-0.: .*{DAMAGED}")
        for place in (0, 3000, -6)
    ),
    ("no tar", parts(gzip.compress(b"not a tar" * 1000)), "damaged"),
    *(
        (f"member {name}", members(*frame_members()[:2], (name, b"x"), (f"{IMAGES}/1/late.jpg", b"x")), LEAVES)
        for name in ("/tmp/escaped.jpg", "../escaped.jpg", f"{IMAGES}/1/../../../escaped.jpg", "elsewhere/escaped.jpg")
    ),
    ("folder link", members(info(f"{IMAGES}/1", tarfile.SYMTYPE, "/tmp"), (f"{IMAGES}/1/late.jpg", b"x")), LEAVES),
    ("link", members(info(f"{IMAGES}/1/00001.jpg", tarfile.SYMTYPE, "../../../escaped")), LEAVES),
    ("hard link", members(info(f"{IMAGES}/1/00001.jpg", tarfile.LNKTYPE, "/etc/hostname")), LEAVES),
    ("pipe", members(info(f"{IMAGES}/fifo", tarfile.FIFOTYPE)), LEAVES),
    *(
        (f"label list {name}", labels({name: b"x"}), "would leave the target, refused")
        for name in ("../train.csv", "/train.csv", "labels/../../train.csv", "..\\train.csv")
    ),
    ("no tar behind the first", parts(gzip.compress(plain_tar(frame_members()) + b"not a tar" * 1000)), DAMAGED),
    ("a few bytes behind the first", parts(gzip.compress(plain_tar(frame_members()) + b"rest")), DAMAGED),
    ("no gzip behind the first", parts(WHOLE + b"not gzip" * 99), DAMAGED),
    ("the second is cut off", parts(WHOLE + tar_of(SECOND)[:-20]), "does not end with this part"),
    ("a frame twice", members(*frame_members(), frame_members()[0]), "1/00001.jpg': there twice, refused"),
    ("an archive twice", parts(WHOLE + WHOLE), "1/00001.jpg': there twice, refused"),
    *(
        (f"header of {name}", wrong_checksum(name), DAMAGED)
        for name in (f"{IMAGES}/1/empty.jpg", frame_members()[0][0], frame_members()[-1][0])
    ),
    ("nothing", members(), f"{IMAGES}-00.zip: no files in the archive"),
    ("folders", members(info(IMAGES), info(f"{IMAGES}/1")), f"{IMAGES}-00.zip: no files in the archive"),
    (
        "sparse file of 200 GB",
        members((info(f"{IMAGES}/1/1.jpg", tarfile.REGTYPE, size=512, pax_headers=SPARSE), b"x" * 512)),
        "200000000000 bytes, more than",
    ),
    ("names upon names", parts(gzip.compress(LONG_NAME * 5000 + header("1.jpg", 0) + bytes(1024))), DAMAGED),
    *(
        (f"size {size}", parts(gzip.compress(UNPADDED + header(f"{IMAGES}/9/1.jpg", size) + bytes(1024))), DAMAGED)
        for size in (-512, -(10**6))
    ),
    ("large label list", large_list, r"labels\.zip: member 'labels/train\.csv' of 68157440 bytes, refused"),
    *(
        ("name not in UTF-8", members((name, b"x")), r"archive member '.*\\udc.*': not a file name in UTF-8, refused")
        for name in (f"{IMAGES}/caf\udce9/00001.jpg", f"{IMAGES}/\udcff.jpg")
    ),
    (
        "NUL in a name",
        members(info("x", tarfile.REGTYPE, pax_headers={"path": f"{IMAGES}/1/0000\0.jpg"})),
        "not a file name in UTF-8, refused",
    ),
    *(
        (f"{name}: {kind}", both(parts(WHOLE, 3, md5=False), changed(name, edited(*field))), f"{name}: {message}")
        for name in (f"{IMAGES}-01.zip", LABELS_ZIP)
        for kind, field, message in [
            ("encrypted", (6, 1), "cannot be read without a password"),
            ("strongly encrypted", (6, 0x41), UNREADABLE),
            ("Deflate64", (8, 9), f"{UNREADABLE} .*: unzipped files are read as well"),
            ("bzip2", (8, 12), "damaged"),
            ("version", (4, 99), UNREADABLE),
        ]
    ),
    *(
        (f"damaged zip of method {method}", both(parts(WHOLE, 2), zeros_in(method)), rf"{IMAGES}-01\.zip: damaged")
        for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ),
    (
        "two lists of one name",
        labels({"a/train.csv": b"1;Stop Sign\n", "b/train.csv": b"2;Stop Sign\n"}),
        r"labels\.zip: two different lists are called train\.csv",
    ),
    ("label list that is a folder", label_folder, r"labels/train\.csv: cannot be read: Is a directory"),
]


@pytest.mark.parametrize(("damage", "message"), [pytest.param(*rest, id=name) for name, *rest in REFUSED])
def test_what_is_refused(data, tmp_path, damage, message):
    damage(data)
    refused(data, tmp_path / "target", message)
    assert not os.path.exists("/tmp/escaped.jpg")
