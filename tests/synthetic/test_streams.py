"""Synthetic streams: what their videos show, and that the truth is where the hand is raised."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from model_utils.errors import InputError
from src.synthetic.gestures import GESTURES, POSE, RESTING_HAND
from src.synthetic.streams import STREAM_RATE, draw_stream, main, stream_labels, stream_poses

LABELS = ["Swiping Left", "Swiping Left", "Thumb Up", "Zooming In With Full Hand"]
HAND = POSE.index("y")


def poses_of(labels, mirrored=False, seed=0):
    return stream_poses(labels, mirrored, np.random.default_rng(seed))


def test_every_third_video_has_no_gesture_and_some_repeat():
    videos = [stream_labels(["A", "B", "C", "D"], 1, number) for number in range(1, 91)]
    assert [len(labels) for labels in videos] == [5, 5, 0] * 30
    labels = [label for video in videos for label in video]
    assert {labels.count(name) for name in "ABCD"} <= set(range(50, 101))
    repeats = sum(a == b for video in videos for a, b in zip(video, video[1:]))
    assert 70 <= repeats <= 135  # of 240: a quarter on purpose, and a quarter of the rest by chance


@pytest.mark.parametrize("mirrored", [False, True])
def test_truth_is_where_the_hand_is_raised(mirrored):
    poses, back_of_hand, spans = poses_of(LABELS, mirrored)
    height = RESTING_HAND["y"] - poses[:, HAND]
    inside = np.zeros(len(poses), bool)
    for first, end in spans:
        inside[first:end] = True
        assert 15 < end - first <= 45
    assert np.all(np.abs(height[~inside]) <= 3.0)
    assert all(height[first] > 3 and height[end - 1] > 3 for first, end in spans)
    assert height[inside].mean() > 40
    thumbs = np.flatnonzero(back_of_hand)
    assert len(back_of_hand) == len(poses)
    assert thumbs[0] < spans[2][0]
    assert spans[2][1] <= thumbs[-1] + 1 < spans[3][0]


def test_pauses_last_one_to_three_seconds_and_the_hand_never_jumps():
    pauses = []
    for seed in range(20):
        poses, _, spans = poses_of(LABELS, seed=seed)
        edges = [0, *(frame for span in spans for frame in span), len(poses)]
        pauses += [(edges[i + 1] - edges[i]) / STREAM_RATE for i in range(0, len(edges), 2)]
        raising = np.abs(np.diff(poses[:, HAND]))
        assert raising.max() < 70  # of 78 and more: raising the hand takes some frames
        resting = np.ones(len(poses), bool)
        for first, end in spans:
            resting[max(first - 4, 0) : end + 4] = False
        steps = np.abs(np.diff(poses, axis=0))[resting[1:] & resting[:-1]]
        assert steps[:, HAND].max() < 2
    # A clip rests a little at its ends as well.
    assert min(pauses) >= 1.0
    assert max(pauses) <= 3.0 + 2 * 0.15 * 45 / STREAM_RATE


def test_a_gesture_moves_as_it_does_in_a_clip():
    for label, sign in (("Swiping Left", -1), ("Swiping Right", 1)):
        for mirrored in (False, True):
            poses, _, [(first, end)] = poses_of([label], mirrored)
            x = poses[first:end, POSE.index("x")] * (-1 if mirrored else 1)
            middle = slice(len(x) // 3, 2 * len(x) // 3)
            assert np.sign(np.polyfit(np.arange(len(x))[middle], x[middle], 1)[0]) == sign


def test_a_video_without_gestures_fidgets():
    poses, _, spans = poses_of([])
    assert spans == []
    assert len(poses) > 12 * STREAM_RATE
    assert np.ptp(poses[:, HAND]) > 20 or np.ptp(poses[:, POSE.index("lean")]) > 10


def test_draw_stream_depends_on_its_arguments_alone():
    frames, truth = draw_stream(LABELS[1:3], 5, 1)
    again, _ = draw_stream(LABELS[1:3], 5, 1)
    other, _ = draw_stream(LABELS[1:3], 5, 2)
    assert np.array_equal(frames, again)
    assert not np.array_equal(frames[0], other[0][:, : frames[0].shape[1]])
    assert frames[0].dtype == np.uint8
    assert frames[0].shape[0] == 100
    assert [row["label"] for row in truth] == LABELS[1:3]
    # The picture changes most where a hand is.
    changes = np.array([np.abs(b.astype(int) - a).mean() for a, b in zip(frames, frames[1:])])
    seconds = np.arange(1, len(frames)) / STREAM_RATE
    moving = np.any([(seconds >= row["start"]) & (seconds <= row["end"]) for row in truth], axis=0)
    assert changes[moving].max() > 1.3 * changes[~moving].max()


def test_main_writes_videos_and_truth(tmp_path, capsys):
    main([str(tmp_path / "streams"), "--videos", "3", "--gestures", "4", "--seed", "7"])
    truth = json.loads((tmp_path / "streams" / "truth.json").read_text())
    assert sorted(path.name for path in (tmp_path / "streams").iterdir()) == [
        *("001.mp4", "002.mp4", "003.mp4"),
        "truth.json",
    ]
    assert [len(truth[name]) for name in ("001.mp4", "002.mp4", "003.mp4")] == [5, 5, 0]
    assert {row["label"] for rows in truth.values() for row in rows} <= set(list(GESTURES)[:4])
    assert "3 videos with 10 gestures of 4 classes" in capsys.readouterr().out
    frames, drawn = draw_stream([row["label"] for row in truth["002.mp4"]], 7, 2)
    assert drawn == truth["002.mp4"]
    capture = cv2.VideoCapture(str(tmp_path / "streams" / "002.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 12
    for frame in frames:
        read, decoded = capture.read()
        assert read
        difference = decoded.astype(int) - frame[:, : decoded.shape[1]]
        assert np.abs(difference).mean() < 12
    assert not capture.read()[0]
    with pytest.raises(InputError, match=r"truth\.json: exists"):
        main([str(tmp_path / "streams")])
