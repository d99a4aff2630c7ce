"""The network: a training step, scores, the relation head, the exported file, start-up; full width, 224 px, T = 8."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import numpy as np

from benchmarks.harness import Item, Round, repeated, side
from benchmarks.inputs import read_records, torch_loader

CLASSES, SEGMENTS, SIDE, FEATURES = 27, 8, 224, 256
SETTINGS = {
    **{"consensus_type": "TRNmultiscale", "num_segments": SEGMENTS, "img_feature_dim": FEATURES, "subsample_num": 3},
    **{"backbone": "bn_inception", "width_mult": 1.0, "dropout": 0.8, "freeze_bn": True},
}
LEARNING_RATE, MOMENTUM, DECAY, CLIP_NORM = 0.001, 0.9, 5e-4, 20.0
STEPS, FORWARDS, HEAD_CALLS, NEW_FRAMES = 2, 4, 50, 16  # a round


def our_network(segments: int = SEGMENTS, classes: int = CLASSES, width_mult: float = 1.0) -> Any:
    import mindspore as ms

    from src.tsn import build_network

    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    return build_network(SimpleNamespace(**{**SETTINGS, "num_segments": segments, "width_mult": width_mult}), classes)


def trained_network(segments: int = SEGMENTS, classes: int = CLASSES, width_mult: float = 1.0) -> Any:
    from src.tsn import prepare_for_inference

    network = our_network(segments, classes, width_mult)
    prepare_for_inference(network)
    return network


def torch_network(classes: int = CLASSES) -> Any:
    from benchmarks.torch_reference import TSN

    return TSN(classes, SEGMENTS, img_feature_dim=FEATURES)


def random_video(clips: int, segments: int = SEGMENTS) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-128, 128, (clips, segments * 3, SIDE, SIDE)).astype(np.float32)


def random_features(clips: int, segments: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(clips, segments, FEATURES)).astype(np.float32)


def random_relations(clips: int, segments: int = SEGMENTS) -> np.ndarray:
    from src.sampling import sample_relations

    rng = np.random.default_rng(0)
    return np.stack([sample_relations(segments, 3, rng) for _ in range(clips)]).astype(np.int32)


def train_step(data: Path, clips: int, steps: int = STEPS) -> Round:
    """Pixels to updated weights, one compiled graph."""
    from mindspore import Tensor

    from src.sampling import dropout_mask
    from src.train_cell import TrainStep, build_optimizer

    network, rng = our_network(), np.random.default_rng(0)
    step = TrainStep(network, build_optimizer(network, LEARNING_RATE, 50, 100, MOMENTUM, DECAY), CLIP_NORM).set_train()
    pixels = rng.integers(0, 256, (clips, SEGMENTS, SIDE, SIDE, 3), dtype=np.uint8)
    channels = network.base_model.feature_channels
    masks = np.stack([dropout_mask(SEGMENTS, channels, SETTINGS["dropout"], rng) for _ in range(clips)])
    batch = (pixels, np.arange(clips, dtype=np.int32), random_relations(clips), masks)
    return repeated(steps, lambda: step(*map(Tensor, batch)).asnumpy(), clips)


def limit_to_avx2() -> None:
    """Before PyTorch is imported: as src/ops/compat.py has to limit MindSpore."""
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"


def torch_train_step(data: Path, clips: int, avx2: bool = False) -> Round:
    if avx2:
        limit_to_avx2()
    import torch

    from benchmarks import torch_reference

    network = torch_network().train()
    optimizer = torch_reference.make_optimizer(network, LEARNING_RATE, MOMENTUM, DECAY)
    video, relations = torch.from_numpy(random_video(clips)), torch.from_numpy(random_relations(clips))
    batch = video, torch.arange(clips), relations
    return repeated(STEPS, lambda: torch_reference.train_step(network, optimizer, *batch, CLIP_NORM), clips)


def forward(data: Path, clips: int, segments: int) -> Round:
    """All relations, as everywhere below."""
    from mindspore import Tensor

    network, video = trained_network(segments), Tensor(random_video(clips, segments))
    return repeated(FORWARDS, lambda: network(video).asnumpy(), clips)


def torch_forward(data: Path, clips: int, channels_last: bool = False, avx2: bool = False) -> Round:
    if avx2:
        limit_to_avx2()
    import torch

    network, video = torch_network().eval(), torch.from_numpy(random_video(clips))
    score = torch_scores(network, channels_last)
    return repeated(FORWARDS, lambda: score(video), clips)


def torch_scores(network: Any, channels_last: bool = False) -> Callable[[Any], Any]:
    """A function from a video to scores; with ``channels_last`` in that memory format."""
    import torch

    order = torch.channels_last if channels_last else torch.contiguous_format
    network.base_model.to(memory_format=order)

    @torch.no_grad()
    def score(video: torch.Tensor) -> torch.Tensor:
        frames = video.reshape(-1, 3, SIDE, SIDE).contiguous(memory_format=order)
        features = network.new_fc(network.base_model(frames)).reshape(-1, SEGMENTS, FEATURES)
        return network.consensus.all_relations(features)

    return score


def ten_crops(data: Path, clips: int) -> Round:
    from src.evaluation.scoring import ClipScorer

    return evaluated(data, clips, ClipScorer(trained_network(), test_crops=10))


def evaluated(data: Path, clips: int, scorer: Any) -> Round:
    """Ten crops of a clip, from its frames on the disk to its scores, as eval.py does it."""
    from src.data.clips import EvaluationLoader
    from src.evaluation.evaluator import Evaluator

    records, frames = read_records(data, clips)
    evaluator = Evaluator(scorer, EvaluationLoader(frames, SEGMENTS, SIDE, test_crops=10), records)
    return lambda: len(evaluator().scores)


def torch_evaluate(data: Path, clips: int, channels_last: bool = False) -> Round:
    loader, score = torch_loader(data, clips, 1, SEGMENTS, 10), torch_scores(torch_network().eval(), channels_last)
    return lambda: sum(len(score(crops[0]).mean(0, keepdim=True)) for crops, _ in loader)


def head(data: Path, clips: int, segments: int, classes: int, sampled: bool = False) -> Round:
    """The relation head alone: all 247 tuples, or three drawn at each scale."""
    from mindspore import Tensor

    consensus = trained_network(segments, classes).consensus
    inputs = [Tensor(random_features(clips, segments))]
    if sampled:
        inputs.append(Tensor(random_relations(clips, segments)))
    return repeated(HEAD_CALLS, lambda: consensus(*inputs).asnumpy(), clips)


def brute_force_head(data: Path, clips: int, classes: int) -> Round:
    """One tuple after the other, as the definition has it, in PyTorch."""
    import torch

    consensus = torch_network(classes=classes).consensus.eval()
    features = torch.from_numpy(random_features(clips, SEGMENTS))
    return repeated(HEAD_CALLS, torch.no_grad()(lambda: consensus.all_relations(features)), clips)


def streaming(data: Path, anew: bool, segments: int) -> Round:
    """New frames of a video: through the backbone once each, or the clip of the last T frames anew each time."""
    from mindspore import Tensor

    from src.inference.streaming import Recognizer
    from src.shipping.parts import network_parts
    from src.tsn import ClipLogits

    network = trained_network(segments)
    if not anew:
        return new_frames(Recognizer(network_parts(network), SIDE), NEW_FRAMES)
    whole = ClipLogits(network, 1).set_train(False)
    crops = np.random.default_rng(0).integers(0, 256, (1, 1, segments, SIDE, SIDE, 3), dtype=np.uint8)
    return repeated(2, lambda: whole(Tensor(crops)).asnumpy())


def new_frames(recognizer: Any, count: int) -> Round:
    frames = cycle(np.random.default_rng(0).integers(0, 256, (count, 256, 340, 3), dtype=np.uint8))
    return repeated(count, lambda: recognizer.push(next(frames)))


FIRST_STEP = """
from pathlib import Path
from benchmarks.network import train_step
train_step(Path(), 2, steps=1)()
"""


def first_step(data: Path) -> Round:
    """A program from its start to the end of its first training step of 2 clips."""
    command = [sys.executable, "-c", FIRST_STEP]
    return repeated(1, lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL))


ITEMS = [
    Item(
        "train_step",
        "training step of 2 clips, batch normalisation frozen",
        "clip",
        (
            side("this project", train_step, clips=2),
            side("PyTorch eager", torch_train_step, 1.0, clips=2),
            side("PyTorch eager, AVX2 only", torch_train_step, clips=2, avx2=True),
        ),
        {"clips": "clips"},
    ),
    Item(
        "forward",
        "scores of 2 clips",
        "clip",
        (
            side("this project", forward, clips=2, segments=8),
            side("PyTorch eager", torch_forward, 1.2, clips=2),
            side("PyTorch eager, AVX2 only", torch_forward, clips=2, avx2=True),
            side("PyTorch eager, channels last", torch_forward, clips=2, channels_last=True),
        ),
        {"clips": "clips", "segments": "frames of a clip (T)"},
        factors=(0.5, 1, 2),
    ),
    Item(
        "evaluate",
        "10-crop evaluation, from the disk to scores",
        "clip",
        (
            side("this project", ten_crops, clips=1),
            side("PyTorch + Pillow", torch_evaluate, 1.2, clips=1),
            side("PyTorch + Pillow, channels last", torch_evaluate, clips=1, channels_last=True),
        ),
        {"clips": "clips"},
    ),
    Item(
        "head",
        "relation head alone, all 247 tuples of 2 clips",
        "clip",
        (
            side("this project", head, clips=2, segments=8, classes=27),
            side("brute force", brute_force_head, 10, clips=2, classes=27),
            side("this project, 3 tuples a scale", head, 0.5, clips=2, segments=8, classes=27, sampled=True),
        ),
        {"clips": "clips", "segments": "frames of a clip (T)", "classes": "classes"},
        factors=(0.5, 1, 2),
    ),
    Item(
        "streaming",
        "scores after a new frame",
        "frame",
        (
            side("this project", streaming, anew=False, segments=8),
            side("the clip anew", streaming, 6, anew=True, segments=8),
        ),
        {"segments": "frames of a clip (T)"},
        factors=(0.5, 1, 2),
    ),
    Item(
        "first_step",
        "program start to the end of the first training step",
        "start",
        (side("this project", first_step),),
    ),
]
