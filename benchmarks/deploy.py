"""Speed of exported files: 8-bit scores, 10-crop evaluation, a frame of a stream, infer.py from start to answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import network
from benchmarks.harness import Item, Round, repeated, side
from benchmarks.inputs import read_records
from benchmarks.network import CLASSES, FORWARDS, SEGMENTS, SETTINGS, SIDE, evaluated, new_frames, random_video

CALIBRATION_CLIPS = 4  # speed does not depend on the calibration
NEW_FRAMES = 64  # a round
NAMES = [str(label) for label in range(CLASSES)]


def exported(
    data: Path, int8: bool, pair: bool = False, batch: int = 0, image_size: int = SIDE, width: float = 1.0
) -> Path:
    """The ONNX file of a network with random weights, or the first file of a pair. Written anew for each side."""
    from model_utils.config import load_config
    from src.shipping import export
    from src.shipping.exported import pair_paths
    from src.shipping.samples import Samples

    config = load_config([])
    vars(config).update(SETTINGS, width_mult=width, image_size=image_size, flip="plain", relations="all", seed=0)
    vars(config).update(file_format="ONNX", export_batch_size=batch, streaming=pair)
    samples = None
    if int8:
        shape = CALIBRATION_CLIPS, SEGMENTS, image_size, image_size, 3
        clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        samples = Samples(clips, clips[:1], {}, "")
    path = data / "exported" / f"{'int8' if int8 else 'fp32'}_{100 * width:.0f}.onnx"
    export.export_network(network.trained_network(width_mult=width), config, NAMES, path, samples)
    files = pair_paths(path) if pair else [path]
    sizes = [f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in files]
    print(", ".join(sizes), file=sys.stderr)
    return files[0]


def load(path: Path, test_crops: int = 1) -> Any:
    """The model in a file, as the programs load it."""
    from model_utils.config import load_config
    from src.inference.model import load_model

    return load_model(load_config(["--ckpt_file", str(path), "--test_crops", str(test_crops), "--flip", "none"]))


def onnx_forward(data: Path, clips: int, int8: bool) -> Round:
    """The exported file under onnxruntime, loaded as the programs load it."""
    from src.shipping.exported import load_exported

    run, video = load_exported(exported(data, int8)), random_video(clips)
    return repeated(FORWARDS, lambda: run([video]), clips)


def onnx_evaluate(data: Path, clips: int, int8: bool) -> Round:
    return evaluated(data, clips, load(exported(data, int8), 10).score)


def onnx_stream(data: Path, int8: bool) -> Round:
    """New frames of a video through the two files of a stream."""
    from src.inference.streaming import Recognizer

    return new_frames(Recognizer(load(exported(data, int8, pair=True)).parts("a stream"), SIDE), NEW_FRAMES)


def infer_program(data: Path, checkpoint: bool) -> Round:
    """infer.py from its start to its end, on one clip with one crop."""
    (record,), frames = read_records(data, 1)
    path = random_checkpoint(data) if checkpoint else exported(data, int8=False)
    options = ["--device_target", "CPU", "--test_crops", "1"]
    command = [sys.executable, "infer.py", "--model", str(path), "--source", str(frames.root / record.folder), *options]
    return repeated(1, lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def random_checkpoint(data: Path) -> Path:
    from src.training.checkpoint import describe, save_checkpoint

    followed = {"image_size": SIDE, "flip": "plain", "mirror_pairs": "", "background_class": "No gesture"}
    followed["freeze_backbone"] = False
    description = describe(SimpleNamespace(**SETTINGS, **followed), NAMES)
    return save_checkpoint(data / "exported" / "trn.ckpt", network.our_network().parameters_dict(), description)


WITH_PILLOW = (
    side("PyTorch + Pillow", network.torch_evaluate, 4, clips=1),
    side("PyTorch + Pillow, channels last", network.torch_evaluate, clips=1, channels_last=True),
)
ITEMS = [
    Item(
        "onnx",
        "scores of 2 clips from the exported ONNX under onnxruntime",
        "clip",
        (
            side("this project, ONNX", onnx_forward, clips=2, int8=False),
            side("PyTorch eager, channels last", network.torch_forward, 1.1, clips=2, channels_last=True),
        ),
        {"clips": "clips"},
    ),
    Item(
        "int8",
        "scores of a clip from the 8-bit ONNX",
        "clip",
        (
            side("this project, INT8", onnx_forward, clips=1, int8=True),
            side("this project, FP32 ONNX", onnx_forward, 2.2, clips=1, int8=False),
            side("PyTorch eager, channels last", network.torch_forward, 4, clips=1, channels_last=True),
        ),
    ),
    Item(
        "evaluate_onnx",
        "10-crop evaluation through ONNX, from the disk to scores",
        "clip",
        (side("this project, FP32 ONNX", onnx_evaluate, clips=2, int8=False), *WITH_PILLOW),
    ),
    Item(
        "evaluate_int8",
        "10-crop evaluation through 8-bit ONNX, from the disk to scores",
        "clip",
        (side("this project, INT8", onnx_evaluate, clips=4, int8=True), *WITH_PILLOW),
    ),
    Item(
        "stream_onnx",
        "scores after a new frame, ONNX pair",
        "frame",
        (
            side("this project, ONNX pair", onnx_stream, int8=False),
            side("the clip anew in MindSpore", network.streaming, 10, anew=True, segments=8),
        ),
    ),
    Item(
        "stream_int8",
        "scores after a new frame, 8-bit pair",
        "frame",
        (
            side("this project, INT8 pair", onnx_stream, int8=True),
            side("the clip anew in MindSpore", network.streaming, 20, anew=True, segments=8),
        ),
    ),
    Item(
        "infer_start",
        "infer.py from its start to its answer, one clip",
        "start",
        (
            side("ONNX", infer_program, at_most=1.5, checkpoint=False),
            side("checkpoint", infer_program, checkpoint=True),
        ),
    ),
]
