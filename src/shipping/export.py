"""The network as files for other programs: MINDIR, ONNX or AIR, and what such a program has to know."""

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
from src import sampling
from src.data.names import LONGEST_NAME
from src.evaluation.protocol import drawn_relations
from src.mindcv_backbones import use_onnx_operators
from src.ops import compat
from src.shipping.exported import RunNetwork, input_description, load_exported, pair_paths, sealed, usage_path
from src.shipping.node_names import name_mindir, name_onnx
from src.shipping.quantise import quantise
from src.shipping.samples import Samples, batches_of
from src.shipping.usage import takes_relations, usage
from src.shipping.zoo_interface import check_zoo_interface, is_zoo, with_zoo_interface
from src.transforms import Pixels
from src.tsn import TSN

CALIBRATION_BATCH = 8
COMPARED_BATCH = 16


class NetworkFile(NamedTuple):
    """One file of an export: what it computes, example inputs, what else its JSON says of it, and its output."""

    cell: nn.Cell
    inputs: list[np.ndarray]
    about: dict[str, Any]
    output: str


def export_network(
    network: TSN, config: Settings, categories: list[str], path: Path, samples: Samples | None = None
) -> dict[str, Any]:
    """Writes ``network`` to ``path`` in ``config.file_format``, and what ``usage`` says to its ``usage_path``.

    Inputs of the file: ``video`` float32 [B, T*3, S, S] and, if it takes drawn relations, ``relations`` int32
    [B, T-1, subsample_num]; output: logits float32 [B, C]. B is ``config.export_batch_size``, 0 for any. With
    ``config.export_interface`` zoo they are those of ``ZooInterface``.

    The file takes its name whole or not at all. Its JSON does so just before: between the two the digest in the JSON
    is not that of the file, which ``read_usage`` refuses.

    Args:
        samples: with them the file, an ONNX, is quantised to 8 bits.

    Returns:
        How the scores of the file differ from the network's, see ``sample_difference``: on the clips of ``samples``
        that are for it, or on random ones. Empty for AIR, which runs on Ascend devices only.

    Raises:
        InputError: if the file cannot be written, or not in this format or for any batch in this environment, and if a
            score of network or file is NaN or infinite.
    """
    _check_possible(config)
    network.set_train(False)
    pixels = network.backbone.pixels
    cell = with_zoo_interface(network, config, categories) if is_zoo(config) else network
    part = NetworkFile(cell, _inputs(config, pixels), {}, "logits")
    with write_whole(path, "exported network") as partial, TemporaryDirectory() as folder:
        written = _write(
            part, config, Path(folder) / "network", samples and _video_inputs(config, pixels, samples.calibration)
        )
        difference: dict[str, Any] = {}
        if config.file_format != "AIR":
            inputs = _video_inputs(config, pixels, samples.compared) if samples else part.inputs
            expected, found = (
                run(inputs) if is_zoo(config) else _run_in_batches(run, inputs, config)
                for run in (_runner(part.cell), load_exported(written))
            )
            difference = sample_difference(expected, found, samples)
        about = {"quantize": "int8", "calibration": samples.about, "difference": difference} if samples else {}
        shutil.copyfile(written, partial)
        says = usage(config, categories, path.name, digest(partial), pixels) | about
        write_json(usage_path(path), sealed(says))
    return difference


def export_pair(
    network: TSN, config: Settings, categories: list[str], path: Path, samples: Samples | None = None
) -> dict[str, Any]:
    """Writes the two ``pair_paths`` of ``path``, for streams; each has a JSON that names the other by its digest.

    The first takes ``frame`` float32 [B, 3, S, S] and gives its ``feature`` [B, D], the second takes ``features``
    [B, T, D] and gives logits [B, C] of all relations.

    Args, Raises:
        as ``export_network``.

    Returns:
        How the scores of both files together differ from the network's, see ``sample_difference``: on the clips of
        ``samples`` that are for it, or on random ones.
    """
    _check_possible(config)
    network.set_train(False)
    paths = pair_paths(path)
    side, segments, batch = config.image_size, config.num_segments, config.export_batch_size
    black = np.zeros((batch or 2, 3, side, side), np.float32)
    features = network.base_model(Tensor(black)).asnumpy()  # [B, D]
    feature = {"name": "features", "dtype": "float32", "shape": [batch or "batch", segments, features.shape[-1]]}
    frame_about = {"part": "frame", "input": input_description(segments, side, batch, network.backbone.pixels, "frame")}
    frame_about["output"] = f"feature float32 [batch, {features.shape[-1]}]"
    parts = (
        NetworkFile(network.base_model, [black], frame_about, "feature"),
        NetworkFile(
            network.consensus, [np.stack([features] * segments, 1)], {"part": "head", "input": feature}, "logits"
        ),
    )
    calibration = _pair_inputs(network, config, samples.calibration) if samples else (None, None)
    quantised = {"quantize": "int8", "calibration": samples.about} if samples else {}
    with ExitStack() as stack:
        partials = [stack.enter_context(write_whole(name, "exported network")) for name in reversed(paths)][::-1]
        folder = Path(stack.enter_context(TemporaryDirectory()))
        written = [
            _write(part, config, folder / name.name, inputs) for part, name, inputs in zip(parts, paths, calibration)
        ]
        digests = [digest(file) for file in written]
        difference = _pair_difference(network, config, written, samples)
        for place, (part, name) in enumerate(zip(parts, paths)):
            shutil.copyfile(written[place], partials[place])
            other = {"other": {"file": paths[1 - place].name, "sha256": digests[1 - place]}, "difference": difference}
            about = (
                usage(config, categories, name.name, digests[place], network.backbone.pixels)
                | part.about
                | other
                | quantised
            )
            write_json(usage_path(name), sealed(about))
    return difference


def _pair_difference(network: TSN, config: Settings, files: list[Path], samples: Samples | None) -> dict[str, Any]:
    side, segments = config.image_size, config.num_segments
    pixels = network.backbone.pixels
    (video, *_) = _video_inputs(config, pixels, samples.compared) if samples else _inputs(config, pixels)
    run_frame, run_head = map(load_exported, files)
    features = _run_in_batches(run_frame, [video.reshape(-1, 3, side, side)], config)
    scores = _run_in_batches(run_head, [features.reshape(len(video), segments, -1)], config)
    return sample_difference(_run_in_batches(_runner(network), [video], config), scores, samples)


def _write(part: NetworkFile, config: Settings, path: Path, calibration: list[np.ndarray] | None) -> Path:
    """Writes a part to ``path`` with the suffix of its format; quantised, if there are inputs to calibrate it on."""
    any_batch = config.export_batch_size == 0
    if config.file_format == "ONNX":
        use_onnx_operators(part.cell)
    if any_batch and config.file_format == "MINDIR":
        inputs = [Tensor(shape=(None, *array.shape[1:]), dtype=Tensor(array).dtype) for array in part.inputs]
    else:
        inputs = [Tensor(array) for array in part.inputs]
    path = path.with_suffix(f".{config.file_format.lower()}")  # 1.10 knows no path with a space in it
    ms.export(part.cell, *inputs, file_name=str(path.with_suffix("")), file_format=config.file_format)
    if config.file_format == "MINDIR":
        name_mindir(path)
    if config.file_format == "ONNX":
        name_onnx(path, part.about.get("input", {}).get("name"), part.output, any_batch)
        if calibration is not None:
            quantise(path, batches_of(calibration, config.export_batch_size or CALIBRATION_BATCH))
    return path


def _check_possible(config: Settings) -> None:
    if config.export_batch_size == 0 and not compat.EXPORTS_ANY_BATCH:
        raise InputError(f"export_batch_size 0: MindSpore {ms.__version__} exports only fixed batches; give their size")
    for package in ("onnx", "onnxruntime"):
        if config.file_format == "ONNX" and importlib.util.find_spec(package) is None:
            raise InputError(f"file_format ONNX: writing ONNX needs the package {package}, which is not installed")


def check_formats(config: Settings) -> None:
    """Raises InputError for keys of an export that do not go together, and for a name that no file can have."""
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


def settled(config: AnySettings) -> AnySettings:
    """A copy of ``config`` with the values that the interface or the package leaves no choice about; they are logged.

    Raises:
        InputError: for an interface that the network cannot have.
    """
    check_zoo_interface(config)
    config, logger = copy.copy(config), logging.getLogger(LOGGER_NAME)
    if is_zoo(config):
        config.export_batch_size, config.relations = 1, "sampled"
        logger.info("export_interface zoo: one clip of %d crops, relations sampled", config.test_crops)
    elif not compat.EXPORTS_ANY_BATCH and "export_batch_size" not in config.given:
        config.export_batch_size = 1
        logger.info("export_batch_size 1: MindSpore %s exports only fixed batches", ms.__version__)
    return config


def _inputs(config: Settings, pixels: Pixels) -> list[np.ndarray]:
    """Random inputs of the exported file, of two clips if it takes any number of them."""
    rng = np.random.default_rng(0)
    batch, side = config.test_crops if is_zoo(config) else config.export_batch_size or 2, config.image_size
    frames = pixels.prepare(rng.integers(0, 256, (batch * config.num_segments, side, side, 3), np.uint8))
    inputs = [frames.reshape(batch, -1, side, side)]
    if takes_relations(config):
        draws = [sampling.sample_relations(config.num_segments, config.subsample_num, rng) for _ in range(batch)]
        inputs.append(np.stack(draws).astype(np.int32))
    if is_zoo(config):
        video, combinations = inputs
        return [video.reshape(1, -1, side, side), combinations[None]]
    return inputs


def _frames(pixels: Pixels, clips: np.ndarray) -> np.ndarray:
    """The pixels of clips uint8 [N, T, S, S, 3] as the network takes them: float32 [N*T, 3, S, S]."""
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
    """How scores [N, C] differ from the network's: ``largest`` and ``rms``, the largest and the root mean square of the
    differences, and how many clips get the same class.

    ``relative`` is ``rms`` over the root mean square of the network's scores less their clip's mean; 0 if the network
    gives all classes one score. With ``samples`` their ``list_file`` is named.

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
