import os
import resource

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from model_utils.errors import InputError
from src.training import checkpoint
from tests.helpers.networks import CLASSES, parameter_names, settings, tiny_network


@pytest.fixture
def saved(tmp_path):
    """A tiny network and its checkpoint."""
    network = tiny_network()
    about = checkpoint.describe(settings(), CLASSES, epoch=2, step=7)
    return network, checkpoint.save_checkpoint(tmp_path / "trn.ckpt", network.parameters_dict(), about)


def values(network):
    return {parameter.name: parameter.asnumpy().copy() for parameter in network.get_parameters()}


def test_a_checkpoint_gives_back_every_value_and_what_it_is(saved):
    network, path = saved
    parameters, about = checkpoint.read_checkpoint(path)
    assert parameters.keys() == values(network).keys()
    for name, value in values(network).items():
        np.testing.assert_array_equal(parameters[name].asnumpy(), value)
    assert about["categories"] == CLASSES
    assert (about["num_classes"], about["epoch"], about["step"]) == (3, 2, 7)
    assert about["settings"]["flip"] == "label_aware"


def test_load_network_follows_the_checkpoint(saved):
    network, path = saved
    config = settings(ckpt_file=str(path), num_segments=8, width_mult=1.0, image_size=224)
    loaded, categories = checkpoint.load_network(config)
    assert categories == CLASSES
    assert (config.num_segments, config.width_mult, config.image_size) == (3, 0.0625, 32)
    for name, value in values(network).items():
        np.testing.assert_array_equal(values(loaded)[name], value)


def test_a_checkpoint_of_the_model_zoo_port_loads_unchanged(tmp_path):
    """It has the port's names and says nothing about itself."""
    shapes = {parameter.name: parameter.shape for parameter in tiny_network(num_segments=8).get_parameters()}
    assert sorted(shapes) == sorted(parameter_names(num_segments=8))
    rng = np.random.default_rng(1)
    arrays = {name: rng.normal(size=shapes[name]).astype(np.float32) for name in parameter_names(8)}
    entries = [{"name": name, "data": Tensor(array)} for name, array in arrays.items()]
    ms.save_checkpoint(entries, str(tmp_path / "port.ckpt"))

    network, categories = checkpoint.load_network(settings(ckpt_file=str(tmp_path / "port.ckpt"), num_segments=8))
    assert categories == ["0", "1", "2"]
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, arrays[name], err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_segments": 8, "given": {"num_segments"}}, "trained with num_segments 3, but num_segments 8"),
        ({"width_mult": 1.0, "given": {"width_mult"}}, "trained with width_mult 0.0625, but width_mult 1.0"),
        ({"consensus_type": "avg", "given": {"consensus_type"}}, "trained with consensus_type TRNmultiscale"),
    ],
)
def test_a_checkpoint_that_contradicts_the_given_settings(saved, changes, message):
    with pytest.raises(InputError, match=message):
        checkpoint.load_network(settings(ckpt_file=str(saved[1]), **changes))


def test_a_checkpoint_for_other_classes(saved):
    config = settings(ckpt_file=str(saved[1]))
    with pytest.raises(InputError, match="trained for 3 classes, the dataset lists 2"):
        checkpoint.load_network(config, CLASSES[:2])
    with pytest.raises(InputError, match="class 1 is 'Swiping Right' in the checkpoint, but 'Thumb Up' in the dataset"):
        checkpoint.load_network(config, [CLASSES[0], CLASSES[2], CLASSES[1]])


def test_parameters_that_do_not_fit_are_listed_and_nothing_is_loaded(saved):
    network, path = saved
    parameters, _ = checkpoint.read_checkpoint(path)
    before = values(network)
    parameters["base_model.fc.bias"] = Tensor(np.zeros(9, np.float32))
    parameters["extra.weight"] = parameters.pop("base_model.fc.weight")
    with pytest.raises(InputError) as error:
        checkpoint.load_parameters(network, parameters, path)
    message = str(error.value)
    assert str(path) in message
    assert "1 missing (base_model.fc.weight)" in message
    assert "1 unexpected (extra.weight)" in message
    assert "1 of another shape (base_model.fc.bias (9,) instead of (8,))" in message
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, before[name])


def test_long_lists_of_parameters_are_cut_short(saved):
    with pytest.raises(InputError, match=r"\d+ missing \((\S+, ){19}\S+ and \d+ more\)"):
        checkpoint.load_parameters(saved[0], {}, "empty.ckpt")


def test_load_backbone_leaves_the_last_layers_alone(saved):
    trained, path = saved
    network = tiny_network(consensus_type="TRN", num_segments=5, img_feature_dim=4)
    before = values(network)
    checkpoint.load_backbone(network, path)
    after = values(network)
    for name, value in after.items():
        is_backbone = name.startswith("base_model.") and not name.startswith("base_model.fc.")
        np.testing.assert_array_equal(value, values(trained)[name] if is_backbone else before[name])


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "foreign", "name"])
def test_files_that_are_no_whole_checkpoint(saved, tmp_path, damage):
    path = tmp_path / ("other.pth" if damage == "name" else "other.ckpt")
    whole = saved[1].read_bytes()
    content = {"empty": b"", "truncated": whole[: len(whole) // 2], "foreign": b"not a checkpoint" * 99, "name": whole}
    if damage in content:
        path.write_bytes(content[damage])
    with pytest.raises(InputError, match="other"):
        checkpoint.read_checkpoint(path)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    network, path = saved
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="trn.ckpt: cannot write the checkpoint.*No space left"):
        checkpoint.save_checkpoint(path, network.parameters_dict(), {})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved):
    """A limit on the size of files stands for the disk; afterwards saving works again."""
    network, path = saved
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(InputError, match="trn.ckpt: cannot write the checkpoint"):
            checkpoint.save_checkpoint(path, network.parameters_dict(), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    checkpoint.save_checkpoint(path, network.parameters_dict(), {"again": 1})
    assert checkpoint.read_checkpoint(path)[1]["again"] == 1


def test_keep_newest(tmp_path):
    for age, name in enumerate(["checkpoint_trn-10_4.ckpt", "checkpoint_trn-5_4.ckpt", "checkpoint_trn-15_4.ckpt"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    (tmp_path / "checkpoint_best.ckpt").touch()
    checkpoint.keep_newest(tmp_path, 2)
    assert sorted(os.listdir(tmp_path)) == [
        "checkpoint_best.ckpt",
        "checkpoint_trn-15_4.ckpt",
        "checkpoint_trn-5_4.ckpt",
    ]
