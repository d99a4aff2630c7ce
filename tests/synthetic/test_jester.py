"""The synthetic Jester: what its clips show, which pairs only time or a mirror tells apart, and how it is packed."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import tarfile
import zipfile
from collections import Counter

import cv2
import numpy as np
import pytest

from model_utils.errors import InputError
from src.synthetic import jester as synthetic_jester
from src.synthetic.clips import draw_clip, draw_frame, draw_scene
from src.synthetic.gestures import GESTURES, POSE, clip_poses
from src.synthetic.jester import main, plan_clips
from tests.data.test_mirror_pairs import JESTER_CLASSES

# Written out from the list of Jester's labels, not from the module.
OPPOSITES = [
    ("Swiping Left", "Swiping Right"),
    ("Swiping Up", "Swiping Down"),
    ("Sliding Two Fingers Left", "Sliding Two Fingers Right"),
    ("Sliding Two Fingers Up", "Sliding Two Fingers Down"),
    ("Zooming In With Full Hand", "Zooming Out With Full Hand"),
    ("Zooming In With Two Fingers", "Zooming Out With Two Fingers"),
    ("Pushing Hand Away", "Pulling Hand In"),
    ("Pushing Two Fingers Away", "Pulling Two Fingers In"),
    ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
    ("Rolling Hand Forward", "Rolling Hand Backward"),
]
OTHERS = sorted(set(JESTER_CLASSES) - {label for pair in OPPOSITES for label in pair})
LEFT_RIGHT = [OPPOSITES[0], OPPOSITES[2], OPPOSITES[8]]
SEED = 5


@functools.cache
def frames_of(label, clip_id=1, mirrored=None):
    frames = np.array(draw_clip(label, SEED, clip_id, mirrored)[0])
    frames.flags.writeable = False
    return frames


def test_gestures_are_the_27_of_jester():
    assert sorted(GESTURES) == JESTER_CLASSES
    assert len(JESTER_CLASSES) == len(OTHERS) + 2 * len(OPPOSITES) == 27


def test_first_eight_gestures_are_three_pairs_and_two_that_are_not():
    first = list(GESTURES)[:8]
    assert sum(a in first and b in first for a, b in OPPOSITES) == 3


@pytest.mark.parametrize(("label", "opposite"), OPPOSITES)
def test_opposite_gesture_is_the_same_clip_backwards(label, opposite):
    forwards, backwards = frames_of(label), frames_of(opposite)
    np.testing.assert_array_equal(forwards, backwards[::-1])
    assert not np.array_equal(forwards, backwards)


@pytest.mark.parametrize("label", OTHERS)
def test_gestures_without_an_opposite_differ_from_all_others(label):
    same = [other for other in GESTURES if other != label and np.array_equal(frames_of(label), frames_of(other))]
    assert same == []


@pytest.mark.parametrize(("label", "twin"), LEFT_RIGHT)
def test_mirrored_clip_shows_the_twin(label, twin):
    mirrored, plain = frames_of(label, mirrored=True), frames_of(twin, mirrored=False)
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


@pytest.mark.parametrize("label", ["Thumb Up", "Swiping Up", "Rolling Hand Forward", "Shaking Hand"])
def test_mirrored_clip_of_any_other_gesture_keeps_its_label(label):
    mirrored, plain = frames_of(label, mirrored=True), frames_of(label, mirrored=False)
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_both_arms_are_used():
    used = Counter(draw_scene(np.random.default_rng([SEED, clip_id, 0])).mirrored for clip_id in range(200))
    assert 60 < used[True] < 140


def moved_pixels(label, clip_id, mirrored):
    """Where each frame differs from the first, with the hand at rest: (rows, columns) per frame of the gesture."""
    frames = frames_of(label, clip_id, mirrored).astype(int)
    changed = np.abs(frames - frames[0]).max(axis=3) > 60
    middle = range(round(0.25 * len(frames)), round(0.75 * len(frames)))
    return [np.nonzero(changed[i]) for i in middle]


@pytest.mark.parametrize(("clip_id", "mirrored"), [(1, False), (2, True)])
def test_directions_are_those_of_the_picture(clip_id, mirrored):
    def drift(label, axis):
        means = [pixels[axis].mean() for pixels in moved_pixels(label, clip_id, mirrored)]
        return np.polyfit(range(len(means)), means, 1)[0]

    assert drift("Swiping Left", 1) < 0 < drift("Swiping Right", 1)
    assert drift("Swiping Up", 0) < 0 < drift("Swiping Down", 0)


@pytest.mark.parametrize("label", ["Pushing Hand Away", "Pushing Two Fingers Away", "Zooming In With Full Hand"])
def test_pushed_hand_and_opened_hand_grow(label):
    sizes = [len(pixels[0]) for pixels in moved_pixels(label, 2, None)]
    assert sizes[-1] > 1.1 * sizes[0]


def pose_of(**values):
    pose = dict.fromkeys(POSE, 0.0)
    pose.update(size=1.0, thumb=40.0, **values)
    return np.array([pose[name] for name in POSE])


@pytest.mark.parametrize(("angle", "right", "down"), [(0, 0, -1), (90, 1, 0), (-90, -1, 0), (180, 0, 1)])
def test_fingers_point_where_the_angle_says(angle, right, down):
    scene = draw_scene(np.random.default_rng(3))
    folded = {f"curl_{name}": 1.0 for name in ("index", "middle", "ring", "little")}
    stretched = draw_frame(scene, pose_of(angle=angle), False).astype(int)
    fist = draw_frame(scene, pose_of(angle=angle, **folded), False).astype(int)
    rows, columns = np.nonzero(np.abs(stretched - fist).max(axis=2) > 40)
    offset = np.array([columns.mean() - scene.body_x, rows.mean() - scene.shoulder_y - 10])
    assert offset @ (right, down) > 0.8 * np.linalg.norm(offset) > 5


def test_turning_clockwise_increases_the_angle_and_rolling_forward_comes_closer_at_the_top():
    def columns(label, clip_id, *names):
        poses = clip_poses(GESTURES[label], 40, np.random.default_rng(clip_id))
        return [poses[12:28, POSE.index(name)] for name in names]

    for clip_id in range(5):
        (angle,) = columns("Turning Hand Clockwise", clip_id, "angle")
        assert (np.diff(angle) > 0).all()
        y, size = columns("Rolling Hand Forward", clip_id, "y", "size")
        above = (y < y.mean() - 5)[:-1]
        assert above.any()
        assert np.diff(size)[above].mean() > 0


@pytest.mark.parametrize(("label", "down"), [("Thumb Up", -1), ("Thumb Down", 1)])
def test_thumb_points_up_or_down(label, down):
    scene = draw_scene(np.random.default_rng(3))
    pose = clip_poses(GESTURES[label], 30, np.random.default_rng(1))[15]
    hidden = pose.copy()
    hidden[POSE.index("curl_thumb")] = 1.0
    frames = [draw_frame(scene, values, GESTURES[label].back_of_hand).astype(int) for values in (pose, hidden)]
    rows = np.nonzero(np.abs(frames[0] - frames[1]).max(axis=2) > 40)[0]
    assert (rows.mean() - scene.shoulder_y - 10 - pose[POSE.index("y")]) * down > 5


def test_rest_before_and_after_is_alike_in_distribution():
    height = POSE.index("y")
    clips = [clip_poses(GESTURES["Stop Sign"], 40, np.random.default_rng(i))[:, height] for i in range(400)]
    before, after = zip(*((np.argmax(y < 30), np.argmax(y[::-1] < 30)) for y in clips))
    standard_error = math.sqrt((np.var(before) + np.var(after)) / len(clips))
    assert abs(np.mean(before) - np.mean(after)) < 4 * standard_error


def test_clips_vary_within_the_stated_sizes_and_are_repeatable():
    sizes = [frames_of("Stop Sign", clip_id).shape for clip_id in range(16)]
    assert {shape[1] for shape in sizes} == {100}
    assert {shape[3] for shape in sizes} == {3}
    assert len({shape[0] for shape in sizes}) > 5
    assert all(27 <= shape[0] <= 45 and 120 <= shape[2] <= 180 for shape in sizes)
    np.testing.assert_array_equal(draw_clip("Stop Sign", SEED, 7)[0], frames_of("Stop Sign", 7))
    assert not np.array_equal(draw_clip("Stop Sign", 1, 7)[0][0], draw_clip("Stop Sign", 2, 7)[0][0])


def test_plan_balances_classes_and_deals_every_id_once():
    sizes = {"train": 50, "validation": 13, "test": 8}
    plan = plan_clips(["a", "b", "c", "d"], sizes, seed=1)
    assert {split: len(clips) for split, clips in plan.items()} == sizes
    assert sorted(clip_id for clips in plan.values() for clip_id, _ in clips) == list(range(1, 72))
    for clips in plan.values():
        counts = Counter(label for _, label in clips)
        assert max(counts.values()) - min(counts.values()) <= 1
    labels_by_id = [label for _, label in sorted(clip for clips in plan.values() for clip in clips)]
    assert labels_by_id[:8] not in (["a", "b", "c", "d"] * 2, ["a"] * 8)


def make(target, *options):
    main([str(target), "--gestures", "4", "--train", "6", "--val", "4", "--test", "2", "--seed", "3", *options])


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    target = tmp_path_factory.mktemp("archives") / "made by main"
    make(target, "--parts", "4")
    return target


def test_archives_are_packed_as_20bn_packs_them(archives):
    names = [f"20bn-jester-v1-{number:02d}" for number in range(4)]
    expected = ["20bn-jester-download-package-labels.zip", *(f"{name}.zip" for name in names)]
    assert sorted(path.name for path in archives.iterdir()) == expected
    packed = b""
    for name in names:
        with zipfile.ZipFile(archives / f"{name}.zip") as archive:
            assert archive.namelist() == [name, f"{name}.md5"]
            part = archive.read(name)
            assert archive.read(f"{name}.md5").decode().split() == [hashlib.md5(part).hexdigest(), name]
            assert part
            packed += part
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        files = [member.name for member in tar if member.isfile()]
        folders = {name.rsplit("/", 1)[0] for name in files}
        assert folders == {f"20bn-jester-v1/{clip_id}" for clip_id in range(1, 13)}
        first = sorted(name for name in files if name.startswith("20bn-jester-v1/1/"))
        assert first == [f"20bn-jester-v1/1/{number:05d}.jpg" for number in range(1, len(first) + 1)]
        frame = cv2.imdecode(np.frombuffer(tar.extractfile(first[0]).read(), np.uint8), cv2.IMREAD_COLOR)
        assert frame.shape[0] == 100


def test_label_lists(archives):
    with zipfile.ZipFile(archives / "20bn-jester-download-package-labels.zip") as archive:
        lists = {name: archive.read(name).decode().splitlines() for name in archive.namelist()}
    assert set(lists) == {f"labels/{name}.csv" for name in ("labels", "train", "validation", "test", "test-answers")}
    labels = ["Swiping Left", "Swiping Right", "Swiping Up", "Swiping Down"]
    assert lists["labels/labels.csv"] == labels
    rows = [row.split(";") for name in ("train", "validation", "test-answers") for row in lists[f"labels/{name}.csv"]]
    assert sorted(int(clip_id) for clip_id, _ in rows) == list(range(1, 13))
    assert Counter(label for _, label in rows[6:10]) == Counter(labels)
    assert lists["labels/test.csv"] == [row.split(";")[0] for row in lists["labels/test-answers.csv"]]


def test_frames_in_the_archive_are_the_clip_of_its_label(archives):
    with zipfile.ZipFile(archives / "20bn-jester-download-package-labels.zip") as archive:
        clip_id, label = archive.read("labels/train.csv").decode().splitlines()[0].split(";")
    packed = b"".join(zipfile.ZipFile(path).read(path.stem) for path in sorted(archives.glob("20bn-jester-v1-*.zip")))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        files = [member for member in tar.getmembers() if member.name.startswith(f"20bn-jester-v1/{clip_id}/")]
        read = [cv2.imdecode(np.frombuffer(tar.extractfile(file).read(), np.uint8), cv2.IMREAD_COLOR) for file in files]
    drawn, _ = draw_clip(label, 3, int(clip_id))
    assert np.abs(np.array(read).astype(int) - np.array(drawn)).mean() < 8  # JPEG is not exact


def test_same_seed_gives_the_same_bytes(archives, tmp_path):
    make(tmp_path, "--parts", "4")
    for path in archives.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_leaves_no_archives_and_no_folders(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(synthetic_jester, "_write_labels", fail)
    with pytest.raises((InputError, KeyboardInterrupt), match="No space left on device|^$"):
        make(tmp_path / "new" / "archives")
    assert list(tmp_path.iterdir()) == []


def test_no_test_list_without_test_clips(tmp_path):
    make(tmp_path, "--test", "0")
    with zipfile.ZipFile(tmp_path / "20bn-jester-download-package-labels.zip") as archive:
        assert archive.namelist() == ["labels/labels.csv", "labels/train.csv", "labels/validation.csv"]


def test_contact_sheet_has_a_row_for_each_gesture(tmp_path):
    main(["--contact_sheet", str(tmp_path / "sheet.png"), "--gestures", "3"])
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 116, 6 * 180, 3)
