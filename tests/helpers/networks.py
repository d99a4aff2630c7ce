"""A network small enough for tests, and the settings it is built from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor, nn

from model_utils.config import load_config
from src import bn_inception
from src.backbones import BACKBONES
from src.bn_inception import BLOCKS, BNInception, InceptionBlock
from src.heads import HEADS
from src.tsn import TSN, build_network

SIDE = 32
CLASSES = ["Swiping Left", "Swiping Right", "Thumb Up"]


@cache
def _defaults() -> dict[str, Any]:
    return vars(load_config([]))


def settings(**changes) -> SimpleNamespace:
    """The default config, but for a tiny network: 3 segments, 8 features a frame."""
    tiny = {"num_segments": 3, "img_feature_dim": 8, "subsample_num": 2, "width_mult": 0.0625, "image_size": SIDE}
    return SimpleNamespace(**{**_defaults(), **tiny, **changes})


def tiny_network(**changes) -> TSN:
    return build_network(settings(**changes), len(CLASSES))


def _features_of_one_block(self: BNInception, frames: Tensor) -> Tensor:
    x = self.conv2_3x3(self.conv2_3x3_reduce(self.pool(self.conv1_7x7_s2(frames))))
    return self.inception_5b(x).mean((2, 3))


@contextmanager
def one_block() -> Iterator[None]:
    """Inside, BNInception has one block of its ten: to make the others takes longer than all else in most tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bn_inception, "BLOCKS", BLOCKS[-1:])
        patch.setattr(BNInception, "features", _features_of_one_block)
        yield


class SmallBackbone(nn.Cell):
    """One convolution and one block of the real backbone, with an average before the projection: compiles fast."""

    def __init__(self, whole: BNInception) -> None:
        super().__init__()
        self.conv = whole.conv1_7x7_s2
        self.inception = InceptionBlock(4, BLOCKS[0], 0.0625, frozen=whole.conv2_3x3.frozen)
        self.fc = nn.Dense(self.inception.out_channels, whole.fc.out_channels)

    def construct(self, frames: Tensor, dropout_mask: Tensor | None = None) -> Tensor:
        return self.fc(self.inception(self.conv(frames)).mean((2, 3)))


def behind(backbone: nn.Cell, consensus_type: str = "TRNmultiscale", num_classes: int = len(CLASSES), **changes) -> TSN:
    """A head with random weights behind a backbone of a test, which takes the pixels that BNInception takes."""
    config = settings(**changes)
    head = HEADS[consensus_type]
    consensus = head.build(config, num_classes if head.takes_scores else config.img_feature_dim, num_classes)
    return TSN(backbone, consensus, config.num_segments, BACKBONES["bn_inception"], head)


def seeing_network(small: bool = False, **changes) -> TSN:
    """A tiny network that answers each clip differently; a new one does not, its features are next to zero.

    With ``small`` it has a SmallBackbone.
    """
    if small:
        with one_block():
            network = behind(SmallBackbone(tiny_network(**changes).base_model), **changes)
    else:
        network = tiny_network(**changes)
    network.set_train(False)
    rng = np.random.default_rng(1)
    for parameter in network.get_parameters():
        kind, shape = parameter.name.rsplit(".", 1)[1], parameter.shape
        if kind == "weight":  # keeps the size of what passes through
            values = rng.normal(scale=np.sqrt(2 / np.prod(shape[1:])), size=shape)
        else:
            values = rng.uniform(-0.2, 0.2, shape) + (kind in ("gamma", "moving_variance"))
        values *= 0.01 if parameter.name.startswith("base_model.fc.") else 1  # scores of a few units
        parameter.set_data(Tensor(values.astype(np.float32)))
    return network


def video_of(clips: np.ndarray) -> Tensor:
    """The network's input, not made by the program: uint8 [N, T, S, S, 3] BGR -> float32 [N, T*3, S, S]."""
    video = clips.astype(np.float32) - np.float32([104, 117, 128])
    return Tensor(video.transpose(0, 1, 4, 2, 3).reshape(len(clips), -1, *clips.shape[2:4]))


def layer_names() -> list[str]:
    """The 69 layers of the backbone, written out as the existing model-zoo port names them in its checkpoints."""
    names = ["conv1_7x7_s2", "conv2_3x3_reduce", "conv2_3x3"]
    for block in "3a 3b 3c 4a 4b 4c 4d 4e 5a 5b".split():
        branches = "3x3_reduce 3x3 double_3x3_reduce double_3x3_1 double_3x3_2".split()
        branches += [] if block in ("3c", "4e") else ["1x1", "pool_proj"]
        names += [f"inception_{block}.branch_{branch}" for branch in branches]
    return [f"base_model.{name}" for name in names]


def parameter_names(num_segments: int) -> list[str]:
    """The parameters of a multi-scale TRN, as the model-zoo port names them."""
    names = [f"{layer}.conv.{kind}" for layer in layer_names() for kind in ("weight", "bias")]
    norm = ("gamma", "beta", "moving_mean", "moving_variance")
    names += [f"{layer}.bn.{kind}" for layer in layer_names() for kind in norm]
    heads = [f"consensus.fc_fusion_scales.{scale}.{place}" for scale in range(num_segments - 1) for place in (1, 3)]
    return names + [f"{layer}.{kind}" for layer in ["base_model.fc", *heads] for kind in ("weight", "bias")]
