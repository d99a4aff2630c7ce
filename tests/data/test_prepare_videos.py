"""Own videos to a dataset: frames against times worked out by hand, splits, what a second run does, what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from model_utils.errors import InputError
from src.data import annotations
from src.data.annotations import VideoClip, find_clips, read_annotations
from src.data.frame_files import VideoRecord
from src.data.lists import parse_seconds
from src.data.prepare_videos import main
from src.data.splits import split_clips
from src.data.video_frames import shrink
from src.tsn_dataset import read_categories, read_video_list
from tests.helpers import ROOT
from tests.helpers.clips import folders
from tests.helpers.colours import coloured, write_video
from tests.helpers.containers import rotate, set_intervals, set_rate
from tests.helpers.kills import kill_this_process
from tests.helpers.permissions import obeyed_permissions
from tests.helpers.refusals import refusal

IMAGES = "20bn-jester-v1"


def grey_steps(count, height=48, width=64):
    """Frame i has the level 10 i, so that a picture says which frame it was."""
    return [np.full((height, width, 3), 10 * level, np.uint8) for level in range(count)]


def level(path):
    return round(cv2.imread(str(path)).mean() / 10)


def levels(folder):
    return [level(path) for path in sorted(folder.glob("*.jpg"))]


@pytest.fixture
def videos(tmp_path):
    """Two classes of three videos, each of ten frames at 10 a second."""
    for label in ("down", "up again"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for name in ("a.mp4", "b.webm", "c 3 4.MP4"):
            path = write_video(tmp_path / "videos" / label / name.lower(), grey_steps(10), 10)
            path.rename(path.with_name(name))
    return tmp_path / "videos"


def lists(root):
    return {path.name: path.read_text().splitlines() for path in root.glob("*.txt")}


def test_class_folders_become_a_dataset(videos, tmp_path, capsys):
    root = tmp_path / "my data"
    (videos / "notes").mkdir()
    for hidden in (".DS_Store", "up again/._a.mp4", ".trash/x.mp4"):
        (videos / hidden).parent.mkdir(exist_ok=True)
        (videos / hidden).write_text("no video")
    main([str(videos), str(root), "--fps", "5", "--height", "24"])

    assert read_categories(root / "categories.txt") == ["down", "up again"]
    records = [
        read_video_list(root / f"{name}_videofolder.txt", 2, folders(root / IMAGES)) for name in ("train", "val")
    ]
    assert [Counter(record.label for record in part) for part in records] == [{0: 2, 1: 2}, {0: 1, 1: 1}]
    assert {record for part in records for record in part} == {
        VideoRecord(f"{name}/{video}", 5, index)
        for index, name in enumerate(("down", "up again"))
        for video in ("a.mp4", "b.webm", "c 3 4.MP4")
    }
    for record in (record for part in records for record in part):
        folder = root / IMAGES / record.folder
        assert levels(folder) == [0, 2, 4, 6, 8]
        assert cv2.imread(str(folder / "00001.jpg")).shape == (24, 32, 3)
    said = capsys.readouterr().out.splitlines()
    assert f"{videos / 'notes'}: no videos in this folder, so it is no class" in said
    assert "6 clips of 2 classes: 4 for training, 2 for validation" in said
    assert "fewer than 10 clips to train with: down, up again" in said
    assert "6 clips have fewer than 8 frames, so some are used twice; a higher --fps gives more" in said
    assert [line.split() for line in said if line.startswith("up again ")] == [
        ["up", "again", "2", "1", "5,", "5,", "5"]
    ]
    assert said[-1] == "DONE!"
    assert sorted(path.name for path in root.iterdir() if path.suffix != ".txt") == [".made-by-prepare_videos", IMAGES]


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (10, [0, 1, 1, 1, 2, 3, 3, 3, 4, 4]),
        (5, [0, 1, 2, 3, 4]),
        (2, [0, 3]),
        (0.1, [0]),
    ],
)
def test_frames_are_taken_at_their_own_times(tmp_path, fps, expected):
    """They are shown from 0, 0.1, 0.4, 0.5 and 0.75 s, the last one for the median interval: up to 0.925 s; upright."""
    folder = tmp_path / "videos" / "c"
    folder.mkdir(parents=True)
    video = rotate(write_video(folder / "a.mp4", grey_steps(5, 48, 96), 10), 90)
    set_intervals(video, [0.1, 0.3, 0.1, 0.25, 0.25])
    shutil.copy(folder / "a.mp4", folder / "b.mp4")
    main([str(tmp_path / "videos"), str(tmp_path / "data"), "--fps", str(fps)])
    assert levels(tmp_path / "data" / IMAGES / "c/a.mp4") == expected
    assert cv2.imread(str(tmp_path / "data" / IMAGES / "c/a.mp4/00001.jpg")).shape == (96, 48, 3)


def test_shrinking_averages_and_nothing_is_enlarged():
    stripes = np.zeros((40, 60, 3), np.uint8)
    stripes[::2] = 200
    assert shrink(stripes, 20).shape == (20, 30, 3)
    np.testing.assert_allclose(shrink(stripes, 20), 100, atol=1)
    assert shrink(stripes, 100) is stripes


# ---------------------------------------------------------------------------------------------------- a second run


def test_what_a_mirror_exchanges_is_said(tmp_path, capsys):
    """By the names, and by the pairs that the user has put beside the list of classes."""
    for label in ("goLeft", "goRight", "Bright"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(2):
            write_video(tmp_path / "videos" / label / f"{number}.mp4", grey_steps(3), 10)
    main([str(tmp_path / "videos"), str(tmp_path / "data")])
    said = capsys.readouterr().out
    assert "in a mirror: goLeft = goRight\n" in said
    assert "not mirrored: Bright: " in said
    (tmp_path / "data/mirror_pairs.txt").write_text("Bright = Bright\n")
    main([str(tmp_path / "videos"), str(tmp_path / "data")])
    assert "not mirrored" not in capsys.readouterr().out
    (tmp_path / "data/mirror_pairs.txt").write_text("Bight = Bright\n")
    with pytest.raises(InputError, match=r"mirror_pairs.txt:1: .* did you mean 'Bright'"):
        main([str(tmp_path / "videos"), str(tmp_path / "data")])


def decoded(capsys):
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "decoded" in line]
    return line


def test_only_new_and_changed_videos_are_decoded(videos, tmp_path, capsys):
    command = [str(videos), str(tmp_path / "data")]
    main(command)
    assert decoded(capsys).startswith("6 clips decoded, 0 kept")
    frame = tmp_path / "data" / IMAGES / "down/a.mp4/00001.jpg"
    kept = frame.stat().st_mtime_ns
    main(command)
    assert decoded(capsys).startswith("0 clips decoded, 6 kept")
    write_video(videos / "down/d.mp4", grey_steps(4), 10)
    write_video(videos / "down/b.webm", grey_steps(5), 10)
    main(command)
    assert decoded(capsys).startswith("2 clips decoded, 5 kept")
    assert frame.stat().st_mtime_ns == kept
    assert len(levels(tmp_path / "data" / IMAGES / "down/b.webm")) == 6
    main([*command, "--fps", "6"])
    assert decoded(capsys).startswith("7 clips decoded, 0 kept")


def test_a_run_that_was_killed_is_done_again(videos, tmp_path, capsys):
    """Killed as soon as a clip is there: what is there is whole, and the rest is made by the next run."""
    for label in ("down", "up again"):
        for number in range(6):
            write_video(videos / label / f"{number}.mp4", grey_steps(20), 10)
    root = tmp_path / "data"
    command = [sys.executable, "-m", "src.data.prepare_videos", str(videos), str(root)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(root.glob(f"{IMAGES}/*/*")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait()
    finished = {path.parent: len(list(path.parent.glob("*.jpg"))) for path in root.glob(f"{IMAGES}/*/*/.source.json")}
    assert finished
    assert all(
        json.loads((folder / ".source.json").read_text())["frames"] == count for folder, count in finished.items()
    )
    main([str(videos), str(root)])
    assert f" {len(finished)} kept" in decoded(capsys)
    assert len(list(root.glob(f"{IMAGES}/*/*"))) == 18
    assert not (root / f"{IMAGES}.partial").exists()


def test_the_seed_decides_the_split(videos, tmp_path):
    found = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        main([str(videos), str(tmp_path / name), "--seed", str(seed)])
        found[name] = lists(tmp_path / name)
    assert found["one"] == found["again"] != found["other"]


@pytest.mark.parametrize("name", [f"{IMAGES}/7/00001.jpg", "val_videofolder.txt"])
def test_a_dataset_of_other_origin_stays(videos, tmp_path, name):
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="belongs to a dataset that was not made from videos"):
        main([str(videos), str(tmp_path / "data")])
    assert [found for found in (tmp_path / "data").rglob("*") if found.is_file()] == [path]


# -------------------------------------------------------------------------------------------------- broken videos


def test_broken_videos_are_all_named_and_nothing_is_written(videos, tmp_path, capsys):
    for name in ("down/x.mp4", "up again/y.mp4"):
        (videos / name).write_bytes(b"no video")
    said = refusal(main, [str(videos), str(tmp_path / "data")])
    assert re.search(r"down/x\.mp4: not a video.*1 other problems.*--on_error skip", said)
    assert f"{videos / 'up again/y.mp4'}: not a video" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()


def test_broken_videos_are_left_out(videos, tmp_path, capsys):
    (videos / "down/x.mp4").write_bytes(b"no video")
    for _ in range(2):
        main([str(videos), str(tmp_path / "data"), "--on_error", "skip"])
        said = capsys.readouterr().out
        assert f"left out: {videos / 'down/x.mp4'}: not a video" in said
        assert "1 left out" in said
        assert "x.mp4" not in str(lists(tmp_path / "data"))
    assert len(list((tmp_path / "data" / IMAGES).glob("*/*"))) == 6


def test_a_class_that_is_left_with_one_video_is_named(videos, tmp_path):
    for name in ("a.mp4", "b.webm"):
        (videos / "down" / name).write_bytes(b"no video")
    with pytest.raises(InputError, match=r"class 'down': one video only, down/c 3 4\.MP4"):
        main([str(videos), str(tmp_path / "data"), "--on_error", "skip"])
    assert lists(tmp_path / "data") == {}


@pytest.mark.parametrize("step", ["inspect_video", "write_frames"])
def test_a_process_that_dies_is_said(videos, tmp_path, monkeypatch, step):
    """And not left out: the other videos of a machine without memory would be, too."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("src.data.video_frames.BYTES_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(f"src.data.frame_folders.{step}", kill_this_process)
    with pytest.raises(InputError, match="^a process that decodes videos was ended by SIGKILL; if memory ran out"):
        main([str(videos), str(tmp_path / "data"), "--on_error", "skip"])
    assert not list(tmp_path.glob("data/*/*"))


def test_videos_that_are_worth_it_are_decoded_in_processes(videos, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    main([str(videos), str(tmp_path / "here")])
    monkeypatch.setattr("src.data.video_frames.BYTES_WORTH_A_PROCESS", 1000)
    with monkeypatch.context() as patch:
        patch.setattr("src.data.video_frames.cv2.imencode", None)  # here; the processes have one of their own
        main([str(videos), str(tmp_path / "there")])
    frames = {path.relative_to(tmp_path / "here"): path.read_bytes() for path in tmp_path.glob("here/**/*.jpg")}
    assert len(frames) == 6 * 12
    others = {path.relative_to(tmp_path / "there"): path.read_bytes() for path in tmp_path.glob("there/**/*.jpg")}
    assert others == frames
    assert lists(tmp_path / "here") == lists(tmp_path / "there")


def test_what_cannot_be_read_is_named_or_left_out(videos, tmp_path, capsys):
    """A link that broke and a video that may no longer be read, after their frames were made."""
    command = [str(videos), str(tmp_path / "data")]
    (videos / "down/a.mp4").rename(tmp_path / "a.mp4")
    (videos / "down/a.mp4").symlink_to(tmp_path / "a.mp4")
    main(command)
    (tmp_path / "a.mp4").unlink()
    (videos / "down/b.webm").chmod(0)
    os.mkfifo(videos / "down/pipe.mp4")
    problems = [
        f"{videos / 'down/a.mp4'}: cannot be read (No such file: it is a link to {tmp_path / 'a.mp4'})",
        f"{videos / 'down/pipe.mp4'}: cannot be read (it is a named pipe; expected a regular file)",
    ]
    assert refusal(main, command).startswith(f"{problems[0]} (and 1 other problems, listed above); --on_error skip")
    capsys.readouterr()
    write_video(videos / "down/d.mp4", grey_steps(4), 10)
    with obeyed_permissions():
        (videos / "down/b.webm").touch()  # to be decoded again
        main([*command, "--on_error", "skip"])
    said = capsys.readouterr().out.splitlines()
    problems.append(f"{videos / 'down/b.webm'}: cannot be read (Permission denied)")
    assert {line for line in said if line.startswith("left out")} == {f"left out: {problem}" for problem in problems}


def test_a_class_folder_that_may_not_be_entered_is_named(videos, tmp_path):
    (videos / "down").chmod(0o600)
    with pytest.raises(InputError, match=r"down/a\.mp4: cannot be read \(Permission denied\)$"), obeyed_permissions():
        main([str(videos), str(tmp_path / "data")])
    (videos / "down").chmod(0)
    with pytest.raises(InputError, match=r"down: cannot be read \(Permission denied\)$"), obeyed_permissions():
        main([str(videos), str(tmp_path / "data")])
    (videos / "down").chmod(0o700)


def test_frames_behind_a_link_to_another_disk(videos, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        if os.stat(disk).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("needs two file systems")
        command = [str(videos), str(tmp_path / "data")]
        main(command)
        shutil.move(tmp_path / "data" / IMAGES / "down", Path(disk) / "frames")
        (tmp_path / "data" / IMAGES / "down").symlink_to(Path(disk) / "frames")
        write_video(videos / "down/d.mp4", grey_steps(4), 10)
        main(command)
        assert levels(tmp_path / "data" / IMAGES / "down/d.mp4") == [0, 0, 1, 2, 3]
        assert len(list((tmp_path / "data" / IMAGES).glob("*/*/.source.json"))) == 7
        assert not list(Path(disk).rglob(".partial"))
        assert len(lists(tmp_path / "data")["train_videofolder.txt"]) == 5


def test_a_clip_of_too_many_frames_is_refused_before_it_is_decoded(videos, tmp_path, capsys):
    """Ten frames in a file of a few kilobytes."""
    long = set_rate(write_video(videos / "down/long.avi", grey_steps(10), 10), 1, 59)
    far = set_rate(write_video(videos / "down/far.avi", grey_steps(10), 10), 1, 10**6)
    command = [str(videos), str(tmp_path / "data"), "--fps", "100"]
    frames = f"{long}: 59000 frames at 100 a second; expected at most 10000 (--max_frames)"
    apart = f"{far}: the file states 1000000 s between two frames, expected at most 60; taken as 12 frames a second"
    with pytest.raises(InputError, match="1 other problems, listed above"):
        main(command)
    assert capsys.readouterr().out.splitlines()[-2:] == [apart, frames]
    assert not (tmp_path / "data").exists()
    main([*command, "--on_error", "skip", "--max_frames", "100"])
    assert {line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")} == {
        f"left out: {apart}",
        f"left out: {frames.replace('10000 ', '100 ')}",
    }


def test_frames_that_would_fill_the_disk_are_refused_before_they_are_decoded(videos, tmp_path, monkeypatch):
    """6 videos of 1 s, at 12 frames a second, of 64 x 48 pixels shrunk to 32 x 24, or as they are."""
    for height, size in ((24, 32 * 24), (100, 64 * 48)):
        command, free = [str(videos), str(tmp_path / "data"), "--height", str(height)], 6 * 12 * size // 2
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free - 1))
        with pytest.raises(InputError, match=rf"{IMAGES}: 0 MB are free, but 0 MB are needed$"):
            main(command)
        assert not (tmp_path / "data").exists()
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        main(command)
        shutil.rmtree(tmp_path / "data")


def test_a_full_disk_is_said(videos, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "a frame")

    monkeypatch.setattr("src.data.frame_folders.write_json", full)
    with pytest.raises(InputError, match="a frame: cannot be written: No space left on device"):
        main([str(videos), str(tmp_path / "data")])
    assert not (tmp_path / "data" / f"{IMAGES}.partial").exists()


# --------------------------------------------------------------------------------------------------- annotations


def annotate(folder, text, name="a.csv"):
    path = folder / name
    path.write_text(text)
    return path


def test_segments_of_a_csv(videos, tmp_path):
    text = (
        "\ufeffLabel, video,start,end\r\n"
        "lift,down/a.mp4,0.2,0.5\r\n"
        'lift,"down/a.mp4",0.5,\r\n'
        "lift,./down/b.webm,,0.4\r\n"
        "\r\n"
        "rest,down/b.webm,0.4,1.05\r\n"  # up to 0.1 s behind the end
        "rest,up again/c 3 4.MP4,,\r\n"
    )
    csv = annotate(tmp_path, text)
    main([str(videos), str(tmp_path / "data"), "--annotations", str(csv), "--fps", "10"])
    found = lists(tmp_path / "data")
    assert found["categories.txt"] == ["lift", "rest"]
    rows = {
        "down/a.mp4@0.200-0.500": [2, 3, 4],
        "down/a.mp4@0.500-end": [5, 6, 7, 8, 9],
        "down/b.webm@0.000-0.400": [0, 1, 2, 3],
        "down/b.webm@0.400-1.050": [4, 5, 6, 7, 8, 9],
        "up again/c 3 4.MP4": list(range(10)),
    }
    for folder, expected in rows.items():
        assert levels(tmp_path / "data" / IMAGES / folder) == expected, folder
    sides = {row.rsplit(None, 2)[0]: name for name in ("train", "val") for row in found[f"{name}_videofolder.txt"]}
    assert sides.keys() == rows.keys()
    assert len({side for folder, side in sides.items() if folder.startswith("down/a")}) == 1
    assert len({side for folder, side in sides.items() if folder.startswith("down/b")}) == 1


def test_the_truth_about_streams_is_annotations_too(videos, tmp_path):
    """Its rows are clips; a video without gestures is none."""
    rows = ["down/a.mp4,0,0.5,x", "down/b.webm,,,", "up again/a.mp4,0.1,0.6,x", "down/c 3 4.MP4,0.5,1,x"]
    clips = read_annotations(annotate(tmp_path, "\n".join(["video,start,end,label", *rows])), videos)
    assert [clip.video for clip in clips] == ["down/a.mp4", "up again/a.mp4", "down/c 3 4.MP4"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:02:10.99", 130.99),
        ("1:23", 83),
        ("0:00.5", 0.5),
        ("90:00", 5400),
        ("10:00:00", 36000),
        (" 2.5 ", 2.5),
        ("1e1", 10),
        (3, 3),
    ],
)
def test_times_as_people_write_them(text, seconds):
    assert parse_seconds("a.csv:2", "start", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["1:60", "1:60:00", "1:2:3:4", "-1:20", "1:-2", ":30", "1:", "1,5", True, None, "inf"])
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="^a.csv:2: start .*; expected seconds, 0 or more, such as 2.5, 1:23 or 00:02"):
        parse_seconds("a.csv:2", "start", text)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_of_other_programs(videos, tmp_path, separator):
    """Of a spreadsheet with decimal commas, or with tabs, as ELAN exports."""
    rows = "video;label;start;end\ndown/a.mp4;lift, slowly;0,2;0:00,5\ndown/b.webm;lift, slowly;;\n"
    csv = annotate(tmp_path, rows.replace(";", separator))
    clips = read_annotations(csv, videos)
    assert [(clip.label, clip.start, clip.end) for clip in clips] == [
        ("lift, slowly", 0.2, 0.5),
        ("lift, slowly", 0.0, None),
    ]


def test_splits_of_a_csv(videos, tmp_path, capsys):
    rows = ["down/a.mp4,x,0,0.5,train", "down/a.mp4,x,0.5,1,val", "down/b.webm,y,,,test", "down/c 3 4.MP4,y,,,train"]
    csv = annotate(tmp_path, "\n".join(["video,label,start,end,split", *rows]))
    main([str(videos), str(tmp_path / "data"), "--annotations", str(csv)])
    found = lists(tmp_path / "data")
    assert found["train_videofolder.txt"] == ["down/a.mp4@0.000-0.500 6 0", "down/c 3 4.MP4 12 1"]
    assert found["val_videofolder.txt"] == ["down/a.mp4@0.500-1.000 6 0"]
    assert found["test_videofolder.txt"] == ["down/b.webm 12 1"]
    assert "1 videos have segments in training and in validation, as the annotations say" in capsys.readouterr().out
    main([str(videos), str(tmp_path / "data")])
    assert "test_videofolder.txt" not in lists(tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("down/a.mp4,x,0,1\n", r"a\.csv:1: 'down/a.mp4,x,0,1'; expected a header video,label"),
        ("video,label,from\ndown/a.mp4,x,1\n", r"a\.csv:1: .*expected a header"),
        ("video,label\n", r"a\.csv: no rows"),
        ("video,label\ndown/a.mp4\n", r"a\.csv:2: 'down/a\.mp4' has 1 values; expected video,label"),
        ("video,label\ndown/z.mp4,x\n", r"a\.csv:2: .*down/z\.mp4: no such video"),
        ("video,label\n../a.mp4,x\n", r"a\.csv:2: video '\.\./a\.mp4'; expected a path below"),
        ("video,label\n/etc/hosts,x\n", r"a\.csv:2: video '/etc/hosts'; expected a path below"),
        ("video,label\ndown/a.mp4,\n", r"a\.csv:2: label ''; expected"),
        ("video,label,start\ndown/a.mp4,x,1:2:3:4\n", r"a\.csv:2: start '1:2:3:4'; expected seconds"),
        ("video,label,start\ndown/a.mp4,x,-1\n", r"a\.csv:2: start '-1'; expected seconds"),
        ("video,label,end\ndown/a.mp4,x,nan\n", r"a\.csv:2: end 'nan'; expected seconds"),
        ("video,label,start,end\ndown/a.mp4,x,0.5,0.5\n", r"a\.csv:2: from 0\.5 s to 0\.5 s; expected an end after"),
        ("video,label,split\ndown/a.mp4,x,dev\n", r"a\.csv:2: split 'dev'; expected train, val, test in every row"),
        ("video,label\ndown/a.mp4,x\ndown/a.mp4,y\n", r"a\.csv:3: this clip is here twice, first in .*a\.csv:2"),
        ("video,label,split\ndown/a.mp4,x,train\n", "no clip has the split for validation"),
        (
            "video,label,start,end,split\ndown/a.mp4,x,0,0.5,train\ndown/a.mp4,x,0.4,1,val\n",
            r"a\.csv:3: down/a\.mp4 in validation overlaps .*a\.csv:2 in training",
        ),
        (
            "video,label,end,split\ndown/a.mp4,x,,train\ndown/a.mp4,x,0.1,test\n",
            r"a\.csv:3: down/a\.mp4 in test overlaps .*a\.csv:2 in training",
        ),
        (
            "video,label,start,end\ndown/a.mp4,x,0,1.2\ndown/b.webm,x,0,1\n",
            r"a\.csv:2: from 0 s to 1\.2 s is outside the video .*down/a\.mp4, which has 1\.00 s",
        ),
        (
            "video,label\ndown/a.mp4,x\ndown/b.webm,x\nup again/a.mp4,y\n",
            r"class 'y': one video only, up again/a\.mp4; expected at least two",
        ),
    ],
)
def test_bad_annotations_are_named(videos, tmp_path, text, message):
    csv = annotate(tmp_path, text)
    assert re.search(message, refusal(main, [str(videos), str(tmp_path / "data"), "--annotations", str(csv)]))
    assert not (tmp_path / "data").exists()


def test_a_class_in_two_unicode_forms(videos, tmp_path):
    for name in ("Caf\u00e9", "Cafe\u0301"):
        shutil.copytree(videos / "down", videos / name)
    with pytest.raises(InputError, match=r"^.*/a\.mp4: class 'Caf\\xe9' is here twice, first in .*/a\.mp4$"):
        main([str(videos), str(tmp_path / "data")])
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_folder_name_that_is_too_long(videos, tmp_path, capsys, on_error):
    """A video may have the longest name that there is; with the times behind it the clip may not."""
    name = "n" * 251 + ".mp4"
    shutil.copy(videos / "down/a.mp4", videos / "down" / name)
    rows = [f"down/{name},x,0,0.5", "down/a.mp4,x,0,0.5", "down/b.webm,x,0,0.5"]
    csv = annotate(tmp_path, "\n".join(["video,label,start,end", *rows]))
    command = [str(videos), str(tmp_path / "data"), "--annotations", str(csv), "--on_error", on_error]
    said = f"{csv}:2: its folder would have a name of 267 bytes; expected at most 255"
    if on_error == "stop":
        with pytest.raises(InputError, match=f"^{said}"):
            main(command)
        assert not (tmp_path / "data").exists()
    else:
        main(command)
        assert f"left out: {said}" in capsys.readouterr().out
        assert sum(len(lists(tmp_path / "data")[f"{side}_videofolder.txt"]) for side in ("train", "val")) == 2


def test_many_segments_take_no_time(videos, tmp_path):
    """20,000 of one video took 93 s: each was compared with each."""
    rows = [f"down/a.mp4,x,{number},{number + 1},{'val' if number % 5 else 'train'}" for number in range(20_000)]
    csv = annotate(tmp_path, "\n".join(["video,label,start,end,split", *rows]))
    began = time.process_time()
    assert len(read_annotations(csv, videos)) == 20_000
    assert time.process_time() - began < 10


@pytest.mark.parametrize("seed", range(12))
def test_stretches_that_overlap_are_those_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    clips = []
    for number in range(6):
        start, length = (int(value) for value in rng.integers(0, 12, 2))
        end = None if rng.random() < 0.1 else start + length + 1
        split = ("training", "validation", "test")[rng.integers(3)]
        clips.append(VideoClip(str(number), f"{rng.integers(2)}.mp4", "x", float(start), end, split))
    pairs = [
        (one, two)
        for one in clips
        for two in clips
        if (one.video, two.start < one.ends, one.start < two.ends) == (two.video, True, True)
        if one.split != two.split
    ]
    if pairs:
        with pytest.raises(InputError, match="expected each moment in one split only"):
            annotations._check_splits(clips)
    else:
        annotations._check_splits(clips)


def test_a_loop_of_links_gives_a_video_once(tmp_path):
    folder = tmp_path / "videos/wave/day one"
    folder.mkdir(parents=True)
    for path in (tmp_path / "videos/wave/a.mp4", folder / "b.mp4"):
        path.write_bytes(b"")
    (folder / "again").symlink_to(tmp_path / "videos/wave", target_is_directory=True)
    (tmp_path / "videos/wave/c.mp4").symlink_to(folder / "b.mp4")  # a file of its own name counts
    assert [clip.video for clip in find_clips(tmp_path / "videos")] == [
        "wave/a.mp4",
        "wave/c.mp4",
        "wave/day one/b.mp4",
    ]


def test_videos_in_no_class_folder_and_none_at_all(tmp_path):
    (tmp_path / "videos/empty").mkdir(parents=True)
    with pytest.raises(InputError, match=r"videos: no videos .* in folders <class>/"):
        find_clips(tmp_path / "videos")
    write_video(tmp_path / "videos/a.mp4", coloured("Red", 2))
    with pytest.raises(InputError, match=r"a\.mp4: is in no class folder; expected .*videos/<class>/a\.mp4"):
        find_clips(tmp_path / "videos")


@pytest.mark.parametrize("name", [" a", "a\nb", os.fsdecode(b"caf\xe9")])
def test_class_names_that_a_list_cannot_hold(tmp_path, name):
    folder = tmp_path / "videos" / name
    folder.mkdir(parents=True)
    write_video(tmp_path / "a.mp4", coloured("Red", 2)).rename(folder / "a.mp4")
    with pytest.raises(InputError, match="expected a UTF-8 name without spaces around it"):
        find_clips(tmp_path / "videos")


# --------------------------------------------------------------------------------------------------------- splits


def clips_of(*counts, segments=1):
    """So many videos of each class, each with so many segments."""
    return [
        VideoClip("", f"{label}/{video}", f"class {label}", float(segment), segment + 1.0)
        for label, count in enumerate(counts)
        for video in range(count)
        for segment in range(segments)
    ]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_each_class_is_split_alike(share):
    counts = (2, 3, 12, 100)
    sides = split_clips(clips_of(*counts), share, seed=3)
    for label, count in enumerate(counts):
        found = sum(clip.label == f"class {label}" for clip in sides["validation"])
        assert abs(found - min(max(share * count, 1), count - 1)) <= 0.5, (label, found)


@pytest.mark.parametrize("seed", range(2))
def test_segments_of_a_video_stay_together(seed):
    clips = clips_of(6, 8, segments=4)
    for video in range(10):  # recordings that hold segments of all classes
        clips += [VideoClip("", f"all/{video}", f"class {label}", float(label), label + 1.0) for label in range(3)]
    sides = split_clips(clips, 0.25, seed)
    assert sorted(sides["training"] + sides["validation"], key=repr) == sorted(clips, key=repr)
    assert not {clip.video for clip in sides["training"]} & {clip.video for clip in sides["validation"]}
    for label in range(3):
        total, found = (sum(clip.label == f"class {label}" for clip in part) for part in (clips, sides["validation"]))
        assert found == pytest.approx(0.25 * total, abs=4)


def test_a_class_that_cannot_be_divided_is_named():
    """Both videos of class b are the only ones of class a."""
    clips = [
        VideoClip("", video, label, start) for video, label, start in (("1", "a", 0), ("2", "a", 0), ("1", "b", 1))
    ]
    with pytest.raises(InputError, match="class 'b': one video only, 1"):
        split_clips(clips, 0.5, 0)
