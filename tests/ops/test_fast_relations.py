"""The fast head against the definition of the relations, tuple by tuple in NumPy; compiled; and exported."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.ops.fast_relations import FastRelations
from tests.test_trn import FEATURES, check_scores, make_head


def check(num_segments, subsample_num):
    head, weights = make_head(num_segments, subsample_num)
    check_scores(FastRelations(head).set_train(False), weights, num_segments, subsample_num)


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
    return nn.GraphCell(ms.load(str(path)))(*inputs)


def run_onnx(path, inputs):
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return Tensor(session.run(None, dict(zip(names, [given.asnumpy() for given in inputs])))[0])


@pytest.mark.parametrize(("file_format", "run"), [("MINDIR", run_mindir), ("ONNX", run_onnx)])
def test_an_exported_file_gives_the_same_scores(tmp_path, compiled, file_format, run):
    head, weights = make_head(4)

    def export_and_run(*inputs):
        path = tmp_path / f"head{len(inputs)}.{file_format.lower()}"
        fast = FastRelations(head).set_train(False)
        ms.export(fast, *inputs, file_name=str(path.with_suffix("")), file_format=file_format)
        return run(path, inputs)

    check_scores(export_and_run, weights, 4, 3)
