"""A head and a backbone that stand in the two tables and nowhere else, through every program.

Whatever still knows heads or backbones by name, or by what cells they are, fails here.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import sys

import cv2
import mindspore as ms
import numpy as np
import pytest
import yaml
from mindspore import Parameter, Tensor, nn

from model_utils import config as config_module
from model_utils.errors import InputError
from model_utils.logging import get_logger
from model_utils.util import run_main
from src.backbones import BACKBONES, Backbone
from src.evaluation.protocol import drawn_relations
from src.heads import HEADS, Head, Scale
from src.training.checkpoint import read_all, read_checkpoint
from src.transforms import Pixels, cut_crops
from tests.helpers.colours import changing_frames, write_folder
from tests.helpers.networks import CLASSES

SIDE = 34  # BNInception cannot take such frames
MEANS, SCALES = (10.0, 20.0, 30.0), (0.01, 0.02, 0.04)
FRAMES = {name: changing_frames(5, 40, 44)[::step] for name, step in (("left", 1), ("right", -1), ("thumb", 2))}


class Halves(nn.Cell):
    """Mean colours of the left and of the right half, each times a gain, and one layer."""

    def __init__(self, out_channels: int, width_mult: float, freeze_bn: bool) -> None:
        super().__init__()
        self.inner = nn.Cell()
        self.inner.gain = Parameter(Tensor(np.ones(6, np.float32)))
        self.feature_channels = 6
        self.fc = nn.Dense(6, out_channels)

    def features(self, frames):
        side = frames.shape[-1]
        return frames.reshape((-1, 3, side, 2, side // 2)).mean((2, 4)).reshape((-1, 6)) * self.inner.gain

    def construct(self, frames, dropout_mask=None):
        features = self.features(frames)
        return self.fc(features if dropout_mask is None else features * dropout_mask)


class Weighed(nn.Cell):
    """Frames count the more, the later they come; relations that were drawn add a number of their second row."""

    def __init__(self, segments: int, features: int, classes: int) -> None:
        super().__init__()
        self.shares = Tensor(shares(segments))
        self.score = nn.SequentialCell([nn.Dense(features, classes)])

    def construct(self, features, relations=None):
        scores = self.score((features * self.shares).sum(1))
        return scores if relations is None else scores + relations[:, 1, :1].astype(ms.float32)


class Largest(nn.Cell):
    """The largest score over frames, as in CONTRIBUTING's example, which has another name."""

    def construct(self, scores, relations=None):
        return scores.max(axis=1)


def shares(segments):
    numbers = np.arange(1, segments + 1, dtype=np.float32)[:, None]
    return numbers / numbers.sum()


def scales_of_weighed(head, features, feature_bias):
    weight, bias = (head.score[0].weight.asnumpy(), head.score[0].bias.asnumpy())
    return [Scale(np.arange(len(features))[:, None], features * shares(len(features)) @ weight.T, bias)]


@pytest.fixture
def prepared(tmp_path, monkeypatch, clips_here):
    """Rows in both tables, the heads' names in the config, a dataset; gives what was prepared for inference."""
    calls, choices = [], f"[{', '.join(HEADS)}]"

    def check_side(image_size):
        if image_size % 2:
            raise InputError(f"image_size {image_size}: halves takes an even one")

    monkeypatch.setitem(
        BACKBONES,
        "halves",
        Backbone(
            Halves,
            Pixels("RGB", MEANS, SCALES),
            check_side,
            prepare=lambda cell: calls.append(type(cell)),
            rename=lambda cell, given: {f"inner.{name}": value for name, value in given.items()},
            other_kinds=True,
        ),
    )
    weighed = Head(
        build=lambda settings, features, classes: Weighed(settings.num_segments, features, classes),
        last_layer="consensus.score.*",
        draws_relations=True,
        scales=scales_of_weighed,
        prepare=lambda cell: calls.append(type(cell)) or cell,
    )
    monkeypatch.setitem(HEADS, "weighed", weighed)
    monkeypatch.setitem(HEADS, "largest", Head(build=lambda *_: Largest()))
    text = config_module.DEFAULT_CONFIG.read_text(encoding="utf-8")
    assert choices in text
    schema = tmp_path / "schema.yaml"
    schema.write_text(text.replace(choices, f"[{', '.join(HEADS)}]"))
    monkeypatch.setattr(config_module, "DEFAULT_CONFIG", schema)
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
    monkeypatch.chdir(tmp_path)
    rows = []
    for label, (name, frames) in enumerate(FRAMES.items()):
        write_folder(tmp_path / "data" / "clips" / name, frames, ".png")
        rows.append(f"{name} {len(frames)} {label}\n")
    for name, lines in {"train_videofolder": rows, "val_videofolder": rows, "categories": CLASSES}.items():
        (tmp_path / "data" / f"{name}.txt").write_text("".join(f"{line.strip()}\n" for line in lines))
    return calls


DATA = "--dataset_root data --images_dir_name clips --frame_name {:05d}.png --device_target CPU".split()
NETWORK = f"--num_segments 3 --img_feature_dim 5 --backbone halves --image_size {SIDE} --subsample_num 2".split()


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs a program; gives its exit status and what it wrote to stdout and stderr."""

    def run_program(program, *arguments):
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_main(importlib.import_module(program).main)
        get_logger(rank=1)  # closes the log file
        return (end.value.code, *capfd.readouterr())

    return run_program


def train(run, head, folder, *more):
    options = "--epochs_num 1 --train_batch_size 1 --train_workers 1 --eval_interval 0 --lr 0.01 --dropout 0.5".split()
    status, stdout, stderr = run(
        "train", *DATA, *NETWORK, *options, "--consensus_type", head, "--train_output_dir", folder, *more
    )
    assert status == 0, stderr
    (checkpoint,) = folder.glob("checkpoint_trn-*.ckpt")
    return checkpoint, stdout


def weights(checkpoint):
    return {name: value.asnumpy().astype(np.float64) for name, value in read_checkpoint(checkpoint)[0].items()}


def expected_scores(checkpoint, frames):
    """The scores of three frames of a clip in float64, from its centre crop."""
    w = weights(checkpoint)
    crops = cut_crops(frames, SIDE, 1)[0][..., ::-1].astype(np.float64)  # [T, S, S, 3] RGB
    crops = (crops - MEANS) * SCALES
    halves = np.stack([crops[:, :, : SIDE // 2].mean((1, 2)), crops[:, :, SIDE // 2 :].mean((1, 2))], -1)  # [T, 3, 2]
    features = halves.reshape(len(frames), 6) * w["base_model.inner.gain"]
    features = features @ w["base_model.fc.weight"].T + w["base_model.fc.bias"]
    if "consensus.score.0.weight" not in w:
        return features.max(0)
    return (features * shares(len(frames))).sum(0) @ w["consensus.score.0.weight"].T + w["consensus.score.0.bias"]


def infer(run, model, name, *more):
    status, _, stderr = run(
        "infer", "--model", model, "--source", f"data/clips/{name}", "--device_target", "CPU", "--test_crops", 1,
        "--json", "r.json", *more,
    )  # fmt: skip
    assert status == 0, stderr
    with open("r.json") as file:
        return json.load(file)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["weighed", "largest"])
def test_from_training_to_explanation(head, prepared, run, tmp_path):
    gain = np.linspace(0.5, 1.5, 6).astype(np.float32)
    ms.save_checkpoint([{"name": "gain", "data": Tensor(gain)}], str(tmp_path / "alone.ckpt"))
    checkpoint, said = train(run, head, tmp_path / "first", "--pre_trained_backbone", "alone.ckpt")
    assert "a backbone; 1 parameters of its backbone halves taken" in said
    found = weights(checkpoint)["base_model.inner.gain"]
    assert 0 < np.abs(found - gain).max() < 0.2

    check_evaluated(run, checkpoint)
    prepared.clear()
    plain = np.array(infer(run, checkpoint, "left")["logits"])
    assert prepared == ([Halves, Weighed] if head == "weighed" else [Halves])
    drawn = np.array(infer(run, checkpoint, "left", "--relations", "sampled", "--seed", 3)["logits"])
    assert drawn_relations(3, 2, 3, np.zeros(1, np.int64))[0, 1, 0] > 0
    added = float(drawn_relations(3, 2, 3, np.zeros(1, np.int64))[0, 1, 0]) if head == "weighed" else 0
    assert drawn == pytest.approx(plain + added, abs=1e-5)
    check_explained(run, checkpoint, head)
    check_started_from(run, checkpoint, head, tmp_path)
    if importlib.util.find_spec("onnxruntime"):
        check_exported(run, checkpoint, head, {"all": plain, "sampled": drawn})


def check_evaluated(run, checkpoint):
    """``eval.py`` and ``infer.py`` give the scores that NumPy gives."""
    status, _, stderr = run("eval", *DATA, "--ckpt_file", checkpoint, "--eval_output_dir", "eval", "--test_crops", 1)
    assert status == 0, stderr
    answers = []
    for name, frames in FRAMES.items():
        chosen = [frames[int(len(frames) / 3 * (i + 0.5))] for i in range(3)]
        expected = expected_scores(checkpoint, chosen)
        np.testing.assert_allclose(infer(run, checkpoint, name)["logits"], expected, rtol=1e-4, atol=1e-5)
        answers.append(CLASSES[expected.argmax()])
    with open("eval/predictions.csv", newline="") as file:
        assert [row["predicted"] for row in csv.DictReader(file)] == answers


def check_explained(run, checkpoint, head):
    """An explanation adds up to the score, or one line says why there is none."""
    if head == "weighed":
        said = infer(run, checkpoint, "thumb", "--explain", "why.png")
        (scale,) = said["explanation"]["scales"]
        assert scale["contribution"] + scale["bias"] == pytest.approx(max(said["logits"]), abs=1e-5)
        assert cv2.imread("why.png") is not None
        return
    source = ["--source", "data/clips/thumb", "--device_target", "CPU"]
    status, stdout, stderr = run("infer", "--model", checkpoint, *source, "--explain", "why.png")
    why = "not with consensus_type largest, whose scores are not sums over frame tuples"
    assert (status, stdout, stderr) == (1, "", f"error: --explain: {why}\n")
    assert not os.path.exists("why.png")


def check_exported(run, checkpoint, head, expected):
    """Exported files take drawn relations if the head does, and score like the network."""
    for relations, scores in expected.items():
        status, _, stderr = run(
            "export", "--ckpt_file", checkpoint, "--device_target", "CPU", "--export_output_dir", ".", "--model_name",
            relations, "--relations", relations, "--file_format", "ONNX", "--export_batch_size", 1,
        )  # fmt: skip
        assert status == 0, stderr
        with open(f"{relations}.onnx.json") as file:
            said = json.load(file)
        assert said["relations"] == (relations if head == "weighed" else "all")
        assert (said["input"]["channel_order"], said["input"]["channel_means"]) == ("RGB", list(MEANS))
        found = infer(run, f"{relations}.onnx", "left", "--seed", 3)["logits"]
        assert found == pytest.approx(scores.tolist(), abs=1e-4)


def check_started_from(run, checkpoint, head, folder):
    """Only the head's row says which layer gives class scores: for other classes, and without a description."""
    entries, _ = read_all(checkpoint)
    entries = [{"name": name, "data": value} for name, value in entries.items()]
    ms.save_checkpoint(entries, "bare.ckpt")
    bare = infer(run, "bare.ckpt", "left", *NETWORK, "--consensus_type", head, "--flip", "plain")
    assert bare["logits"] == pytest.approx(infer(run, checkpoint, "left")["logits"], abs=1e-6)
    assert sorted(row["label"] for row in bare["top"]) == ["0", "1", "2"]

    (folder / "data" / "categories.txt").write_text("Up\nDown\nOff\nOn\n")
    _, said = train(run, head, folder / "second", "--pre_trained", checkpoint, "--max_steps", 1)
    taken = 3 if head == "weighed" else 1
    assert f"{taken} parameters of its backbone halves taken, 2 of the last layer are new" in said


@pytest.mark.slow
def test_a_side_that_the_backbone_does_not_take(prepared, run, tmp_path):
    status, _, stderr = run("train", *DATA, *NETWORK, "--train_batch_size", 1, "--image_size", 35)
    assert status == 1
    assert stderr.splitlines()[-1] == "error: image_size 35: halves takes an even one"


def test_the_names_that_the_config_allows():
    documents = list(yaml.safe_load_all(config_module.DEFAULT_CONFIG.read_text(encoding="utf-8")))
    assert documents[2]["consensus_type"] == list(HEADS)
