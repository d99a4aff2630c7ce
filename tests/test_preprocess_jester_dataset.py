"""List files out of frame folders and label lists: their exact text, and every input that does not fit."""

from __future__ import annotations

import os
import re

import pytest

from model_utils.errors import InputError
from src import preprocess_jester_dataset
from src.data import frame_counts
from src.data.frame_counts import count_frames
from src.data.frame_files import VideoRecord
from src.preprocess_jester_dataset import main
from src.tsn_dataset import read_video_list
from tests.helpers.clips import folders
from tests.helpers.kills import killed
from tests.helpers.refusals import refusal

CLIPS = {"7": 3, "8": 1, "12": 12, "20": 2, "21": 5}


def write_clip(folder, num_frames):
    folder.mkdir(parents=True)
    for number in range(1, num_frames + 1):
        (folder / f"{number:05d}.jpg").write_bytes(b"")


@pytest.fixture
def root(tmp_path):
    """Dataset with clips 7, 8, 12 in training, 20 in validation, 21 for testing; names in no particular order."""
    root = tmp_path / "Jester"
    for clip, num_frames in CLIPS.items():
        write_clip(root / "20bn-jester-v1" / clip, num_frames)
    labels = root / "labels"
    labels.mkdir()
    (labels / "labels.csv").write_text("Thumb Up\nStop Sign\nDoing other things\n")
    (labels / "train.csv").write_text("12;Thumb Up\n7;Stop Sign\n8;Doing other things\n")
    (labels / "validation.csv").write_text("20;Stop Sign\n")
    (labels / "test.csv").write_text("21\n")
    (labels / "test-answers.csv").write_text("21;Thumb Up\n")
    return root


LISTS = {
    "categories.txt": "Doing other things\nStop Sign\nThumb Up\n",
    "train_videofolder.txt": "12 12 2\n7 3 1\n8 1 0\n",
    "val_videofolder.txt": "20 2 1\n",
    "test_videofolder.txt": "21 5 2\n",
}


def lists_in(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_list_files(root):
    main([str(root)])
    assert lists_in(root) == LISTS


def test_a_quote_in_20bns_own_form_is_a_character(root):
    for path in (root / "labels").iterdir():
        path.write_text(path.read_text().replace("Thumb Up", '"Thumb" Up'))
    main([str(root)])
    assert lists_in(root)["categories.txt"] == '"Thumb" Up\nDoing other things\nStop Sign\n'
    assert lists_in(root)["train_videofolder.txt"] == "12 12 0\n7 3 2\n8 1 1\n"


def test_several_processes_write_and_refuse_the_same(root, monkeypatch):
    monkeypatch.setattr(frame_counts, "FOLDERS_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with monkeypatch.context() as patch:
        patch.setattr(frame_counts, "count_frames", None)  # here; the processes have one of their own
        main([str(root)])
    assert lists_in(root) == LISTS


def test_several_processes_count_in_the_order_of_the_folders(tmp_path, monkeypatch):
    """A process that counts large folders is overtaken by one that counts small ones."""
    monkeypatch.setattr(frame_counts, "FOLDERS_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for name, count in (("large", 2000), ("small", 1)):
        (tmp_path / name).mkdir()
        for number in range(1, count + 1):
            (tmp_path / name / f"{number:05d}.jpg").touch()
    counts = frame_counts.frame_counts(tmp_path, ["large"] * 256 + ["small"] * 256, "{:05d}.jpg")
    assert list(counts) == [2000] * 256 + [1] * 256


def test_what_is_printed(root, capsys):
    main([str(root)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        f"dataset path: {root}",
        f"labels path: {root / 'labels'}",
        f"labels save to: {root}",
        "",
        "Prepare training folders list",
    ]
    assert "Clips: 100% of 3 clips" in lines
    assert lines.index("Prepare validation folders list") < lines.index("Prepare test folders list")


def test_each_path_option_does_what_its_name_says(root, tmp_path):
    elsewhere, save = tmp_path / "other labels", tmp_path / "new" / "lists"
    (root / "labels").rename(elsewhere)
    (root / "20bn-jester-v1").rename(root / "frames")
    options = ["--labels_path", elsewhere, "--save_labels_path", save, "--images_dir_name", "frames"]
    before = sorted(elsewhere.iterdir())
    main([str(root), *map(str, options)])
    assert lists_in(save) == LISTS
    assert lists_in(root) == {}
    assert sorted(elsewhere.iterdir()) == before


def test_older_names_windows_line_ends_and_byte_order_mark(root):
    for path in list((root / "labels").iterdir()):
        text = path.read_text().replace("\n", "\r\n") + "\r\n"
        path.with_name(f"jester-v1-{path.name}").write_bytes(b"\xef\xbb\xbf" + text.encode())
        path.unlink()
    main([str(root)])
    assert lists_in(root) == LISTS


def test_test_clips_without_answers_have_class_minus_one(root):
    (root / "labels" / "test-answers.csv").unlink()
    main([str(root)])
    assert lists_in(root)["test_videofolder.txt"] == "21 5 -1\n"


def test_test_clips_keep_the_order_of_the_test_list(root):
    write_clip(root / "20bn-jester-v1" / "3", 4)
    (root / "labels" / "test.csv").write_text("21\n3\n")
    (root / "labels" / "test-answers.csv").write_text("3;Stop Sign\n21;Thumb Up\n")
    main([str(root)])
    assert lists_in(root)["test_videofolder.txt"] == "21 5 2\n3 4 1\n"


def test_no_test_list_removes_one_from_before(root):
    main([str(root)])
    (root / "labels" / "test.csv").unlink()
    main([str(root)])
    assert sorted(lists_in(root)) == ["categories.txt", "train_videofolder.txt", "val_videofolder.txt"]


def refused(root, message):
    assert re.search(message, refusal(main, [str(root)]))
    assert lists_in(root) == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.csv", "12;Thumb Up\n7\n", r"train\.csv:2: '7', expected <clip>;<label>"),
        ("train.csv", "12;Thumb Up\n7;Stop Sign;1\n", r"train\.csv:2: .*expected <clip>;<label>"),
        ("train.csv", "12;Thumb Up\n7;\n", r"train\.csv:2: '7;', expected <clip>;<label>"),
        ("train.csv", "12;Thumb Up\n\n7;Stop Sign\n", r"train\.csv:2: '', expected <clip>;<label>"),
        ("train.csv", "../labels;Thumb Up\n", r"train\.csv:1: clip '../labels', expected .* the name of one folder"),
        ("train.csv", "a\\7;Thumb Up\n", r"train\.csv:1: clip .*, expected .* the name of one folder"),
        ("train.csv", "12;Thumb Up\n7\0;Stop Sign\n", r"train\.csv:2: NUL byte; expected rows <clip>;<label>"),
        ("test.csv", "21\0\n", r"test\.csv:1: NUL byte; expected rows <clip>"),
        ("labels.csv", "Thumb Up\nStop\0Sign\n", r"labels\.csv:2: NUL byte; expected one class name a line"),
        ("train.csv", "7;Thumb Up\n8;Thumb Up\n7;Stop Sign\n", r"train\.csv:3: clip 7 is here twice.*train\.csv:1"),
        ("train.csv", "99;Thumb Up\n", r"99 \(.*train\.csv:1: No such file or directory\); --missing"),
        ("train.csv", "", r"train\.csv: empty"),
        ("validation.csv", "\n\n", r"validation\.csv: empty"),
        ("validation.csv", "7;Thumb Up\n", r"validation\.csv:1: clip 7 is in another list too, .*train\.csv:2"),
        ("test.csv", "21;Thumb Up\n20\n", r"test\.csv:2: '20', expected <clip>;<label>"),
        ("test.csv", "21;Stop Sign\n", r"test\.csv:1: 'Stop Sign', but 'Thumb Up' in .*test-answers\.csv:1"),
        ("train.csv", "7,Thumb Up,1\n", r"train\.csv:1: '7,Thumb Up,1', expected <clip>,<label>"),
        ("train.csv", 'id,label\n7,"Thumb Up\n', r"""train\.csv:2: '7,"Thumb Up', expected id,label"""),
        ("train.csv", "id,label\n7,Thumb Up,3\n", r"train\.csv:2: '7,Thumb Up,3', expected id,label"),
        ("train.csv", "video_id,frames\n7,37\n", r"train\.csv:1: header 'video_id,frames'; expected a column label"),
        ("train.csv", "7" * 256 + ";Thumb Up\n", r"train\.csv:1: clip '7{200}', expected .* at most 255 bytes long"),
        ("test-answers.csv", "20;Thumb Up\n", r"test-answers\.csv: no answer for clip 21 of .*test\.csv:1"),
        ("test-answers.csv", "21;Thumbs\n", r"test-answers\.csv:1: unknown label 'Thumbs'"),
        ("labels.csv", "Thumb Up\nStop Sign\nThumb Up\n", r"labels\.csv:3: class 'Thumb Up' is here twice.*csv:1"),
        ("labels.csv", "1;Thumb Up\n", r"labels\.csv:1: '1;Thumb Up', expected a class name without ';'"),
    ],
)
def test_bad_label_lists_are_named_with_their_line(root, name, text, message):
    (root / "labels" / name).write_text(text)
    refused(root, message)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_missing_label_list_is_named(root, name):
    (root / "labels" / f"{name}.csv").unlink()
    refused(root, rf"labels: no list {name}\.csv, and no jester-v1-{name}\.csv or {name.title()}\.csv; put the label")


def test_without_a_list_of_names_they_are_those_of_the_training_list(root, capsys):
    (root / "labels" / "labels.csv").unlink()
    main([str(root)])
    assert lists_in(root) == LISTS
    assert (
        f"{root / 'labels'}: no labels.csv; 3 class names from {root / 'labels' / 'train.csv'}\n"
        in capsys.readouterr().out
    )


HEADER = "video_id,label,frames,label_id,shape,format\n"


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("12,Thumb Up\n7,Stop Sign\n8,Doing other things\n", "20,Stop Sign\n", "21\n"),
        ("id;label\n12;Thumb Up\n7;Stop Sign\n8;Doing other things\n", "label;id\nStop Sign;20\n", "id\n21\n"),
        (
            HEADER
            + '12,Thumb Up,12,9,"(176, 100)",jpg\n7,Stop Sign,3,1,"(1, 2)",jpg\n8,"Doing other things",1,0,,jpg\n',
            HEADER + '20,Stop Sign,2,9,"(176, 100)",jpg\n',
            HEADER + '21,Thumb Up,5,9,"(176, 100)",jpg\n',
        ),
    ],
    ids=["commas", "header", "header and more columns"],
)
@pytest.mark.parametrize("called", ["{}.csv", "jester-v1-{}.csv"])
def test_lists_of_other_forms(root, train, validation, test, called):
    """A test list with labels needs no answers."""
    labels = root / "labels"
    (labels / "labels.csv").rename(labels / called.format("labels"))
    for name, text in (("train", train), ("validation", validation), ("test", test)):
        (labels / f"{name}.csv").unlink()
        (labels / called.format(name.title() if called == "{}.csv" else name)).write_text(text)
    if "label" in test:
        (labels / "test-answers.csv").unlink()
    main([str(root)])
    assert lists_in(root) == LISTS


def test_a_comma_in_a_class_name_separates_nothing(root):
    labels = root / "labels"
    (labels / "labels.csv").write_text("Thumb Up\nPutting a, b and c down\nDoing other things\n")
    (labels / "train.csv").write_text("12;Thumb Up\n7;Putting a, b and c down\n8;Doing other things\n")
    (labels / "validation.csv").write_text("20;Putting a, b and c down\n")
    main([str(root)])
    assert lists_in(root)["categories.txt"] == "Doing other things\nPutting a, b and c down\nThumb Up\n"
    assert lists_in(root)["val_videofolder.txt"] == "20 2 1\n"


# ------------------------------------------------------------------------------------------- clips with gaps, or none


def make_gaps(root):
    """Frames 2 of clip 7 and 1, 5 and 6 of clip 12 are gone."""
    images = root / "20bn-jester-v1"
    for name in ("7/00002", "12/00001", "12/00005", "12/00006"):
        (images / f"{name}.jpg").unlink()
    for path in images.rglob("*.jpg"):
        path.write_bytes(str(path.relative_to(images)).encode())


def test_all_gaps_are_named_at_once_and_closed_in_place(root, capsys):
    make_gaps(root)
    refused(root, r"v1: 2 clips have gaps in the numbers of their frames: 12, 7; --renumber true renames the frames")
    main([str(root), "--renumber", "true"])
    assert "2 clips had gaps in the numbers of their frames; renamed, in their order\n" in capsys.readouterr().out
    assert lists_in(root)["train_videofolder.txt"] == "12 9 2\n7 2 1\n8 1 0\n"
    folder = root / "20bn-jester-v1" / "12"
    kept = [number for number in range(2, 13) if number not in (5, 6)]
    assert [(folder / f"{number:05d}.jpg").read_bytes() for number in range(1, 10)] == [
        f"12/{number:05d}.jpg".encode() for number in kept
    ]


@pytest.mark.parametrize("moment", [0, 1, 5, 9])
def test_renumbering_again_after_a_kill_at_any_rename(root, moment):
    make_gaps(root)
    with killed(os, "rename", moment):
        main([str(root), "--renumber", "true"])
    main([str(root), "--renumber", "true"])
    folder = root / "20bn-jester-v1" / "12"
    found = [(folder / f"{number:05d}.jpg").read_text() for number in range(1, 10)]
    assert found == sorted(found)
    assert lists_in(root)["train_videofolder.txt"] == "12 9 2\n7 2 1\n8 1 0\n"


def test_clips_that_are_missing_are_counted_or_left_out(root, capsys):
    labels, images = root / "labels", root / "20bn-jester-v1"
    (labels / "train.csv").write_text("12;Thumb Up\n7;Stop Sign\n90;Stop Sign\n8;Doing other things\n")
    (labels / "validation.csv").write_text("91;Stop Sign\n20;Stop Sign\n")
    (images / "8" / "00001.jpg").unlink()
    (images / "91").write_bytes(b"no folder")
    refused(
        root, r"v1: 3 listed clips are not there .*: 90 \(.*train\.csv:3: No such .*\), 8 \(.*:4: no frames\), 91 \("
    )
    (images / "21" / "00002.jpg").unlink()
    refused(
        root, r"3 listed clips are .*; --missing skip leaves them out; 1 clips have gaps in .*: 21; --renumber true"
    )
    main([str(root), "--renumber", "true", "--missing", "skip"])
    assert lists_in(root) == {
        **LISTS,
        "train_videofolder.txt": "12 12 2\n7 3 1\n",
        "test_videofolder.txt": "21 4 2\n",
        "left_out.txt": f"90 {labels}/train.csv:3: No such file or directory\n8 {labels}/train.csv:4: no frames\n"
        f"91 {labels}/validation.csv:1: Not a directory\n",
    }
    assert f"left out: 3 clips, listed in {root / 'left_out.txt'}\n" in capsys.readouterr().out
    (labels / "train.csv").write_text("12;Thumb Up\n")
    (labels / "validation.csv").write_text("20;Stop Sign\n")
    main([str(root), "--missing", "skip"])
    assert "left_out.txt" not in lists_in(root)
    (labels / "validation.csv").write_text("92;Stop Sign\n")
    with pytest.raises(InputError, match="v1: holds none of the clips for validation"):
        main([str(root), "--missing", "skip"])


@pytest.mark.parametrize("name", ["labels", "train"])
def test_label_list_that_is_no_text(root, name):
    (root / "labels" / f"{name}.csv").write_bytes("7;Stop Sign\nÉté\n".encode("latin-1"))
    refused(root, rf"{name}\.csv: cannot be read \(line 2 is not UTF-8: byte 0xc9\)")


@pytest.mark.parametrize("text", ["", "\ufeff\r\n \n"])
def test_an_empty_test_list_is_none(root, text, capsys):
    """It is optional, so it must not keep the other lists from being written; it removes one from an earlier run."""
    main([str(root)])
    for name, left in (("test-answers", {**LISTS, "test_videofolder.txt": "21 5 -1\n"}), ("test", dict(LISTS))):
        path = root / "labels" / f"{name}.csv"
        path.write_text(text)
        main([str(root)])
        left.pop("test_videofolder.txt") if name == "test" else None
        assert lists_in(root) == left
        assert f"{path}: empty, not used\n" in capsys.readouterr().out


@pytest.mark.parametrize("clip", ["my clip", "a  b", "tab\there", "12 3", "-1", "no\u3000break\xa0", "a\u2028b"])
def test_any_name_of_a_folder_is_read_as_it_was_written(root, clip):
    """Spaces too: rows of a list file are split from the right."""
    name = clip.strip()
    write_clip(root / "20bn-jester-v1" / name, 4)
    (root / "labels" / "train.csv").write_text(f" {clip} ; Stop Sign\n7;Thumb Up\n")
    main([str(root)])
    expected = [VideoRecord(name, 4, 1), VideoRecord("7", 3, 2)]
    frames = folders(root / "20bn-jester-v1")
    assert read_video_list(root / "train_videofolder.txt", 3, frames) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["00001.jpg", "00003.jpg"], r"1 clips have gaps in the numbers of their frames: 12;"),
        (["00002.jpg", "00003.jpg"], r"1 clips have gaps in the numbers of their frames: 12;"),
        (["00000.jpg", "00001.jpg"], r"7: frames are counted from 1, but in .*12 from 0; rename them"),
        (
            ["1.jpg", "2.jpg"],
            r"12/1\.jpg: not the name of a frame; expected 00001\.jpg, 00002\.jpg \.\.\.,.* '{:01d}\.jpg'",
        ),
        (["00001.jpg", "copy of 00001.jpg"], r"12/copy of 00001\.jpg: not the name of a frame"),
        (["00001.JPG", "00002.JPG"], r"12/00001\.JPG: not the name of a frame"),
        (["00001.jpg", "00002.Jpg", "00003.jpg"], r"12/00002\.Jpg: not the name of a frame"),
        (["00001.jpg", "img_00002.png"], r"12/img_00002\.png: not the name of a frame"),
        (["img_00001.png", "img_00002.png"], r"12/img_00001\.png: .* or --frame_name 'img_{:05d}\.png'$"),
        (["00001.jpg", "00002.jpg.part"], r"12/00002\.jpg\.part: not the name of a frame"),
        (["00001.jpg", "000002.jpg"], r"12/000002\.jpg: not the name of a frame"),
        (["._00001.jpg", ".00002.jpg"], r"12 \(.*train\.csv:1: no frames\)"),
        (["notes.txt"], r"12 \(.*train\.csv:1: no frames\)"),
    ],
)
def test_frames_that_are_not_numbered_from_one_without_a_gap(root, names, message):
    folder = root / "20bn-jester-v1" / "12"
    for path in folder.iterdir():
        path.unlink()
    for name in names:
        (folder / name).write_bytes(b"")
    refused(root, message)


@pytest.mark.parametrize(
    ("frame_name", "first", "others"),
    [
        ("img_{:05d}.jpg", 0, ["thumbs.txt"]),
        ("{:06d}.png", 1, ["._000001.png"]),
        ("{}.jpg", 0, []),
        ("{:d}_a.jpg", 1, []),
    ],
)
def test_frames_of_other_names(root, frame_name, first, others):
    """Nothing in the lists depends on the names."""
    for clip, num_frames in CLIPS.items():
        folder = root / "20bn-jester-v1" / clip
        for number in range(1, num_frames + 1):
            (folder / f"{number:05d}.jpg").rename(folder / f"new {number}")
        for number in range(1, num_frames + 1):
            (folder / f"new {number}").rename(folder / frame_name.format(number - 1 + first))
        for other in others:
            (folder / other).write_bytes(b"")
    main([str(root), "--frame_name", frame_name])
    assert lists_in(root) == LISTS
    if frame_name != "{}.jpg":
        (root / "20bn-jester-v1" / "12" / "3.jpg").write_bytes(b"")
        with pytest.raises(InputError, match=r"12/3\.jpg: not the name of a frame"):
            main([str(root), "--frame_name", frame_name])


def test_more_frames_than_five_digits_count(tmp_path, monkeypatch):
    names = [f"{number:05d}.jpg" for number in range(1, 100_003)]
    monkeypatch.setattr(os, "listdir", lambda folder: names)
    assert count_frames(tmp_path) == (1, 100_002)
    names.append(".DS_Store")
    assert count_frames(tmp_path) == (1, 100_002)


def test_failure_while_writing_keeps_the_old_lists(root, monkeypatch):
    main([str(root)])
    write_text, written = preprocess_jester_dataset.Path.write_text, []

    def full(path, *args, **options):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return write_text(path, *args, **options)

    (root / "labels" / "train.csv").write_text("12;Thumb Up\n")
    monkeypatch.setattr(preprocess_jester_dataset.Path, "write_text", full)
    with pytest.raises(InputError, match="cannot write the list file: No space left on device"):
        main([str(root)])
    assert lists_in(root) == LISTS
