"""The fast head against the definition of the relations, tuple by tuple in NumPy, and inside exported files."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src import sampling
from src.ops.fast_relations import FastRelations
from tests.test_trn import FEATURES, make_head, relation_scores


def draw_inputs(num_segments, subsample_num, clips=3):
    rng = np.random.default_rng(2)
    features = rng.normal(size=(clips, num_segments, FEATURES)).astype(np.float32)
    return features, np.stack([sampling.sample_relations(num_segments, subsample_num, rng) for _ in features])


def expected_scores(weights, features, relations, subsample_num):
    """Of all tuples and of the drawn ones, each [B, C]."""
    every, drawn = [], []
    for clip, rows in zip(features, relations):
        scores = relation_scores(weights, clip, features.shape[1])
        every.append(sum(min(subsample_num, len(one)) * one.mean(0) for one in scores))
        drawn.append(sum(one[row[row >= 0]].sum(0) for one, row in zip(scores, rows)))
    return np.array(every), np.array(drawn)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def check(num_segments, subsample_num):
    head, weights = make_head(num_segments, subsample_num)
    fast = FastRelations(head).set_train(False)
    features, relations = draw_inputs(num_segments, subsample_num)
    every, drawn = expected_scores(weights, features, relations, subsample_num)
    assert_close(fast(Tensor(features)).asnumpy(), every)
    assert_close(fast(Tensor(features), Tensor(relations)).asnumpy(), drawn)


@pytest.mark.parametrize("num_segments", [2, 3, 8])
@pytest.mark.parametrize("subsample_num", [1, 3, 40])
def test_scores_of_all_and_of_drawn_tuples(num_segments, subsample_num):
    check(num_segments, subsample_num)


@pytest.mark.slow
def test_compiled(compiled):
    check(8, 3)


def test_another_number_of_clips_after_the_first(compiled):
    """A constant that holds the batch size would show here."""
    head, _ = make_head(3)
    fast = FastRelations(head).set_train(False)
    features = np.random.default_rng(3).normal(size=(5, 3, FEATURES)).astype(np.float32)
    whole = fast(Tensor(features)).asnumpy()
    parts = [fast(Tensor(features[i : i + 1])).asnumpy() for i in range(5)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def run_mindir(path, inputs):
    return nn.GraphCell(ms.load(str(path)))(*map(Tensor, inputs)).asnumpy()


def run_onnx(path, inputs):
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([node.name for node in session.get_inputs()], inputs)))[0]


@pytest.mark.parametrize(("file_format", "run"), [("MINDIR", run_mindir), ("ONNX", run_onnx)])
@pytest.mark.parametrize("sampled", [False, True])
def test_an_exported_file_gives_the_same_scores(tmp_path, compiled, file_format, run, sampled):
    head, weights = make_head(4)
    fast = FastRelations(head).set_train(False)
    features, relations = draw_inputs(4, 3)
    inputs = (features, relations) if sampled else (features,)
    path = tmp_path / f"head.{file_format.lower()}"
    ms.export(fast, *map(Tensor, inputs), file_name=str(path.with_suffix("")), file_format=file_format)
    assert_close(run(path, inputs), expected_scores(weights, features, relations, 3)[sampled])
