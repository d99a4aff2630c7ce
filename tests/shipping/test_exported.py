"""The JSON of an exported network belongs to one file, and everything in it that is used is checked."""

from __future__ import annotations

import hashlib
import json
import math

import pytest

from src.shipping.exported import read_usage, sealed
from tests.helpers.refusals import refusal

GONE = object()


def usage(name: str, content: bytes, **changes):
    """A JSON that export.py writes, written out by hand."""
    video = {
        "name": "video",
        "dtype": "float32",
        "shape": ["batch", 9, 32, 32],
        "channel_order": "BGR",
        "channel_means": [104, 117, 128],
        "scale": 1.0,
    }
    document = {
        "file": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "categories": ["Swiping Left", "Swiping Right"],
        "num_segments": 3,
        "image_size": 32,
        "input": video,
        "relations": "all",
        "subsample_num": 2,
        "flip": "label_aware",
    }
    document.update(changes)
    return {key: value for key, value in document.items() if value is not GONE}


def write(path, about, content=b"network"):
    path.write_bytes(content)
    path.with_name(path.name + ".json").write_text(json.dumps(about))
    return path


# ------------------------------------------------------------------------------------------- belongs to one file


def test_two_files_of_one_name_have_their_own_classes(tmp_path):
    names = {"trn.mindir": ["Thumb Up", "Thumb Down"], "trn.onnx": ["Stop Sign", "No gesture", "Thumb Up"]}
    for name, categories in names.items():
        content = name.encode()
        write(tmp_path / name, usage(name, content, categories=categories), content)
    assert {name: read_usage(tmp_path / name)["categories"] for name in names} == names


def test_a_file_that_was_replaced_without_its_json(tmp_path):
    """Also what is left where an export is killed after it has written the JSON of the new file."""
    path = write(tmp_path / "trn.mindir", usage("trn.mindir", b"new network"), b"old network")
    assert refusal(read_usage, path) == (
        f"{path}: not the file that trn.mindir.json describes (another sha256): damaged, or replaced without its JSON;"
        " export the checkpoint again"
    )


def test_a_file_that_was_renamed_with_its_json(tmp_path):
    path = write(tmp_path / "b.onnx", usage("a.onnx", b"network"))
    assert refusal(read_usage, path) == (
        f'{path}: b.onnx.json beside it describes "a.onnx"; give both their names back, or export the checkpoint again'
    )


def test_a_json_without_a_digest(tmp_path):
    path = write(tmp_path / "trn.mindir", usage("trn.mindir", b"network", sha256=GONE))
    expected = "trn.mindir.json: no sha256, expected the digest of trn.mindir; export the checkpoint again"
    assert refusal(read_usage, path) == f"{tmp_path}/{expected}"


def test_the_json_of_an_export_of_before(tmp_path):
    """trn.json, which has no digest, counts for the file that it names."""
    for name in ("trn.mindir", "trn.onnx"):
        (tmp_path / name).write_bytes(b"network")
    about = usage("trn.mindir", b"network", sha256=GONE)
    (tmp_path / "trn.json").write_text(json.dumps(about))
    assert read_usage(tmp_path / "trn.mindir") == about
    message = refusal(read_usage, tmp_path / "trn.onnx")
    assert message.startswith(f'{tmp_path}/trn.onnx: trn.json beside it describes "trn.mindir"; give both')
    write(tmp_path / "trn.mindir", usage("trn.mindir", b"network", categories=["Stop Sign"]))
    assert read_usage(tmp_path / "trn.mindir")["categories"] == ["Stop Sign"]  # the newer JSON counts


def test_what_is_not_there(tmp_path):
    assert refusal(read_usage, tmp_path / "trn.onnx") == f"{tmp_path}/trn.onnx: no such exported network"
    (tmp_path / "trn.onnx").touch()
    assert "expected trn.onnx.json beside it" in refusal(read_usage, tmp_path / "trn.onnx")


# --------------------------------------------------------------------------------------------------- edited by hand

BY_HAND = "damaged, edited by hand, or not what export.py writes; export the checkpoint again"
WRONG = [
    *((key, GONE) for key in ("file", "categories", "num_segments", "image_size", "relations", "flip")),
    *((key, "3") for key in ("num_segments", "image_size", "subsample_num", "categories")),
    *((key, 4) for key in ("num_segments", "image_size", "relations", "flip", "categories", "backbone")),
    *(("categories", value) for value in (["Stop Sign", 1], {"a": 1}, [])),
    *((key, value) for key in ("num_segments", "image_size", "subsample_num") for value in (0, -1, 10**9, True, 3.0)),
    *((key, value) for key in ("relations", "flip") for value in ("both", "", None, True, [], {})),
    *(("file", value) for value in (None, 1, ["trn.onnx"])),
    *(("sha256", value) for value in (None, 1)),
    ("part", "tail"),
    *(("input", value) for value in (GONE, None, [], "video", 1)),
]
WRONG_INPUTS = [
    *((key, GONE) for key in ("name", "dtype", "channel_order", "channel_means", "scale", "shape")),
    *(("scale", value) for value in ["1", 255, True, math.nan, -1.0]),
    *(("channel_means", value) for value in [104, [104, 117], [math.nan] * 3, [-104, -117, -128]]),
    *(("shape", value) for value in [None, "batch", [], {}, [0, 9, 32, 32], [-1, 9, 32, 32], [True, 9, 32, 32]]),
    *(("shape", value) for value in [["any", 9, 32, 32], ["batch", 24, 32, 32], ["batch", 9, 64, 64]]),
]


def shown(value) -> str:
    return "gone" if value is GONE else json.dumps(value)


@pytest.mark.parametrize("name", ["\x1b[31mStop Sign", "Stop\nSign", "Stop\rSign", "\udc80", "", "a\0", "\x9b"])
@pytest.mark.parametrize("seal", [dict, sealed])
def test_a_class_name_that_a_terminal_would_obey(tmp_path, name, seal):
    path = write(tmp_path / "trn.onnx", seal(usage("trn.onnx", b"network", categories=["Thumb Up", name])))
    expected = "expected a name without control characters"
    assert refusal(read_usage, path) == f"{path}.json: categories: class {name!r}; {expected}"


@pytest.mark.parametrize("seal", [dict, sealed])
def test_a_class_name_in_two_unicode_forms(tmp_path, seal):
    names = ["Caf\u00e9", "Cafe\u0301"]
    path = write(tmp_path / "trn.onnx", seal(usage("trn.onnx", b"network", categories=names)))
    said = f"{path}.json: categories: class 'Cafe\\u0301' is here twice, first in {path}.json: categories"
    assert refusal(read_usage, path) == said


@pytest.mark.parametrize(("key", "value"), WRONG, ids=lambda part: part if isinstance(part, str) else shown(part))
def test_a_value_that_is_wrong(tmp_path, key, value):
    path = write(tmp_path / "trn.onnx", usage("trn.onnx", b"network", **{key: value}))
    assert refusal(read_usage, path) == f"{path}.json: {BY_HAND}"


@pytest.mark.parametrize(
    ("key", "value"), WRONG_INPUTS, ids=lambda part: part if isinstance(part, str) else shown(part)
)
def test_an_input_that_is_wrong(tmp_path, key, value):
    about = usage("trn.onnx", b"network")
    about["input"][key] = value
    if value is GONE:
        del about["input"][key]
    path = write(tmp_path / "trn.onnx", about)
    assert refusal(read_usage, path) == f"{path}.json: {BY_HAND}"


@pytest.mark.parametrize("part", ["frame", "head"])
def test_a_part_of_a_pair_of_1_0_0(tmp_path, part):
    """It has no seal, and a head takes features."""
    about = usage("trn.onnx", b"network", part=part, other={"file": "b.onnx", "sha256": "0" * 64})
    about["input"] = {**about["input"], "name": "frame", "shape": ["batch", 3, 32, 32]}
    if part == "head":
        about["input"] = {"name": "features", "dtype": "float32", "shape": ["batch", 3, 8]}
    assert read_usage(write(tmp_path / "trn.onnx", about)) == about
    for other in (None, {}, {"file": "b.onnx"}, {"file": "a/b.onnx", "sha256": "0"}, {"file": "", "sha256": "0"}):
        path = write(tmp_path / "trn.onnx", {**about, "other": other})
        assert refusal(read_usage, path) == f"{path}.json: {BY_HAND}"


@pytest.mark.parametrize("key", ["categories", "flip", "input"])
def test_a_sealed_json_that_was_edited(tmp_path, key):
    about = sealed(usage("trn.onnx", b"network"))
    same_content = dict(reversed(about.items()))
    assert read_usage(write(tmp_path / "trn.onnx", same_content)) == about
    without = {name: value for name, value in about.items() if name != key}
    reversed_names = {"categories": about["categories"][::-1]}
    for change in ({key: None}, reversed_names, {"flip": "none"}, {"note": "mine"}, {"json_sha256": "0" * 64}):
        path = write(tmp_path / "trn.onnx", {**about, **change})
        assert refusal(read_usage, path) == f"{path}.json: {BY_HAND}"
    assert refusal(read_usage, write(path, sealed(without))) == f"{path}.json: {BY_HAND}"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"file": 1', "[" * 100_000, "\udcff"])
def test_what_is_no_table(tmp_path, text):
    path = tmp_path / "trn.onnx"
    path.touch()
    (tmp_path / "trn.onnx.json").write_bytes(text.encode(errors="surrogateescape"))
    assert refusal(read_usage, path) == f"{path}.json: {BY_HAND}"


@pytest.mark.parametrize("batch", ["batch", 1, 8])
def test_batches_that_are_allowed(tmp_path, batch):
    about = usage("trn.onnx", b"network")
    about["input"]["shape"][0] = batch
    assert read_usage(write(tmp_path / "trn.onnx", about)) == about
