"""Checkpoint files: written whole or not at all, checked when read, loaded with a report of every mismatch.

A checkpoint is MindSpore's own format. Two more tensors travel in it, which other loaders skip: the description
(settings, class names, progress, versions; JSON in UTF-8 bytes) and a digest of everything else in the file. The
optimiser's state, which only a resumed training needs, has names that begin with OPTIMIZER_PREFIX.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from model_utils.errors import InputError, first_line
from model_utils.files import require_file
from model_utils.settings import (
    AnySettings,
    Settings,
    Use,
    is_of_type,
    key_table,
    keys_for,
    values_for,
    values_if_missing,
    with_recorded,
)
from model_utils.util import LOGGER_NAME, write_whole
from model_utils.version import VERSION
from src.backbones import check_image_size
from src.data.names import check_classes
from src.evaluation.protocol import default_test_crops
from src.heads import head_named
from src.training.tensor_sizes import check_tensor_sizes
from src.transforms import FLIPS
from src.tsn import TSN, build_network
from src.utils import require_usable_weights

DESCRIPTION_NAME = "trn_description"
DIGEST_NAME = "trn_digest"
OPTIMIZER_PREFIX = "optimizer."
LARGEST = 10_000  # a description may state sizes up to this, or up to the number of values in the file


# ---------------------------------------------------------------------------------------------------------- files


def save_checkpoint(path: str | Path, parameters: Mapping[str, Any], description: Mapping[str, Any]) -> Path:
    """Writes ``parameters`` (name -> Tensor, Parameter or array) and ``description`` (a JSON object) to ``path``.

    Raises:
        InputError: if the file cannot be written, or a value is NaN or infinite; whatever was at ``path`` is still
            there.
    """
    path = Path(path)
    versions = {"trn_version": VERSION, "mindspore_version": ms.__version__}
    encoded = json.dumps({**versions, **description}, sort_keys=True).encode()
    arrays = {
        name: value.asnumpy() if isinstance(value, Tensor) else np.asarray(value) for name, value in parameters.items()
    }
    require_usable_weights(arrays, f"{path}: not saved")
    arrays[DESCRIPTION_NAME] = np.frombuffer(encoded, np.uint8)
    arrays[DIGEST_NAME] = _digest(arrays)
    entries = [{"name": name, "data": Tensor(array)} for name, array in arrays.items()]
    with write_whole(path, "checkpoint") as partial:
        try:
            ms.save_checkpoint(entries, str(partial))
            os.chmod(partial, 0o644)  # MindSpore leaves the file readable by its owner only
        except RuntimeError as error:
            raise InputError(f"{path}: cannot write the checkpoint: {first_line(error)}") from error
        finally:
            for left in set(partial.parent.glob(f"{partial.stem}.*")) - {partial}:  # where MindSpore writes first
                left.unlink()
    return path


def read_checkpoint(path: str | Path) -> tuple[dict[str, Parameter], dict[str, Any]]:
    """The network's parameters in a checkpoint, by name, and its description ({} if the file has none).

    Raises:
        InputError: if the file is missing, empty, truncated, damaged or not a MindSpore checkpoint, or if a value is
            NaN or infinite.
    """
    entries, description = read_all(path)
    return {name: entry for name, entry in entries.items() if not name.startswith(OPTIMIZER_PREFIX)}, description


def read_all(path: str | Path) -> tuple[dict[str, Parameter], dict[str, Any]]:
    """Like ``read_checkpoint``, with the optimiser's state."""
    path = Path(path)
    require_file(path, "checkpoint file")
    if path.suffix != ".ckpt":
        raise InputError(f"{path}: expected a MindSpore checkpoint, a file whose name ends in .ckpt")
    logging.disable()  # MindSpore logs guesses about the file before it raises
    try:
        check_tensor_sizes(path)
        entries = ms.load_checkpoint(str(path))
    except Exception as error:  # on damaged bytes MindSpore raises almost anything, KeyError included
        raise InputError(f"{path}: not a whole MindSpore checkpoint (damaged, truncated or another format)") from error
    finally:
        logging.disable(logging.NOTSET)
    digest = entries.pop(DIGEST_NAME, None)
    if digest is not None and not np.array_equal(
        digest.asnumpy(), _digest({name: entry.asnumpy() for name, entry in entries.items()})
    ):
        raise InputError(f"{path}: damaged, its content does not match its digest")
    require_usable_weights({name: entry.asnumpy() for name, entry in entries.items()}, path)
    encoded = entries.pop(DESCRIPTION_NAME, None)
    return entries, {} if encoded is None else _parse_description(encoded.asnumpy().tobytes(), path, entries)


def _digest(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """SHA-256 over names, types, shapes and values, in the order of the names: uint8 [32]."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return np.frombuffer(digest.digest(), np.uint8)


def _parse_description(encoded: bytes, path: Path, entries: Mapping[str, Parameter]) -> dict[str, Any]:
    """The description. Sizes beyond those of ``entries`` are refused: no network of a billion features is built."""
    edited = InputError(f"{path}: its description is not one that this project writes; was it edited by hand?")
    try:
        description = json.loads(encoded)
        settings, names = description.get("settings", {}), description.get("categories", [])
        count = description.get("num_classes", 1)
        right = all(key in key_table() and is_of_type(key, value) for key, value in settings.items())
        numbers = [count, *(value for value in settings.values() if type(value) in (int, float))]
        largest = max(LARGEST, sum(math.prod(entry.shape) for entry in entries.values()))
        right = right and type(count) is int and all(0 < number <= largest for number in numbers)
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise edited from error
    scales = {name.split(".")[2] for name in entries if name.startswith("consensus.fc_fusion_scales.")}
    if (
        not right
        or (scales and settings.get("num_segments", len(scales) + 1) != len(scales) + 1)
        or settings.get("flip", FLIPS[0]) not in FLIPS
        or not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
    ):
        raise edited
    check_classes((f"{path}: its description", name) for name in names)
    return description


def describe(config: Settings, categories: list[str], **more: Any) -> dict[str, Any]:
    """The description of a checkpoint: the settings of its network, its classes, and ``more``."""
    settings = values_for(config, Use.NETWORK, Use.FOLLOWED)
    return {"settings": settings, "num_classes": len(categories), "categories": categories, **more}


# ------------------------------------------------------------------------------------------------------- networks


def load_network(config: AnySettings, categories: list[str] | None = None) -> tuple[TSN, list[str], AnySettings]:
    """The network in ``config.ckpt_file``.

    Returns:
        The network, its class names (numbers, if there are no names), and a copy of ``config``, in which the
        checkpoint's settings replace all that were not given explicitly.

    Raises:
        InputError: if the checkpoint contradicts a setting that was given, has other classes than ``categories`` or
            does not fit its network, and for an ``image_size`` that the network cannot take.
    """
    path = config.ckpt_file
    if not path:
        raise InputError("ckpt_file: no checkpoint given")
    parameters, description = read_checkpoint(path)
    config = _with_recorded(config, description)
    try:
        names = _class_names(parameters, description, categories, config)
        network = build_network(config, len(names))
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise InputError(f"{path}: no network can be built from its settings: {first_line(error)}") from error
    copy_parameters(network.parameters_dict(), parameters, path)
    check_image_size(config.backbone, network.base_model, config.image_size)
    network.set_train(False)
    return network, names, config


def _with_recorded(config: AnySettings, description: Mapping[str, Any]) -> AnySettings:
    """A copy of ``config`` in which the settings of a checkpoint's description replace all that were not given."""
    path = config.ckpt_file
    # Earlier versions wrote some settings into the recipe.
    known = {"backbone": values_if_missing()["backbone"], **description.get("recipe", {})}
    known = {**known, **description.get("settings", {})} if description else {}
    recorded = {key: known[key] for key in keys_for(Use.NETWORK, Use.FOLLOWED) if key in known}
    config = with_recorded(config, recorded, keys_for(Use.NETWORK), f"{path}: trained")
    if not description and "flip" not in config.given and config.flip != "plain":
        config.flip = "plain"  # the model zoo's own port trains so, and its files carry no description
        logging.getLogger(LOGGER_NAME).warning("%s: has no description, so flip is plain", path)
    config.test_crops = default_test_crops(config)
    return config


def _class_names(
    parameters: Mapping[str, Tensor], description: Mapping[str, Any], categories: list[str] | None, config: Settings
) -> list[str]:
    """The names of the classes: the dataset's, or else the checkpoint's, or else numbers."""
    path, head = config.ckpt_file, head_named(config.consensus_type)
    last = (p.shape[0] for name, p in parameters.items() if head.is_of_last_layer(name) and p.shape)
    num_classes, names = description.get("num_classes", next(last, None)), description.get("categories")
    if num_classes is None:
        raise InputError(
            f"{path}: not a checkpoint of a network with consensus_type {config.consensus_type}: no {head.last_layer}"
        )
    if names and len(names) != num_classes:
        raise InputError(f"{path}: its description says num_classes {num_classes}, but names {len(names)} classes")
    if categories is not None and len(categories) != num_classes:
        raise InputError(f"{path}: trained for {num_classes} classes, the dataset lists {len(categories)}")
    for i, (theirs, ours) in enumerate(zip(names or (), categories or ())):
        if normalize("NFC", theirs) != normalize("NFC", ours):
            raise InputError(f"{path}: class {i} is {theirs!r} in the checkpoint, but {ours!r} in the dataset")
    return categories or names or [str(i) for i in range(num_classes)]


def copy_parameters(parameters: Mapping[str, Parameter], values: Mapping[str, Tensor], source: str | Path) -> None:
    """Sets ``parameters`` to ``values``, both by name; names and shapes must agree exactly.

    Raises:
        InputError: listing missing, unexpected and misshapen parameters; nothing is changed then.
    """
    problems = _listed("missing", parameters.keys() - values.keys())
    problems += _listed("unexpected", values.keys() - parameters.keys())
    misshapen = [
        f"{name} {tuple(values[name].shape)} instead of {tuple(parameters[name].shape)}"
        for name in parameters.keys() & values.keys()
        if tuple(values[name].shape) != tuple(parameters[name].shape)
    ]
    problems += _listed("of another shape", misshapen)
    if problems:
        raise InputError(f"{source}: parameters do not fit the network: {'; '.join(problems)}")
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(values[name].asnumpy()))


def _listed(problem: str, names: Iterable[str], at_most: int = 3) -> list[str]:
    names = sorted(names)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return [f"{len(names)} {problem} ({', '.join(names[:at_most])}{more})"] if names else []
