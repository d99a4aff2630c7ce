"""The network against the paper's in PyTorch, side by side: frame features at every size, and the relation head.

Scores of whole networks and training are compared through files, in `test_same_numbers`.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor

torch = pytest.importorskip("torch", reason="torch is not in the environment of the legacy package")

from benchmarks import torch_reference  # noqa: E402
from model_utils.errors import InputError  # noqa: E402
from src.bn_inception import BNInception, check_side  # noqa: E402
from src.convert_bn_inception import backbone_torch_name, convert_bn_inception  # noqa: E402
from src.training.start import load_start  # noqa: E402
from src.trn import MultiScaleTRN  # noqa: E402
from src.tsn import build_network  # noqa: E402
from tests.helpers.exchange import draw_video  # noqa: E402

WIDTH = 0.125
CLASSES = 5
FEATURES = 32


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The layers here are small: on a busy machine PyTorch takes ten times as long with several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def backbones():
    """The same random weights in both: (PyTorch's backbone, ours)."""
    theirs = torch_reference.randomise(torch_reference.BNInception(WIDTH), seed=3).eval()
    state = theirs.state_dict()
    ours = BNInception(out_channels=FEATURES, frozen_bn=True, width_mult=WIDTH)
    for parameter in ours.get_parameters():
        if not parameter.name.startswith("fc."):
            parameter.set_data(Tensor(state[backbone_torch_name(parameter.name)].numpy()))
    return theirs, ours.set_train(False)


def relative_error(ours, theirs):
    ours, theirs = ours.asnumpy(), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


# Sides of 63 to 70 meet odd numbers in the pools.
@pytest.mark.slow
@pytest.mark.parametrize("side", [63, 64, 65, 68, 70, 96, 224])
def test_backbone_features(backbones, side):
    theirs, ours = backbones
    x = draw_video(2, 1, side, seed=4)
    check_side(side)
    expected = theirs(torch.from_numpy(x))
    assert (expected[0] - expected[1]).abs().max() > 1e-2 * expected.abs().max()
    assert relative_error(ours.features(Tensor(x)), expected) <= 1e-5


@pytest.mark.slow
def test_sides_that_the_papers_network_cannot_take_are_refused():
    """112 is one: after its pools the two halves of a block would be 4 and 3 pixels wide."""
    with torch.device("meta"):
        theirs = torch_reference.BNInception(0.0625).eval()
    refused = []
    for side in range(56, 130):
        try:
            theirs(torch.empty(1, 3, side, side, device="meta"))
            check_side(side)
        except RuntimeError:
            refused.append(side)
            with pytest.raises(InputError, match=f"image_size {side}: .* nearest that work"):
                check_side(side)
    assert 112 in refused
    assert not {63, 64, 65, 96, 128} & set(refused)


@pytest.mark.slow
def test_features_of_the_whole_backbone_through_conversion(tmp_path):
    """Full width, four frames of 224 x 224, from a file in the form in which the ImageNet weights are published."""
    theirs = torch_reference.randomise(torch_reference.BNInception(), seed=5).eval()
    state = {name: value[None] if "_bn." in name else value for name, value in theirs.state_dict().items()}
    state = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    torch.save({**state, "fc.weight": torch.zeros(9, 1024)}, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    convert_bn_inception(tmp_path / "b.pth", tmp_path / "backbone.ckpt")

    settings = {"consensus_type": "TRNmultiscale", "num_segments": 3, "img_feature_dim": 8, "subsample_num": 3}
    start = {"backbone": "bn_inception", "pre_trained": "", "pre_trained_backbone": str(tmp_path / "backbone.ckpt")}
    config = SimpleNamespace(**settings, **start, width_mult=1.0, freeze_bn=True)
    ours = build_network(config, 2).set_train(False)
    load_start(ours, config, [])
    x = draw_video(4, 1, 224, seed=4)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x))
    assert expected.std(dim=0).max() > 1e-2 * expected.abs().max()
    assert relative_error(ours.base_model.features(Tensor(x)), expected) <= 1e-5


@pytest.mark.parametrize("num_segments", [2, 3, 8])
@pytest.mark.parametrize("subsample_num", [1, 3, 40])
def test_head_over_sampled_and_all_relations(num_segments, subsample_num):
    theirs = torch_reference.MultiScaleRelation(FEATURES, num_segments, CLASSES)
    torch_reference.randomise(theirs, seed=7)
    ours = MultiScaleTRN(num_segments, FEATURES, CLASSES, subsample_num)
    state = theirs.state_dict()
    for parameter in ours.get_parameters():
        parameter.set_data(Tensor(state[parameter.name].numpy()))

    rng = np.random.default_rng(8)
    features = rng.normal(size=(4, num_segments, FEATURES)).astype(np.float32)
    relations = np.stack([torch_reference.sample_relations(num_segments, subsample_num, rng) for _ in range(4)])
    expected = theirs(torch.from_numpy(features), torch.from_numpy(relations))
    assert relative_error(ours(Tensor(features), Tensor(relations)), expected) <= 1e-5

    expected = theirs.all_relations(torch.from_numpy(features), subsample_num)
    assert relative_error(ours(Tensor(features)), expected) <= 1e-5
