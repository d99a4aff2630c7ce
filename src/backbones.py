"""The table of backbones: how each is built, and everything else that depends on the backbone.

A backbone is a cell that maps frames, float32 [N, 3, S, S], to float32 [N, out_channels], and has

    feature_channels   D, the length of the vector that dropout acts on
    features(frames)   float32 [N, D], the input of the last layer
    fc                 the last layer

Any other name means an image classifier of the package mindcv.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_utils.errors import InputError
from src.transforms import CAFFE_PIXELS, IMAGENET_PIXELS, Pixels

if TYPE_CHECKING:
    from mindspore import nn

PRETRAINED = "pretrained"


def _names_are_the_same(backbone: nn.Cell, parameters: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return dict(parameters)


@dataclass(frozen=True)
class Backbone:
    """A row of the table.

    Attributes:
        build: makes the cell, with random weights, from ``out_channels``, ``width_mult`` and ``freeze_bn`` (see
            ``BNInception``).
        pixels: its input format.
        check_side: raises InputError for a frame side that it cannot take; without it a black frame is tried.
        prepare: changes a trained cell, in place, to compute the same faster; inference only.
        rename: gives the parameters of a backbone's own checkpoint the cell's names, and drops the last layer of
            another task. A layer called ``fc`` may stay: nothing reads it.
        pretrained: fetches the weights that PRETRAINED means; returns the file.
        other_kinds: whether it has trainable parameters besides weights, biases, gamma and beta, such as layer scales.
            They do not decay.
    """

    build: Callable[[int, float, bool], nn.Cell]
    pixels: Pixels
    check_side: Callable[[int], None] | None = None
    prepare: Callable[[nn.Cell], None] | None = None
    rename: Callable[[nn.Cell, Mapping[str, Any]], dict[str, Any]] = _names_are_the_same
    pretrained: Callable[[], Path] | None = None
    other_kinds: bool = False


def _build_bn_inception(out_channels: int, width_mult: float, freeze_bn: bool) -> nn.Cell:
    from src.bn_inception import BNInception

    return BNInception(out_channels=out_channels, frozen_bn=freeze_bn, width_mult=width_mult)


def _check_bn_inception(image_size: int) -> None:
    from src.bn_inception import check_side

    check_side(image_size)


def _fold_bn_inception(backbone: nn.Cell) -> None:
    from src.bn_inception import fold

    fold(backbone)


BACKBONES = {
    "bn_inception": Backbone(_build_bn_inception, CAFFE_PIXELS, _check_bn_inception, _fold_bn_inception),
}


def backbone_named(name: str) -> Backbone:
    """The row of a backbone; its ``build`` raises InputError if there is no backbone of this name."""
    return BACKBONES.get(name) or _of_mindcv(name)


def _of_mindcv(name: str) -> Backbone:
    def build(out_channels: int, width_mult: float, freeze_bn: bool) -> nn.Cell:
        from src import mindcv_backbones

        return mindcv_backbones.build(name, out_channels, width_mult, freeze_bn, others=tuple(BACKBONES))

    def pretrained() -> Path:
        from src import mindcv_backbones

        return mindcv_backbones.mindcv_weights(name, others=tuple(BACKBONES))

    return Backbone(build, IMAGENET_PIXELS, rename=_rename_of_mindcv, pretrained=pretrained, other_kinds=True)


def _rename_of_mindcv(backbone: nn.Cell, parameters: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in parameters.items() if not name.startswith(f"{backbone.last_layer}.")}
    return {f"model.{name}": value for name, value in kept.items()}


def pretrained_file(name: str) -> Path:
    """The file of weights that PRETRAINED means.

    Raises:
        InputError: if there is none, or it cannot be fetched.
    """
    fetch = backbone_named(name).pretrained
    if fetch is None:
        raise InputError(f"pre_trained_backbone {PRETRAINED}: mindcv has no {name}; give a checkpoint")
    return fetch()


def check_image_size(name: str, backbone: nn.Cell, image_size: int) -> None:
    """Raises InputError for a frame side that ``backbone``, the cell built for ``name``, cannot take."""
    check_side = backbone_named(name).check_side
    if check_side is None:
        _try_black_frame(name, backbone, image_size)
    else:
        check_side(image_size)


def _try_black_frame(name: str, backbone: nn.Cell, image_size: int) -> None:
    import mindspore as ms
    import numpy as np

    mode, training = ms.get_context("mode"), backbone.training
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        backbone.set_train(False)
        shape = backbone.features(ms.Tensor(np.zeros((1, 3, image_size, image_size), np.float32))).shape
    except (ValueError, RuntimeError, TypeError) as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"image_size {image_size}: backbone {name} cannot take such frames: {why}") from error
    finally:
        backbone.set_train(training)
        ms.set_context(mode=mode)
    if shape != (1, backbone.feature_channels):
        raise InputError(f"backbone {name}: gives {shape} for a frame; expected {backbone.feature_channels} features")
