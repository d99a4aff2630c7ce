"""The state that a training saves, and the check that a resumed run has the same settings and data."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mindspore import Parameter, nn

from model_utils.errors import InputError
from model_utils.settings import values_if_missing
from model_utils.util import LOGGER_NAME
from src.training.checkpoint import OPTIMIZER_PREFIX, copy_parameters, read_all


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        epochs_done: epochs that are done, validation included.
        step: steps of the next epoch that are done.
        loss_sum: the sum of their losses.
        best: the best validation: top-1, top-5, clips.
        since_best: validations since then.
        rewinds: how often the run was resumed from a checkpoint that was not its newest.
    """

    epochs_done: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: tuple[float, float, int] | None = None
    since_best: int = 0
    rewinds: int = 0

    @classmethod
    def parse(cls, recorded: Any) -> Progress:
        """The progress that a description records; files of before 1.0.0 have no ``rewinds``.

        Raises:
            ValueError: if a field is missing or unknown.
        """
        values = {"rewinds": 0, **recorded} if isinstance(recorded, dict) else {}
        if values.keys() != {field.name for field in fields(cls)}:
            raise ValueError(f"progress {recorded!r}")
        return cls(**{**values, "best": values["best"] and tuple(values["best"])})

    def count_validation(self, top1: float, top5: float, clips: int) -> bool:
        """Updates ``best`` and ``since_best``; returns whether this validation is the best, by top-1, then by top-5."""
        is_best = self.best is None or (top1, top5) > self.best[:2]
        self.best, self.since_best = ((top1, top5, clips), 0) if is_best else (self.best, self.since_best + 1)
        return is_best


def training_state(network: nn.Cell, optimizer: nn.Optimizer) -> dict[str, Parameter]:
    """The network's parameters and, under other names, the optimiser's momentum and step."""
    own = [p for p in optimizer.get_parameters() if p.name == "global_step" or p.name.startswith("moments.")]
    return {**network.parameters_dict(), **{OPTIMIZER_PREFIX + parameter.name: parameter for parameter in own}}


def resume_training(
    path: str | Path, network: nn.Cell, optimizer: nn.Optimizer, expected: Mapping[str, Any], other_data: bool = False
) -> Progress:
    """Loads a ``training_state`` and returns how far it is.

    Args:
        expected: the description of the present run.
        other_data: whether the lists and their frames may differ.

    Raises:
        InputError: if the file holds no optimiser state, or if its description differs from ``expected`` in a setting
            that must not change on resume, in the classes, or in the clips.
    """
    entries, description = read_all(path)
    if OPTIMIZER_PREFIX + "global_step" not in entries:
        raise InputError(f"{path}: holds a network only, not the optimiser's state that a resumed training needs")
    changed = _changed_settings(path, description, expected, other_data)
    others = _other_data(path, description, expected)
    if others and not other_data:
        changed.append(f"{' and '.join(others)}; --resume_other_data true if you want that")
    if changed:
        raise InputError(f"{path}: a resumed training must not change: {', '.join(changed)}")
    if others:
        logging.getLogger(LOGGER_NAME).warning("%s: resumed on other data: %s", path, " and ".join(others))
    try:
        progress = Progress.parse(description.get("progress"))
    except ValueError as error:
        raise InputError(f"{path}: its description says {error}, from which no training can be resumed") from None
    copy_parameters(training_state(network, optimizer), entries, path)
    return progress


def _changed_settings(
    path: str | Path, description: Mapping[str, Any], expected: Mapping[str, Any], other_data: bool
) -> list[str]:
    """The settings that must not change on resume and differ from the checkpoint's; ``other_data`` allows ``clips``."""
    changed = []
    # Versions differ in which of the two parts holds a setting.
    recorded = {**values_if_missing(), **description.get("settings", {}), **description.get("recipe", {})}
    for part in ("settings", "recipe"):
        for key, value in expected[part].items():
            if key not in recorded:
                raise InputError(f"{path}: its description does not say {key}")
            if recorded[key] != value and not (other_data and key == "clips"):
                changed.append(f"{key} {recorded[key]} (now {value})")
    if description.get("categories") != expected["categories"]:
        changed.append("other classes")
    return changed


def _other_data(path: str | Path, description: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """The names of the fingerprints that differ from the checkpoint's. A list that only one of them has is ignored."""
    recorded = description.get("data")
    if not isinstance(recorded, dict):
        unknown = (
            "%s: of an earlier version, which does not say on which clips it was trained: only their number is checked"
        )
        logging.getLogger(LOGGER_NAME).warning(unknown, path)
        recorded = {}
    return [name for name, digest in expected["data"].items() if recorded.get(name, digest) != digest]
