"""The classes that a mirror exchanges, by their names and as the user gives them."""

from __future__ import annotations

import numpy as np
import pytest

from model_utils.errors import InputError
from src.data.mirror_pairs import describe_mirroring, given_pairs, mirrored_classes

JESTER = """Doing other things|Drumming Fingers|No gesture|Pulling Hand In|Pulling Two Fingers In|Pushing Hand Away
Pushing Two Fingers Away|Rolling Hand Backward|Rolling Hand Forward|Shaking Hand|Sliding Two Fingers Down
Sliding Two Fingers Left|Sliding Two Fingers Right|Sliding Two Fingers Up|Stop Sign|Swiping Down|Swiping Left
Swiping Right|Swiping Up|Thumb Down|Thumb Up|Turning Hand Clockwise|Turning Hand Counterclockwise
Zooming In With Full Hand|Zooming In With Two Fingers|Zooming Out With Full Hand|Zooming Out With Two Fingers"""
JESTER_CLASSES = JESTER.replace("\n", "|").split("|")


def test_mirrored_classes_of_jester():
    mirrored = mirrored_classes(JESTER_CLASSES)
    assert mirrored.dtype == np.int32
    np.testing.assert_array_equal(mirrored[mirrored], np.arange(27))
    twins = {name: JESTER_CLASSES[twin] for name, twin in zip(JESTER_CLASSES, mirrored)}
    changed = {name: twin for name, twin in twins.items() if twin != name}
    assert changed == {
        "Sliding Two Fingers Left": "Sliding Two Fingers Right",
        "Sliding Two Fingers Right": "Sliding Two Fingers Left",
        "Swiping Left": "Swiping Right",
        "Swiping Right": "Swiping Left",
        "Turning Hand Clockwise": "Turning Hand Counterclockwise",
        "Turning Hand Counterclockwise": "Turning Hand Clockwise",
    }


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        (["Swiping Left", "Thumb Up"], [-1, 1]),
        (["from left to right", "from right to left"], [1, 0]),
        (["swipe_left", "swipe_right"], [1, 0]),
        # The first four of a user's trial, which were mirrored under their own label.
        (["swipeLeft", "swipeRight", "OK"], [1, 0, 2]),
        (["LeftSwipe", "RightSwipe"], [1, 0]),
        (["nach_links", "nach_rechts"], [1, 0]),
        (["向左", "向右", "停"], [1, 0, 2]),
        (["go_l", "go_r"], [1, 0]),
        (["cw", "ccw"], [1, 0]),
        (["turnCW", "turnCCW"], [1, 0]),
        (["turn anti-clockwise", "turn clockwise"], [1, 0]),
        (["TurnCounterClockwise", "TurnClockwise"], [1, 0]),
        (["swipeleft", "swiperight"], [1, 0]),
        (["Linksdrehung", "Rechtsdrehung"], [1, 0]),
        (["à gauche", "à droite"], [1, 0]),
        (["왼쪽", "오른쪽"], [1, 0]),
        (["l", "r", "u", "d"], [1, 0, 2, 3]),
        (["left +", "left *", "right +", "right *"], [2, 3, 0, 1]),
        (["Leftovers", "Copyright", "Bright", "Stop"], [-1, -1, -1, 3]),
        (["go_l", "stop"], [-1, 1]),
        (["Letter_L", "Letter_R", "Letter_A"], [0, 1, 2]),
        (["L", "V", "Y"], [0, 1, 2]),
        (["clap", "blur", "Curl"], [0, 1, 2]),
        (["swipe_left", "Swipe Left", "swipe right"], [-1, -1, -1]),
    ],
)
def test_mirrored_classes_of_other_names(categories, expected):
    assert mirrored_classes(categories).tolist() == expected


def test_mirrored_templates_of_something_something():
    categories = [
        "Holding something",
        "Moving away from something with your camera",
        "Pulling something from left to right",
        "Pulling something from right to left",
        "Pushing something from left to right",
        "Pushing something from right to left",
        "Turning the camera left while filming something",
        "Turning the camera right while filming something",
        "Turning the camera upwards while filming something",
    ]
    assert mirrored_classes(categories).tolist() == [0, 1, 3, 2, 5, 4, 7, 6, 8]
    assert mirrored_classes(categories[:3]).tolist() == [0, 1, -1]


NAMES = ["to the door", "to the window", "Bright", "a = b", "a; b", "stop"]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ("", [0, 1, -1, 3, 4, 5]),
        ("to the door = to the window", [1, 0, -1, 3, 4, 5]),
        ("to the window=to the door; Bright = Bright", [1, 0, 2, 3, 4, 5]),
        ("a = b = a; b\nstop =", [0, 1, -1, 4, 3, -1]),
        ("stop =;", [0, 1, -1, 3, 4, -1]),
    ],
)
def test_pairs_that_are_given(pairs, expected):
    assert mirrored_classes(NAMES, pairs).tolist() == expected


def test_given_pairs_win_over_names():
    names = ["left", "right", "to the left"]
    assert mirrored_classes(names).tolist() == [1, 0, -1]
    assert mirrored_classes(names, "to the left = right").tolist() == [-1, 2, 1]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("to the dor = to the window", "mirror_pairs: 'to the dor = to the window'; expected .* mean 'to the door'"),
        ("stop", "mirror_pairs: 'stop'; expected 'CLASS = CLASS' with classes of to the door"),
        ("stop = Bright; stop = a; b", "mirror_pairs: 'stop = a'; expected"),
        ("stop = Bright; stop =", "mirror_pairs: stop has two mirror images, 'Bright' and ''"),
    ],
)
def test_wrong_pairs(pairs, message):
    with pytest.raises(InputError, match=message):
        mirrored_classes(NAMES, pairs)


def test_pairs_of_a_file(tmp_path):
    assert given_pairs(tmp_path, NAMES, "stop =") == "stop ="
    (tmp_path / "mirror_pairs.txt").write_text("to the door = to the window\n\na; b = a = b\n")
    pairs = given_pairs(tmp_path, NAMES, "stop =")
    assert mirrored_classes(NAMES, pairs).tolist() == [1, 0, -1, 4, 3, -1]
    assert given_pairs(tmp_path, NAMES, pairs) == pairs  # as when a run is resumed with its own config
    with pytest.raises(InputError, match="to the door has two mirror images"):
        given_pairs(tmp_path, NAMES, "to the door = stop")
    (tmp_path / "mirror_pairs.txt").write_text("stop =\nto the dor = stop\n")
    with pytest.raises(InputError, match=r"mirror_pairs.txt:2: 'to the dor = stop'; .*'to the door'"):
        given_pairs(tmp_path, NAMES, "")


def test_what_is_said():
    names = ["swipeLeft", "swipeRight", "Bright", "stop"]
    pairs, off = describe_mirroring(names, mirrored_classes(names))
    assert pairs == "in a mirror: swipeLeft = swipeRight"
    assert off.startswith("not mirrored: Bright: ")
    assert "mirror_pairs" in off
    assert describe_mirroring(names, mirrored_classes(names, "Bright = Bright")) == [pairs]
    assert describe_mirroring(["stop"], mirrored_classes(["stop"])) == []
