"""A network small enough for tests, and the settings it is built from."""

from __future__ import annotations

from types import SimpleNamespace

from src.tsn import TSN, build_network

SIDE = 32
CLASSES = ["Swiping Left", "Swiping Right", "Thumb Up"]


def settings(**changes) -> SimpleNamespace:
    """What ``build_network`` and ``describe`` read, for a network with 3 segments and 8 features a frame."""
    values = {
        "consensus_type": "TRNmultiscale",
        "num_segments": 3,
        "img_feature_dim": 8,
        "subsample_num": 2,
        "width_mult": 0.0625,
        "dropout": 0.0,
        "freeze_bn": True,
        "image_size": SIDE,
        "flip": "label_aware",
        "given": frozenset(),
    }
    return SimpleNamespace(**{**values, **changes})


def tiny_network(**changes) -> TSN:
    return build_network(settings(**changes), len(CLASSES))
