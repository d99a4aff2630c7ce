"""eval.py on exported files: the checkpoint's scores, under the protocol of its own, and the file that gave them."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pytest

import eval as program
from model_utils.config import load_config
from model_utils.errors import InputError
from src.ops import compat
from src.shipping.export import export_network
from src.shipping.exported import read_usage, usage_path
from src.training.checkpoint import describe, save_checkpoint
from tests.helpers.clips import write_dataset
from tests.helpers.networks import CLASSES, seeing_network, settings

COMPILED = ["compiled"] if compat.LEGACY else []  # MindSpore 1.10 runs MINDIR files in graph mode only
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures", "clips_here", *COMPILED)]

FORMATS = ["MINDIR", "ONNX"]
CLIPS = 5


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A dataset of five clips, and a checkpoint."""
    lengths = [5 + index for index in range(CLIPS)]
    root = write_dataset(tmp_path_factory.mktemp("work"), lengths, CLASSES, val=range(CLIPS))
    save_checkpoint(root / "trn.ckpt", network().parameters_dict(), describe(settings(), CLASSES))
    return root


def network():
    return seeing_network(small=True)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
    monkeypatch.setattr("src.training.checkpoint.build_network", lambda config, num_classes: network())


def export(work, file_format, relations="all", batch=0):
    if not compat.EXPORTS_ANY_BATCH:
        if file_format == "ONNX":
            pytest.skip("the package writes no ONNX")
        batch = batch or 4
    path = work / f"{relations}{batch}.{file_format.lower()}"
    if not path.is_file():
        config = settings(relations=relations, file_format=file_format, export_batch_size=batch)
        export_network(network(), config, CLASSES, path)
    return path


@pytest.mark.parametrize(("crops", "flip"), [(10, "label_aware"), (5, "plain")])
def test_a_file_with_the_interface_of_the_model_zoo(work, tmp_path, crops, flip):
    """It has the scores of the checkpoint with drawn relations, also where mirrored crops swap classes."""
    path = work / f"zoo-{crops}-{flip}.mindir"
    changes = {"export_interface": "zoo", "relations": "sampled", "export_batch_size": 1, "test_crops": crops}
    export_network(network(), settings(file_format="MINDIR", flip=flip, **changes), CLASSES, path)
    options = ["--test_crops", str(crops), "--flip", flip, "--relations", "sampled", "--seed", "3"]
    _, rows = evaluate(work, work / "trn.ckpt", tmp_path / "checkpoint", *options)
    _, found_rows = evaluate(work, path, tmp_path / "file", "--seed", "3")  # the file knows the rest
    shares, found_shares = ([float(row["probability"]) for row in table] for table in (rows, found_rows))
    assert found_shares == pytest.approx(shares, abs=1e-5)
    for key, value in (("flip", "none"), ("test_crops", "1")):
        with pytest.raises(InputError, match=f"exported with {key} .*, but {key} {value} was asked for"):
            evaluate(work, path, tmp_path / "refused", f"--{key}", value)


def evaluate(work, model, folder, *options):
    paths = ["--dataset_root", str(work), "--ckpt_file", str(model), "--eval_output_dir", str(folder)]
    program.evaluate(load_config([*paths, "--eval_batch_size", "2", "--eval_workers", "1", *options]))
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return json.loads((folder / "metrics.json").read_text()), rows


@pytest.mark.parametrize(
    ("file_format", "relations", "batch", "options"),
    [
        ("ONNX", "all", 0, ["--test_crops", "10"]),
        ("ONNX", "sampled", 0, ["--test_crops", "5", "--relations", "sampled", "--seed", "3"]),
        ("MINDIR", "sampled", 0, ["--test_crops", "5", "--relations", "sampled", "--seed", "3"]),
        (
            "MINDIR",
            "all",
            3,
            ["--test_crops", "10", "--frame_order", "shuffled", "--flip", "plain", "--observe", "0.5"],
        ),
    ],
)
def test_a_file_has_the_checkpoints_scores_under_every_protocol(work, tmp_path, file_format, relations, batch, options):
    path = export(work, file_format, relations, batch)
    expected, rows = evaluate(work, work / "trn.ckpt", tmp_path / "checkpoint", *options)
    found, found_rows = evaluate(work, path, tmp_path / "file", *options)
    assert [row["predicted"] for row in found_rows] == [row["predicted"] for row in rows]
    shares, found_shares = ([float(row["probability"]) for row in table] for table in (rows, found_rows))
    assert found_shares == pytest.approx(shares, abs=1e-4)
    assert np.ptp(shares) > 1e-3  # the clips differ
    assert found["top1"] == expected["top1"]
    same = "num_segments subsample_num width_mult consensus_type image_size flip relations test_crops frame_order seed"
    assert {key: found["protocol"][key] for key in same.split()} == {
        key: expected["protocol"][key] for key in same.split()
    }


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_report_says_which_file_was_measured(work, tmp_path, file_format):
    path = export(work, file_format)
    metrics, _ = evaluate(work, path, tmp_path, "--test_crops", "1")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    protocol = metrics["protocol"]
    assert (protocol["ckpt_file"], protocol["ckpt_sha256"], protocol["file_format"]) == (str(path), sha256, file_format)
    assert ("onnxruntime_version" in protocol) == (file_format == "ONNX")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert sha256 in page
    assert f"<title>{path.name} on {CLIPS} clips" in page
    assert f"start evaluation of {path}, sha256 {sha256}" in (tmp_path / "eval.log").read_text()


def test_a_protocol_that_the_file_does_not_have(work, tmp_path):
    for key, value in (("relations", "sampled"), ("width_mult", "1.0"), ("image_size", "64")):
        with pytest.raises(InputError, match=f"exported with {key} .*, but {key} {value} was asked for"):
            evaluate(work, export(work, "MINDIR"), tmp_path, f"--{key}", value)


def test_an_export_of_before_says_less_about_its_network(work, tmp_path):
    path = export(work, "MINDIR")
    (tmp_path / path.name).write_bytes(path.read_bytes())
    about = read_usage(path)
    del about["width_mult"], about["img_feature_dim"], about["json_sha256"]
    usage_path(tmp_path / path.name).write_text(json.dumps(about))
    metrics, _ = evaluate(work, tmp_path / path.name, tmp_path / "out", "--test_crops", "1")
    assert metrics["protocol"]["width_mult"] is None
