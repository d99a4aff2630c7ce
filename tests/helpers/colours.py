"""Clips and networks that know nothing but colours: quick, and easy to foresee."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mindspore import Tensor, nn

from src.heads import HEADS
from src.tsn import TSN
from tests.helpers.networks import behind, settings

COLOURS = {"Blue": (220, 40, 40), "Green": (40, 220, 40), "Red": (40, 40, 220), "No gesture": (50, 50, 50)}  # BGR
NAMES = list(COLOURS)
CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80"}


class ColourBackbone(nn.Cell):
    """Mean colour of a frame, and one layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Dense(3, channels)

    def construct(self, frames: Tensor, dropout_mask: Tensor | None = None) -> Tensor:
        features = frames.mean((2, 3)) / 64  # [N, 3]
        return self.fc(features if dropout_mask is None else features * dropout_mask)


def colour_settings(**changes):
    """Of the networks below, and what infer.py reads besides."""
    defaults = {"flip": "none", "relations": "all", "test_crops": 1, "seed": 0, "subsample_num": 2}
    return settings(**{**defaults, **changes})


def ordering_network(consensus_type: str = "TRNmultiscale") -> TSN:
    """Random weights: its scores depend on the colours of three frames and on their order."""
    channels = len(NAMES) if HEADS[consensus_type].takes_scores else 8
    network = behind(ColourBackbone(channels), consensus_type, len(NAMES))
    rng = np.random.default_rng(5)
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(rng.normal(scale=0.25, size=parameter.shape).astype(np.float32)))
    return network.set_train(False)


def colour_network() -> TSN:
    """Gives the class of the colour that most of three frames have, and is sure of it."""
    network = behind(ColourBackbone(len(NAMES)), "avg", len(NAMES))
    colours = (np.array(list(COLOURS.values())) - [104, 117, 128]) / 64
    network.base_model.fc.weight.set_data(Tensor((8 * colours).astype(np.float32)))
    network.base_model.fc.bias.set_data(Tensor((-4 * (colours**2).sum(1)).astype(np.float32)))
    return network.set_train(False)


def coloured(name: str, count: int, height: int = 40, width: int = 52) -> list[np.ndarray]:
    """Frames of one colour."""
    return [np.full((height, width, 3), COLOURS[name], np.uint8)] * count


def changing_frames(count: int, height: int = 40, width: int = 52) -> list[np.ndarray]:
    """Frames whose colour goes from blue over green to red, brighter on one side."""
    across = np.linspace(0.7, 1.0, width)[None, :, None]
    mix = [np.interp(t, [0, 0.5, 1], [0, 1, 2]) for t in np.linspace(0, 1, count)]
    colours = np.array(list(COLOURS.values())[:3], float)
    blends = [colours[int(m)] * (1 - m % 1) + colours[min(int(m) + 1, 2)] * (m % 1) for m in mix]
    return [np.broadcast_to(across * blend, (height, width, 3)).astype(np.uint8) for blend in blends]


def write_video(path: Path, frames: list[np.ndarray], rate: float = 12) -> Path:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*CODECS[path.suffix]), rate, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def write_folder(folder: Path, frames: list[np.ndarray], suffix: str = ".jpg") -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        cv2.imwrite(str(folder / f"{number:05d}{suffix}"), frame)
    return folder
