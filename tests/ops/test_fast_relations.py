"""The fast head against the definition of the relations, tuple by tuple in NumPy, and compiled."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

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
