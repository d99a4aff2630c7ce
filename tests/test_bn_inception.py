"""The backbone's layers: how they start, and BN in training against PyTorch's rule for stored statistics in NumPy."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from model_utils.errors import InputError
from src.backbones import BACKBONES
from src.bn_inception import BNInception, ConvBN, PooledConvBN, check_side, scale_channels


class WeightedSum(nn.Cell):
    """The sum of a layer's output times ``weights``, of which the gradient is taken."""

    def __init__(self, layer, weights):
        super().__init__()
        self.layer, self.weights = layer, weights

    def construct(self, x):
        return (self.layer(x) * self.weights).sum()


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


@pytest.mark.parametrize("frozen", [False, True])
def test_whether_a_bias_learns(frozen):
    """With stored statistics; those of the batch move with it, so that the output does not depend on it."""
    rng = np.random.default_rng(3)
    layer = ConvBN(3, 4, 1, frozen=frozen).set_train()
    layer.bn.gamma.set_data(Tensor(rng.uniform(0.5, 2, 4).astype(np.float32)))
    layer.bn.moving_variance.set_data(Tensor(rng.uniform(0.5, 2, 4).astype(np.float32)))
    x = Tensor(rng.normal(size=(2, 3, 5, 5)).astype(np.float32))
    weights = rng.normal(size=(2, 4, 5, 5)).astype(np.float32)

    out = layer(x).asnumpy()
    cell = WeightedSum(layer, Tensor(weights)).set_train()
    _, (gradient,) = ops.value_and_grad(cell, None, [cell.layer.conv.bias])(x)
    slope = layer.bn.gamma.asnumpy() / np.sqrt(layer.bn.moving_variance.asnumpy() + 1e-5)
    expected = (weights * (out > 0)).sum((0, 2, 3)) * slope if frozen else np.zeros(4)
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-4)

    layer.conv.bias.set_data(layer.conv.bias + 1)
    assert np.allclose(layer(x).asnumpy(), out, atol=1e-5) == (not frozen)


@pytest.mark.parametrize("frozen", [False, True])
def test_an_average_before_the_projection(frozen):
    """3x3 average over a border of zeros, convolution, BN, ReLU, in the order of the definition."""
    rng = np.random.default_rng(2)
    layer = PooledConvBN(3, 4, frozen=frozen).set_train(False)
    values = {}
    for parameter in layer.get_parameters():
        kind = parameter.name.rsplit(".", 1)[-1]
        values[kind] = rng.uniform(0.5, 1.5, parameter.shape).astype(np.float32)
        parameter.set_data(Tensor(values[kind]))
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    average = sum(padded[:, :, i : i + 4, j : j + 5] for i in range(3) for j in range(3)) / 9
    y = np.einsum("oi,nihw->nohw", values["weight"][:, :, 0, 0], average) + values["bias"][:, None, None]
    scale = values["gamma"] / np.sqrt(values["moving_variance"] + 1e-5)
    y = (y - values["moving_mean"][:, None, None]) * scale[:, None, None] + values["beta"][:, None, None]
    np.testing.assert_allclose(layer(Tensor(x)).asnumpy(), y.clip(0), atol=1e-5)


def test_how_layers_start():
    """Convolutions like PyTorch's, BN as the identity, the last layer next to zero, as TSN starts its own."""
    ms.set_seed(5)
    backbone = BNInception(out_channels=200, width_mult=0.5)
    layer, bound = backbone.conv2_3x3, (32 * 9) ** -0.5
    weight, bias = layer.conv.weight.asnumpy(), layer.conv.bias.asnumpy()
    assert weight.shape == (96, 32, 3, 3)
    assert 0.99 * bound < np.abs(weight).max() <= bound * (1 + 1e-6)
    assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert 0.9 * bound < np.abs(bias).max() <= bound
    for name, value in (("gamma", 1), ("beta", 0), ("moving_mean", 0), ("moving_variance", 1)):
        np.testing.assert_array_equal(getattr(layer.bn, name).asnumpy(), value)

    last = backbone.fc.weight.asnumpy()
    assert last.shape == (200, 512)
    assert last.std() == pytest.approx(0.001, rel=0.02)
    assert last.mean() == pytest.approx(0, abs=2e-5)
    np.testing.assert_array_equal(backbone.fc.bias.asnumpy(), 0)


def test_widths():
    assert [scale_channels(*one) for one in ((64, 1.0), (64, 0.25), (65, 0.5), (64, 0.01))] == [64, 16, 32, 4]
    for width_mult, channels in ((0.25, 256), (0.0625, 64), (0.01, 4 * 4)):
        assert BNInception(width_mult=width_mult).feature_channels == channels


def test_the_published_network():
    """256 features a frame, full width, partial BN: only the first layer's follows the batches."""
    backbone = BACKBONES["bn_inception"].build(256, 1.0, True)
    assert backbone.fc.weight.shape == (256, 1024)
    layers = [cell for _, cell in backbone.cells_and_names() if isinstance(cell, ConvBN)]
    assert [layer.frozen for layer in layers] == [False] + 68 * [True]


def test_sides_below_32_are_refused():
    check_side(32)
    with pytest.raises(InputError, match=r"image_size 31: .*: \[32, 33\]"):
        check_side(31)
