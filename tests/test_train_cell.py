"""The training step: its loss, its groups of parameters, its gradients on one rank and on two."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from src.ops.compat import LEGACY
from src.train_cell import ClipLoss, TrainStep, build_optimizer, learning_rate, parameter_groups
from tests.helpers import ROOT, steps
from tests.helpers.colours import ColourBackbone
from tests.helpers.networks import (
    SIDE,
    behind,
    layer_names,
    parameter_names,
    seeing_network,
    tiny_network,
    video_of,
)

NOTHING_DROPPED = Tensor(np.ones((1, 1, 1), np.float32))


def small_network():
    """A backbone of one layer before a real head, for what depends on the step and not on the backbone."""
    return behind(ColourBackbone(8))


def batch(clips=2, segments=3, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (clips, segments, SIDE, SIDE, 3), dtype=np.uint8)
    relations = np.tile(np.array([[0, -1], [0, 2]], np.int32), (clips, 1, 1))
    return Tensor(pixels), Tensor(np.arange(clips, dtype=np.int32)), Tensor(relations), NOTHING_DROPPED


@pytest.mark.slow
def test_dropout_multiplies_the_features_of_the_backbone(small_backbone):
    network = seeing_network()
    clips, labels, relations, _ = batch()
    drop = np.random.default_rng(1).random((2, 3, network.base_model.feature_channels)) < 0.5
    features = {}
    for name, mask in (("all", np.ones(drop.shape)), ("kept", 2.0 * ~drop)):
        inputs = []
        network.base_model.fc.construct = lambda x, inputs=inputs: inputs.append(x.asnumpy()) or Tensor(x[:, :8])
        ClipLoss(network)(clips, labels, relations, Tensor(mask.astype(np.float32)))
        features[name] = inputs[0].reshape(drop.shape)
    assert np.all(features["kept"][drop] == 0)
    assert np.any(features["all"][drop])
    np.testing.assert_allclose(features["kept"][~drop], 2 * features["all"][~drop], rtol=1e-6)


def test_groups_hold_every_trainable_parameter_once():
    network = tiny_network()
    groups = parameter_groups(network)
    names = [parameter.name for group in groups.values() for parameter in group]
    assert sorted(names) == sorted(parameter.name for parameter in network.trainable_params())
    assert [parameter.name for parameter in groups["bn"]] == [
        "base_model.conv1_7x7_s2.bn.gamma",
        "base_model.conv1_7x7_s2.bn.beta",
    ]
    convolutions_and_dense = 69 + 1 + 2 * 2
    assert len(groups["weights"]) == len(groups["biases"]) == convolutions_and_dense


def test_which_parameters_do_not_train():
    """Stored statistics, and with partial BN the gamma and beta of every layer but the first."""
    statistics = [f"{layer}.bn.{kind}" for layer in layer_names() for kind in ("moving_mean", "moving_variance")]
    frozen = [f"{layer}.bn.{kind}" for layer in layer_names()[1:] for kind in ("gamma", "beta")]
    for network, expected in (
        (tiny_network(), statistics + frozen),
        (tiny_network(freeze_bn=False), statistics),
    ):
        trained = {parameter.name for parameter in network.trainable_params()}
        assert sorted(set(parameter_names(num_segments=3)) - trained) == sorted(expected)


def test_a_parameter_of_no_group_is_an_error(small_backbone):
    network = tiny_network()
    network.stray = Parameter(Tensor(np.zeros(3, np.float32)), name="stray.scale")
    with pytest.raises(ValueError, match="stray.scale.*no optimiser group"):
        parameter_groups(network)


def test_learning_rate_falls_to_a_tenth_and_biases_learn_twice_as_fast(small_backbone):
    optimizer = build_optimizer(tiny_network(), 0.5, 2, 3, 0.9, 1e-4)
    rates = [
        [float(schedule(Tensor(step, ms.int32))) for step in range(14)] for schedule in optimizer.learning_rate[:1]
    ]
    assert rates[0] == pytest.approx([0.5] * 6 + [0.05] * 6 + [0.005] * 2, rel=1e-5)
    assert [learning_rate(0.5, 2, 1 + step // 3) for step in range(14)] == pytest.approx(rates[0], rel=1e-5)
    by_group = [float(schedule(Tensor(0, ms.int32))) for schedule in optimizer.learning_rate]
    assert sorted({round(rate, 6) for rate in by_group}) == [0.5, 1.0]


def test_how_far_each_kind_of_parameter_moves():
    """Gradients of 1 move biases twice as far as weights, gamma and beta. Only weights decay."""
    network = steps.Network()
    parameters = {parameter.name: parameter for parameter in network.trainable_params()}
    before = {name: parameter.asnumpy().copy() for name, parameter in parameters.items()}
    optimizer = build_optimizer(network, 0.5, 10, 10, 0.9, 0.1)
    optimizer(tuple(Tensor(np.ones(parameter.shape, np.float32)) for parameter in optimizer.parameters))
    kinds = set()
    for name, parameter in parameters.items():
        kind = name.rsplit(".", 1)[-1]
        expected = {"weight": 0.5 * (1 + 0.1 * before[name]), "bias": 1.0, "gamma": 0.5, "beta": 0.5}[kind]
        np.testing.assert_allclose(before[name] - parameter.asnumpy(), expected, rtol=0, atol=1e-6, err_msg=name)
        kinds.add(kind)
    assert kinds == {"weight", "bias", "gamma", "beta"}


@pytest.mark.slow
def test_every_trainable_parameter_gets_a_gradient():
    """But no bias before statistics of the batch, which take it away."""
    network = seeing_network()
    step = TrainStep(network, build_optimizer(network, 0.1, 10, 10, 0.0, 0.0), 20.0).set_train()
    _, gradients = step.loss_and_gradients(*batch())
    without = [p.name for p, grad in zip(step.optimizer.parameters, gradients) if not np.any(grad.asnumpy())]
    assert without == ["base_model.conv1_7x7_s2.conv.bias"]


@pytest.mark.slow
@pytest.mark.parametrize("freeze_bn", [True, False])
def test_which_batch_normalisation_follows_the_batches(freeze_bn):
    network = tiny_network(freeze_bn=freeze_bn)
    means = {p.name: p.asnumpy().copy() for p in network.get_parameters() if p.name.endswith("moving_mean")}
    ClipLoss(network).set_train()(*batch())
    moved = [p.name for p in network.get_parameters() if p.name in means and np.any(p.asnumpy() != means[p.name])]
    assert moved == (["base_model.conv1_7x7_s2.bn.moving_mean"] if freeze_bn else list(means))


@pytest.mark.slow
@pytest.mark.skipif(LEGACY, reason="MindSpore 1.10 has no collectives on CPUs")
def test_two_ranks_make_the_steps_of_one(tmp_path):
    """With any limit: gradients clipped before their average show where the limit is exceeded, and summed ones where
    it is not. Batch normalisation uses and stores the statistics of both ranks' clips."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [Path(sys.executable).with_name("msrun"), "--worker_num=2", "--local_worker_num=2", "--join=True"]
    launcher += [f"--master_port={port}", f"--log_dir={tmp_path / 'logs'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [*map(str, launcher), steps.__file__, str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    moved = []
    for limit in steps.LIMITS:
        expected, found = steps.make_steps(0, 1, limit), np.load(tmp_path / f"2_{limit}.npz")
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=0, atol=2e-5 * np.abs(value).max(), err_msg=name)
        moved.append(expected["consensus.fc_fusion_scales.0.3.weight"])
    assert np.abs(moved[0] - moved[1]).max() > 0.01


def test_gradients_are_clipped_to_the_global_norm():
    """Without momentum and decay a step is lr times the clipped gradient (twice that for biases).

    The average over ranks is ten times this one's gradient: clipped before it, the step would be ten times as long.
    """
    norms = {}
    for limit in (1e9, 0.01):
        ms.set_seed(1)
        network = small_network()
        before = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
        step = TrainStep(network, build_optimizer(network, 1.0, 10, 10, 0.0, 0.0), limit).set_train()
        step.average = lambda grads: tuple(10 * grad for grad in grads)
        step(*batch())
        moves = [
            (before[p.name] - p.asnumpy()) / (2 if p.name.endswith("bias") else 1) for p in network.get_parameters()
        ]
        norms[limit] = np.sqrt(sum(np.sum(move**2) for move in moves))
    assert norms[1e9] > 0.1
    assert norms[0.01] == pytest.approx(0.01, rel=1e-2)


@pytest.mark.slow
def test_loss_is_the_mean_cross_entropy_and_falls():
    ms.set_seed(3)
    network = small_network()
    _, labels, relations, dropped = batch(clips=3)
    colours = np.uint8([[[[[220, 40, 90]]]], [[[[30, 230, 60]]]], [[[[90, 60, 240]]]]])
    clips = Tensor(np.broadcast_to(colours, (3, 3, SIDE, SIDE, 3)).copy())
    logits = network(video_of(clips.asnumpy()), relations).asnumpy()
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(3), labels.asnumpy()])

    step = TrainStep(network, build_optimizer(network, 0.05, 100, 100, 0.9, 0.0), 20.0).set_train()
    losses = [float(step(clips, labels, relations, dropped).asnumpy()) for _ in range(10)]
    assert losses[0] == pytest.approx(expected, rel=1e-5)
    assert losses[-1] < 0.5 * losses[0]


def test_the_loss_of_a_network_that_is_certain_is_finite():
    network = small_network()
    last = network.consensus.fc_fusion_scales[0][3].bias
    last.set_data(Tensor(np.array([300, 0, -300], np.float32)))
    loss = float(ClipLoss(network)(*batch()).asnumpy())
    assert loss == pytest.approx(150, rel=0.01)
