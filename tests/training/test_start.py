"""What a training starts from: which values come from a checkpoint, which stay new, what is refused."""

from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

import train as training_program
from model_utils.config import load_config
from model_utils.errors import InputError
from model_utils.logging import get_logger
from src.data.mirror_pairs import mirrored_classes
from src.inference.model import load_model
from src.ops.ranks import ALONE
from src.training import checkpoint
from src.training.start import load_start
from src.training.trainer import TrainingSet
from src.tsn import build_network
from tests.helpers.clips import write_dataset
from tests.helpers.networks import CLASSES, SIDE, settings, tiny_network
from tests.helpers.refusals import refusal
from train import build_trainer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_backbone", "clips_here")]

SMALL = f"--num_segments 3 --img_feature_dim 8 --width_mult 0.0625 --image_size {SIDE}"
FOUR_CLASSES = ["Stop Sign", "Thumb Down", "Thumb Up", "Drumming Fingers"]
# Written out: the layers whose size is the number of classes.
LAST = {
    "TRNmultiscale": ("consensus.fc_fusion_scales.0.3.", "consensus.fc_fusion_scales.1.3."),
    "TRN": ("consensus.classifier.3.",),
    "avg": ("base_model.fc.",),
}


def values(network):
    return {parameter.name: parameter.asnumpy().copy() for parameter in network.get_parameters()}


def save(path, described=True, **changes):
    """Saves a network with values that no new network has, and gives them."""
    rng = np.random.default_rng(1)
    network = tiny_network(**changes)
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(rng.uniform(2, 3, parameter.shape).astype(np.float32)))
    if described:
        checkpoint.save_checkpoint(path, network.parameters_dict(), checkpoint.describe(settings(**changes), CLASSES))
    else:
        ms.save_checkpoint(network, str(path))
    return values(network)


def started(categories, **changes):
    """The values of a new network before and after its start, and what the log says."""
    config = settings(**changes)
    network = build_network(config, len(categories))
    before = values(network)
    said = load_start(network, config, categories)
    return before, values(network), said


def test_mirror_pairs_reach_clips_log_and_checkpoint(tmp_path, monkeypatch):
    """Those of the file beside the list of classes: the run mirrors by them, and its checkpoints record them."""
    names = ["near door", "near window", "Bright"]
    write_dataset(tmp_path, [3, 3], names, train=range(2), val=range(2))
    (tmp_path / "mirror_pairs.txt").write_text("near door = near window\n")
    argv = f"--device_target CPU --train_batch_size 2 --epochs_num 1 --train_workers 1 --eval_interval 0 {SMALL}"
    paths = ["--dataset_root", str(tmp_path), "--train_output_dir", str(tmp_path / "out")]
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda _: (0, 1))
    training_program.train(load_config([*argv.split(), *paths]), SimpleNamespace(received=False))
    said = (tmp_path / "out/train.log").read_text()
    assert "in a mirror: near door = near window\n" in said
    assert "not mirrored: Bright: " in said
    path = tmp_path / "out/checkpoint_trn-1_1.ckpt"
    _, names, config = checkpoint.load_network(load_config(["--ckpt_file", str(path)]))
    assert mirrored_classes(names, config.mirror_pairs).tolist() == [1, 0, -1]
    config = load_config(["--ckpt_file", str(path), "--mirror_pairs", "Bright = Bright"])
    assert load_model(config).score.mirrored.tolist() == [0, 1, 2]


@pytest.mark.parametrize("consensus", LAST)
@pytest.mark.parametrize("described", [True, False])
def test_a_whole_network_for_other_classes(tmp_path, consensus, described):
    """All is taken but what gives the scores; how many tuples are drawn may differ."""
    path = tmp_path / "trn.ckpt"
    trained = save(path, described, consensus_type=consensus)
    changes = {"pre_trained": str(path), "consensus_type": consensus, "subsample_num": 1}
    before, after, said = started(FOUR_CLASSES, **changes)
    for name, value in after.items():
        expected = before[name] if name.startswith(LAST[consensus]) else trained[name]
        np.testing.assert_array_equal(value, expected, err_msg=name)
    new = 2 * len(LAST[consensus])
    kind = "a network for 3 classes" if described else "a network"
    parts = "backbone bn_inception" + ("" if consensus == "avg" else ", projection and relations")
    taken = f"{len(before) - new} parameters of its {parts} taken"
    why = "" if described else ": it names no classes (keep_last_layer true assumes that they are the dataset's)"
    assert said == f"{path}: {kind}; {taken}, {new} of the last layer are new{why}"


def test_another_size_of_pictures_is_said(tmp_path):
    """It fits any network, so it is no error; but weights of small pictures know little about large ones."""
    path = tmp_path / "trn.ckpt"
    save(path)
    _, _, said = started(CLASSES, pre_trained=str(path), image_size=64)
    assert said.endswith(f"the classes are the same; trained with image_size {SIDE} (now 64)")
    _, _, said = started(CLASSES, pre_trained=str(path), image_size=64, given=frozenset({"image_size"}))
    assert "image_size" not in said
    with pytest.raises(InputError, match=rf"width_mult 0.0625 \(now 0.125\), image_size {SIDE} \(now 64\)$"):
        started(CLASSES, pre_trained=str(path), image_size=64, width_mult=0.125)


def test_a_whole_network_for_the_same_classes(tmp_path):
    path = tmp_path / "trn.ckpt"
    trained = save(path)
    _, after, said = started(CLASSES, pre_trained=str(path))
    for name, value in after.items():
        np.testing.assert_array_equal(value, trained[name], err_msg=name)
    assert f"; {len(trained)} parameters of its backbone bn_inception, projection and relations taken, " in said
    assert said.endswith(", the last layer's too: the classes are the same")


def test_the_last_layer_of_a_network_that_names_no_classes_is_kept_where_that_is_asked_for(tmp_path):
    path = tmp_path / "zoo.ckpt"
    trained = save(path, described=False)
    _, after, said = started(CLASSES, pre_trained=str(path), keep_last_layer=True)
    for name, value in after.items():
        np.testing.assert_array_equal(value, trained[name], err_msg=name)
    assert said.endswith("it names no classes, so they are assumed to be the dataset's, in the same order")
    with pytest.raises(InputError, match="do not fit the network: .* of another shape"):
        started(FOUR_CLASSES, pre_trained=str(path), keep_last_layer=True)
    save(path, described=True)
    with pytest.raises(InputError, match="zoo.ckpt: keep_last_layer true, but its classes differ from"):
        started(CLASSES[::-1], pre_trained=str(path), keep_last_layer=True)


def test_a_converted_backbone_is_called_a_backbone(tmp_path):
    """Its names are those of a network; it has no last layer."""
    path = tmp_path / "bn.ckpt"
    arrays = {name: array for name, array in values(build_network(settings(), 3)).items() if "consensus" not in name}
    body = {name: array for name, array in arrays.items() if ".fc." not in name}
    checkpoint.save_checkpoint(path, body, {"source": "bn.pth", "settings": {"width_mult": 0.0625}})
    _, _, said = started(CLASSES, pre_trained_backbone=str(path))
    assert said.startswith(f"{path}: a backbone; {len(body)} parameters of its backbone bn_inception taken, ")


@pytest.mark.parametrize("described", [True, False])
def test_as_many_classes_are_not_the_same_classes(tmp_path, described):
    """Nor are they in another order, or if nobody knows the names."""
    path = tmp_path / "trn.ckpt"
    save(path, described)
    before, after, _ = started(CLASSES[::-1], pre_trained=str(path))
    for name in before:
        assert np.array_equal(before[name], after[name]) == name.startswith(LAST["TRNmultiscale"]), name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_segments": 4}, "num_segments 3 (now 4)"),
        ({"img_feature_dim": 9, "width_mult": 0.125}, "img_feature_dim 8 (now 9), width_mult 0.0625 (now 0.125)"),
        ({"consensus_type": "avg"}, "consensus_type TRNmultiscale (now avg)"),
    ],
)
def test_a_whole_network_that_does_not_fit(tmp_path, changes, said):
    path = tmp_path / "trn.ckpt"
    save(path)
    expected = f"{path}: pre_trained must fit the network, but was trained with {said}"
    assert refusal(started, CLASSES, pre_trained=str(path), **changes) == expected
    save(path, described=False)
    with pytest.raises(InputError, match="parameters do not fit the network: "):
        started(CLASSES, pre_trained=str(path), **changes)


def test_training_starts_once(tmp_path):
    """A frozen backbone is one that was loaded; a resumed run does not need the file any more."""
    path, out = tmp_path / "trn.ckpt", tmp_path / "out"
    trained = save(path)
    options = f"--num_segments 3 --img_feature_dim 8 --width_mult 0.0625 --image_size {SIDE} --subsample_num 2"
    options += f" --freeze_backbone true --eval_interval 0 --train_output_dir {out} --pre_trained {path}"
    config = load_config(options.split())
    clips = TrainingSet(CLASSES, 24, 1, {})
    trainer = build_trainer(config, clips, [], ALONE, None)
    for name, value in values(trainer.network).items():
        np.testing.assert_array_equal(value, trained[name], err_msg=name)
    assert f"{path}: a network for 3 classes; " in (out / "train.log").read_text()
    trainer.save("checkpoint_last.ckpt")
    path.unlink()
    resumed = build_trainer(config, clips, [], ALONE, out / "checkpoint_last.ckpt")
    for name, value in values(resumed.network).items():
        np.testing.assert_array_equal(value, trained[name], err_msg=name)
    get_logger(rank=1)  # closes the log file


def test_random_weights():
    before, after, said = started(CLASSES)
    assert said == ""
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_a_backbone_leaves_the_last_layers_alone(tmp_path):
    trained = save(tmp_path / "trn.ckpt")
    changes = {"consensus_type": "TRN", "num_segments": 5, "img_feature_dim": 4}
    before, after, said = started(FOUR_CLASSES, pre_trained_backbone=str(tmp_path / "trn.ckpt"), **changes)
    for name, value in after.items():
        is_backbone = name.startswith("base_model.") and not name.startswith("base_model.fc.")
        np.testing.assert_array_equal(value, trained[name] if is_backbone else before[name])
    assert ": a network for 3 classes; 60 parameters of its backbone bn_inception taken, 6 behind it are new" in said


def test_a_backbone_of_the_model_zoo_port(tmp_path):
    """Converted from ImageNet: no ``base_model.`` before the names, and a last layer for 1000 classes."""
    rng = np.random.default_rng(2)
    network = tiny_network()
    before = values(network)
    backbone = {name for name in before if name.startswith("base_model.") and not name.startswith("base_model.fc.")}
    arrays = {name: rng.uniform(size=before[name].shape).astype(np.float32) for name in backbone}
    port = {name[len("base_model.") :]: array for name, array in arrays.items()}
    port.update({"fc.weight": np.zeros((1000, 64), np.float32), "fc.bias": np.zeros(1000, np.float32)})
    entries = [{"name": name, "data": Tensor(array)} for name, array in port.items()]
    ms.save_checkpoint(entries, str(tmp_path / "port.ckpt"))
    load_start(network, settings(pre_trained_backbone=str(tmp_path / "port.ckpt")), [])
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, arrays.get(name, before[name]), err_msg=name)
