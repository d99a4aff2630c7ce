"""What several parts share."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from src.utils import pad_batch, relation_tuples, softmax


@pytest.mark.parametrize("scale", range(2, 9))
def test_relation_tuples(scale):
    tuples = relation_tuples(8, scale)
    assert tuples.dtype == np.int64
    assert tuples.shape == (comb(8, scale), scale)
    assert [tuple(row) for row in tuples] == list(combinations(range(8), scale))


def test_softmax_of_large_logits():
    assert softmax(np.array([1000.0, 1000.0, -1000.0])) == pytest.approx([0.5, 0.5, 0.0])


def test_softmax_row_by_row():
    assert softmax(np.log([[1.0, 3.0], [9.0, 1.0]])) == pytest.approx(np.array([[0.25, 0.75], [0.9, 0.1]]))


def test_pad_batch():
    rows = np.arange(1, 5, dtype=np.uint8).reshape(2, 2)
    assert pad_batch(rows, 3).tolist() == [[1, 2], [3, 4], [0, 0]]
    assert pad_batch(rows, 2) is rows
