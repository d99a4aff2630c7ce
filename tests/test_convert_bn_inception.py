import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not in the environment of the legacy package")

from benchmarks.torch_reference import BNInception, randomise  # noqa: E402
from model_utils.errors import InputError  # noqa: E402
from src import convert_bn_inception as converter  # noqa: E402
from src.convert_bn_inception import convert_bn_inception, main  # noqa: E402
from src.convert_trn_pytorch import convert_trn_pytorch  # noqa: E402
from src.training.checkpoint import read_checkpoint  # noqa: E402
from tests.helpers.refusals import refusal  # noqa: E402

WIDTH = 0.125


@pytest.fixture(scope="module")
def state():
    """Weights as a new PyTorch would save them, `num_batches_tracked` included."""
    return randomise(BNInception(WIDTH), seed=1).state_dict()


@pytest.fixture
def convert(tmp_path):
    """Saves a state dict, converts it and reads the result: state -> (name -> array, description)."""

    def run(state, width_mult=WIDTH, **save_options):
        source, target = tmp_path / "in.pth", tmp_path / "out.ckpt"
        torch.save(state, source, **save_options)
        convert_bn_inception(source, target, width_mult)
        parameters, description = read_checkpoint(target)
        return {name: parameter.asnumpy() for name, parameter in parameters.items()}, description

    return run


def as_published(state):
    """The same weights in the published file's form: [1, C] batch norms, a classifier, no counters."""
    old = {
        name: tensor[None] if "_bn." in name else tensor
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    return {**old, "fc.weight": torch.zeros(1000, 128), "fc.bias": torch.zeros(1000)}


def test_every_tensor_arrives(state, convert):
    """Under its own name: `test_against_torch` compares what both backbones compute."""
    arrays, description = convert(state)
    values = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    assert len(arrays) == len(values)
    assert sorted(array.sum() for array in arrays.values()) == pytest.approx(
        sorted(float(v.sum()) for v in values), 1e-3
    )
    assert description["source"] == "in.pth"
    assert description["settings"] == {"width_mult": WIDTH}


@pytest.mark.parametrize(("prefix", "zipped"), [("", False), ("module.", True)])
def test_published_form_gives_the_same_checkpoint(state, convert, prefix, zipped):
    expected, _ = convert(state)
    published = {prefix + name: tensor for name, tensor in as_published(state).items()}
    arrays, _ = convert(published, _use_new_zipfile_serialization=zipped)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_file_saved_on_a_gpu_loads_without_one(state, tmp_path):
    path = tmp_path / "cpu.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    on_gpu = data.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    on_gpu = on_gpu.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert len(on_gpu) > len(data) + 5  # both replacements happened
    (tmp_path / "gpu.pth").write_bytes(on_gpu)
    arrays = convert_bn_inception(tmp_path / "gpu.pth", tmp_path / "out.ckpt", WIDTH)
    name = "conv1_7x7_s2.weight"
    np.testing.assert_array_equal(arrays["base_model.conv1_7x7_s2.conv.weight"], state[name].numpy())


def test_half_and_double_precision_become_single(state, convert):
    mixed = dict(state)
    mixed["conv1_7x7_s2.bias"] = state["conv1_7x7_s2.bias"].half()
    mixed["conv2_3x3.bias"] = state["conv2_3x3.bias"].double()
    arrays, _ = convert(mixed)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(arrays["base_model.conv1_7x7_s2.conv.bias"], mixed["conv1_7x7_s2.bias"].float())


@pytest.mark.parametrize("classifier", ["fc", "last_linear"])
def test_classifier_is_left_out_and_said_so(state, convert, capsys, classifier):
    with_classifier = {**state, f"{classifier}.weight": torch.zeros(5, 128), f"{classifier}.bias": torch.zeros(5)}
    arrays, _ = convert(with_classifier)
    assert not any("fc" in name or "last_linear" in name for name in arrays)
    assert f"{classifier}.weight, {classifier}.bias" in capsys.readouterr().out


def test_all_missing_unexpected_and_misshapen_tensors_are_named(state, convert):
    broken = dict(state)
    del broken["inception_4b_1x1.weight"]
    del broken["inception_5b_pool_proj_bn.running_var"]
    broken["extra.weight"] = torch.zeros(3)
    broken["ghost_bn.num_batches_tracked"] = torch.tensor(0)
    broken["conv2_3x3.weight"] = torch.zeros(24, 8, 5, 5)
    broken["conv2_3x3.bias"] = state["conv2_3x3.bias"][None]  # only batch norms may be [1, C]
    message = refusal(convert, broken)
    assert "in.pth" in message
    assert "2 missing: inception_4b_1x1.weight, inception_5b_pool_proj_bn.running_var" in message
    assert "2 unexpected: extra.weight, ghost_bn.num_batches_tracked;" in message
    assert "conv2_3x3.weight is [24, 8, 5, 5] and not [24, 8, 3, 3]" in message
    assert "conv2_3x3.bias is [1, 24] and not [24]" in message


def test_failed_conversion_leaves_the_old_checkpoint(state, convert, tmp_path):
    convert(state)
    before = (tmp_path / "out.ckpt").read_bytes()
    with pytest.raises(InputError, match="missing"):
        convert({"conv1_7x7_s2.weight": state["conv1_7x7_s2.weight"]})
    assert (tmp_path / "out.ckpt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pth", "out.ckpt"]


def test_other_width_is_an_error_and_not_a_cut(state, convert):
    with pytest.raises(InputError, match=r"conv1_7x7_s2.weight is \[8, 3, 7, 7\] and not \[16, 3, 7, 7\]"):
        convert(state, width_mult=0.25)


class Trap:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [False, True])
def test_pickle_that_calls_something_is_refused(state, convert, tmp_path, zipped):
    folder = tmp_path / "trapped"
    with pytest.raises(InputError, match=r"in.pth: refused: it wants to call posix.mkdir"):
        convert({**state, "trap": Trap(folder)}, _use_new_zipfile_serialization=zipped)
    assert not folder.exists()

    torch.load(tmp_path / "in.pth", weights_only=False)
    assert folder.exists()  # the trap works where it is let


@pytest.mark.parametrize(("kept", "zipped"), [(0.0, False), (0.0001, True), (0.5, False), (0.999, True)])
def test_truncated_file(state, tmp_path, kept, zipped):
    path = tmp_path / "in.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match="in.pth: damaged, truncated or another format"):
        convert_bn_inception(path, tmp_path / "out.ckpt", WIDTH)
    assert not (tmp_path / "out.ckpt").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([torch.zeros(2)], "no named tensors"),
        ({}, "no named tensors"),
        ({"state_dict": {}}, "no named tensors"),
        ({"conv1_7x7_s2.weight": 3}, "'conv1_7x7_s2.weight' is int"),
        ({0: torch.zeros(2)}, "0 is Tensor"),
        ({"conv1_7x7_s2.weight": torch.zeros(2, dtype=torch.int64)}, "conv1_7x7_s2.weight is torch.int64"),
        ({"a": torch.tensor([1.0, float("nan")])}, r"1 of its 1 tensors hold NaN or infinite values \(a\)"),
    ],
)
def test_file_of_something_else(convert, content, expected):
    with pytest.raises(InputError, match=f"in.pth: {expected}"):
        convert(content)


def test_text_missing_file_and_folder(state, tmp_path):
    text = tmp_path / "in.pth"
    for content in ("not weights", "class 1\nclass 2\nclass 3\n"):  # the second begins like a pickle of a class
        text.write_text(content)
        with pytest.raises(InputError, match="in.pth: damaged, truncated or another format"):
            convert_bn_inception(text, tmp_path / "out.ckpt")
    with pytest.raises(InputError, match="none.pth: No such file"):
        convert_bn_inception(tmp_path / "none.pth", tmp_path / "out.ckpt")
    with pytest.raises(InputError, match="Is a directory"):
        convert_bn_inception(tmp_path, tmp_path / "out.ckpt")


def test_without_torch(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "in.pth").write_bytes(b"weights")
    with pytest.raises(InputError, match="in.pth: .* needs torch: pip install torch"):
        convert_bn_inception(tmp_path / "in.pth", tmp_path / "out.ckpt")


def test_command_line(state, tmp_path, capsys):
    torch.save(as_published(state), tmp_path / "in.pth")
    main([str(tmp_path / "in.pth"), str(tmp_path / "out.ckpt"), "--width_mult", str(WIDTH)])
    assert "414 tensors" in capsys.readouterr().out


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# The names of the public copies, and how their tensors are called and shaped.
COPIES = {
    "bn_inception-{}.pth": ("of the authors of TSN", 16, as_published),
    "bn_inception-{}.pth.": (
        "of pretrainedmodels",
        9,
        lambda state: {**state, "last_linear.weight": torch.zeros(5, 128)},
    ),
    "bn_inception_caffe-{}.pth": ("of OpenMMLab", 8, lambda state: dict(state)),
}


@pytest.mark.parametrize(("name", "whose", "digits", "form"), [(name, *copy) for name, copy in COPIES.items()])
def test_public_copies_are_told_by_their_hash(state, tmp_path, capsys, monkeypatch, name, whose, digits, form):
    """The real files are not at hand: their places in the table are taken by hashes of files made here."""
    path = tmp_path / "in.pth"
    torch.save(form(state), path, _use_new_zipfile_serialization=False)
    start = sha256(path)[:digits]
    monkeypatch.setattr(converter, "PUBLIC_COPIES", {start: f"the copy {whose}"})
    named = path.rename(tmp_path / name.strip(".").format(start))
    for source in (named, Path(shutil.copy(named, tmp_path / "renamed.pth"))):
        convert_bn_inception(source, tmp_path / "out.ckpt", WIDTH)
        assert capsys.readouterr().out.splitlines()[0] == f"{source}: the copy {whose}"

    named.write_bytes(named.read_bytes()[:-1])
    other = sha256(named)[:digits]
    message = f"its SHA-256 begins with {other}, expected {start} as in its name; the download was cut off or changed"
    for convert_file in (convert_bn_inception, convert_trn_pytorch):
        with pytest.raises(InputError, match=f"{re.escape(named.name)}: {message}"):
            convert_file(named, tmp_path / "new.ckpt", WIDTH)
    assert not (tmp_path / "new.ckpt").exists()


def test_names_of_public_copies_have_their_hash():
    assert all(f"-{start}.pth" in text for start, text in converter.PUBLIC_COPIES.items())


@pytest.mark.parametrize("name", ["a-20231105.pth", "a-deadbee.pth", "a-deadbeef-b.pth"])
def test_names_without_a_hash_are_not_checked(state, tmp_path, capsys, name):
    torch.save(state, tmp_path / name)
    convert_bn_inception(tmp_path / name, tmp_path / "out.ckpt", WIDTH)
    assert f"{name}: none of the three public copies, but the same network\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a-deadbeef.pth", "a-deadbeef (1).pth", "a-0123456a.pth.tar", "a-20043004.pth"])
def test_names_with_a_hash_are_checked(state, tmp_path, name):
    torch.save(state, tmp_path / name)
    with pytest.raises(InputError, match="its SHA-256 begins with"):
        convert_bn_inception(tmp_path / name, tmp_path / "out.ckpt", WIDTH)
