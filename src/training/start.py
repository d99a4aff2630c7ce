"""Loads the weights that a training starts from: a backbone's or a whole network's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mindspore import Parameter

from model_utils.errors import InputError
from model_utils.settings import Settings, Use, keys_for, values_if_missing
from src.backbones import PRETRAINED, pretrained_file
from src.heads import Head
from src.training.checkpoint import copy_parameters, read_checkpoint
from src.tsn import TSN

Parameters = Mapping[str, Parameter]


class StartValues(NamedTuple):
    """Parameters to load from a file: the network's, the file's, and a sentence for the log."""

    parameters: Parameters
    values: Parameters
    report: str


def load_start(network: TSN, config: Settings, categories: list[str]) -> str:
    """Loads the file that ``pre_trained_backbone`` or ``pre_trained`` names into a new network.

    Returns:
        A sentence for the log: which parameters were loaded, which are new; "" if neither key is given.

    Raises:
        InputError: if both are given; if the checkpoint cannot be read or does not fit.
    """
    backbone, whole = config.pre_trained_backbone, config.pre_trained
    if backbone and whole:
        raise InputError(f"pre_trained {whole} and pre_trained_backbone {backbone}: expected one of them, not both")
    if not backbone and not whole:
        return ""
    # On ModelArts a folder stands before the word; a checkpoint's name ends in .ckpt.
    fetched = not whole and Path(backbone).name == PRETRAINED
    source = pretrained_file(config.backbone) if fetched else Path(whole or backbone)
    values, description = read_checkpoint(source)
    try:
        if whole:
            part = _whole(network, config, categories, values, description)
        else:
            part = _backbone(network, config, values, description)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    copy_parameters(part.parameters, part.values, source)
    return f"{source}: {part.report}"


def _whole(
    network: TSN, config: Settings, categories: list[str], values: Parameters, description: Mapping[str, Any]
) -> StartValues:
    """Another TRN.

    The last layer is taken if the file's classes are ``categories``, in this order. With ``config.keep_last_layer`` it
    is also taken if the file names no classes.
    """
    if "base_model.fc.weight" not in values:
        raise InputError("holds no whole network; give a backbone alone as pre_trained_backbone")
    recorded = description.get("settings", {})
    changed = [
        f"{key} {recorded[key]} (now {getattr(config, key)})"
        for key in keys_for(Use.NETWORK)
        # The number of drawn tuples is no size of a layer.
        if key != "subsample_num" and key in recorded and recorded[key] != getattr(config, key)
    ]
    if changed:
        changed += _other_pictures(config, recorded)
        raise InputError(f"pre_trained must fit the network, but was trained with {', '.join(changed)}")
    parameters, named = network.parameters_dict(), description.get("categories")
    if config.keep_last_layer and named not in (None, categories):
        raise InputError("keep_last_layer true, but its classes differ from the dataset's")
    kept = named == categories or config.keep_last_layer
    loaded = parameters if kept else _without_last_layer(parameters, network.head)
    has_relations = any(name.startswith("consensus.") for name in loaded)
    parts = f"backbone {config.backbone}" + (", projection and relations" if has_relations else "")
    if named == categories:
        last = "the last layer's too: the classes are the same"
    elif kept:
        last = "the last layer's too: it names no classes, so they are assumed to be the dataset's, in the same order"
    else:
        why = "" if named else ": it names no classes (keep_last_layer true assumes that they are the dataset's)"
        last = f"{len(parameters) - len(loaded)} of the last layer are new{why}"
    pictures = "".join(f"; trained with {text}" for text in _other_pictures(config, recorded))
    report = f"{_network_of(description)}; {len(loaded)} parameters of its {parts} taken, {last}{pictures}"
    return StartValues(loaded, values if kept else _without_last_layer(values, network.head), report)


def _other_pictures(config: Settings, recorded: Mapping[str, Any]) -> list[str]:
    """A note on ``image_size``, if the network was trained with another one and the user gave none."""
    trained, now = recorded.get("image_size", config.image_size), config.image_size
    return [f"image_size {trained} (now {now})"] if trained != now and "image_size" not in config.given else []


def _without_last_layer(parameters: Mapping[str, Any], head: Head) -> dict[str, Any]:
    """``parameters`` without the head's last layer, whose size is the number of classes."""
    return {name: parameter for name, parameter in parameters.items() if not head.is_of_last_layer(name)}


def _network_of(description: Mapping[str, Any]) -> str:
    return f"a network for {description['num_classes']} classes" if "num_classes" in description else "a network"


def _backbone(network: TSN, config: Settings, values: Parameters, description: Mapping[str, Any]) -> StartValues:
    """A backbone, alone or in another TRN.

    The backbone's last layer ``fc`` and the consensus depend on the task and keep their initial values. The names of a
    backbone alone are translated by ``rename`` of ``src.backbones``.
    """
    name, recorded = config.backbone, description.get("settings", {})
    its_backbone, width = recorded.get("backbone", values_if_missing()["backbone"]), recorded.get("width_mult")
    if description and its_backbone != name:
        raise InputError(f"holds the backbone {its_backbone}, but backbone is {name}")
    if width is not None and width != config.width_mult:
        raise InputError(f"its backbone was trained with width_mult {width}, but width_mult is {config.width_mult}")
    whole = any(key.startswith("base_model.") for key in values)
    if not whole:
        renamed = network.backbone.rename(network.base_model, values)
        values = {f"base_model.{key}": parameter for key, parameter in renamed.items()}
    # A converted backbone has the names of a TRN, but no last layer.
    is_network = whole and "base_model.fc.weight" in values
    parameters = network.parameters_dict()
    loaded = _backbone_only(parameters)
    kind, new = _network_of(description) if is_network else "a backbone", len(parameters) - len(loaded)
    report = f"{kind}; {len(loaded)} parameters of its backbone {name} taken, {new} behind it are new"
    return StartValues(loaded, _backbone_only(values), report)


def _backbone_only(parameters: Parameters) -> dict[str, Parameter]:
    return {name: p for name, p in parameters.items() if not name.startswith(("base_model.fc.", "consensus."))}
