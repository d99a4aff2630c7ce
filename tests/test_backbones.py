"""Models of mindcv as backbones: mindcv's own features, partial BN, checkpoints, resuming, export, streams."""

import importlib.util
import json

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from model_utils.errors import InputError
from src import backbones
from src.inference.model import load_model
from src.inference.streaming import Recognizer
from src.ops.compat import EXPORTS_ANY_BATCH, LEGACY
from src.shipping.export import export_network
from src.shipping.parts import network_parts
from src.train_cell import TrainStep, build_optimizer, parameter_groups
from src.training import checkpoint, start, state
from src.training.frozen import FeatureLoss
from src.transforms import IMAGENET_PIXELS
from src.tsn import ClipLogits, FrameFeatures, build_network
from tests.helpers.browser import served_folder
from tests.helpers.networks import CLASSES, SIDE, settings

needs_mindcv = pytest.mark.skipif(
    importlib.util.find_spec("mindcv") is None, reason="mindcv is not installed (requirements-backbones.txt)"
)
pytestmark = pytest.mark.slow

SMALL = "mobilenet_v3_small_075"
NAMES = ("resnet18", SMALL)


def network_of(name, **changes):
    return build_network(settings(**{"backbone": name, "width_mult": 1.0, **changes}), len(CLASSES))


def awake(network, seed=1):
    """Weights of the last layers so large that clips are answered differently, and statistics that are not 0 and 1."""
    rng = np.random.default_rng(seed)
    for parameter in network.get_parameters():
        name = parameter.name
        if name.startswith(("base_model.fc.", "consensus.")):
            parameter.set_data(Tensor(rng.normal(scale=0.3, size=parameter.shape).astype(np.float32)))
        elif name.endswith(("moving_mean", "beta")):
            parameter.set_data(Tensor(rng.normal(scale=0.1, size=parameter.shape).astype(np.float32)))
        elif name.endswith(("moving_variance", "gamma")):
            parameter.set_data(Tensor(rng.uniform(0.8, 1.2, parameter.shape).astype(np.float32)))
        elif name.endswith("weight"):  # frames stay different through all layers
            spread = np.sqrt(2 / np.prod(parameter.shape[1:]))
            parameter.set_data(Tensor(rng.normal(scale=spread, size=parameter.shape).astype(np.float32)))
    network.set_train(False)
    features = network.base_model.features(Tensor(rng.normal(size=(2, 3, 64, 64)).astype(np.float32))).asnumpy()
    last = network.base_model.fc.weight
    last.set_data(Tensor(last.asnumpy() / np.sqrt(len(features[0])) / features.std()))  # scores of a few units
    return network


def theirs_of(name, network):
    """mindcv's own model with the weights of a network, its last layer an identity matrix: it gives the features."""
    import mindcv

    backbone = network.base_model
    theirs = mindcv.create_model(name, num_classes=backbone.feature_channels).set_train(False)
    ours = {p.name[len("base_model.model.") :]: p for p in backbone.model.get_parameters()}
    for parameter in theirs.get_parameters():
        if parameter.name == f"{backbone.last_layer}.weight":
            parameter.set_data(Tensor(np.eye(backbone.feature_channels, dtype=np.float32)))
        elif parameter.name == f"{backbone.last_layer}.bias":
            parameter.set_data(Tensor(np.zeros(backbone.feature_channels, np.float32)))
        else:
            parameter.set_data(Tensor(ours.pop(parameter.name).asnumpy()))
    assert not ours
    return theirs


@needs_mindcv
@pytest.mark.parametrize("name", NAMES)
def test_features_are_mindcvs_own(name):
    network = awake(network_of(name))
    frames = Tensor(np.random.default_rng(2).normal(size=(2, 3, 64, 64)).astype(np.float32))
    expected = theirs_of(name, network)(frames).asnumpy()
    found = network.base_model.features(frames).asnumpy()
    assert np.ptp(expected, axis=0).max() > 1e-2 * np.abs(expected).max()
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


@needs_mindcv
def test_pixels_are_rgb_centred_and_scaled_as_in_mindcvs_recipes():
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 4, 4, 3), dtype=np.uint8)
    network = network_of(SMALL)
    video = FrameFeatures(network).to_video(Tensor(frames)).asnumpy()
    rgb = frames[..., ::-1] / 255.0
    expected = (rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(video, expected.transpose(0, 1, 4, 2, 3).reshape(1, 6, 4, 4), atol=1e-5)
    np.testing.assert_allclose(IMAGENET_PIXELS.prepare(frames[0]), expected[0].transpose(0, 3, 1, 2), atol=1e-5)
    np.testing.assert_array_equal(ClipLogits(network, 1).to_video(Tensor(frames)).asnumpy(), video)


@needs_mindcv
def test_partial_bn_and_parameter_groups():
    """All normalisations but the first keep statistics, gamma and beta in a step of training."""
    network = network_of(SMALL)
    norms = [cell for _, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    groups = parameter_groups(network)
    assert len(groups["bn"]) == 2
    assert len(parameter_groups(network_of(SMALL, freeze_bn=False))["bn"]) == 2 * len(norms) > 50
    before = [norm.moving_mean.asnumpy().copy() for norm in norms]
    optimizer = build_optimizer(network, 0.1, 9, 9, 0.9, 0.0)
    TrainStep(network, optimizer, 20.0).set_train()(*batch(network))
    changed = [not np.array_equal(norm.moving_mean.asnumpy(), mean) for norm, mean in zip(norms, before)]
    assert changed == [True] + [False] * (len(norms) - 1)


def batch(network, seed=0):
    rng = np.random.default_rng(seed)
    return (
        Tensor(rng.integers(0, 256, (2, 3, SIDE, SIDE, 3), dtype=np.uint8)),
        Tensor(np.array([0, 2], np.int32)),
        Tensor(np.tile(np.array([[0, -1], [0, 2]], np.int32), (2, 1, 1))),
        Tensor(rng.integers(0, 2, (2, 3, network.base_model.feature_channels)).astype(np.float32) * 2),
    )


@needs_mindcv
def test_nothing_is_drawn_at_random():
    """mobilenet drops features, efficientnet whole blocks: neither does here."""
    for name in (SMALL, "efficientnet_b0"):
        kinds = {type(cell).__name__ for _, cell in network_of(name).cells_and_names()}
        assert not kinds & {"Dropout", "DropPath"}
    network = network_of(SMALL, freeze_bn=True)
    network.set_train()
    frames = Tensor(np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32))
    np.testing.assert_array_equal(network.base_model.features(frames), network.base_model.features(frames))


@needs_mindcv
def test_gradients_reach_every_trainable_parameter():
    network = awake(network_of(SMALL, freeze_bn=False))
    optimizer = build_optimizer(network, 0.1, 9, 9, 0.0, 0.0)
    before = {p.name: p.asnumpy().copy() for p in optimizer.parameters}
    TrainStep(network, optimizer, 1e9).set_train()(*batch(network))
    still = [p.name for p in optimizer.parameters if np.array_equal(p.asnumpy(), before[p.name])]
    assert not still


@needs_mindcv
def test_random_weights_can_learn(compiled):
    """A ReLU follows the last layer: few of its outputs are negative for all frames after 120 steps of training.

    The features are those of random weights, which the first steps hardly change; the labels say nothing.
    """
    ms.set_seed(1)
    network = network_of("mobilenet_v1_025", img_feature_dim=64, freeze_bn=False).set_train()
    rng = np.random.default_rng(0)
    frames = Tensor(rng.normal(size=(24, 3, SIDE, SIDE)).astype(np.float32))
    features = network.base_model.features(frames).reshape((8, 3, -1))
    step = TrainStep(network, build_optimizer(network, 0.002, 9, 999, 0.9, 0.0), 20.0, FeatureLoss(network))
    relations = Tensor(np.tile(np.array([[0, -1], [0, 2]], np.int32), (8, 1, 1)))
    for _ in range(120):
        labels = Tensor(rng.integers(0, len(CLASSES), 8).astype(np.int32))
        step(features, labels, relations, ops.ones_like(features))
    outputs = network.base_model.fc(features.reshape((24, -1))).asnumpy()
    assert np.mean((outputs <= 0).all(0)) < 0.2


# ------------------------------------------------------------------------------------------------------- checkpoints


@needs_mindcv
def test_a_checkpoint_knows_its_backbone(tmp_path):
    network = awake(network_of(SMALL))
    about = checkpoint.describe(settings(backbone=SMALL, width_mult=1.0), CLASSES)
    path = checkpoint.save_checkpoint(tmp_path / "trn.ckpt", network.parameters_dict(), about)
    assert checkpoint.read_checkpoint(path)[1]["settings"]["backbone"] == SMALL
    loaded, _, config = checkpoint.load_network(settings(ckpt_file=str(path)))
    assert config.backbone == SMALL
    video = Tensor(np.random.default_rng(0).normal(size=(1, 9, SIDE, SIDE)).astype(np.float32))
    np.testing.assert_array_equal(loaded(video).asnumpy(), network(video).asnumpy())
    with pytest.raises(InputError, match=f"trained with backbone {SMALL}, but backbone resnet50 was asked for"):
        checkpoint.load_network(settings(ckpt_file=str(path), backbone="resnet50", given=frozenset({"backbone"})))
    with pytest.raises(InputError, match=f"holds the backbone {SMALL}, but backbone is bn_inception"):
        start.load_start(build_network(settings(), 3), settings(pre_trained_backbone=str(path), width_mult=1.0), [])
    other = network_of(SMALL)
    said = start.load_start(other, settings(pre_trained_backbone=str(path), backbone=SMALL, width_mult=1.0), [])
    taken = sum(name.startswith("base_model.model.") for name in network.parameters_dict())
    assert f"a network for 3 classes; {taken} parameters of its backbone {SMALL} taken, 10 behind it are new" in said
    for name, parameter in other.parameters_dict().items():
        same = np.array_equal(parameter.asnumpy(), network.parameters_dict()[name].asnumpy())
        assert same == name.startswith("base_model.model.")


def test_a_checkpoint_without_backbone_is_bn_inception(tmp_path):
    network = build_network(settings(), 3)
    about = checkpoint.describe(settings(), CLASSES)
    del about["settings"]["backbone"]
    path = checkpoint.save_checkpoint(tmp_path / "trn.ckpt", network.parameters_dict(), about)
    asked = settings(ckpt_file=str(path), backbone="resnet50")
    assert checkpoint.load_network(asked)[2].backbone == "bn_inception"
    asked.given = frozenset({"backbone"})
    with pytest.raises(InputError, match="trained with backbone bn_inception, but backbone resnet50"):
        checkpoint.load_network(asked)


@needs_mindcv
@pytest.mark.parametrize("fetched", [False, True])
def test_mindcvs_own_checkpoint(tmp_path, monkeypatch, fetched):
    """A file as mindcv writes it, its last layer for 1000 classes; or fetched by mindcv, here from this machine."""
    import mindcv
    from mindcv.models import registry

    theirs = mindcv.create_model(SMALL)
    ms.save_checkpoint(theirs, str(tmp_path / "mindcv.ckpt"))
    source = str(tmp_path / "mindcv.ckpt")
    network = network_of(SMALL)
    with served_folder(tmp_path) as address:
        if fetched:
            monkeypatch.setattr("mindcv.models.helpers.get_checkpoint_download_root", lambda: str(tmp_path / "home"))
            monkeypatch.setitem(registry._model_pretrained_cfgs, SMALL, {"url": f"{address}mindcv.ckpt"})
            source = "pretrained"
        said = start.load_start(network, settings(pre_trained_backbone=source, backbone=SMALL, width_mult=1.0), [])
    assert "mindcv.ckpt: a backbone; " in said
    own = network.parameters_dict()
    for parameter in theirs.get_parameters():
        if not parameter.name.startswith(network.base_model.last_layer):
            np.testing.assert_array_equal(own[f"base_model.model.{parameter.name}"].asnumpy(), parameter.asnumpy())


@needs_mindcv
def test_weights_that_mindcv_does_not_have(monkeypatch):
    from mindcv.models import registry

    monkeypatch.setitem(registry._model_pretrained_cfgs, SMALL, {"url": ""})
    with pytest.raises(InputError, match="mindcv has no weights for"):
        backbones.pretrained_file(SMALL)
    with pytest.raises(InputError, match="mindcv has no bn_inception; give a checkpoint"):
        backbones.pretrained_file("bn_inception")


# ----------------------------------------------------------------------------------------------------------- refused


@needs_mindcv
@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("resnt50", {}, "'resnt50': no such backbone; nearest: resnet50, "),
        ("resnet18", {"width_mult": 0.5}, "width_mult 0.5: backbone resnet18 comes in one width"),
        ("squeezenet1_0", {}, "backbone squeezenet1_0: expected one dense layer that gives its class scores"),
    ],
)
def test_backbones_that_cannot_be(name, changes, said):
    with pytest.raises(InputError, match=said):
        network_of(name, **changes)


@needs_mindcv
def test_sides_that_a_backbone_cannot_take():
    backbone = network_of("convit_tiny").base_model
    with pytest.raises(InputError, match="image_size 64: backbone convit_tiny cannot take such frames"):
        backbones.check_image_size("convit_tiny", backbone, 64)
    backbones.check_image_size(SMALL, network_of(SMALL).base_model, SIDE)


def test_without_mindcv(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"mindcv, which is not installed.*requirements-backbones\.txt"):
        network_of("resnet50")


# ------------------------------------------------------------------------------------------------ the rest, compiled


@needs_mindcv
def test_training_is_resumed_bit_by_bit(tmp_path, compiled):
    """Four steps, and two of another run from a file that was saved after two: the same bytes of the whole state."""
    path, ends = tmp_path / "half.ckpt", []
    for first in (0, 2):
        ms.set_seed(3 + first)
        network = network_of(SMALL)
        optimizer = build_optimizer(network, 0.01, 1, 2, 0.9, 0.01)
        training_state = state.training_state(network, optimizer)
        if first:
            checkpoint.copy_parameters(training_state, checkpoint.read_all(path)[0], path)
        step = TrainStep(network, optimizer, 20.0).set_train()
        for number in range(first, 4):
            assert np.isfinite(float(step(*batch(network, number)).asnumpy()))
            if number == 1:
                checkpoint.save_checkpoint(path, training_state, {})
        ends.append({key: parameter.asnumpy() for key, parameter in training_state.items()})
    whole, resumed = ends
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        np.testing.assert_array_equal(resumed[key], value, err_msg=key)


@needs_mindcv
def test_exported_and_streamed(tmp_path, request):
    """Scores of a clip: the checkpoint's, those of both files by what their JSON says, and the stream's."""
    if LEGACY:  # 1.10 runs a MINDIR in graph mode only
        request.getfixturevalue("compiled")
    about = checkpoint.describe(settings(backbone=SMALL, width_mult=1.0, flip="none"), CLASSES)
    path = checkpoint.save_checkpoint(tmp_path / "trn.ckpt", awake(network_of(SMALL)).parameters_dict(), about)
    config = settings(
        ckpt_file=str(path), test_crops=1, relations="all", seed=0, export_batch_size=0 if EXPORTS_ANY_BATCH else 1
    )
    frames = list(np.random.default_rng(5).integers(0, 256, (3, 40, 44, 3), dtype=np.uint8))
    model = load_model(config)
    expected = model.clip_logits(frames)
    assert np.ptp(expected) > 1e-2
    has_onnx = importlib.util.find_spec("onnx") is not None
    for file_format in ("MINDIR", "ONNX") if has_onnx else ("MINDIR",):
        network, names, exported = checkpoint.load_network(config)
        exported.file_format = file_format
        target = tmp_path / f"trn.{file_format.lower()}"
        assert export_network(network, exported, names, target)["largest"] <= 1e-4
        said = json.loads(target.with_name(target.name + ".json").read_text())
        assert (said["backbone"], said["input"]["channel_order"]) == (SMALL, "RGB")
        assert said["input"]["scale"] == pytest.approx([1 / 58.395, 1 / 57.12, 1 / 57.375])
        config.ckpt_file = str(target)
        found = load_model(config).clip_logits(frames)
        config.ckpt_file = str(path)
        np.testing.assert_allclose(found, expected, atol=1e-4)

    recognizer = Recognizer(network_parts(model.network), model.image_size, window=3.0)
    scores = [recognizer.push(frame, float(second)) for second, frame in enumerate(frames)][-1]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
