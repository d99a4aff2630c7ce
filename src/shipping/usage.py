"""The JSON of an exported file: how to use it in a program."""

from __future__ import annotations

from math import comb
from typing import Any

import mindspore as ms

from model_utils.settings import Settings, Use, values_for
from model_utils.version import VERSION
from src.heads import head_named
from src.shipping.exported import input_description
from src.shipping.zoo_interface import has_zoo_interface
from src.transforms import Pixels


def takes_relations(config: Settings) -> bool:
    """Whether the exported file has a second input, the relations to use."""
    return config.relations == "sampled" and head_named(config.consensus_type).draws_relations


def usage(config: Settings, categories: list[str], file_name: str, sha256: str, pixels: Pixels) -> dict[str, Any]:
    """The content of the JSON."""
    side, crops = config.image_size, config.test_crops if has_zoo_interface(config) else 1
    return {
        "file": file_name,
        "sha256": sha256,
        "file_format": config.file_format,
        "quantize": "none",
        "categories": categories,
        "image_size": side,
        "backbone": config.backbone,
        "input": input_description(config.num_segments * crops, side, config.export_batch_size, pixels),
        **_more_inputs(config),
        "sampling": "frame i of T is floor(N / T * (i + 1/2)) of a clip of N frames, counted from 0",
        "resize": f"shorter side to {side * 256 // 224}, then the centre {side} x {side}",
        "output": "logits float32 [batch, classes]; softmax gives probabilities",
        **values_for(config, Use.NETWORK, Use.EXPORTED),
        "relations": "sampled" if takes_relations(config) else "all",
        "trn_version": VERSION,
        "mindspore_version": ms.__version__,
    }


def _more_inputs(config: Settings) -> dict[str, Any]:
    """Entries about a second input, and about the model zoo's interface."""
    if not takes_relations(config):
        return {}
    segments, columns = config.num_segments, config.subsample_num
    short = [k for k in range(segments, 1, -1) if comb(segments, k) < columns]
    batch = config.export_batch_size or "batch"
    second = {
        "name": "combinations" if has_zoo_interface(config) else "relations",
        "dtype": "int32",
        "shape": [batch, *([config.test_crops] if has_zoo_interface(config) else []), segments - 1, columns],
        "rows": f"row i is for combinations of {segments} - i frames, i = 0 to {segments - 2}",
        "values": f"indices into the list itertools.combinations(range({segments}), {segments} - i), drawn at random"
        " without repetition",
        "padding": f"combinations of {short} frames are fewer than {columns}: all of them, then -1, which is not read",
    }
    if not has_zoo_interface(config):
        return {"second_input": second}
    return {"second_input": second, "interface": "zoo", "test_crops": config.test_crops}
