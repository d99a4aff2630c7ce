"""The truth about streams, from JSON and CSV, and what can be wrong in them."""

from __future__ import annotations

import json
import time

import pytest

from src.data.stream_truth import read_truth
from src.data.video import Span
from tests.helpers.refusals import refusal

CLASSES = ["No gesture", "Swiping Left", "Thumb Up"]
VIDEOS = ["one.mp4", "two.mp4", "a, b.mp4"]
EXPECTED = {
    "one.mp4": [Span(1.5, 3.0, "Thumb Up", 1.0), Span(4.0, 5.25, "Swiping Left", 1.0)],
    "two.mp4": [],
    "a, b.mp4": [Span(0.0, 1.0, "Thumb Up", 1.0)],
}
ROWS = """video,start,end,label
one.mp4,4,5.25,Swiping Left
one.mp4,1.5,3,Thumb Up
two.mp4,,,
"a, b.mp4",0,1,Thumb Up
"""
# As a spreadsheet of a country with decimal commas writes it.
CLOCK_ROWS = """video;start;end;label
one.mp4;0:04;5,25;Swiping Left
one.mp4;1,5;00:00:03;Thumb Up
two.mp4;;;
a, b.mp4;0;1;Thumb Up
"""


def document():
    return {
        video: [{"start": span.start, "end": span.end, "label": span.label} for span in reversed(gestures)]
        for video, gestures in EXPECTED.items()
    }


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("truth.json", json.dumps(document())),
        ("truth.csv", ROWS),
        ("truth.csv", ROWS.replace("video,start", "Video , START")),
        ("truth.CSV", "\ufeff" + ROWS.replace("\n", "\r\n")),
        ("truth.csv", CLOCK_ROWS),
        ("truth.csv", CLOCK_ROWS.replace(";", "\t")),
        ("truth.csv", ROWS.replace(",,,", "\t\t\t").replace(", b", "_ b").replace(",", "\t").replace("_ b", ", b")),
        ("truth.json", json.dumps(document()).replace("5.25", '"00:00:05.25"')),
    ],
)
def test_read_truth(tmp_path, name, text):
    assert read_truth(write(tmp_path, name, text), CLASSES, VIDEOS) == EXPECTED


GOOD = '{"one.mp4": [%s], "two.mp4": [], "a, b.mp4": []}'
GESTURE = '{"start": 1, "end": 2, "label": "Thumb Up"}'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("truth.txt", "", "truth.txt: expected a file whose name ends in .json or .csv"),
        ("truth.json", b"\xff\xfe", "truth.json: cannot be read (not UTF-8)"),
        ("truth.json", '{\n"one.mp4": [\n}', "truth.json:3: not valid JSON: "),
        ("truth.json", "[]", 'truth.json: expected {video: [{"start"'),
        ("truth.json", '{"one.mp4": {}}', "truth.json: one.mp4: {}; expected a list of gestures"),
        ("truth.json", GOOD % "[1, 2]", "truth.json: one.mp4: gesture 1: [1, 2]; expected {"),
        ("truth.json", GOOD % '{"start": 1, "label": "Thumb Up"}', "truth.json: one.mp4: gesture 1: {'start'"),
        ("truth.json", GOOD % GESTURE.replace("2", "1"), "gesture 1: end 1 s, start 1 s; expected an end"),
        ("truth.json", GOOD % GESTURE.replace("1", "-1"), "gesture 1: start -1; expected seconds, 0 or more"),
        ("truth.json", GOOD % GESTURE.replace("2", "NaN"), "gesture 1: end nan; expected seconds"),
        ("truth.json", GOOD % GESTURE.replace('"Thumb Up"', "null"), "gesture 1: label None; expected one of"),
        ("truth.json", GOOD % f"{GESTURE}, {GESTURE}", "gesture 2: the same gesture as {path}: one.mp4: gesture 1"),
        (
            "truth.json",
            GOOD % f"{GESTURE.replace('1', '1.9').replace('2', '3')}, {GESTURE}",
            "gesture 1: Thumb Up overlaps {path}: one.mp4: gesture 2; expected one after the other",
        ),
        (
            "truth.csv",
            "video,start,end,label\none.mp4,,,\none.mp4,1,2,Thumb Up\n",
            "truth.csv:2: one.mp4 has no gesture here, and one in {path}:3",
        ),
        ("truth.json", GOOD % GESTURE.replace("Up", "Down"), "label 'Thumb Down'; expected one of No gesture, "),
        ("truth.json", GOOD % GESTURE.replace("Thumb Up", "No gesture"), "gesture 1: label 'No gesture' is no gesture"),
        ("truth.json", '{"one.mp4": [], "one.mp4": []}', "truth.json: 'one.mp4' is listed twice"),
        ("truth.json", '{"one.mp4": []}', "truth.json: nothing about two.mp4, a, b.mp4; expected all videos"),
        ("truth.json", '{"0.mp4": []}', "0.mp4: there is no video '0.mp4'; expected one of one.mp4, two.mp4"),
        ("truth.csv", "video,start,end,label,end\n", "truth.csv:1: 'video,start,end,label,end'; expected a header"),
        ("truth.csv", "one.mp4,1,2,Thumb Up\n", "truth.csv:1: 'one.mp4,1,2,Thumb Up'; expected a header video,st"),
        (
            "truth.csv",
            "video,start,end,label\none.mp4,1,2\n",
            "truth.csv:2: 'one.mp4,1,2' has 3 values; expected video",
        ),
        (
            "truth.csv",
            "video,start,end,label\n\none.mp4,,,\n",
            "truth.csv:2: there is no video ''; expected one",
        ),
        ("truth.csv", 'video,start,end,label\none.mp4,1,2,"Thumb', "truth.csv:2: not valid CSV: "),
        ("truth.csv", "video,start,end,label\none.mp4,1,two,Thumb Up\n", "truth.csv:2: end 'two'; expected seconds"),
        ("truth.csv", "video,start,end,label\nzero.mp4,,,\n", "truth.csv:2: there is no video 'zero.mp4'"),
    ],
)
def test_refused(tmp_path, name, text, message):
    said = refusal(read_truth, write(tmp_path, name, text), CLASSES, VIDEOS)
    assert message.replace("{path}", str(tmp_path / name)) in said


def test_annotations_are_truth_too(tmp_path):
    """The CSV that ``prepare_videos`` takes: other columns, in another order."""
    text = 'label,video,split,start,end\nThumb Up,one.mp4,train,1,2\n,two.mp4,,,\n,"a, b.mp4",,,\n'
    truth = read_truth(write(tmp_path, "truth.csv", text), CLASSES, VIDEOS)
    assert truth == {"one.mp4": [Span(1.0, 2.0, "Thumb Up", 1.0)], "two.mp4": [], "a, b.mp4": []}


def test_gestures_that_touch_and_others_at_the_same_time(tmp_path):
    gestures = [(1, 2, "Thumb Up"), (2, 3, "Thumb Up"), (1.5, 2.5, "Swiping Left")]
    rows = "".join(f"one.mp4,{start},{end},{label}\n" for start, end, label in gestures)
    path = write(tmp_path, "truth.csv", f"video,start,end,label\n{rows}")
    assert read_truth(path, CLASSES, ["one.mp4"]) == {"one.mp4": sorted(Span(*row, 1.0) for row in gestures)}


def test_many_gestures_and_videos_take_no_time(tmp_path):
    """Comparing all with all would take a minute."""
    gestures = [{"start": second, "end": second + 0.5, "label": "Thumb Up"} for second in range(20_000)]
    videos = {f"{number}.mp4": [] for number in range(20_000)}
    path = write(tmp_path, "truth.json", json.dumps({**videos, "0.mp4": gestures}))
    began = time.process_time()
    assert len(read_truth(path, CLASSES, list(videos))["0.mp4"]) == 20_000
    assert time.process_time() - began < 5
