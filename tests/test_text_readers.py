"""Whatever a text file holds, its reader either reads it or says what is wrong in one line: never a traceback.

Texts are right ones with some of their parts replaced by others that are nasty, documents of any JSON, and any bytes.
Hypothesis draws the same ones at each run (``derandomize``).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from model_utils.config import load_config
from model_utils.errors import InputError
from src import tsn_dataset
from src.data import annotations, label_lists, lists, names, something_v2, stream_truth
from src.evaluation import results
from src.shipping import exported
from src.training import checkpoint, state
from tests.helpers.clips import folders
from tests.helpers.networks import CLASSES
from tests.helpers.networks import settings as network_settings
from tests.shipping.test_exported import usage

pytestmark = pytest.mark.slow

EXAMPLES = 20  # for each reader
NASTY = [
    *("", "\0", "\r", "\n", "\t", "\x1b[2J", "\u2028", "\ufeff", "\\ud800", "\\u0000", "Cafe\u0301", "\U0001f44b" * 70),
    *("-", ":", ",", ";", '"', "'", "[", "]", "{", "}", "#", "&a ", "*a", "<<: ", "? ", "!!python/tuple ", "--- ", "|"),
    *("NaN", "Infinity", "null", "true", "1e999", "-1", "0", "1.5", "0x1F"),
    *("9" * 400, "9" * 5000, "{:0999999d}", "..", "/"),
    *("x" * 140_000, "[" * 100_000, '{"a":' * 5000, "- " * 3000, "a: {" * 2000, "\u00fc" * 200, "a\n" * 2000),
]
LETTERS = "a1 .-/\0\x1b\n\u00fc\u2028"  # a strategy of all letters takes seconds to make
LEAVES = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(),
    strategies.sampled_from([0, 1, -1, 3, 10**9, 10**400, math.nan, math.inf, -math.inf, 0.5, 1e308]),
    strategies.sampled_from(["", "Thumb Up", "one.mp4", "\0", "\x1b[31m", "a\nb", "..", "/", "label_aware", "x" * 300]),
    strategies.text(LETTERS, max_size=5),
)
VALUES = strategies.recursive(
    LEAVES,
    lambda inner: (
        strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(LETTERS, max_size=3), inner)
    ),
    max_leaves=6,
)


class Reader(NamedTuple):
    """A right text, and what reads it from a file of this name."""

    file: str
    text: str
    read: Callable[[Path], Any]


def read_config(path: Path) -> Any:
    return load_config(["--config_path", str(path)])


def read_truth(path: Path) -> Any:
    return stream_truth.read_truth(path, ["Thumb Up", "Stop Sign"], ["one.mp4", "two.mp4"])


def read_annotations(path: Path) -> Any:
    for name in ("one.mp4", "two.mp4"):
        (path.parent / name).touch()
    return annotations.read_annotations(path, path.parent)


def read_usage(path: Path) -> Any:
    network = path.with_name("trn.onnx")
    network.write_bytes(b"network")
    exported.usage_path(network).write_bytes(path.read_bytes())
    return exported.read_usage(network)


def read_description(path: Path) -> Any:
    about = checkpoint._parse_description(path.read_bytes(), path, {})
    try:
        return state.Progress.parse(about.get("progress"))
    except ValueError as error:  # ``resume_training`` makes an InputError of it
        raise InputError(repr(str(error))) from None


def read_clip_lists(path: Path) -> Any:
    file = label_lists.read_list(path)
    return [label_lists.read_rows(file, labelled) for labelled in (None, True, False)]


GESTURES = [{"start": 1.5, "end": 2, "label": "Thumb Up"}, {"start": 3, "end": 4.5, "label": "Stop Sign"}]
PROGRESS = {"epochs_done": 1, "step": 2, "loss_sum": 0.5, "best": [0.1, 0.2, 3], "since_best": 0, "rewinds": 0}
DESCRIPTION = {**checkpoint.describe(network_settings(num_segments=2), CLASSES), "progress": PROGRESS}
VIDEO = usage("trn.onnx", b"network", categories=CLASSES, width_mult=1.0)
READERS = {
    "config": Reader(
        "c.yaml", "lr: 0.01\nflip: plain\nimage_size: 224\nfreeze_bn: true\nmodel_name: trn\n", read_config
    ),
    "list of clips": Reader(
        "list.txt",
        "left 37 0\nright hand/7 3 12 1\nup 9 2\n",
        lambda path: tsn_dataset.read_video_list(path, 3, folders(path.parent)),
    ),
    "categories": Reader("categories.txt", "No gesture\nStop Sign\nThumb Up\n", lists.read_categories),
    "truth in JSON": Reader("t.json", json.dumps({"one.mp4": GESTURES, "two.mp4": []}), read_truth),
    "truth in CSV": Reader(
        "t.csv", "video,start,end,label\none.mp4,1.5,2,Thumb Up\none.mp4,3,4.5,Stop Sign\ntwo.mp4,,,\n", read_truth
    ),
    "annotations": Reader(
        "a.csv",
        "video,label,start,end,split\none.mp4,x,0,1,train\none.mp4,y,1,2.5,val\ntwo.mp4,x,,,train\n",
        read_annotations,
    ),
    "JSON of 1.0.0": Reader("trn.json", json.dumps(VIDEO), read_usage),
    "JSON of an exported file": Reader("trn.json", json.dumps(exported.sealed(VIDEO)), read_usage),
    "description of a checkpoint": Reader("about.json", json.dumps(DESCRIPTION), read_description),
    "labels": Reader(
        "labels.csv", "Thumb Up\nStop Sign\n", lambda path: label_lists.read_class_names(label_lists.read_list(path))
    ),
    "clips": Reader("train.csv", "1;Thumb Up\n2;Stop Sign\n", read_clip_lists),
    "clips with a header": Reader("Train.csv", 'video_id,label,shape\n1,Thumb Up,"(176, 100)"\n', read_clip_lists),
    "labels of v2": Reader("labels.json", '{"Holding something": "0", "Moving": "1"}', something_v2.read_templates),
    "clips of v2": Reader(
        "train.json",
        '[{"id": "1", "template": "Holding [something]", "placeholders": []}, {"id": "2", "template": "Moving"}]',
        lambda path: something_v2.read_entries(path, ["Holding something", "Moving"]),
    ),
    "frame names": Reader(
        "name.txt", "img_{:05d}.jpg", lambda path: names.split_frame_name(path.read_text("utf-8", "surrogateescape"))
    ),
    "curves": Reader(
        "metrics.csv",
        "epoch,lr,loss,top1,top5,seconds\n1,0.01,2.5,0.1,0.2,3\n",
        lambda path: results.read_training(path.parent, 9),
    ),
}


def refusal(reader: Reader, path: Path) -> str:
    """What is wrong with a file; "" if nothing is."""
    try:
        reader.read(path)
    except InputError as error:
        return str(error)
    return ""


@strategies.composite
def texts(draw, right: str) -> bytes:
    kind = draw(strategies.sampled_from(["parts", "parts", "parts", "document", "bytes"]))
    if kind == "bytes":
        return draw(strategies.binary(max_size=60))
    if kind == "document" and right[:1] in ("{", "["):
        document = json.loads(right)
        draw_into(draw, document)
        return json.dumps(document).encode(errors="surrogatepass")
    text = right
    for _ in range(draw(strategies.integers(1, 3))):
        begin = draw(strategies.integers(0, len(text)))
        end = min(len(text), begin + draw(strategies.integers(0, 6)))
        text = text[:begin] + draw(strategies.sampled_from(NASTY)) + text[end:]
    return text.encode(draw(strategies.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16"])), errors="surrogatepass")


def draw_into(draw: Any, document: Any) -> None:
    """Replaces a value somewhere in a document, removes it, or adds one."""
    while True:
        places = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not places:
            return
        place = draw(strategies.sampled_from(places))
        if isinstance(document[place], (dict, list)) and document[place] and draw(strategies.booleans()):
            document = document[place]
            continue
        action = draw(strategies.sampled_from(["replace", "replace", "remove", "add"]))
        if action == "remove":
            del document[place]
        elif action == "replace":
            document[place] = draw(VALUES)
        elif isinstance(document, dict):
            document[draw(strategies.text(LETTERS, max_size=4))] = draw(VALUES)
        else:
            document.append(draw(VALUES))
        return


@pytest.mark.parametrize("name", READERS)
def test_a_right_text_is_read(name, tmp_path):
    """Or else the texts below would be refused for one and the same reason."""
    reader = READERS[name]
    (tmp_path / reader.file).write_text(reader.text, encoding="utf-8")
    problem = refusal(reader, tmp_path / reader.file)
    assert not problem or "expected <clip>" in problem  # one list of clips cannot be of all forms


@pytest.mark.parametrize("name", READERS)
def test_any_text_is_read_or_refused_in_one_line(name, tmp_path):
    reader = READERS[name]
    path = tmp_path / reader.file

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(texts(reader.text))
    def check(content):
        path.write_bytes(content)
        problem = refusal(reader, path)
        assert len(problem.splitlines()) <= 1, repr(problem)
        assert "\x1b" not in problem

    check()
