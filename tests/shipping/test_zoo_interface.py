"""MINDIR files with the model zoo's inputs, used by a program that knows no others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.data.mirror_pairs import mirrored_classes
from src.evaluation.protocol import average_crops
from src.ops import compat
from src.shipping import export
from src.shipping.export import check_formats, export_network, with_forced_values
from src.shipping.exported import read_usage
from src.shipping.zoo_interface import ZooInterface
from src.transforms import cut_crops
from src.tsn import ClipInput
from src.utils import softmax
from tests.helpers.clips import write_clip
from tests.helpers.networks import CLASSES, SIDE, seeing_network, settings
from tests.helpers.refusals import refusal

SHIPPING = Path(__file__).parents[2] / "docs" / "shipping.md"
SEGMENTS, DRAWS = 3, 2


def crops_and_combinations(crops, seed=0):
    rng = np.random.default_rng(seed)
    video = rng.uniform(-120, 130, (crops, SEGMENTS * 3, SIDE, SIDE)).astype(np.float32)
    pairs = [rng.choice(3, 2, replace=False) for _ in range(crops)]  # of the C(3, 2) = 3 pairs of frames
    return video, np.array([[[0, -1], pair] for pair in pairs], np.int32)  # there is one triple


def zoo_settings(**changes):
    values = {"export_interface": "zoo", "file_format": "MINDIR", "export_batch_size": 0, "relations": "all"}
    values.update({"test_crops": 10, "streaming": False, "quantize": "none"})
    return settings(**{**values, **changes})


@pytest.mark.parametrize("names", [CLASSES, ["Swiping Left", "Swiping Up", "Thumb Up"]])
def test_the_mean_over_rows_is_the_score(names):
    """Mirrored crops have the classes of what they show: Left for Right, and the first crop's where there is none."""
    network = seeing_network(small=True)
    video, combinations = crops_and_combinations(10)
    rows = network(Tensor(video), Tensor(combinations)).asnumpy()
    inputs = Tensor(video.reshape(1, -1, SIDE, SIDE)), Tensor(combinations[None])
    np.testing.assert_allclose(ZooInterface(network)(*inputs).asnumpy(), rows, atol=1e-6)
    mirrored = mirrored_classes(names)
    found = ZooInterface(network, mirrored)(*inputs).asnumpy()
    np.testing.assert_allclose(found.mean(0), average_crops(rows[None], mirrored)[0], atol=1e-6)
    assert np.abs(found.mean(0) - rows.mean(0)).max() > 1e-3
    np.testing.assert_allclose(found[0::2], rows[0::2], atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
def test_the_inputs_of_a_file(tmp_path):
    """Name, order, shape and type are those of the zoo's; the JSON says the same."""
    path, network = tmp_path / "trn.mindir", seeing_network(small=True)
    config = with_forced_values(zoo_settings(flip="plain"))
    difference = export_network(network, config, CLASSES, path)
    assert difference["largest"] <= 1e-5
    assert difference["clips"] == 10  # rows
    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    model.ParseFromString(path.read_bytes())
    inputs = [(node.name, node.tensor[0].data_type, list(node.tensor[0].dims)) for node in model.graph.input]
    float32, int32 = 1, 6
    assert inputs == [("video", float32, [1, 90, SIDE, SIDE]), ("combinations", int32, [1, 10, 2, DRAWS])]

    video, combinations = crops_and_combinations(10)
    rows = network(Tensor(video), Tensor(combinations)).asnumpy()
    cell = ms.nn.GraphCell(ms.load(str(path)))
    found = cell(Tensor(video.reshape(1, -1, SIDE, SIDE)), Tensor(combinations[None])).asnumpy()
    assert found.shape == (10, 3)
    np.testing.assert_allclose(found, rows, atol=1e-5)

    about = json.loads((tmp_path / "trn.mindir.json").read_text())
    described = [(part["name"], part["dtype"], part["shape"]) for part in (about["input"], about["second_input"])]
    assert described == [("video", "float32", [1, 90, SIDE, SIDE]), ("combinations", "int32", [1, 10, 2, DRAWS])]
    assert about["second_input"]["padding"].startswith("combinations of [3] frames are fewer than 2: all of them, then")
    assert (about["interface"], about["test_crops"], about["relations"]) == ("zoo", 10, "sampled")
    assert read_usage(path) == about


def test_drawn_relations_are_described_in_every_form(tmp_path, monkeypatch):
    monkeypatch.setattr("src.shipping.export.name_mindir", lambda path: None)
    monkeypatch.setattr(
        ms, "export", lambda *_, file_name, **__: (tmp_path / f"{file_name}.mindir").write_bytes(b"network")
    )
    monkeypatch.setattr("src.shipping.export.load_exported", lambda path: lambda inputs: np.zeros((2, 3), np.float32))
    for batch in (2, *([0] if compat.EXPORTS_ANY_BATCH else [])):
        config = zoo_settings(export_interface="batch", relations="sampled", export_batch_size=batch)
        export_network(seeing_network(small=True), config, CLASSES, tmp_path / "trn.mindir")
        second = json.loads((tmp_path / "trn.mindir.json").read_text())["second_input"]
        assert (second["name"], second["shape"]) == ("relations", [batch or "batch", 2, DRAWS])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file_format": "ONNX"}, "needs file_format MINDIR or AIR, but it is ONNX"),
        ({"consensus_type": "avg"}, "needs consensus_type TRNmultiscale, but it is avg"),
        ({"streaming": True}, "the files for a stream take frames and features, give streaming false"),
        ({"given": {"relations"}}, "needs relations sampled, but it is all"),
        ({"given": {"export_batch_size"}, "export_batch_size": 4}, "needs export_batch_size 1, but it is 4"),
    ],
)
def test_what_does_not_go_with_it(changes, message):
    for check in (check_formats, with_forced_values):
        assert refusal(check, zoo_settings(**changes)) == f"export_interface zoo: {message}"


def test_the_default_batch_where_the_package_has_no_open_one(monkeypatch):
    """The plain command exports one clip at a time there; who asks for any batch is told that there is none."""
    monkeypatch.setattr(compat, "EXPORTS_ANY_BATCH", False)
    assert with_forced_values(zoo_settings(export_interface="batch")).export_batch_size == 1
    assert (
        with_forced_values(zoo_settings(export_interface="batch", given={"export_batch_size"})).export_batch_size == 0
    )
    monkeypatch.setattr(compat, "EXPORTS_ANY_BATCH", True)
    assert with_forced_values(zoo_settings(export_interface="batch")).export_batch_size == 0


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("name", "crops"), [("relations", 1), ("zoo", 10)])
def test_a_program_that_draws_relations(tmp_path, name, crops):
    """It has the network's scores for the same draws. That for the zoo's inputs reads no JSON."""
    (program,) = re.findall(rf"```python\n(# {name}_clip\.py.*?)```", SHIPPING.read_text(encoding="utf-8"), re.DOTALL)
    assert "src" not in program
    if name == "zoo":
        assert program.count("T, S, N = 8, 224, 3\n") == 1
        assert "json" not in program
        program = program.replace("T, S, N = 8, 224, 3\n", f"T, S, N = 3, {SIDE}, 2\n")
    (tmp_path / "program.py").write_text(program)
    network = seeing_network(small=True)
    changes = {"export_interface": "zoo", "test_crops": 10} if name == "zoo" else {}
    config = settings(relations="sampled", file_format="MINDIR", export_batch_size=1, **changes)
    export.export_network(network, config, CLASSES, tmp_path / "trn.mindir")
    (tmp_path / "trn.mindir.json").unlink() if name == "zoo" else None
    write_clip(tmp_path / "clip", 11, 40, 52, seed=3)
    (tmp_path / "categories.txt").write_text("\n".join(CLASSES))
    arguments = ["clip", *(["categories.txt"] if name == "zoo" else [])]
    command = [sys.executable, "program.py", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    found = {
        label: float(percent) for percent, label in (row.strip().split("%  ") for row in ended.stdout.splitlines())
    }

    frames = [cv2.imread(str(tmp_path / "clip" / f"{number:05d}.jpg")) for number in (2, 6, 10)]
    video = ClipInput()(Tensor(cut_crops(frames, SIDE, crops)))  # [crops, T*3, S, S]
    random, draws = np.random.default_rng(0), []
    for _ in range(crops):
        random.choice(1, 1, replace=False)  # the program draws among one triple, too
        draws.append([[0, 0], random.choice(3, 2, replace=False)])
    logits = network(video, Tensor(np.array(draws, np.int32))).asnumpy()
    expected = softmax(average_crops(logits[None], mirrored_classes(CLASSES))[0])
    assert found == pytest.approx(dict(zip(CLASSES, 100 * expected)), abs=0.2)
    assert np.ptp(expected) > 0.02
