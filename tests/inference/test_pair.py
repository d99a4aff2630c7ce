"""The two files of a stream: the whole network's scores, one way to use them, and each of them the other's."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from model_utils.config import load_config
from src.inference.model import load_model
from src.inference.streaming import Recognizer
from src.ops import compat
from src.shipping import export
from src.shipping.exported import pair_paths, read_usage
from src.shipping.parts import network_parts
from src.shipping.samples import Samples
from src.tsn import prepare_for_inference
from tests.helpers.networks import CLASSES, SIDE, seeing_network, settings, video_of
from tests.helpers.refusals import refusal

# MindSpore 1.10 runs MINDIR files in graph mode only.
pytestmark = [pytest.mark.slow, *([pytest.mark.usefixtures("compiled")] if compat.LEGACY else [])]

FRAMES = np.random.default_rng(0).integers(0, 256, (7, 40, 52, 3), dtype=np.uint8)


def prepared(**changes):
    network = seeing_network(small=True, **changes)
    prepare_for_inference(network)
    return network


def write(folder, file_format, batch=0, samples=None, **changes):
    """Exports a pair; returns the path of its first file, and what the export says of the difference."""
    if not compat.EXPORTS_ANY_BATCH:
        if file_format == "ONNX":
            pytest.skip("the package writes no ONNX")
        batch = batch or 2
    path = folder / f"trn.{file_format.lower()}"
    given = settings(relations="all", file_format=file_format, export_batch_size=batch, streaming=True, **changes)
    difference = export.export_network(prepared(**changes), given, CLASSES, path, samples)
    return pair_paths(path)[0], difference


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """What ``write`` gives, exported once for all tests."""
    made = {}

    def once(*how, **changes):
        key = (*how, *changes.items())
        if key not in made:
            made[key] = write(tmp_path_factory.mktemp("pair"), *how, **changes)
        return made[key]

    return once


def load(path):
    return load_model(load_config(["--ckpt_file", str(path)]))


@pytest.mark.parametrize(
    ("how", "changes"),
    [
        (("MINDIR", 4), {}),
        (("ONNX",), {}),
        (("ONNX",), {"consensus_type": "TRN"}),
        (("MINDIR",), {"consensus_type": "avg"}),
    ],
)
def test_a_stream_has_the_scores_of_the_whole_network(exported, how, changes):
    path, difference = exported(*how, **changes)
    network = prepared(**changes)
    assert difference["largest"] < 1e-5
    expected, found = Recognizer(network_parts(network), SIDE), Recognizer(load(path).parts("a stream"), SIDE)
    scores = [(expected.push(frame), found.push(frame)) for frame in FRAMES]
    assert [one is None for one, _ in scores] == [True, True] + [False] * 5
    pairs = np.array([pair for pair in scores if pair[0] is not None])
    np.testing.assert_allclose(pairs[:, 1], pairs[:, 0], rtol=1e-5, atol=1e-5)
    assert np.ptp(pairs[:, 0], axis=0).max() > 1e-3  # frames count


@pytest.mark.parametrize("how", [("MINDIR", 4), ("ONNX",)])
def test_a_pair_scores_clips_like_the_whole_network(exported, how):
    path, _ = exported(*how)
    clips = np.random.default_rng(1).integers(0, 256, (2, 5, 3, SIDE, SIDE, 3), dtype=np.uint8)
    video = video_of(clips.reshape(10, 3, SIDE, SIDE, 3))
    expected = prepared()(video).asnumpy().reshape(2, 5, -1).mean(1)
    np.testing.assert_allclose(load(path).score(clips, np.arange(2)), expected, rtol=1e-5, atol=1e-5)


def test_a_name_with_a_dot(tmp_path):
    """Both files keep the whole of it; one of them was the other."""
    given = settings(relations="all", file_format="MINDIR", export_batch_size=2, streaming=True)
    assert export.export_network(prepared(), given, CLASSES, tmp_path / "trn-1.0.mindir")["largest"] < 1e-5


def test_what_the_jsons_say(exported):
    frame, _ = exported("MINDIR", 4)
    head = frame.with_name("trn_head.mindir")
    assert frame.name == "trn_frame.mindir"
    about, other = read_usage(frame), read_usage(head)
    assert (about["part"], other["part"]) == ("frame", "head")
    assert about["other"] == {"file": head.name, "sha256": other["sha256"]}
    assert other["other"] == {"file": frame.name, "sha256": about["sha256"]}
    assert (about["input"]["name"], about["input"]["shape"]) == ("frame", [4, 3, SIDE, SIDE])
    assert about["input"]["channel_means"] == [104, 117, 128]
    assert other["input"] == {"name": "features", "dtype": "float32", "shape": [4, 3, 8]}
    assert about["categories"] == other["categories"] == CLASSES
    assert load(frame).provenance()["other"] == about["other"]


def test_an_8_bit_pair(tmp_path):
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(3)
    clips = rng.integers(0, 256, (12, 3, SIDE, SIDE, 3), dtype=np.uint8)
    samples = Samples(clips[:8], clips[8:], {"clips": 8}, "val.txt")
    path, difference = write(tmp_path, "ONNX", samples=samples)
    assert 0 < difference["relative"] < 0.05
    about = read_usage(path)
    assert (about["quantize"], about["calibration"], about["difference"]) == ("int8", {"clips": 8}, difference)
    expected = prepared()(video_of(clips[8:])).asnumpy()
    found = load(path).score(clips[8:, None], np.arange(4))
    assert np.abs(found - expected).max() == pytest.approx(difference["largest"], rel=1e-4)


@pytest.fixture
def frame(exported, tmp_path):
    """The first file of a pair, in a folder of its own."""
    path, _ = exported("MINDIR", 4)
    return shutil.copytree(path.parent, tmp_path / "pair") / path.name


def test_the_wrong_one_of_the_two(frame):
    head = frame.with_name("trn_head.mindir")
    assert refusal(load, head) == f"{head}: takes features; give the other file of the pair, trn_frame.mindir"


def test_the_other_one_is_missing_or_of_another_export(frame):
    head = frame.with_name("trn_head.mindir")
    content = head.read_bytes()
    head.write_bytes(content + b"x")
    assert refusal(load, frame).startswith(f"{head}: belongs to another export than trn_frame.mindir (another sha256)")
    head.unlink()
    assert refusal(load, frame) == f"{head}: no such file; trn_frame.mindir needs it: the network is in both files"


def test_a_head_that_gives_other_scores_than_its_json_names(frame):
    head = load(frame).parts("a stream").head
    head.__self__.usage["categories"] = CLASSES[:2]
    said = f"{frame.with_name('trn_head.mindir')}: gives 3 scores, but 2 classes are named in its JSON"
    assert refusal(head, np.zeros((4, 3, 8), np.float32)).startswith(said)
