"""The way of a user with own videos: class folders -> lists -> a few steps of training -> an evaluation."""

from __future__ import annotations

import csv
import re

import cv2

from tests.e2e.test_scripts import script
from tests.helpers.colours import coloured, write_video
from tests.helpers.containers import rotate

SMALL = "--width_mult 0.0625 --image_size 32 --num_segments 3 --img_feature_dim 8 --freeze_bn false --dropout 0".split()


def test_from_own_videos_to_an_evaluation(tmp_path):
    """Three classes of twelve videos: MP4s, one of them portrait by its rotation, and a WebM in each."""
    for label in ("Blue", "Green", "Red"):
        folder = tmp_path / "my videos" / label
        folder.mkdir(parents=True)
        for number in range(12):
            name = f"take {number}{'.webm' if number == 3 else '.mp4'}"
            path = write_video(folder / name, coloured(label, 20 + number, 120, 160), 24)
            if number == 5:
                rotate(path, 90)
    status, stdout, stderr = script("prepare_videos.sh", "my videos", "data", cwd=tmp_path)
    assert status == 0, stderr
    assert "36 clips of 3 classes: 30 for training, 6 for validation" in stdout
    frames = tmp_path / "data/20bn-jester-v1/Red"
    assert cv2.imread(str(frames / "take 5.mp4/00001.jpg")).shape == (100, 75, 3)
    assert cv2.imread(str(frames / "take 3.webm/00001.jpg")).shape == (100, 133, 3)

    options = [*SMALL, "--train_batch_size", "5", "--epochs_num", "1", "--train_workers", "2", "--max_steps", "3"]
    status, stdout, stderr = script("run_standalone_train_gpu.sh", 0, "data", "", *options, cwd=tmp_path)
    assert status == 0, stderr
    assert "validation after epoch 1" in stdout
    checkpoint = "train-logs/checkpoint_best.ckpt"
    status, stdout, stderr = script("run_eval_gpu.sh", "data", checkpoint, "--test_crops", 1, cwd=tmp_path)
    assert status == 0, stderr
    assert re.search(r"Top1: [\d.]+%\n", stdout)
    with open(tmp_path / "eval-logs/predictions.csv", encoding="utf-8") as file:
        answers = {row["clip"]: row["true"] for row in csv.DictReader(file)}
    rows = (tmp_path / "data/val_videofolder.txt").read_text().splitlines()
    assert list(answers) == [row.rsplit(None, 2)[0] for row in rows]
    assert all(clip.startswith(f"{true}/take ") for clip, true in answers.items())
