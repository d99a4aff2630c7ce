"""Caffe's pools against windows that are written out, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from src.ops.pooling import CeilMaxPool, PaddedAvgPool


@pytest.mark.parametrize("side", [4, 5, 6, 7])
def test_the_last_window_of_a_max_pool_may_hang_over_the_edge(side):
    x = np.random.default_rng(side).normal(-5, 1, (2, 3, side, side)).astype(np.float32)  # a padded 0 would win
    starts = range(0, side - 1, 2)  # every window that covers a pixel which the one before does not
    expected = [[x[:, :, i : i + 3, j : j + 3].max((2, 3)) for j in starts] for i in starts]
    found = CeilMaxPool()(Tensor(x)).asnumpy()
    np.testing.assert_array_equal(found, np.array(expected).transpose(2, 3, 0, 1))


def test_zeros_around_the_edge_count_in_the_average():
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = sum(padded[:, :, i : i + 4, j : j + 5] for i in range(3) for j in range(3)) / 9
    np.testing.assert_allclose(PaddedAvgPool(3)(Tensor(x)).asnumpy(), expected, atol=1e-6)
