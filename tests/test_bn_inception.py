"""The backbone's normalisation while it trains, against PyTorch's rule for stored statistics in NumPy."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.bn_inception import BNInception, ConvBN, feature_channels


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("frozen", [False, True])
def test_running_averages_after_five_steps(request, mode, frozen):
    """Momentum 0.1 in PyTorch's sense, and the variance that is stored divides by n - 1; none of it when frozen."""
    if mode == ms.GRAPH_MODE:
        request.getfixturevalue("compiled")
    rng = np.random.default_rng(1)
    ms.set_seed(1)  # any other weights may bring a mean to 0, where no relative tolerance holds
    layer = ConvBN(3, 4, 1, frozen=frozen).set_train()
    weight, bias = layer.conv.weight.asnumpy()[:, :, 0, 0], layer.conv.bias.asnumpy()
    mean, variance = rng.normal(size=4).astype(np.float32), rng.uniform(0.5, 2, 4).astype(np.float32)
    layer.bn.moving_mean.set_data(Tensor(mean))
    layer.bn.moving_variance.set_data(Tensor(variance))

    for _ in range(5):
        x = rng.normal(rng.normal(size=(3, 1, 1)), 2, (2, 3, 2, 2)).astype(np.float32)
        out = layer(Tensor(x)).asnumpy()
        y = np.einsum("oi,nihw->nohw", weight, x) + bias[:, None, None]
        if frozen:
            batch_mean, batch_variance = mean, variance
        else:
            batch_mean, batch_variance = y.mean((0, 2, 3)), y.var((0, 2, 3))
            mean = 0.9 * mean + 0.1 * batch_mean
            variance = 0.9 * variance + 0.1 * y.var((0, 2, 3), ddof=1)
        expected = (y - batch_mean[:, None, None]) / np.sqrt(batch_variance[:, None, None] + 1e-5)
        np.testing.assert_allclose(out, expected.clip(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.bn.moving_mean.asnumpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.bn.moving_variance.asnumpy(), variance, rtol=1e-5)


@pytest.mark.parametrize(("width_mult", "channels"), [(1.0, 1024), (0.5, 512), (0.0625, 64), (0.01, 4 * 4)])
def test_feature_channels(width_mult, channels):
    assert feature_channels(width_mult) == channels == BNInception(4, width_mult).feature_channels
