"""The weights that a training starts from: random ones, those of a backbone, or those of a whole network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindspore import Parameter

from model_utils.errors import InputError
from model_utils.settings import Settings, Use, keys_for, values_before
from src.backbones import PRETRAINED, pretrained_file
from src.heads import Head
from src.training.checkpoint import fill, read_checkpoint
from src.tsn import TSN


def load_start(network: TSN, config: Settings, categories: list[str]) -> str:
    """Loads what ``pre_trained_backbone`` or ``pre_trained`` names into a new network.

    Returns:
        What was loaded and what is new, for the log; "" if neither key is given.

    Raises:
        InputError: if both are given; see ``load_backbone`` and ``load_whole``.
    """
    backbone, whole = config.pre_trained_backbone, config.pre_trained
    if backbone and whole:
        raise InputError(f"pre_trained {whole} and pre_trained_backbone {backbone}: expected one of them, not both")
    if backbone:
        return load_backbone(network, backbone, config.backbone, config.width_mult)
    return load_whole(network, config, categories) if whole else ""


def load_whole(network: TSN, config: Settings, categories: list[str]) -> str:
    """Loads another TRN, ``config.pre_trained``, into ``network``, which ``config`` describes.

    The layer that gives class scores is taken if the other network's classes are ``categories``, in this order; with
    ``config.keep_last_layer`` also if the file names no classes.

    Returns:
        What was loaded and what is new, for the log.

    Raises:
        InputError: if the checkpoint cannot be read, holds a backbone only, or does not fit.
    """
    path = config.pre_trained
    given, about = read_checkpoint(path)
    if "base_model.fc.weight" not in given:
        raise InputError(f"{path}: holds no whole network; give a backbone alone as pre_trained_backbone")
    recorded = about.get("settings", {})
    changed = [
        f"{key} {recorded[key]} (now {getattr(config, key)})"
        for key in keys_for(Use.NETWORK)
        # The number of drawn tuples is no size of a layer.
        if key != "subsample_num" and key in recorded and recorded[key] != getattr(config, key)
    ]
    if changed:
        changed += _other_pictures(config, recorded)
        raise InputError(f"{path}: pre_trained must fit the network, but was trained with {', '.join(changed)}")
    wanted, named = network.parameters_dict(), about.get("categories")
    if config.keep_last_layer and named not in (None, categories):
        raise InputError(f"{path}: keep_last_layer true, but its classes are others than those of the dataset")
    kept = named == categories or config.keep_last_layer
    if not kept:
        wanted, given = _without_last_layer(wanted, network.head), _without_last_layer(given, network.head)
    fill(wanted, given, path)
    parts = f"backbone {config.backbone}" + (", projection and relations" if _has_consensus(wanted) else "")
    new = len(network.parameters_dict()) - len(wanted)
    if named == categories:
        last = "the last layer's too: the classes are the same"
    elif kept:
        last = "the last layer's too: it names no classes, so they are assumed to be the dataset's, in the same order"
    else:
        why = "" if named else ": it names no classes (keep_last_layer true assumes that they are the dataset's)"
        last = f"{new} of the last layer are new{why}"
    pictures = "".join(f"; trained with {text}" for text in _other_pictures(config, recorded))
    return f"{path}: {_network_of(about)}; {len(wanted)} parameters of its {parts} taken, {last}{pictures}"


def _other_pictures(config: Settings, recorded: Mapping[str, Any]) -> list[str]:
    """The size of pictures that a network was trained on, if it is another one now and nobody has asked for that."""
    trained, now = recorded.get("image_size", config.image_size), config.image_size
    return [f"image_size {trained} (now {now})"] if trained != now and "image_size" not in config.given else []


def _without_last_layer(parameters: Mapping[str, Any], head: Head) -> dict[str, Any]:
    """Without the layer, one for each scale, whose size is the number of classes."""
    return {name: parameter for name, parameter in parameters.items() if not head.is_of_last_layer(name)}


def _has_consensus(parameters: Mapping[str, Any]) -> bool:
    return any(name.startswith("consensus.") for name in parameters)


def _network_of(about: Mapping[str, Any]) -> str:
    return f"a network for {about['num_classes']} classes" if "num_classes" in about else "a network"


def load_backbone(network: TSN, path: str | Path, name: str, width_mult: float) -> str:
    """Loads a backbone, or that of another TRN, into ``network.base_model``, which is the backbone ``name``.

    The backbone's last layer ``fc`` and the consensus depend on the task and keep their initial values. Names are those
    of a TRN, or those of a backbone alone, which its ``rename`` in ``src.backbones`` reads.

    Args:
        network: gets the weights.
        path: the checkpoint, or "pretrained" for the one that mindcv offers.
        name: see ``Settings.backbone``.
        width_mult: the network's, compared with that of a checkpoint that records it.

    Returns:
        What was loaded and what is new, for the log.

    Raises:
        InputError: if the checkpoint cannot be read, holds another backbone, or does not fit.
    """
    # On ModelArts a folder stands before the word; a checkpoint's name ends in .ckpt.
    source = pretrained_file(name) if Path(path).name == PRETRAINED else Path(path)
    given, about = read_checkpoint(source)
    recorded = about.get("settings", {})
    held, width = recorded.get("backbone", values_before()["backbone"]), recorded.get("width_mult")
    if about and held != name:
        raise InputError(f"{source}: holds the backbone {held}, but backbone is {name}")
    if width is not None and width != width_mult:
        raise InputError(f"{source}: its backbone was trained with width_mult {width}, but width_mult is {width_mult}")
    whole = any(key.startswith("base_model.") for key in given)
    if not whole:
        renamed = network.backbone.rename(network.base_model, given)
        given = {f"base_model.{key}": parameter for key, parameter in renamed.items()}
    is_network = whole and "base_model.fc.weight" in given  # a converted backbone has names of a TRN, and no last layer
    wanted = _backbone_only(network.parameters_dict())
    given = _backbone_only(given)
    fill(wanted, given, source)
    new = len(network.parameters_dict()) - len(wanted)
    kind = _network_of(about) if is_network else "a backbone"
    return f"{source}: {kind}; {len(wanted)} parameters of its backbone {name} taken, {new} behind it are new"


def _backbone_only(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    return {name: p for name, p in parameters.items() if not name.startswith(("base_model.fc.", "consensus."))}
