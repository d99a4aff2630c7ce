"""The state of a training: what is saved to resume it, and the check that a resumed run trains as it began."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mindspore import Parameter, nn

from model_utils.errors import InputError
from model_utils.settings import values_before
from src.training.checkpoint import OPTIMIZER_PREFIX, fill, read_all


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        epochs_done: epochs that are done, validation included.
        step: steps of the next epoch that are done.
        loss_sum: the sum of their losses.
        best: the best validation: top-1, top-5, clips.
        since_best: validations since then.
        rewinds: how often the run went back to a checkpoint that was not its newest.
    """

    epochs_done: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: tuple[float, float, int] | None = None
    since_best: int = 0
    rewinds: int = 0

    @classmethod
    def parse(cls, recorded: Any) -> Progress:
        """The progress that a description records; files of earlier versions have no ``rewinds``.

        Raises:
            ValueError: if a field is missing, unknown or has another type.
        """
        if not isinstance(recorded, dict):
            raise ValueError(f"progress {recorded!r}")
        values = {"rewinds": 0, **recorded}
        for key in {field.name for field in fields(cls)} ^ values.keys():
            raise ValueError(f"progress without {key}" if key not in values else f"progress with {key}")
        for key in ("epochs_done", "step", "since_best", "rewinds"):
            if type(values[key]) is not int or values[key] < 0:
                raise ValueError(f"{key} {values[key]!r}")
        if type(values["loss_sum"]) not in (int, float) or not math.isfinite(values["loss_sum"]):
            raise ValueError(f"loss_sum {values['loss_sum']!r}")
        best = values["best"]
        if best is not None:
            if not isinstance(best, (list, tuple)) or [type(number) for number in best] != [float, float, int]:
                raise ValueError(f"best {best!r}")
            values["best"] = tuple(best)
        return cls(**values)


def training_state(network: nn.Cell, optimizer: nn.Optimizer) -> dict[str, Parameter]:
    """The network's parameters and, under other names, the optimiser's momentum and step."""
    own = [p for p in optimizer.get_parameters() if p.name == "global_step" or p.name.startswith("moments.")]
    return {**network.parameters_dict(), **{OPTIMIZER_PREFIX + parameter.name: parameter for parameter in own}}


def _recorded_settings(path: str | Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a description says of all settings: which of its two parts one stands in depends on the version."""
    recorded = dict(values_before())
    for part in ("settings", "recipe"):
        if not isinstance(about.get(part), dict):
            raise InputError(f"{path}: its description says {part} {about.get(part)!r}, expected a JSON object")
        recorded.update(about[part])
    return recorded


def resume_training(
    path: str | Path, network: nn.Cell, optimizer: nn.Optimizer, expected: Mapping[str, Any]
) -> Progress:
    """Loads a ``training_state`` and returns how far it is.

    Raises:
        InputError: if the file holds no optimiser state, or if its description differs from ``expected``, that of the
            present run, in a setting that must not change on resume or in the classes.
    """
    entries, about = read_all(path)
    if OPTIMIZER_PREFIX + "global_step" not in entries:
        raise InputError(f"{path}: holds a network only, not the optimiser's state that a resumed training needs")
    changed = []
    recorded = _recorded_settings(path, about)
    for part in ("settings", "recipe"):
        for key, value in expected[part].items():
            if key not in recorded:
                raise InputError(f"{path}: its description does not say {key}")
            if recorded[key] != value:
                changed.append(f"{key} {recorded[key]} (now {value})")
    if about.get("categories") != expected["categories"]:
        changed.append("other classes")
    if changed:
        raise InputError(f"{path}: a resumed training must not change: {', '.join(changed)}")
    try:
        progress = Progress.parse(about.get("progress"))
    except ValueError as error:
        raise InputError(f"{path}: its description says {error}, from which no training can be resumed") from None
    fill(training_state(network, optimizer), entries, path)
    return progress
