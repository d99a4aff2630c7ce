"""The start weights and the config files of the network for own gestures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import yaml

from model_utils.errors import InputError
from model_utils.settings import Use, keys_for
from model_utils.util import write_text
from src.own_gestures.own_lists import OWN_LISTS

SMALL = {"width_mult": 0.25, "image_size": 64}  # from random weights, on a CPU
FROZEN_EPOCHS = 200
LEAST_EPOCHS, MOST_EPOCHS = 20, 400
LR_DROP = 0.8  # share of the epochs after which the learning rate falls to a tenth


def start_of(path: Path | None) -> tuple[dict[str, Any], bool]:
    """The settings of the network in a checkpoint, and whether it is a whole network or only a backbone.

    Raises:
        InputError: if it cannot be read.
    """
    if path is None:
        return dict(SMALL), False
    from src.training.checkpoint import read_checkpoint

    parameters, description = read_checkpoint(path)
    recorded = description.get("settings", {})
    settings = {key: recorded[key] for key in (*keys_for(Use.NETWORK), "image_size") if key in recorded}
    whole = "base_model.fc.weight" in parameters and bool(recorded)
    return settings, whole


def recipe(settings: dict[str, Any], dataset: Path, background: str, clips: int, seed: int) -> dict[str, Any]:
    """The keys that all trainings of these clips have in common."""
    small = settings.get("width_mult", 1.0) < 1
    return {
        **settings,
        **({"dropout": 0.0, "freeze_bn": False, "lr": 0.002} if small else {"dropout": 0.5, "lr": 0.001}),
        "dataset_root": str(dataset.resolve()),
        "categories_list_file_name": OWN_LISTS["categories"],
        "train_list_file_name": OWN_LISTS["training"],
        "eval_list_file_name": OWN_LISTS["validation"],
        "background_class": background,
        "sliding_windows": 0.5,
        "train_batch_size": max(1, min(8, clips)),
        "log_interval": 20,
        "keep_checkpoint_max": 1,
        "seed": seed,
    }


def for_epochs(keys: dict[str, Any], epochs: int) -> dict[str, Any]:
    """``keys`` with the schedule of a training of so many epochs."""
    return {
        **keys,
        "epochs_num": epochs,
        "update_lr_epochs": max(1, round(LR_DROP * epochs)),
        "sliding_windows_start": round(0.08 * epochs),
        "sliding_windows_full": max(1, round(0.4 * epochs)),
        "eval_interval": epochs,
        "ckpt_save_interval": epochs,
    }


def write_config(path: Path, mark: str, keys: dict[str, Any]) -> None:
    """Writes a config file, unless the user has one there that begins with ``mark``: it may have been edited."""
    if not path.exists() or not path.read_text(encoding="utf-8").startswith(mark):
        text = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)
        advice = "# After an edit my_gestures.sh repeats the steps that depend on this file."
        write_text(path, f"{mark}\n{advice}\n{text}")


def epochs_in(seconds: float, seconds_per_epoch: float) -> int:
    """How many epochs fit into the time, from LEAST_EPOCHS to MOST_EPOCHS."""
    return int(max(LEAST_EPOCHS, min(MOST_EPOCHS, seconds / max(seconds_per_epoch, 1e-3))))


def last_epoch(folder: Path) -> dict[str, float]:
    """The last row of a training's curves."""
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    return {key: float(value) for key, value in row.items() if value}


def last_checkpoint(folder: Path) -> Path:
    """The checkpoint of a training's last epoch."""
    found = sorted(folder.glob("checkpoint_trn-*.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(f"{folder}: the training left no checkpoint")
    return found[-1]
