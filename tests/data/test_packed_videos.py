"""Own videos in a tar, and rows whose videos are not there."""

from __future__ import annotations

from src.data.pack_frames import main as pack_frames
from src.data.prepare_videos import main as prepare
from tests.helpers.colours import changing_frames, write_video
from tests.helpers.refusals import refusal

NAME = "20bn-jester-v1"


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_own_videos_in_a_tar(tmp_path, capsys):
    for label in ("a", "b"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(2):
            write_video(tmp_path / "videos" / label / f"{number}.mp4", changing_frames(6), 12)
    prepare([str(tmp_path / "videos"), str(tmp_path / "folders")])
    packed = tmp_path / "packed"
    prepare([str(tmp_path / "videos"), str(packed), "--packed", "true"])
    assert not (packed / NAME).exists()
    capsys.readouterr()
    prepare([str(tmp_path / "videos"), str(packed), "--packed", "true"])
    assert "0 clips decoded, 4 kept" in capsys.readouterr().out
    assert (packed / f"{NAME}.tar").exists()
    pack_frames([str(packed), "--unpack", "true"])
    assert files(packed) == files(tmp_path / "folders")


def test_rows_without_a_video_are_counted_or_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    rows = ["video,label"]
    for label in ("a", "b"):
        for number in range(3):
            rows.append(f"{label}{number}.mp4,{label}")
            if number < 2:
                write_video(tmp_path / "videos" / f"{label}{number}.mp4", changing_frames(6), 12)
    (tmp_path / "a.csv").write_text("\n".join(rows))
    given = ["videos", "target", "--annotations", "a.csv"]
    expected = "a.csv:4: videos/a2.mp4: no such video, a.csv:7: videos/b2.mp4: no such video"
    assert refusal(prepare, given) == f"{expected}; --missing skip leaves such rows out"
    prepare([*given, "--missing", "skip"])
    lists = [(tmp_path / "target" / f"{name}_videofolder.txt").read_text() for name in ("train", "val")]
    assert sorted(row.split()[0] for row in "".join(lists).splitlines()) == ["a0.mp4", "a1.mp4", "b0.mp4", "b1.mp4"]
    left_out = (tmp_path / "target" / "left_out.txt").read_text()
    assert left_out == "a.csv:4: videos/a2.mp4: no such video\na.csv:7: videos/b2.mp4: no such video\n"
