"""The table of the keys: its form, and which keys each reader of it gets."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

import eval as evaluation_program
from model_utils.config import DEFAULT_CONFIG, load_config
from model_utils.settings import Use, is_of_type, key_table, keys_for, values_for, values_if_missing
from src.inference.model import Model
from src.training import checkpoint
from tests.helpers import ROOT
from tests.helpers.networks import settings

VALUES = next(iter(yaml.safe_load_all(DEFAULT_CONFIG.read_text(encoding="utf-8"))))


def test_the_keys_are_those_of_the_yaml_in_its_order():
    assert list(key_table()) == list(VALUES)


@pytest.mark.parametrize("key", VALUES)
def test_a_key(key):
    kind, uses = key_table()[key]
    assert kind is type(VALUES[key])
    assert len(uses & {Use.FIXED, Use.FREE}) == 1
    assert len(uses & {Use.NETWORK, Use.FOLLOWED}) <= 1
    assert not uses & {Use.NETWORK, Use.FOLLOWED} or Use.FIXED in uses


def test_what_older_checkpoints_mean():
    assert values_if_missing() == {
        **{"backbone": "bn_inception", "freeze_backbone": False, "smallest_crop": 0.66},
        **{"sliding_windows": 0.0, "sliding_windows_start": 0, "sliding_windows_full": 0},
        **{"mirror_pairs": "", "background_class": "No gesture"},
    }


def test_where_relative_paths_start():
    assert keys_for(Use.IN_DATA) == ("dataset_root",)
    assert keys_for(Use.IN_LOAD) == ("pre_trained_backbone", "pre_trained", "resume", "ckpt_file")
    assert keys_for(Use.IN_OUTPUT) == ("train_output_dir", "eval_output_dir", "export_output_dir")
    assert keys_for(Use.IN_DATA, Use.IN_LOAD) == (*keys_for(Use.IN_DATA), *keys_for(Use.IN_LOAD))


def test_unknown_keys_fail():
    with pytest.raises(KeyError):
        is_of_type("learning_rate", 0.1)
    with pytest.raises(AttributeError):
        values_for(SimpleNamespace(lr=0.1), Use.FIXED)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("num_segments", 8, True),
        ("num_segments", 8.0, False),
        ("num_segments", True, False),
        ("num_segments", "8", False),
        ("width_mult", 1, True),
        ("width_mult", 0.5, True),
        ("width_mult", None, False),
        ("flip", "plain", True),
        ("flip", ["plain"], False),
        ("freeze_bn", False, True),
        ("freeze_bn", 0, False),
    ],
)
def test_types(key, value, allowed):
    assert is_of_type(key, value) == allowed


# ------------------------------------------------------------------------------------------- who reads the table


def test_a_description_holds_what_evaluation_follows():
    recorded = checkpoint.describe(settings(), ["a"])["settings"]
    network = "consensus_type num_segments subsample_num img_feature_dim backbone width_mult"
    assert keys_for(Use.NETWORK) == tuple(network.split())
    assert sorted(recorded) == sorted(
        f"{network} freeze_backbone image_size flip mirror_pairs background_class".split()
    )


def test_an_exported_file_says_what_its_user_needs():
    """`tests/shipping` writes and reads them."""
    keys = "num_segments subsample_num freeze_backbone image_size flip mirror_pairs background_class relations"
    assert sorted(keys_for(Use.EXPORTED)) == sorted(keys.split())


def test_the_protocol_of_an_evaluation(tmp_path):
    (tmp_path / "trn.ckpt").write_bytes(b"weights")
    config = load_config(["--ckpt_file", str(tmp_path / "trn.ckpt"), "--seed", "7"])
    model = Model(tmp_path / "trn.ckpt", None, ["a"], config)
    protocol = evaluation_program.protocol(model, tmp_path / "list.txt")
    keys = "consensus_type num_segments subsample_num backbone width_mult image_size flip mirror_pairs ckpt_file"
    keys += " split relations test_crops frame_order observe on_error device_target seed"
    more = {"ckpt_sha256", "list_file", "trn_version", "mindspore_version", "numpy_version"}
    assert set(protocol) == {*keys.split(), *more}
    assert protocol["seed"] == 7


def test_a_misspelt_key_is_an_error_of_types(tmp_path):
    pytest.importorskip("mypy")
    keys = ("lr", "learning_rate", "dataset_root")
    code = "from model_utils.config import load_config\nconfig = load_config([])\n"
    code += "".join(f"{key}: float = config.{key}\n" for key in keys)
    (tmp_path / "program.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--ignore-missing-imports", str(tmp_path / "program.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    misspelt, wrong_type = (line for line in done.stdout.splitlines() if ": error: " in line)
    assert 'has no attribute "learning_rate"' in misspelt
    assert re.search(r'incompatible types.*"str".*"float"', wrong_type, re.IGNORECASE)


def settings_without_type(source):
    """The functions in a program that take settings, which are called config or settings, without saying their type."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            for argument in (*function.args.args, *function.args.kwonlyargs):
                said = ast.unparse(argument.annotation) if argument.annotation else "Any"
                if argument.arg in ("config", "settings") and said == "Any":
                    yield function.name


def test_every_function_says_the_type_of_its_settings():
    """Otherwise mypy finds no misspelt key in it."""
    found = settings_without_type("def f(config): ...\ndef g(*, settings: Any): ...\ndef h(config: Settings): ...\n")
    assert list(found) == ["f", "g"]
    for path in (*ROOT.glob("*.py"), *ROOT.glob("src/**/*.py"), *ROOT.glob("model_utils/**/*.py")):
        assert not list(settings_without_type(path.read_text(encoding="utf-8"))), path
