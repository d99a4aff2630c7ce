"""Clipping against the formula, in NumPy. Momentum is compared with PyTorch's in tests/test_same_numbers.py."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from src.ops.gradients import ClipByGlobalNorm

SHAPES = [(2, 3, 1, 2), (4,), (3, 2), (1,)]


def arrays(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


@pytest.mark.parametrize("share", [0.1, 0.999, 1.001, 50.0])
def test_one_factor_for_all_gradients(share):
    """A limit of ``share`` times the norm: below it gradients shrink, above it they stay as they are."""
    gradients = arrays(1)
    norm = np.sqrt(sum(np.sum(gradient.astype(np.float64) ** 2) for gradient in gradients))
    clipped = ClipByGlobalNorm(share * norm)(tuple(map(Tensor, gradients)))
    for ours, gradient in zip(clipped, gradients):
        np.testing.assert_allclose(ours.asnumpy(), min(1, share) * gradient, rtol=1e-5)


def test_gradients_of_zero_stay_zero():
    for ours in ClipByGlobalNorm(1.0)((Tensor(np.zeros((2, 3), np.float32)), Tensor(np.zeros(2, np.float32)))):
        np.testing.assert_array_equal(ours.asnumpy(), 0)
