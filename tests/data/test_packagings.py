"""Every packaging that the data is found in gives the same frames and the same lists; gaps and all."""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from src.data import tar_stream
from src.data.label_lists import lists_in
from src.data.unpack_jester_dataset import main
from src.preprocess_jester_dataset import main as preprocess
from src.synthetic.jester import main as make_synthetic
from tests.data.test_unpack_jester_dataset import FRAMES, IMAGES, contents, cut, frame_members, tar_of, write_data
from tests.helpers.permissions import obeyed_permissions
from tests.helpers.refusals import refusal

LABELS_ZIP = "20bn-jester-download-package-labels.zip"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A small synthetic Jester: the folder of 20BN's archives, and what was in them, {path: content}."""
    archives = tmp_path_factory.mktemp("jester") / "archives"
    counts = ["--gestures", "3", "--train", "6", "--val", "3", "--test", "2", "--parts", "2"]
    make_synthetic([str(archives), *counts])
    parts = b""
    for path in sorted(archives.glob("20bn-jester-v1-*.zip")):
        with zipfile.ZipFile(path) as archive:
            parts += archive.read(path.stem)
    files = {}
    with tarfile.open(fileobj=io.BytesIO(parts)) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
    with zipfile.ZipFile(archives / LABELS_ZIP) as archive:
        files.update({name: archive.read(name) for name in archive.namelist()})
    return archives, files


def frames_of(files):
    return {name[len(IMAGES) + 1 :]: content for name, content in files.items() if name.startswith(IMAGES)}


def lists_of(files):
    return {name: content for name, content in files.items() if name.startswith("labels/")}


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_files(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_loose_lists(folder, files, prefix="jester-v1-", test=True):
    """As people pass them on: without answers, and often without a test list."""
    lists = {Path(name).stem: content for name, content in lists_of(files).items()}
    names = ("labels", "train", "validation", "test") if test else ("labels", "train", "validation")
    write_files(folder, {f"{prefix}{name}.csv": lists[name] for name in names})


def in_splits(files):
    """Train/<clip>/..., and lists with a comma and a header, labels in the test list too."""
    lists = {Path(name).stem: content.decode().splitlines() for name, content in lists_of(files).items()}
    found, split_of = {}, {}
    for split, name in (("Train", "train"), ("Validation", "validation"), ("Test", "test-answers")):
        rows = ["video_id,label,frames,label_id,shape,format"]
        for number, row in enumerate(lists[name]):
            clip, label = row.split(";")
            split_of[clip] = split
            rows.append(f'{clip},{label},37,{number},"(176, 100)",jpg')
        found[f"{split}.csv"] = "\n".join(rows).encode()
    for name, content in frames_of(files).items():
        found[f"{split_of[name.split('/')[0]]}/{name}"] = content
    return found


def twenty_bn(data, files, archives):
    shutil.copytree(archives, data)


def vendor(data, files, archives):
    data.mkdir()
    for path in archives.glob("20bn-jester-v1-*.zip"):
        with zipfile.ZipFile(path) as archive:
            (data / path.stem.replace("20bn-jester", "20bnjester")).write_bytes(archive.read(path.stem))
    write_loose_lists(data / "annotations", files)


def one_zip(data, files, archives):
    frames = {f"20bn-jester-v1/{name}": content for name, content in frames_of(files).items()}
    write_zip(data / "20bn-jester-v1-videos.zip", {"__MACOSX/20bn-jester-v1/1/._00001.jpg": b"x", **frames})
    write_loose_lists(data, files)


def two_zips(data, files, archives):
    frames = frames_of(files)
    for number in (1, 2):
        write_zip(
            data / f"jester{number}.zip", {n: frames[n] for n in frames if int(n.split("/")[0]) % 2 == number - 1}
        )
    write_loose_lists(data / "labels", files, prefix="")


def split_zip(data, files, archives):
    write_zip(data / "20bn-jester.zip", in_splits(files))


def split_zip_in_a_folder(data, files, archives):
    write_zip(data / "archive.zip", {f"20bn-jester/{name}": content for name, content in in_splits(files).items()})


def folders(data, files, archives):
    write_files(data, {f"20bn-jester-v1/{name}": content for name, content in frames_of(files).items()})
    write_loose_lists(data, files)


def folders_at_the_top(data, files, archives):
    write_files(data, frames_of(files))
    write_zip(data / LABELS_ZIP, lists_of(files))


def split_folders(data, files, archives):
    write_files(data, in_splits(files))


def split_folders_in_a_folder(data, files, archives):
    write_files(data / "20bn-jester", in_splits(files))


PACKAGINGS = {
    twenty_bn: "found: 20BN's parts 20bn-jester-v1-NN, 2 of them",
    vendor: "found: the vendor's parts 20bnjester-v1-NN, 2 of them",
    one_zip: "found: frame folders in 20bn-jester-v1-videos.zip",
    two_zips: "found: frame folders in jester1.zip, jester2.zip",
    split_zip: "found: Train, Validation and Test folders in 20bn-jester.zip",
    split_zip_in_a_folder: "found: Train, Validation and Test folders in archive.zip",
    folders: "found: frame folders, already unzipped",
    folders_at_the_top: "found: frame folders, already unzipped",
    split_folders: "found: Train, Validation and Test folders, already unzipped",
    split_folders_in_a_folder: "found: Train, Validation and Test folders, already unzipped",
}


@pytest.mark.parametrize("packaging", PACKAGINGS, ids=lambda packaging: packaging.__name__)
def test_every_packaging_gives_the_same(original, tmp_path, capsys, packaging):
    archives, files = original
    packaging(tmp_path / "data", files, archives)
    before = contents(tmp_path / "data")
    main([str(tmp_path / "data"), str(tmp_path / "target")])
    assert PACKAGINGS[packaging] in capsys.readouterr().out.splitlines()
    found = contents(tmp_path / "target")
    assert frames_of(found) == frames_of(files)
    if "split" in packaging.__name__:  # whose list of names is made here, and sorted
        found["labels/labels.csv"] = b"".join(sorted(found["labels/labels.csv"].splitlines(keepends=True)))
        files = {**files, "labels/labels.csv": b"".join(sorted(files["labels/labels.csv"].splitlines(keepends=True)))}
    if packaging in (vendor, one_zip, two_zips, folders):  # without answers
        files = {name: content for name, content in files.items() if "answers" not in name}
    assert lists_of(found) == lists_of(files)
    assert contents(tmp_path / "data") == before

    preprocess([str(tmp_path / "target")])
    for split, rows in (("train", "train"), ("val", "validation")):
        lines = (tmp_path / "target" / f"{split}_videofolder.txt").read_text().splitlines()
        assert [line.split()[0] for line in lines] == [
            row.split(";")[0] for row in files[f"labels/{rows}.csv"].decode().splitlines()
        ]


def remove_some(files):
    """A mirror with gaps, frames 2 and 5 of one clip and the first of another, and what unpacking must make of it."""
    clips = sorted({name.split("/")[0] for name in frames_of(files)})[:2]
    gone = {f"{clips[0]}/00002.jpg", f"{clips[0]}/00005.jpg", f"{clips[1]}/00001.jpg"}
    kept = {name: content for name, content in files.items() if name.partition("/")[2] not in gone}
    expected = {}
    for name, content in sorted(frames_of(kept).items()):
        clip = name.split("/")[0]
        expected[f"{clip}/{1 + sum(other.startswith(f'{clip}/') for other in expected):05d}.jpg"] = content
    return kept, expected


@pytest.mark.parametrize("packaging", [two_zips, split_zip, folders, "parts"])
def test_gaps_are_closed_in_every_packaging(original, tmp_path, capsys, packaging):
    archives, files = original
    kept, expected = remove_some(files)
    data = tmp_path / "data"
    if packaging == "parts":
        write_data(data, cut(tar_of([(n, c) for n, c in kept.items() if n.startswith(IMAGES)]), 2))
        write_zip(data / LABELS_ZIP, lists_of(kept))
    else:
        packaging(data, kept, archives)
    before = contents(data)
    main([str(data), str(tmp_path / "target")])
    out = capsys.readouterr().out
    assert "2 clips had gaps in the numbering of their frames; numbered anew, in order\n" in out
    assert frames_of(contents(tmp_path / "target")) == expected
    assert contents(data) == before


def test_unzipped_frames_are_linked_or_copied(original, tmp_path, monkeypatch):
    archives, files = original
    folders(tmp_path / "data", files, archives)
    name = f"{IMAGES}/1/00001.jpg"
    other = tmp_path / "elsewhere.jpg"
    (tmp_path / "data" / name).rename(other)
    (tmp_path / "data" / name).symlink_to(other)
    main([str(tmp_path / "data"), str(tmp_path / "linked")])
    inodes = {(folder / f"{IMAGES}/2/00001.jpg").stat().st_ino for folder in (tmp_path / "data", tmp_path / "linked")}
    assert len(inodes) == 1
    assert not (tmp_path / "linked" / name).is_symlink()

    def no_links(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    main([str(tmp_path / "data"), str(tmp_path / "copied")])
    assert contents(tmp_path / "copied") == contents(tmp_path / "linked")
    assert (tmp_path / "copied" / name).stat().st_ino != (tmp_path / "data" / name).stat().st_ino


def test_target_inside_the_folder_of_unzipped_frames(original, tmp_path):
    archives, files = original
    folders(tmp_path / "data", files, archives)
    left = (f"{IMAGES}.partial/9/00001.jpg", ".Trash/9/00001.jpg")  # by a run that was killed, and by a desktop
    write_files(tmp_path / "data", dict.fromkeys(left, b"x"))
    main([str(tmp_path / "data"), str(tmp_path / "data" / "target")])
    assert frames_of(contents(tmp_path / "data" / "target")) == frames_of(files)


def test_something_in_the_other_packagings(tmp_path, capsys):
    frames = {f"20bn-something-something-v1/{name}": content for name, content in FRAMES.items()}
    write_zip(tmp_path / "v1" / "something-v1.zip", frames)
    lists = {"train": b"1;Moving a, b\n", "validation": b"2;Moving a, b\n"}
    write_files(tmp_path / "v1", {f"something-something-v1-{name}.csv": content for name, content in lists.items()})
    main([str(tmp_path / "v1"), str(tmp_path / "out1")])
    expected = {**frames, **{f"labels/{name}.csv": content for name, content in lists.items()}}
    assert contents(tmp_path / "out1") == {**expected, "labels/labels.csv": b"Moving a, b\n"}

    videos = {f"20bn-something-something-v2/{number}.webm": bytes([number]) * 99 for number in (1, 2)}
    lists = {f"labels/something-something-v2-{name}.json": b"[]" for name in ("labels", "train", "validation")}
    for data, target in (("zipped", "out2"), ("unzipped", "out3")):
        if data == "zipped":
            write_zip(tmp_path / data / "v2.zip", {"__MACOSX/v2/._1.webm": b"junk", **videos})
        else:
            write_files(tmp_path / data, videos)
        write_files(tmp_path / data, lists)
        main([str(tmp_path / data), str(tmp_path / target)])
        assert contents(tmp_path / target) == {**videos, **lists}


def test_a_list_of_the_plain_name_goes_before_others(tmp_path):
    write_files(tmp_path, {"jester-v1-train.csv": b"1;a\n", "train.csv": b"2;b\n"})
    assert {name: file.data for name, file in lists_in(tmp_path).items()} == {"train": b"2;b\n"}


def refused(tmp_path, message):
    before = sorted(tmp_path.rglob("*"))
    assert re.search(message, refusal(main, [str(tmp_path / "data"), str(tmp_path / "target")]))
    assert sorted(tmp_path.rglob("*")) == before


LISTS = {"train.csv": b"1;a\n", "validation.csv": b"2;b\n"}


def test_what_is_wrong_with_zips(tmp_path):
    data = tmp_path / "data"
    write_files(data, LISTS)
    refused(tmp_path, r"data: no archives here; expected 20bn-jester-v1-00\.zip or 20bnjester-v1-00 and so on, zips of")
    write_zip(data / "x.zip", {"../1/00001.jpg": b"x"})
    refused(tmp_path, r"x\.zip: archive member '\.\./1/00001\.jpg': would leave the target, refused")
    linked = zipfile.ZipInfo("1/00001.jpg")
    linked.external_attr = 0o120777 << 16
    write_zip(data / "x.zip", {linked: b"/etc/passwd"})
    refused(tmp_path, r"x\.zip: archive member '1/00001\.jpg': neither a file nor a folder, refused")
    write_zip(data / "x.zip", {"Train/1/00001.jpg": b"x", "Test/1/00001.jpg": b"y"})
    refused(tmp_path, r"x\.zip: archive member '1/00001\.jpg': there twice, refused")
    write_zip(data / "x.zip", {"1/00001.jpg": b"x" * 1000})
    whole = (data / "x.zip").read_bytes()
    (data / "x.zip").write_bytes(whole[:-40])
    refused(tmp_path, r"x\.zip: damaged or not a zip archive")
    (data / "x.zip").write_bytes(whole.replace(b"xxxx", b"xyxx", 1))
    refused(tmp_path, r"x\.zip: damaged or not a zip archive \(Bad CRC-32")
    (data / "train.csv").unlink()
    refused(tmp_path, r"data: no list train\.csv, and no jester-v1-train\.csv or Train\.csv; put the label lists there")


def test_parts_of_two_releases(tmp_path):
    write_data(tmp_path / "data", [b"x"])
    (tmp_path / "data" / "20bnjester-v1-00").write_bytes(b"x")
    refused(tmp_path, "holds archives 20bn-jester-v1-NN and 20bnjester-v1-NN; expected archives of one dataset")


@pytest.mark.parametrize("packed", ["tar", "zip", "labels"])
def test_a_bomb_is_refused(tmp_path, monkeypatch, packed):
    """20 files of 6 MiB of zeros (the limits are a tenth), which are packed into 120 kB."""
    monkeypatch.setattr(tar_stream, "SMALL_ARCHIVE", 26 << 20)
    monkeypatch.setattr("src.data.packagings.SMALL_ARCHIVE", 26 << 20)
    monkeypatch.setattr("src.data.packagings.MAX_LISTS_SIZE", 26 << 20)
    data, zeros = tmp_path / "data", bytes(6 << 20)
    if packed == "labels":
        write_data(data, [tar_of(frame_members())])
        with zipfile.ZipFile(data / LABELS_ZIP, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for number in range(20):
                archive.writestr(f"{number}/train.csv", zeros)
    else:
        write_files(data, LISTS)
        frames = [(f"{IMAGES}/1/{number:05d}.jpg", zeros) for number in range(1, 21)]
        if packed == "tar":
            write_data(data, [tar_of(frames)])
        else:
            with zipfile.ZipFile(data / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for name, content in frames:
                    archive.writestr(name, content)
    refused(tmp_path, r"unpacks to more than \d+ MB; frames do not shrink when packed, refused")


def test_folders_that_may_not_be_entered(tmp_path):
    write_files(tmp_path / "data", {**LISTS, f"{IMAGES}/1/00001.jpg": b"x", f"{IMAGES}/2/00001.jpg": b"x"})
    for folder, named in ((tmp_path / "data" / IMAGES / "1", "/1: "), (tmp_path / "data", "data: ")):
        folder.chmod(0)
        with obeyed_permissions():
            refused(tmp_path, f"{named}cannot be read: Permission denied")
        folder.chmod(0o755)
