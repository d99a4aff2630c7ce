"""Clipping and momentum against the formulas, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from src.ops.gradients import ClipByGlobalNorm, GroupMomentum

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


def test_momentum_with_a_rate_and_a_decay_for_each_group():
    """moment = 0.8 moment + gradient + decay * parameter, parameter -= rate * moment; the rate falls after 2 steps."""
    values = arrays(2)
    parameters = [Parameter(Tensor(value), name=f"p{i}") for i, value in enumerate(values)]
    settings = [(0.5, 0.1), (0.2, 0.0)]
    groups = []
    for (rate, decay), own in zip(settings, (parameters[:3], parameters[3:])):
        schedule = nn.ExponentialDecayLR(rate, 0.1, 2, is_stair=True)
        groups.append({"params": own, "lr": schedule, "weight_decay": decay})
    optimizer = GroupMomentum(groups, 0.8)
    moments = [np.zeros_like(value) for value in values]
    for step in range(4):
        gradients = arrays(10 + step)
        optimizer(tuple(map(Tensor, gradients)))
        for i, gradient in enumerate(gradients):
            rate, decay = settings[i == 3]
            moments[i] = 0.8 * moments[i] + gradient + decay * values[i]
            values[i] = values[i] - rate * 0.1 ** (step // 2) * moments[i]
    for parameter, value in zip(parameters, values):
        np.testing.assert_allclose(parameter.asnumpy(), value, rtol=1e-5, atol=1e-6)
    assert int(optimizer.global_step.asnumpy()[0]) == 4
