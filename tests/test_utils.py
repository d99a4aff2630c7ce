"""What several parts share."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from model_utils.errors import InputError
from src.utils import pad_batch, relation_tuples, require_usable_weights, softmax


@pytest.mark.parametrize("scale", range(2, 9))
def test_relation_tuples(scale):
    """As many rows as there are subsets, all different, in order and with their frames in order, can only be all."""
    tuples = relation_tuples(8, scale)
    assert tuples.dtype == np.int64
    assert tuples.shape == (factorial(8) // factorial(scale) // factorial(8 - scale), scale)
    assert np.all(np.diff(tuples) > 0)
    assert (tuples.min(), tuples.max()) == (0, 7)
    assert tuples.tolist() == sorted(tuples.tolist())
    assert len({tuple(row) for row in tuples}) == len(tuples)


def test_softmax_of_large_logits():
    assert softmax(np.array([1000.0, 1000.0, -1000.0])) == pytest.approx([0.5, 0.5, 0.0])


def test_pad_batch():
    rows = np.arange(1, 5, dtype=np.uint8).reshape(2, 2)
    assert pad_batch(rows, 3).tolist() == [[1, 2], [3, 4], [0, 0]]
    assert pad_batch(rows, 2) is rows


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("b.weight", np.nan, r"f: 1 of its 3 tensors hold NaN or infinite values \(b.weight\)"),
        ("b.weight", np.inf, r"f: 1 of its 3 tensors hold NaN or infinite values \(b.weight\)"),
        ("a.moving_variance", -np.inf, r"f: 1 of its 3 tensors hold NaN or infinite values \(a.moving_variance\)"),
        ("a.moving_variance", -1e-9, r"f: 1 of its variances are below 0 \(a.moving_variance\)"),
        ("b.weight", -1e30, None),
    ],
)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_weights_that_give_nan(name, value, message, kind):
    weights = {"a.moving_variance": np.ones(3, kind), "b.weight": -np.ones((2, 2), kind), "c": np.array([5])}
    require_usable_weights(weights, "f")
    if kind == np.float16 and value in (-1e30, -1e-9):
        return  # it has neither of them
    weights[name].flat[1] = value
    if message:
        with pytest.raises(InputError, match=message):
            require_usable_weights(weights, "f")
    else:
        require_usable_weights(weights, "f")
