"""Pairs of files for streams, and pages made of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from src.inference.model import load_model
from src.inference.streaming import EventRules
from src.shipping import export
from src.shipping.exported import pair_paths
from src.shipping.page import write_page
from src.shipping.samples import Samples
from src.transforms import cut_crops
from src.tsn import TSN
from src.utils import softmax
from tests.helpers.colours import NAMES, colour_network, colour_settings
from tests.helpers.networks import CLASSES, SIDE, seeing_network, settings

ONNX = {"relations": "all", "file_format": "ONNX", "export_batch_size": 1, "streaming": True}


def export_pair(folder: Path, network: TSN, given: object, names: list[str], samples: Samples | None = None) -> Path:
    """Exports the two files; returns the first."""
    path = folder / "trn.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    export.export_network(network, given, names, path, samples)
    return pair_paths(path)[0]


def write_pair(folder: Path, quantised: bool = False) -> Path:
    """A pair of random weights whose features depend on the picture."""
    clips = np.random.default_rng(3).integers(0, 256, (4, 3, SIDE, SIDE, 3), dtype=np.uint8)
    samples = Samples(clips, clips, {"list_file": "none", "clips": 4, "seed": 0}, "none") if quantised else None
    return export_pair(folder, seeing_network(small=True), settings(**ONNX), CLASSES, samples)


def write_colour_pair(folder: Path) -> Path:
    """A pair that names colours."""
    return export_pair(folder, colour_network(), colour_settings(consensus_type="avg", **ONNX), NAMES)


def made_page(pair: Path, folder: Path, window: float = 3.0, background: tuple[str, ...] = ("No gesture",)) -> Path:
    folder.mkdir()
    write_page(pair, folder, window, asdict(EventRules()), list(background))
    return folder


def pair_runner(pair: Path, frames: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D] and, from the T-th frame on, probabilities [N - T + 1, C] that onnxruntime computes."""
    from model_utils.config import load_config

    model = load_model(load_config(["--ckpt_file", str(pair)]))
    segments, frame_features, head = model.parts("a test")
    features = np.concatenate([frame_features(cut_crops([frame], model.image_size, 1)[0]) for frame in frames])
    rows = [features[i : i + segments] for i in range(len(frames) - segments + 1)]
    return features, softmax(head(np.stack(rows)))
