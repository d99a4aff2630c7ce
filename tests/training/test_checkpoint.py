import json
import os
import resource

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from model_utils.config import load_config
from model_utils.errors import InputError
from model_utils.version import VERSION
from src import bn_inception
from src.bn_inception import BLOCKS
from src.training import checkpoint
from tests.helpers.networks import CLASSES, parameter_names, settings, tiny_network
from tests.helpers.refusals import refusal

pytestmark = pytest.mark.usefixtures("small_backbone")


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


def test_a_checkpoint_can_be_read_by_others(saved):
    assert saved[1].stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
def test_load_network_follows_the_checkpoint(saved):
    network, path = saved
    given = settings(ckpt_file=str(path), num_segments=8, width_mult=1.0, image_size=224, flip="none")
    before = dict(vars(given))
    loaded, categories, config = checkpoint.load_network(given)
    assert categories == CLASSES
    assert (config.num_segments, config.width_mult, config.image_size) == (3, 0.0625, 32)
    assert config.flip == "label_aware"
    assert vars(given) == before  # load_network changes nobody's config
    for name, value in values(network).items():
        np.testing.assert_array_equal(values(loaded)[name], value)


@pytest.mark.parametrize(("changes", "flip"), [({}, "plain"), ({"flip": "none", "given": {"flip"}}, "none")])
def test_a_checkpoint_of_the_model_zoo_port_loads_unchanged(tmp_path, caplog_trn, monkeypatch, changes, flip):
    """It has the port's names and no description; it is trained with plain mirroring."""
    monkeypatch.setattr(bn_inception, "BLOCKS", BLOCKS)
    shapes = {parameter.name: parameter.shape for parameter in tiny_network(num_segments=8).get_parameters()}
    assert sorted(shapes) == sorted(parameter_names(num_segments=8))
    rng = np.random.default_rng(1)
    arrays = {name: np.abs(rng.normal(size=shapes[name])).astype(np.float32) for name in parameter_names(8)}
    entries = [{"name": name, "data": Tensor(array)} for name, array in arrays.items()]
    ms.save_checkpoint(entries, str(tmp_path / "port.ckpt"))

    given = settings(ckpt_file=str(tmp_path / "port.ckpt"), num_segments=8, **changes)
    network, categories, config = checkpoint.load_network(given)
    assert categories == ["0", "1", "2"]
    assert config.flip == flip
    assert caplog_trn == [f"{tmp_path}/port.ckpt: has no description, so flip is plain"] * (flip == "plain")
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, arrays[name], err_msg=name)


@pytest.mark.parametrize(("key", "value"), [("image_size", 64), ("flip", "none")])
def test_what_evaluation_follows_may_be_given_otherwise(saved, key, value):
    _, _, config = checkpoint.load_network(settings(ckpt_file=str(saved[1]), given={key}, **{key: value}))
    assert getattr(config, key) == value


def test_a_checkpoint_for_classes_in_another_order(saved):
    with pytest.raises(InputError, match="class 1 is 'Swiping Right' in the checkpoint, but 'Thumb Up' in the dataset"):
        checkpoint.load_network(settings(ckpt_file=str(saved[1])), [CLASSES[0], CLASSES[2], CLASSES[1]])


def test_parameters_that_do_not_fit_are_listed_and_nothing_is_loaded(saved):
    network, path = saved
    parameters, _ = checkpoint.read_checkpoint(path)
    before = values(network)
    parameters["base_model.fc.bias"] = Tensor(np.zeros(9, np.float32))
    parameters["extra.weight"] = parameters.pop("base_model.fc.weight")
    message = refusal(checkpoint.copy_parameters, network.parameters_dict(), parameters, path)
    assert str(path) in message
    assert "1 missing (base_model.fc.weight)" in message
    assert "1 unexpected (extra.weight)" in message
    assert "1 of another shape (base_model.fc.bias (9,) instead of (8,))" in message
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, before[name])


def test_long_lists_of_parameters_are_cut_short(saved):
    with pytest.raises(InputError, match=r"\d+ missing \((\S+, ){2}\S+ and \d+ more\)"):
        checkpoint.copy_parameters(saved[0].parameters_dict(), {}, "empty.ckpt")


@pytest.mark.parametrize("error", [KeyError("Float33"), MemoryError()])
def test_whatever_mindspore_raises_on_a_damaged_file(saved, monkeypatch, error):
    def load(_):
        raise error

    monkeypatch.setattr(ms, "load_checkpoint", load)
    with pytest.raises(InputError, match="trn.ckpt: not a whole MindSpore checkpoint"):
        checkpoint.read_checkpoint(saved[1])


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


# ------------------------------------------------------------------------------------------------------- damaged files


@pytest.mark.slow
def test_flipped_bits_are_all_noticed(saved, tmp_path):
    """Anywhere in the file: in values, names, shapes, the description, the digest."""
    content = bytearray(saved[1].read_bytes())
    rng = np.random.default_rng(1)
    places = [*rng.integers(0, len(content), 12), *rng.integers(len(content) - 900, len(content), 8)]
    path = tmp_path / "damaged.ckpt"
    for place in places:
        bit = 1 << int(rng.integers(8))
        content[place] ^= bit
        path.write_bytes(content)
        content[place] ^= bit
        refusal(checkpoint.load_network, settings(ckpt_file=str(path)), CLASSES)


def test_a_tensor_without_its_shape(tmp_path):
    """MindSpore's own loader would copy 32 bytes into a scalar, which ends the process sooner or later."""
    from mindspore.train.checkpoint_pb2 import Checkpoint

    path = checkpoint.save_checkpoint(tmp_path / "a.ckpt", {"a": np.zeros(8, np.float32), "b": np.float32(1)}, {})
    assert set(checkpoint.read_checkpoint(path)[0]) == {"a", "b"}
    parsed = Checkpoint()
    parsed.ParseFromString(path.read_bytes())
    del next(value for value in parsed.value if value.tag == "a").tensor.dims[:]
    path.write_bytes(parsed.SerializeToString())
    with pytest.raises(InputError, match="not a whole MindSpore checkpoint"):
        checkpoint.read_checkpoint(path)


@pytest.mark.parametrize("part", ["value", "name", "type", "shape", "description"])
def test_a_digest_of_every_part(part):
    arrays = {"a": np.arange(6, dtype=np.float32), "b": np.zeros((2, 3), np.float32), "trn_description": np.zeros(4)}
    other = {
        "value": {**arrays, "a": np.array([0, 1, 2, 3, 4, 6], np.float32)},
        "name": {"aa": arrays["a"], "b": arrays["b"], "trn_description": np.zeros(4)},
        "type": {**arrays, "b": np.zeros((2, 3), np.int32)},
        "shape": {**arrays, "b": np.zeros((3, 2), np.float32)},
        "description": {**arrays, "trn_description": np.array([0.0, 0, 1, 0])},
    }[part]
    assert (checkpoint._digest(arrays) != checkpoint._digest(other)).any()
    assert (checkpoint._digest(arrays) == checkpoint._digest(dict(reversed(arrays.items())))).all()


def test_a_file_without_a_digest_loads_as_before(saved, tmp_path):
    """Files of earlier versions have a description and no digest."""
    network, path = saved
    entries = [{"name": name, "data": Tensor(value)} for name, value in values(network).items()]
    about = {"settings": {"num_segments": 3}, "categories": CLASSES, "epoch": 4}
    encoded = np.frombuffer(json.dumps(about).encode(), np.uint8)
    ms.save_checkpoint([*entries, {"name": "trn_description", "data": Tensor(encoded)}], str(tmp_path / "old.ckpt"))
    loaded, found = checkpoint.read_checkpoint(tmp_path / "old.ckpt")
    assert found == about
    assert loaded.keys() == values(network).keys()


def test_the_version_stands_in_the_description(saved):
    """That of the test before, without one, is read all the same."""
    network, path = saved
    checkpoint.save_checkpoint(path, network.parameters_dict(), {"epoch": 1})
    found = checkpoint.read_checkpoint(path)[1]
    assert found == {"epoch": 1, "trn_version": VERSION, "mindspore_version": ms.__version__}


BY_HAND = "its description is not one that this project writes; was it edited by hand\\?"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({"settings": value}, BY_HAND) for value in ([1], None, "text", {"colour": "red"})),
        *(({"settings": {"num_segments": value}}, BY_HAND) for value in ("3", 0, -1, True, 2, 4, 10**9, 10**400, None)),
        *(({"settings": {"width_mult": value}}, BY_HAND) for value in (float("nan"), float("inf"), 0.0, 1e9)),
        *(({"settings": {key: 10**9}}, BY_HAND) for key in ("img_feature_dim", "image_size", "subsample_num")),
        *(({"settings": {"flip": value}}, BY_HAND) for value in ("sideways", "", 1)),
        ({"settings": {"freeze_backbone": "no"}}, BY_HAND),
        *(({"categories": value}, BY_HAND) for value in ("abc", None, [1, 2, 3])),
        *(({"num_classes": value}, BY_HAND) for value in ("3", 3.0, True, 0, 10**9, None)),
        ({"settings": {"consensus_type": "mean"}}, "expected one of TRNmultiscale, TRN, avg"),
        ({"settings": {"backbone": "none"}}, "no such backbone|not installed"),
        ({"categories": ["a", "b"]}, "num_classes 3, but names 2 classes"),
        ({"num_classes": 4, "categories": []}, "of another shape .*3,. instead of .4,"),
    ],
)
def test_an_edited_description(saved, change, message):
    """With a digest that fits, which only this project's own function writes."""
    network, path = saved
    about = {**checkpoint.describe(settings(), CLASSES), **change}
    checkpoint.save_checkpoint(path, network.parameters_dict(), about)
    with pytest.raises(InputError, match=f"^{path}: .*{message}|^backbone 'none': {message}"):
        checkpoint.load_network(settings(ckpt_file=str(path)))


@pytest.mark.parametrize("encoded", [b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_a_description_that_is_no_json_object(saved, tmp_path, encoded):
    entries = [{"name": name, "data": Tensor(value)} for name, value in values(saved[0]).items()]
    entries.append({"name": "trn_description", "data": Tensor(np.frombuffer(encoded, np.uint8))})
    ms.save_checkpoint(entries, str(tmp_path / "edited.ckpt"))
    with pytest.raises(InputError, match=f"edited.ckpt: {BY_HAND}"):
        checkpoint.read_checkpoint(tmp_path / "edited.ckpt")


@pytest.mark.parametrize("part", ["settings", "recipe"])
def test_a_network_that_has_seen_centre_crops_is_tested_with_them(tmp_path, part):
    """Behind a frozen backbone; earlier versions say that in the recipe. Who asks for ten crops gets them."""
    path = tmp_path / "trn.ckpt"
    about = checkpoint.describe(settings(freeze_backbone=True), CLASSES)
    if part == "recipe":
        about["recipe"] = {"freeze_backbone": about["settings"].pop("freeze_backbone"), "lr": 0.1}
    checkpoint.save_checkpoint(path, tiny_network().parameters_dict(), about)
    assert checkpoint.load_network(load_config(["--ckpt_file", str(path)]))[2].test_crops == 1
    given = load_config(["--ckpt_file", str(path), "--test_crops", "10"])
    assert checkpoint.load_network(given)[2].test_crops == 10
    about = checkpoint.describe(settings(), CLASSES)
    checkpoint.save_checkpoint(path, tiny_network().parameters_dict(), about)
    assert checkpoint.load_network(load_config(["--ckpt_file", str(path)]))[2].test_crops == 10
