"""Own videos in a tar, and rows whose videos are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.colours import changing_frames, write_video

ROOT = Path(__file__).resolve().parents[2]
NAME = "20bn-jester-v1"


def run(command, cwd, status=0):
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "DEVICE_TARGET": "CPU",
        "GLOG_v": "3",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_own_videos_in_a_tar(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for number in range(2):
            write_video(tmp_path / "videos" / label / f"{number}.mp4", changing_frames(6), 12)
    prepare = ["bash", str(ROOT / "scripts/prepare_videos.sh"), "videos"]
    run([*prepare, "folders"], tmp_path)
    run([*prepare, "packed", "--packed", "true"], tmp_path)
    assert not (tmp_path / "packed" / NAME).exists()
    assert "0 clips decoded, 4 kept" in run([*prepare, "packed", "--packed", "true"], tmp_path).stdout
    assert (tmp_path / "packed" / f"{NAME}.tar").exists()
    run(["bash", str(ROOT / "scripts/pack_frames.sh"), "packed", "--unpack", "true"], tmp_path)

    def files(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert files(tmp_path / "packed") == files(tmp_path / "folders")


def test_rows_without_a_video_are_counted_or_left_out(tmp_path):
    (tmp_path / "videos").mkdir()
    rows = ["video,label"]
    for label in ("a", "b"):
        for number in range(3):
            rows.append(f"{label}{number}.mp4,{label}")
            if number < 2:
                write_video(tmp_path / "videos" / f"{label}{number}.mp4", changing_frames(6), 12)
    (tmp_path / "a.csv").write_text("\n".join(rows))
    prepare = ["bash", str(ROOT / "scripts/prepare_videos.sh"), "videos", "target", "--annotations", "a.csv"]
    done = run(prepare, tmp_path, status=1)
    expected = "a.csv:4: videos/a2.mp4: no such video, a.csv:7: videos/b2.mp4: no such video"
    assert done.stderr == f"error: {expected}; --missing skip leaves such rows out\n"
    run([*prepare, "--missing", "skip"], tmp_path)
    lists = [(tmp_path / "target" / f"{name}_videofolder.txt").read_text() for name in ("train", "val")]
    assert sorted(row.split()[0] for row in "".join(lists).splitlines()) == ["a0.mp4", "a1.mp4", "b0.mp4", "b1.mp4"]
    left_out = (tmp_path / "target" / "left_out.txt").read_text()
    assert left_out == "a.csv:4: videos/a2.mp4: no such video\na.csv:7: videos/b2.mp4: no such video\n"
