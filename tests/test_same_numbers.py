"""The same numbers as the paper's network in PyTorch, and as the other MindSpore package, both read from files."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from model_utils.config import load_config
from src.train_cell import TrainStep, build_optimizer
from src.training.checkpoint import copy_parameters, load_network, read_checkpoint
from src.tsn import build_network
from tests.helpers.exchange import CONSENSUS_TYPES, LR_DROP, MOMENTUM, STEPS, TRAININGS

pytestmark = pytest.mark.slow


def relative_error(ours, theirs):
    ours = ours.asnumpy() if isinstance(ours, Tensor) else ours
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("consensus", CONSENSUS_TYPES)
def test_scores_of_a_converted_checkpoint(reference, consensus):
    """It knows its own settings: nothing but its path is given."""
    network, categories, config = load_network(load_config(["--ckpt_file", str(reference / f"{consensus}.ckpt")]))
    assert (config.consensus_type, config.num_segments, config.flip) == (consensus, 5, "plain")
    assert len(categories) == 5

    numbers = np.load(reference / f"{consensus}.npz")
    video, relations = Tensor(numbers["video"]), Tensor(numbers["relations"])
    assert np.ptp(numbers["all"], axis=0).min() > 1e-2 * np.abs(numbers["all"]).max()  # clips differ by far more
    assert relative_error(network.base_model.features(video.reshape((-1, 3, 64, 64))), numbers["features"]) <= 1e-5
    assert relative_error(network(video), numbers["all"]) <= 1e-4
    if consensus == "TRNmultiscale":
        assert relative_error(network(video, relations), numbers["sampled"]) <= 1e-4
        assert relative_error(numbers["sampled"], numbers["all"]) > 1e-2  # which tuples are drawn matters


@pytest.mark.parametrize("case", TRAININGS)
def test_twenty_steps_of_training(reference, compiled, case):
    """Same start, clips, relations and dropout: each step's loss, at the end every parameter and stored statistic."""
    training, numbers = TRAININGS[case], np.load(reference / f"{case}.npz")
    assert len(numbers["losses"]) == STEPS > LR_DROP
    assert min(numbers["norms"]) < training.clip_grad_norm < max(numbers["norms"])

    start, about = read_checkpoint(reference / f"{case}_start.ckpt")
    settings = {**about["settings"], "subsample_num": 2, "freeze_bn": training.freeze_bn}
    network = build_network(SimpleNamespace(**settings), 3)
    copy_parameters(network.parameters_dict(), start, "start")
    optimizer = build_optimizer(network, training.rate, 1, LR_DROP, MOMENTUM, training.weight_decay)
    step = TrainStep(network, optimizer, training.clip_grad_norm).set_train()
    batches = [numbers[name] for name in ("clips", "labels", "relations", "masks")]
    losses = [float(step(*(Tensor(column[i]) for column in batches)).asnumpy()) for i in range(STEPS)]
    np.testing.assert_allclose(losses, numbers["losses"], rtol=1e-4)

    end, _ = read_checkpoint(reference / f"{case}_end.ckpt")
    for parameter in network.get_parameters():
        before, theirs = (values[parameter.name].asnumpy() for values in (start, end))
        assert relative_error(parameter, theirs) <= 1e-4, parameter.name
        # Most values hardly move in 20 steps, so what they moved by is compared too, down to a few rounding errors.
        tolerance = 0.02 * np.abs(theirs - before).max() + 2e-6 * np.abs(before).max()
        np.testing.assert_allclose(parameter.asnumpy(), theirs, rtol=0, atol=tolerance, err_msg=parameter.name)


def test_a_checkpoint_written_by_the_other_package():
    if "TRN_EXCHANGE" not in os.environ:
        pytest.skip("only scripts/run_tests.sh lets one package write for the other")
    others = [path for path in Path(os.environ["TRN_EXCHANGE"]).glob("*.ckpt") if path.stem != ms.__version__]
    if not others:
        pytest.skip("there is no environment with the other package")
    for path in others:
        numbers = np.load(path.with_suffix(".npz"))
        network, categories, _ = load_network(load_config(["--ckpt_file", str(path)]))
        assert categories == ["Swiping Left", "Swiping Right", "Thumb Up"]
        video, relations = Tensor(numbers["video"]), Tensor(numbers["relations"])
        assert relative_error(network(video), numbers["scores_all"]) <= 1e-4
        assert relative_error(network(video, relations), numbers["scores_sampled"]) <= 1e-4
        assert np.ptp(numbers["scores_all"], axis=0).min() > 1e-2 * np.abs(numbers["scores_all"]).max()
        assert relative_error(numbers["scores_all"], numbers["scores_sampled"]) > 1e-2
