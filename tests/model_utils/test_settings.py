"""The table of the keys: each key once, with exactly the uses written here, and everything that reads the table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import eval as evaluation_program
from model_utils.config import DEFAULT_CONFIG, load_config
from model_utils.settings import Settings, Use, is_of_type, keys_for, table, values_before, values_for
from src.inference.model import Model
from src.training import checkpoint
from tests.helpers.networks import settings

ROOT = Path(__file__).resolve().parents[2]
VALUES = next(iter(yaml.safe_load_all(DEFAULT_CONFIG.read_text(encoding="utf-8"))))

# Written out: a use that is dropped, added or moved in the table must be noticed here.
USES = {
    "consensus_type": "NETWORK FIXED PROTOCOL",
    "num_segments": "NETWORK EXPORTED FIXED PROTOCOL",
    "subsample_num": "NETWORK EXPORTED FIXED PROTOCOL",
    "img_feature_dim": "NETWORK FIXED",
    "backbone": "NETWORK FIXED PROTOCOL",
    "width_mult": "NETWORK FIXED PROTOCOL",
    "dropout": "FIXED",
    "freeze_bn": "FIXED",
    "freeze_backbone": "FIXED",
    "dataset_root": "FREE IN_DATA",
    "images_dir_name": "FREE",
    "frame_name": "FREE",
    "categories_list_file_name": "FREE",
    "train_list_file_name": "FREE",
    "eval_list_file_name": "FREE",
    "image_size": "FOLLOWED EXPORTED FIXED PROTOCOL",
    "flip": "FOLLOWED EXPORTED FIXED PROTOCOL",
    "mirror_pairs": "FOLLOWED EXPORTED FIXED PROTOCOL",
    "sliding_windows": "FIXED",
    "sliding_windows_start": "FIXED",
    "sliding_windows_full": "FIXED",
    "background_class": "FOLLOWED EXPORTED FIXED",
    "pre_trained_backbone": "FREE IN_LOAD",
    "pre_trained": "FREE IN_LOAD",
    "lr": "FIXED",
    "update_lr_epochs": "FIXED",
    "epochs_num": "FREE",
    "max_steps": "FREE",
    "train_batch_size": "FREE",
    "train_workers": "FREE",
    "momentum": "FIXED",
    "weight_decay": "FIXED",
    "clip_grad_norm": "FIXED",
    "train_output_dir": "FREE IN_OUTPUT",
    "log_interval": "FREE",
    "ckpt_save_interval": "FREE",
    "ckpt_save_steps": "FREE",
    "keep_checkpoint_max": "FREE",
    "ckpt_save_on_master_only": "FREE",
    "resume": "FREE IN_LOAD",
    "eval_interval": "FREE",
    "patience": "FREE",
    "ckpt_file": "FREE PROTOCOL IN_LOAD",
    "split": "FREE PROTOCOL",
    "relations": "EXPORTED FREE PROTOCOL",
    "test_crops": "FREE PROTOCOL",
    "frame_order": "FREE PROTOCOL",
    "observe": "FREE PROTOCOL",
    "on_error": "FREE PROTOCOL",
    "eval_batch_size": "FREE",
    "eval_workers": "FREE",
    "eval_output_dir": "FREE IN_OUTPUT",
    "export_output_dir": "FREE IN_OUTPUT",
    "model_name": "FREE",
    "file_format": "FREE",
    "export_batch_size": "FREE",
    "quantize": "FREE",
    "calibration_clips": "FREE",
    "streaming": "FREE",
    "stream_window": "FREE",
    "event_on": "FREE",
    "event_off": "FREE",
    "event_share": "FREE",
    "event_least": "FREE",
    "event_early": "FREE",
    "device_target": "FREE PROTOCOL",
    "device_id": "FREE",
    "is_train_distributed": "FREE",
    "group_size": "FREE",
    "seed": "FIXED PROTOCOL",
    "enable_modelarts": "FREE",
    "data_url": "FREE",
    "train_url": "FREE",
    "checkpoint_url": "FREE",
    "data_path": "FREE",
    "output_path": "FREE",
    "load_path": "FREE",
}


def test_the_keys_are_those_of_the_yaml_in_its_order():
    assert list(table()) == list(VALUES) == list(USES)


@pytest.mark.parametrize("key", VALUES)
def test_a_key(key):
    kind, uses = table()[key]
    assert kind is type(VALUES[key])
    assert {use.name for use in uses} == set(USES[key].split())
    assert len(uses & {Use.FIXED, Use.FREE}) == 1
    assert len(uses & {Use.NETWORK, Use.FOLLOWED}) <= 1
    assert not uses & {Use.NETWORK, Use.FOLLOWED} or Use.FIXED in uses


@pytest.mark.parametrize("use", Use)
def test_keys_for_a_use(use):
    expected = [key for key, uses in USES.items() if use.name in uses.split()]
    assert expected
    assert list(keys_for(use)) == expected
    config = load_config([])
    assert values_for(config, use) == {key: VALUES[key] for key in expected}


def test_what_older_checkpoints_mean():
    assert values_before() == {
        **{"backbone": "bn_inception", "freeze_backbone": False},
        **{"sliding_windows": 0.0, "sliding_windows_start": 0, "sliding_windows_full": 0},
        **{"mirror_pairs": "", "background_class": "No gesture"},
    }


def test_keys_for_two_uses():
    loaded = {"pre_trained_backbone", "pre_trained", "resume", "ckpt_file"}
    assert set(keys_for(Use.IN_DATA, Use.IN_LOAD)) == {"dataset_root", *loaded}


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
    assert sorted(recorded) == sorted(f"{network} image_size flip mirror_pairs background_class".split())


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
    code = "from model_utils.config import load_config\nconfig = load_config([])\nrate: float = config.{}\n"
    for key, status in (("lr", 0), ("learning_rate", 1), ("dataset_root", 1)):
        (tmp_path / "program.py").write_text(code.format(key))
        command = [sys.executable, "-m", "mypy", "--ignore-missing-imports", str(tmp_path / "program.py")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout
    assert re.search(r'incompatible types.*"str".*"float"', done.stdout, re.IGNORECASE)


def test_every_row_is_annotated():
    assert {key for key in Settings.__annotations__ if key != "given"} == set(VALUES)
