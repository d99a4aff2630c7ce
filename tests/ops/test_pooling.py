"""Caffe's pool against windows that are written out, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from src.ops.pooling import CeilMaxPool


@pytest.mark.parametrize("side", [4, 5, 6, 7])
def test_the_last_window_of_a_max_pool_may_hang_over_the_edge(side):
    x = np.random.default_rng(side).normal(-5, 1, (2, 3, side, side)).astype(np.float32)  # a padded 0 would win
    starts = range(0, side - 1, 2)  # every window that covers a pixel which the one before does not
    expected = [[x[:, :, i : i + 3, j : j + 3].max((2, 3)) for j in starts] for i in starts]
    found = CeilMaxPool()(Tensor(x)).asnumpy()
    np.testing.assert_array_equal(found, np.array(expected).transpose(2, 3, 0, 1))
