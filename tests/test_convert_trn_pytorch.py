import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not in the environment of the legacy package")

from benchmarks.torch_reference import TSN, randomise  # noqa: E402
from model_utils.errors import InputError  # noqa: E402
from src.convert_trn_pytorch import convert_trn_pytorch, main  # noqa: E402
from src.training.checkpoint import read_checkpoint  # noqa: E402
from tests.helpers.refusals import refusal  # noqa: E402

WIDTH = 0.0625
CLASSES = 3
SEGMENTS = 4
FEATURES = 16


def state_of(consensus_type):
    network = TSN(CLASSES, SEGMENTS, consensus_type, FEATURES, WIDTH)
    return randomise(network, seed=2).state_dict()


@pytest.fixture(scope="module")
def multi_scale():
    return state_of("TRNmultiscale")


def released(state):
    """As the authors saved it: on several GPUs, and an early PyTorch had no `num_batches_tracked`."""
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    return {
        "epoch": 70,
        "arch": "BNInception",
        "state_dict": {f"module.{name}": state[name] for name in names},
        "best_prec1": 95.3125,
    }


@pytest.fixture
def convert(tmp_path):
    """Saves, converts and reads back: content of the file -> (name -> array, description)."""

    def run(content, zipped=True, **options):
        source, target = tmp_path / "in.pth.tar", tmp_path / "out.ckpt"
        torch.save(content, source, _use_new_zipfile_serialization=zipped)
        convert_trn_pytorch(source, target, **{"width_mult": WIDTH, **options})
        parameters, description = read_checkpoint(target)
        return {name: parameter.asnumpy() for name, parameter in parameters.items()}, description

    return run


def test_released_multi_scale_checkpoint(multi_scale, convert):
    """That each tensor is where it belongs is seen in the scores, see `test_same_numbers`."""
    arrays, description = convert(released(multi_scale), zipped=False)
    assert len(arrays) == sum(not name.endswith("num_batches_tracked") for name in multi_scale)
    assert description["settings"] == {
        "consensus_type": "TRNmultiscale",
        "num_segments": SEGMENTS,
        "img_feature_dim": FEATURES,
        "subsample_num": 3,
        "backbone": "bn_inception",
        "width_mult": WIDTH,
        "image_size": 224,
        "flip": "plain",
    }
    assert description["num_classes"] == CLASSES
    assert description["epoch"] == 70
    assert description["source"] == "in.pth.tar"
    assert "categories" not in description


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "counters", "prefix", "zipped"),
    [
        (True, False, "module.", False),
        (True, True, "", True),
        (False, True, "module.", True),
    ],
)
def test_every_form_of_the_file_gives_the_same_parameters(multi_scale, convert, rows, counters, prefix, zipped):
    """Batch norms as `[1, C]`, with `num_batches_tracked`, saved from several GPUs, by a new PyTorch: or not."""
    expected, description = convert(multi_scale)
    assert "epoch" not in description
    state = {
        prefix + name: tensor[None] if rows and "_bn." in name and tensor.ndim else tensor
        for name, tensor in multi_scale.items()
        if counters or not name.endswith("num_batches_tracked")
    }
    arrays, _ = convert({"epoch": 1, "state_dict": state}, zipped)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_single_scale(convert):
    state = state_of("TRN")
    arrays, description = convert(released(state))
    for layer in "13":
        name = f"consensus.classifier.{layer}.weight"
        np.testing.assert_array_equal(arrays[name], state[name].numpy())
    settings = description["settings"]
    assert (settings["consensus_type"], settings["num_segments"], settings["img_feature_dim"]) == ("TRN", 4, 16)
    assert description["num_classes"] == CLASSES


def test_average_takes_its_segments_from_the_option(convert):
    state = state_of("avg")
    arrays, description = convert(released(state), num_segments=5)
    np.testing.assert_array_equal(arrays["base_model.fc.weight"], state["new_fc.weight"].numpy())
    assert (description["settings"]["consensus_type"], description["settings"]["num_segments"]) == ("avg", 5)
    assert description["num_classes"] == CLASSES
    assert not any(name.startswith("consensus") for name in arrays)


def test_categories_are_kept_and_counted(multi_scale, convert, tmp_path):
    names = tmp_path / "categories.txt"
    names.write_text("Stop Sign\nThumb Down\nThumb Up\n")
    _, description = convert(multi_scale, categories=names)
    assert description["categories"] == ["Stop Sign", "Thumb Down", "Thumb Up"]
    names.write_text("Stop Sign\nThumb Up\n")
    with pytest.raises(InputError, match=r"categories.txt: 2 class names, expected the 3 classes of .*in.pth.tar"):
        convert(multi_scale, categories=names)


def without(state, *names):
    return {name: tensor for name, tensor in state.items() if name not in names}


def test_missing_and_unexpected_tensors_are_named(multi_scale, convert):
    broken = without(multi_scale, "consensus.fc_fusion_scales.2.3.bias", "base_model.conv2_3x3_bn.bias")
    broken["consensus.extra.weight"] = torch.zeros(2)
    broken["base_model.fc.weight"] = torch.zeros(2)
    message = refusal(convert, broken)
    assert "2 missing: base_model.conv2_3x3_bn.bias, consensus.fc_fusion_scales.2.3.bias;" in message
    assert message.endswith("2 unexpected: base_model.fc.weight, consensus.extra.weight")


def test_scale_that_is_skipped_is_named(multi_scale, convert):
    """Scales 0 and 2 make three segments, whose scales would be 0 and 1."""
    broken = without(multi_scale, *(name for name in multi_scale if "scales.1." in name))
    with pytest.raises(InputError, match=r"missing: consensus.fc_fusion_scales.1.1.weight.*unexpected: .*scales.2.1"):
        convert(broken)


@pytest.mark.parametrize(
    ("consensus_type", "name"),
    [
        ("TRNmultiscale", "consensus.fc_fusion_scales.0.3.weight"),
        ("TRN", "consensus.classifier.1.weight"),
        ("avg", "new_fc.weight"),
    ],
)
def test_tensor_that_the_settings_follow_from(convert, consensus_type, name):
    state = state_of(consensus_type)
    with pytest.raises(InputError, match=f"in.pth.tar: no {name} in it"):
        convert(without(state, name))
    with pytest.raises(InputError, match=rf"in.pth.tar: {name} is \[7\], expected two dimensions"):
        convert({**state, name: torch.zeros(7)})


def test_segments_that_do_not_divide(convert):
    state = {**state_of("TRN"), "consensus.classifier.1.weight": torch.zeros(512, 65)}
    with pytest.raises(InputError, match="classifier.1.weight takes 65 values, expected a multiple of the 16"):
        convert(state)


def test_other_backbone_and_other_width(multi_scale, convert):
    with pytest.raises(InputError, match="arch is 'InceptionV3', expected 'BNInception'"):
        convert({**released(multi_scale), "arch": "InceptionV3"})
    with pytest.raises(InputError, match=r"of another shape: .*conv1_7x7_s2.weight is \[4, 3, 7, 7\] and not \[8, 3"):
        convert(multi_scale, width_mult=0.125)


def test_backbone_alone_is_not_a_network(multi_scale, convert):
    backbone = {name[len("base_model.") :]: value for name, value in multi_scale.items() if "base_model." in name}
    with pytest.raises(InputError, match="no new_fc.weight in it"):
        convert(backbone)


def test_command_line_tells_what_it_found(multi_scale, tmp_path, capsys):
    source, target, names = tmp_path / "in.pth.tar", tmp_path / "out.ckpt", tmp_path / "categories.txt"
    torch.save(released(multi_scale), source)
    names.write_text("a\nb\nc\n")
    main([str(source), str(target), "--width_mult", str(WIDTH), "--categories", str(names), "--num_segments", "3"])
    out = capsys.readouterr().out
    for part in ("3 classes", "num_segments 4", "TRNmultiscale", "epoch", "70", "95.3125"):
        assert part in out
    _, description = read_checkpoint(target)
    assert description["categories"] == ["a", "b", "c"]
