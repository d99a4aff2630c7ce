"""Exports the network for other programs: as MINDIR, ONNX or AIR, with a JSON that says how to use it."""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from model_utils.errors import InputError
from model_utils.files import digest
from model_utils.settings import AnySettings, Settings
from model_utils.util import LOGGER_NAME, write_json, write_whole
from src.data.names import LONGEST_NAME
from src.evaluation.protocol import drawn_relations
from src.mindcv_backbones import use_onnx_operators
from src.ops import compat
from src.shipping.exported import RunNetwork, input_description, load_exported, pair_paths, sealed, usage_path
from src.shipping.node_names import name_mindir, name_onnx
from src.shipping.quantise import quantise
from src.shipping.samples import Samples, batches_of
from src.shipping.usage import takes_relations, usage
from src.shipping.zoo_interface import check_zoo_interface, has_zoo_interface, with_zoo_interface
from src.transforms import Pixels
from src.tsn import TSN

CALIBRATION_BATCH = 8
COMPARED_BATCH = 16


class NetworkFile(NamedTuple):
    """One file of an export."""

    path: Path
    cell: nn.Cell
    inputs: list[np.ndarray]  # examples
    output: str  # name
    own_usage: dict[str, Any]  # entries that only its JSON has
    calibration: list[np.ndarray] | None  # inputs to calibrate an 8-bit file on


def export_network(
    network: TSN, config: Settings, categories: list[str], path: Path, samples: Samples | None = None
) -> dict[str, Any]:
    """Writes ``network`` to ``path`` in ``config.file_format``, and its ``usage`` as JSON beside it.

    Inputs of the file: ``video`` float32 [B, T*3, S, S] and, if it takes drawn relations, ``relations`` int32
    [B, T-1, subsample_num]; output: logits float32 [B, C]. B is ``config.export_batch_size``, 0 for any. With
    ``config.export_interface`` zoo they are as in ``ZooInterface``.

    With ``config.streaming`` there are two files, the ``pair_paths`` of ``path``; the JSON of each names the other by
    its digest. The first takes ``frame`` float32 [B, 3, S, S] and gives its ``feature`` [B, D], the second takes
    ``features`` [B, T, D] and gives logits [B, C] of all relations.

    A file appears whole or not at all. Its JSON appears just before; until the file follows, ``read_usage`` refuses it
    because of the digest.

    Args:
        samples: if given, each file, an ONNX, is quantised to 8 bits.

    Returns:
        The ``sample_difference`` of the file, or of both together, on clips of ``samples`` or on random ones. Empty for
        AIR, which runs on Ascend devices only.

    Raises:
        InputError: if a file cannot be written, if this environment does not support the format or an open batch size,
            and if a score of network or file is NaN or infinite.
    """
    _check_possible(config)
    network.set_train(False)
    pixels = network.backbone.pixels
    if config.streaming:
        files = _parts_of_stream(network, config, path, samples)
    else:
        cell = with_zoo_interface(network, config, categories) if has_zoo_interface(config) else network
        calibration = _video_inputs(config, pixels, samples.calibration) if samples else None
        files = [NetworkFile(path, cell, _inputs(config, pixels), "logits", {}, calibration)]
    with ExitStack() as stack:
        partials = [stack.enter_context(write_whole(file.path, "exported network")) for file in reversed(files)][::-1]
        folder = Path(stack.enter_context(TemporaryDirectory()))
        written = [_write_file(file, config, folder / f"network{place}") for place, file in enumerate(files)]
        difference = _difference(network, files, written, config, samples)
        digests = [digest(file) for file in written]
        for place, file in enumerate(files):
            shutil.copyfile(written[place], partials[place])
            content = usage(config, categories, file.path.name, digests[place], pixels) | file.own_usage
            if config.streaming:
                other = {"file": files[1 - place].path.name, "sha256": digests[1 - place]}
                content |= {"other": other, "difference": difference}
            if samples:
                content |= {"quantize": "int8", "calibration": samples.provenance, "difference": difference}
            write_json(usage_path(file.path), sealed(content))
    return difference


def _parts_of_stream(network: TSN, config: Settings, path: Path, samples: Samples | None) -> list[NetworkFile]:
    """Frame to feature, features to scores."""
    side, segments, batch = config.image_size, config.num_segments, config.export_batch_size
    pixels = network.backbone.pixels
    black = np.zeros((batch or 2, 3, side, side), np.float32)
    features = network.base_model(Tensor(black)).asnumpy()  # [B, D]
    frame_usage = {
        "part": "frame",
        "input": input_description(segments, side, batch, pixels, "frame"),
        "output": f"feature float32 [batch, {features.shape[-1]}]",
    }
    described = {"name": "features", "dtype": "float32", "shape": [batch or "batch", segments, features.shape[-1]]}
    clips = [np.stack([features] * segments, 1)]
    frame_clips, head_clips = _pair_inputs(network, config, samples.calibration) if samples else (None, None)
    frame, head = pair_paths(path)
    return [
        NetworkFile(frame, network.base_model, [black], "feature", frame_usage, frame_clips),
        NetworkFile(head, network.consensus, clips, "logits", {"part": "head", "input": described}, head_clips),
    ]


def _difference(
    network: TSN, files: list[NetworkFile], written: list[Path], config: Settings, samples: Samples | None
) -> dict[str, Any]:
    """The ``sample_difference`` of the files, read back."""
    if config.file_format == "AIR":
        return {}
    pixels = network.backbone.pixels
    inputs = _video_inputs(config, pixels, samples.compared) if samples else _inputs(config, pixels)
    runs = [load_exported(file) for file in written]
    if has_zoo_interface(config):
        return sample_difference(_runner(files[0].cell)(inputs), runs[0](inputs))
    expected = _run_in_batches(_runner(network), inputs, config)
    if config.streaming:
        frames = inputs[0].reshape(-1, 3, *inputs[0].shape[2:])
        features = _run_in_batches(runs[0], [frames], config)
        inputs = [features.reshape(len(expected), config.num_segments, -1)]
    return sample_difference(expected, _run_in_batches(runs[-1], inputs, config), samples)


def _write_file(file: NetworkFile, config: Settings, path: Path) -> Path:
    """Writes a file to ``path`` with the suffix of its format; quantised, if it has calibration inputs."""
    any_batch = config.export_batch_size == 0
    if config.file_format == "ONNX":
        use_onnx_operators(file.cell)
    if any_batch and config.file_format == "MINDIR":
        inputs = [Tensor(shape=(None, *array.shape[1:]), dtype=Tensor(array).dtype) for array in file.inputs]
    else:
        inputs = [Tensor(array) for array in file.inputs]
    path = path.with_suffix(f".{config.file_format.lower()}")  # 1.10 cannot write to a path with a space in it
    ms.export(file.cell, *inputs, file_name=str(path.with_suffix("")), file_format=config.file_format)
    if config.file_format == "MINDIR":
        name_mindir(path)
    if config.file_format == "ONNX":
        name_onnx(path, file.own_usage.get("input", {}).get("name"), file.output, any_batch)
        if file.calibration is not None:
            quantise(path, batches_of(file.calibration, config.export_batch_size or CALIBRATION_BATCH))
    return path


def _check_possible(config: Settings) -> None:
    if config.export_batch_size == 0 and not compat.EXPORTS_ANY_BATCH:
        raise InputError(f"export_batch_size 0: MindSpore {ms.__version__} exports only fixed batches; give their size")
    for package in ("onnx", "onnxruntime"):
        if config.file_format == "ONNX" and importlib.util.find_spec(package) is None:
            raise InputError(f"file_format ONNX: writing ONNX needs the package {package}, which is not installed")


def check_formats(config: Settings) -> None:
    """Raises InputError for keys of an export that do not go together, and for an impossible file name."""
    check_zoo_interface(config)
    longest = "_frame.mindir.json" if config.streaming else ".mindir.json"
    if config.model_name in ("", ".", "..") or "/" in config.model_name:
        raise InputError(f"model_name {config.model_name!r}: expected the name of a file, without its ending")
    if len(os.fsencode(config.model_name + longest)) > LONGEST_NAME:
        most = LONGEST_NAME - len(longest)
        raise InputError(f"model_name {config.model_name[:20]}...: too long; expected at most {most} bytes")
    if config.quantize != "none" and config.file_format != "ONNX":
        raise InputError(f"quantize {config.quantize}: needs file_format ONNX, but it is {config.file_format}")
    if config.streaming and config.file_format == "AIR":
        raise InputError("streaming true: needs file_format MINDIR or ONNX, but it is AIR")
    if config.streaming and config.relations != "all":
        raise InputError("streaming true: needs relations all, a stream scores all relations")


def with_forced_values(config: AnySettings) -> AnySettings:
    """A copy of ``config`` with the values that the interface or the package forces; they are logged.

    Raises:
        InputError: for an interface that the network cannot have.
    """
    check_zoo_interface(config)
    config, logger = copy.copy(config), logging.getLogger(LOGGER_NAME)
    if has_zoo_interface(config):
        config.export_batch_size, config.relations = 1, "sampled"
        logger.info("export_interface zoo: one clip of %d crops, relations sampled", config.test_crops)
    elif not compat.EXPORTS_ANY_BATCH and "export_batch_size" not in config.given:
        config.export_batch_size = 1
        logger.info("export_batch_size 1: MindSpore %s exports only fixed batches", ms.__version__)
    return config


def _inputs(config: Settings, pixels: Pixels) -> list[np.ndarray]:
    """Random inputs of the exported file; two clips if it takes any number."""
    rng = np.random.default_rng(0)
    batch, side = config.test_crops if has_zoo_interface(config) else config.export_batch_size or 2, config.image_size
    clips = rng.integers(0, 256, (batch, config.num_segments, side, side, 3), np.uint8)
    inputs = _video_inputs(config, pixels, clips)
    if has_zoo_interface(config):
        video, combinations = inputs
        return [video.reshape(1, -1, side, side), combinations[None]]
    return inputs


def _frames(pixels: Pixels, clips: np.ndarray) -> np.ndarray:
    """The network's input for clips uint8 [N, T, S, S, 3]: float32 [N*T, 3, S, S]."""
    return pixels.prepare(clips.reshape(-1, *clips.shape[2:]))


def _video_inputs(config: Settings, pixels: Pixels, clips: np.ndarray) -> list[np.ndarray]:
    """The inputs of a whole network for clips uint8 [N, T, S, S, 3]."""
    side, count = config.image_size, len(clips)
    inputs = [_frames(pixels, clips).reshape(count, -1, side, side)]
    if takes_relations(config):
        indices = np.arange(count)
        inputs.append(drawn_relations(config.num_segments, config.subsample_num, config.seed, indices))
    return inputs


def _pair_inputs(network: TSN, config: Settings, clips: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The inputs of the two parts for clips uint8 [N, T, S, S, 3]: all frames, and the features of each clip."""
    frames = _frames(network.backbone.pixels, clips)
    features = np.concatenate([network.base_model(Tensor(part[0])).asnumpy() for part in batches_of([frames], 8)])
    return [frames], [features[: len(frames)].reshape(len(clips), config.num_segments, -1)]


def _runner(cell: nn.Cell) -> RunNetwork:
    return lambda inputs: cell(*map(Tensor, inputs)).asnumpy()


def _run_in_batches(run: RunNetwork, inputs: list[np.ndarray], config: Settings) -> np.ndarray:
    size = config.export_batch_size or min(len(inputs[0]), COMPARED_BATCH)
    return np.concatenate([run(batch) for batch in batches_of(inputs, size)])[: len(inputs[0])]


def sample_difference(expected: np.ndarray, found: np.ndarray, samples: Samples | None = None) -> dict[str, Any]:
    """How scores [N, C] differ from the network's.

    Keys: ``largest`` and ``rms`` (root mean square) of the differences; ``relative``, ``rms`` divided by the root mean
    square of the network's scores less each clip's mean, 0 if all scores of a clip are equal; ``same_class``, how many
    clips get the same class; ``list_file`` of ``samples``.

    Raises:
        InputError: if a score is NaN or infinite.
    """
    for whose, scores in (("network", expected), ("exported file", found)):
        if not np.isfinite(scores).all():
            raise InputError(f"the scores of the {whose} are NaN or infinite, so nothing is exported")
    spread = np.sqrt(((expected - expected.mean(1, keepdims=True)) ** 2).mean())
    rms = float(np.sqrt(((found - expected) ** 2).mean()))
    return {
        "clips": len(expected),
        **({"list_file": samples.compared_list} if samples else {}),
        "largest": float(np.abs(found - expected).max()),
        "rms": rms,
        "relative": float(rms / spread) if spread else 0.0,
        "same_class": int((found.argmax(1) == expected.argmax(1)).sum()),
    }
