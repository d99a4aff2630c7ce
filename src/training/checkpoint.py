"""Checkpoints: what a file says about itself, whole-or-nothing writing, loading that reports every mismatch.

A checkpoint is MindSpore's own format. Its description (settings, class names, epoch, versions) travels inside as one
more tensor, JSON in UTF-8 bytes, which loaders that do not know it pass over; so does what a training that goes on
needs besides the network, the optimiser's state under names that begin with OPTIMIZER_PREFIX.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from model_utils.errors import InputError
from model_utils.util import write_whole
from src.bn_inception import check_image_size
from src.tsn import NETWORK_SETTINGS, TSN, build_network

DESCRIPTION_NAME = "trn_description"
OPTIMIZER_PREFIX = "optimizer."
LAST_NAME = "checkpoint_last.ckpt"
# How a checkpoint was trained that is older than these keys.
ADDED_RECIPE = {"sliding_windows": 0.0, "background_class": "No gesture"}
FOLLOWED_SETTINGS = ("image_size", "flip")  # evaluation follows the training in these, but may be told otherwise


def save_checkpoint(path: str | Path, parameters: Mapping[str, Any], description: Mapping[str, Any]) -> Path:
    """Writes ``parameters`` (name -> Tensor, Parameter or array) and ``description`` (anything JSON holds) to ``path``.

    The file is written beside its place and renamed, so ``path`` is at every moment either the old file or the new.

    Raises:
        InputError: if the file cannot be written; whatever was at ``path`` is still there.
    """
    path = Path(path)
    about = {"mindspore_version": ms.__version__, **description}
    encoded = np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)
    entries = [{"name": name, "data": Tensor(_array(value))} for name, value in parameters.items()]
    entries.append({"name": DESCRIPTION_NAME, "data": Tensor(encoded)})
    with write_whole(path, "checkpoint") as partial:
        try:
            ms.save_checkpoint(entries, str(partial))
            os.chmod(partial, 0o644)  # MindSpore leaves the file readable by its owner only
        except RuntimeError as error:
            raise InputError(f"{path}: cannot write the checkpoint: {_first_line(error)}") from error
        finally:
            for left in set(partial.parent.glob(f"{partial.stem}.*")) - {partial}:  # where MindSpore writes first
                left.unlink()
    return path


def _array(value: Any) -> np.ndarray:
    return value.asnumpy() if isinstance(value, Tensor) else np.asarray(value)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def read_checkpoint(path: str | Path) -> tuple[dict[str, Parameter], dict[str, Any]]:
    """The network's parameters in a checkpoint, by name, and its description ({} in files that carry none).

    Raises:
        InputError: if the file is missing, empty, truncated or not a MindSpore checkpoint.
    """
    entries, description = _read(path)
    return {name: entry for name, entry in entries.items() if not name.startswith(OPTIMIZER_PREFIX)}, description


def _read(path: str | Path) -> tuple[dict[str, Parameter], dict[str, Any]]:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    if path.suffix != ".ckpt":
        raise InputError(f"{path}: expected a MindSpore checkpoint, a file whose name ends in .ckpt")
    logging.disable()  # MindSpore logs what is wrong with the file, and guesses, before it raises
    try:
        parameters = ms.load_checkpoint(str(path))
    except (ValueError, RuntimeError, TypeError, OSError) as error:
        raise InputError(f"{path}: not a whole MindSpore checkpoint (damaged, truncated or another format)") from error
    finally:
        logging.disable(logging.NOTSET)
    encoded = parameters.pop(DESCRIPTION_NAME, None)
    try:
        description = {} if encoded is None else json.loads(encoded.asnumpy().tobytes().decode())
    except ValueError as error:
        raise InputError(f"{path}: damaged, what the checkpoint says about itself cannot be read") from error
    return parameters, description


def load_parameters(network: nn.Cell, parameters: Mapping[str, Tensor], source: str | Path) -> None:
    """Puts ``parameters`` into ``network``; names and shapes must agree exactly.

    Raises:
        InputError: listing missing, unexpected and misshapen parameters; the network is left as it was.
    """
    _fill(network.parameters_dict(), parameters, source)


def load_backbone(network: nn.Cell, path: str | Path) -> None:
    """Loads an ImageNet backbone, or that of another TRN, into ``network.base_model``.

    The backbone's last layer ``fc`` and the consensus depend on the task and keep their initial values.
    """

    def backbone_only(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
        return {name: p for name, p in parameters.items() if not name.startswith(("base_model.fc.", "consensus."))}

    given, _ = read_checkpoint(path)
    _fill(backbone_only(network.parameters_dict()), backbone_only(given), path)


def training_state(network: nn.Cell, optimizer: nn.Optimizer) -> dict[str, Parameter]:
    """What a training goes on from: the network's parameters and, renamed, the optimiser's momentum and step."""
    state = network.parameters_dict()
    return {**state, **{OPTIMIZER_PREFIX + parameter.name: parameter for parameter in _own_parameters(optimizer)}}


def resume_training(
    path: str | Path, network: nn.Cell, optimizer: nn.Optimizer, expected: Mapping[str, Any]
) -> dict[str, Any]:
    """Loads a ``training_state`` and returns the checkpoint's description.

    Raises:
        InputError: if it holds no optimiser state, or says otherwise than ``expected`` (see ``describe``) how it is
            trained: a run goes on as it began.
    """
    entries, about = _read(path)
    if OPTIMIZER_PREFIX + "global_step" not in entries:
        raise InputError(f"{path}: holds a network only, not the optimiser's state that a training goes on from")
    recipe = {**ADDED_RECIPE, **about["recipe"]}
    changed = [
        f"{key} {theirs.get(key)} (now {value})"
        for theirs, ours in ((about["settings"], expected["settings"]), (recipe, expected["recipe"]))
        for key, value in ours.items()
        if theirs.get(key) != value
    ]
    if about["categories"] != expected["categories"]:
        changed.append("other classes")
    if changed:
        raise InputError(f"{path}: cannot go on otherwise than it began: {', '.join(changed)}")
    wanted = training_state(network, optimizer)
    _fill(wanted, entries, path)
    return about


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint in ``folder`` that was written last and that a training can go on from, if there is one."""
    found = [*_numbered(folder), *Path(folder).glob(LAST_NAME)]
    return max(found, key=_age, default=None)


def _own_parameters(optimizer: nn.Optimizer) -> list[Parameter]:
    return [p for p in optimizer.get_parameters() if p.name == "global_step" or p.name.startswith("moments.")]


def describe(config: Any, categories: list[str], **progress: Any) -> dict[str, Any]:
    """What a checkpoint says about itself: how its network is built and was trained, its classes, how far it is."""
    settings = {key: getattr(config, key) for key in (*NETWORK_SETTINGS, *FOLLOWED_SETTINGS)}
    return {"settings": settings, "num_classes": len(categories), "categories": categories, **progress}


def load_network(config: Any, categories: list[str] | None = None) -> tuple[TSN, list[str]]:
    """The network in ``config.ckpt_file`` and its class names (numbers, if nobody gives names).

    Settings that the checkpoint records replace those of ``config`` that nobody gave explicitly.

    Raises:
        InputError: if the checkpoint contradicts a setting that was given, has other classes than ``categories`` or
            does not fit its network, and for an ``image_size`` that does not.
    """
    path = config.ckpt_file
    if not path:
        raise InputError("ckpt_file: no checkpoint given")
    parameters, about = read_checkpoint(path)
    for key, value in about.get("settings", {}).items():
        if key not in config.given:
            setattr(config, key, value)
        elif key in NETWORK_SETTINGS and getattr(config, key) != value:
            raise InputError(f"{path}: trained with {key} {value}, but {key} {getattr(config, key)} was asked for")
    num_classes = _num_classes(parameters, about)
    names = about.get("categories")
    if num_classes is None:
        raise InputError(f"{path}: not a checkpoint of this network, it has no layer that gives class scores")
    if categories is not None and len(categories) != num_classes:
        raise InputError(f"{path}: trained for {num_classes} classes, the dataset lists {len(categories)}")
    for i, (theirs, ours) in enumerate(zip(names or (), categories or ())):
        if theirs != ours:
            raise InputError(f"{path}: class {i} is {theirs!r} in the checkpoint, but {ours!r} in the dataset")
    check_image_size(config.image_size)
    network = build_network(config, num_classes)
    load_parameters(network, parameters, path)
    network.set_train(False)
    return network, categories or names or [str(i) for i in range(num_classes)]


def keep_newest(folder: str | Path, count: int) -> None:
    """Deletes all but the ``count`` newest ``checkpoint_trn-<epoch>_<step>.ckpt`` in ``folder``."""
    for path in sorted(_numbered(folder), key=_age)[:-count]:
        path.unlink()


def delete_partial(folder: str | Path) -> None:
    """Deletes what writers that were killed left in ``folder``."""
    for path in Path(folder).glob(".checkpoint_*.partial.*"):
        path.unlink()


def _numbered(folder: str | Path) -> list[Path]:
    return list(Path(folder).glob("checkpoint_trn-*_*.ckpt"))


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _num_classes(parameters: Mapping[str, Tensor], about: Mapping[str, Any]) -> int | None:
    """The length of the last layer's bias, for files that do not say how many classes they know."""
    lasts = ("consensus.fc_fusion_scales.0.3.bias", "consensus.classifier.3.bias", "base_model.fc.bias")
    found = next((parameters[name].shape[0] for name in lasts if name in parameters), None)
    return about.get("num_classes", found)


def _fill(wanted: Mapping[str, Parameter], given: Mapping[str, Tensor], source: str | Path) -> None:
    problems = _listed("missing", wanted.keys() - given.keys())
    problems += _listed("unexpected", given.keys() - wanted.keys())
    misshapen = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted.keys() & given.keys()
        if tuple(given[name].shape) != tuple(wanted[name].shape)
    ]
    problems += _listed("of another shape", misshapen)
    if problems:
        raise InputError(f"{source}: parameters do not fit the network: {'; '.join(problems)}")
    for name, parameter in wanted.items():
        parameter.set_data(Tensor(given[name].asnumpy()))


def _listed(what: str, names: Iterable[str], at_most: int = 20) -> list[str]:
    names = sorted(names)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return [f"{len(names)} {what} ({', '.join(names[:at_most])}{more})"] if names else []
