"""Exporting: the JSON of an exported file, its check, and what an environment cannot do."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

import export as export_program
from model_utils.config import load_config
from model_utils.errors import InputError
from model_utils.files import digest
from model_utils.version import VERSION
from src.ops import compat
from src.shipping import export
from src.shipping.exported import read_usage
from tests.helpers.networks import CLASSES, settings, tiny_network
from tests.helpers.refusals import refusal

pytestmark = pytest.mark.usefixtures("small_backbone")


@pytest.fixture
def quick(monkeypatch):
    """Exports a few bytes at once. Returns a function that sets them."""

    monkeypatch.setattr(export, "name_mindir", lambda path: None)

    def with_content(content: bytes) -> None:
        monkeypatch.setattr(ms, "export", lambda *_, file_name, **__: Path(f"{file_name}.mindir").write_bytes(content))
        monkeypatch.setattr(export, "load_exported", lambda path: lambda inputs: np.zeros((2, 3), np.float32))

    with_content(b"a network")
    return with_content


def written(path, categories=CLASSES, **changes):
    config = settings(relations="all", file_format="MINDIR", export_batch_size=2, **changes)
    export.export_network(tiny_network(), config, categories, path)
    return json.loads(path.with_name(f"{path.name}.json").read_text())


@pytest.mark.parametrize("flip", ["label_aware", "plain", "none"])
def test_the_json_says_what_belongs_to_the_network(tmp_path, quick, flip):
    about = written(tmp_path / "out" / "trn.mindir", flip=flip)
    expected = {
        "file": "trn.mindir",
        "sha256": "2f782beca6c497e09ee1b67bd6a1202048f19e97f7e1364a58d415ce7b3ecd9e",
        "categories": CLASSES,
        "num_segments": 3,
        "image_size": 32,
        "relations": "all",
        "subsample_num": 2,
        "flip": flip,
        "trn_version": VERSION,
    }
    assert {key: about[key] for key in expected} == expected
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["trn.mindir", "trn.mindir.json"]
    assert read_usage(tmp_path / "out" / "trn.mindir") == about


def test_a_json_without_a_version_is_read(tmp_path, quick):
    """Those of before 1.0.0 have none."""
    path = tmp_path / "trn.mindir"
    about = written(path)
    del about["trn_version"], about["json_sha256"]
    (tmp_path / "trn.mindir.json").write_text(json.dumps(about))
    assert read_usage(path) == about


def test_the_digest_of_a_json(tmp_path, quick):
    """Of the rest of it, with its keys sorted: other programs can compute it."""
    about = written(tmp_path / "trn.mindir")
    rest = {key: value for key, value in about.items() if key != "json_sha256"}
    assert about["json_sha256"] == hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def test_an_export_that_is_killed_between_its_json_and_its_file(tmp_path, quick, monkeypatch):
    """The old file has a JSON then that is not its own, and is not used with it."""
    path = tmp_path / "trn.mindir"
    written(path)
    quick(b"another network")
    with monkeypatch.context() as patch:
        patch.setattr("model_utils.util.os.replace", dies_at(path))
        with pytest.raises(SystemExit):
            written(path, [*CLASSES[::-1]])
    assert path.read_bytes() == b"a network"
    with pytest.raises(InputError, match=r"not the file that trn.mindir.json describes \(another sha256\)"):
        read_usage(path)
    written(path, CLASSES[::-1])
    assert read_usage(path)["categories"] == CLASSES[::-1]


def dies_at(path):
    replace = os.replace

    def die(source, target):
        if Path(target) == path:
            raise SystemExit
        replace(source, target)

    return die


def test_a_name_that_is_not_utf8(foreign, quick):
    path = foreign / f"{foreign.name}.mindir"
    assert written(path)["file"] == path.name
    assert read_usage(path)["sha256"] == digest(path)


@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_the_largest_difference_has_no_sign(shift):
    found = np.zeros((2, 3), np.float32)
    found[1, 2] = shift
    difference = export.sample_difference(np.zeros((2, 3), np.float32), found)
    assert (difference["clips"], difference["largest"], difference["relative"]) == (2, 0.5, 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whose", ["network", "exported file"])
def test_a_comparison_that_is_not_finite_fails_the_export(tmp_path, quick, monkeypatch, whose, value):
    network, scores = tiny_network(), np.array([[0, 1, 2], [0, value, 2]], np.float32)
    if whose == "network":
        network.construct = lambda *_: Tensor(scores)
    else:
        monkeypatch.setattr(export, "load_exported", lambda path: lambda inputs: scores)
    config = settings(relations="all", file_format="MINDIR", export_batch_size=2)
    with pytest.raises(InputError, match=f"^the scores of the {whose} are NaN or infinite, so nothing is exported$"):
        export.export_network(network, config, CLASSES, tmp_path / "trn.mindir")
    assert os.listdir(tmp_path) == []


def refused(path, **changes):
    said = refusal(export.export_network, tiny_network(), settings(relations="all", **changes), CLASSES, path)
    assert not path.parent.exists()
    return said


def test_a_package_that_cannot_leave_the_batch_open(tmp_path, monkeypatch):
    monkeypatch.setattr(compat, "EXPORTS_ANY_BATCH", False)
    message = refused(tmp_path / "out" / "trn.mindir", file_format="MINDIR", export_batch_size=0)
    assert message.startswith("export_batch_size 0: MindSpore ")


def test_onnx_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = refused(tmp_path / "out" / "trn.onnx", file_format="ONNX", export_batch_size=2)
    assert message == "file_format ONNX: writing ONNX needs the package onnx, which is not installed"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("", "trn.mindir"),
        ("--file_format ONNX", "trn.onnx"),
        ("--file_format ONNX --quantize int8", "trn_int8.onnx"),  # beside the one before
        ("--file_format ONNX --quantize int8 --model_name trn", "trn.onnx"),
    ],
)
def test_8_bits_have_a_name_of_their_own(options, name):
    assert export_program.file_name(load_config(options.split())) == name
