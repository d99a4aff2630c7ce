"""The network as a file for other programs: MINDIR, ONNX or AIR, and what such a program has to know."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from model_utils.errors import InputError
from model_utils.util import write_whole
from src import sampling
from src.ops import compat
from src.transforms import CHANNEL_MEANS_BGR
from src.tsn import TSN


def export_network(network: TSN, config: Any, path: Path) -> None:
    """Writes ``network`` to ``path`` in ``config.file_format``.

    Inputs of the file: ``video`` float32 [B, T*3, S, S] and, with ``config.relations`` "sampled", ``relations``
    int32 [B, T-1, subsample_num]; output: logits float32 [B, C]. B is ``config.export_batch_size``, 0 for any.

    The file is written beside its place and renamed, so that it is there whole or not at all.

    Raises:
        InputError: if the file cannot be written, or not in this format or for any batch in this environment.
    """
    _check_possible(config)
    network.set_train(False)
    any_batch = config.export_batch_size == 0
    if any_batch and config.file_format == "MINDIR":
        inputs = [Tensor(shape=(None, *array.shape[1:]), dtype=Tensor(array).dtype) for array in _inputs(config)]
    else:
        inputs = [Tensor(array) for array in _inputs(config)]
    with write_whole(path, "exported network") as partial, TemporaryDirectory() as folder:
        plain_path = Path(folder) / f"network.{config.file_format.lower()}"  # 1.10 knows no path with a space in it
        ms.export(network, *inputs, file_name=str(plain_path.with_suffix("")), file_format=config.file_format)
        if config.file_format == "ONNX":
            _name_onnx(plain_path, any_batch)
        shutil.copyfile(plain_path, partial)


def _check_possible(config: Any) -> None:
    if config.export_batch_size == 0 and not compat.EXPORTS_ANY_BATCH:
        raise InputError(f"export_batch_size 0: MindSpore {ms.__version__} exports no network for any batch, say which")
    for package in ("onnx", "onnxruntime"):
        if config.file_format == "ONNX" and importlib.util.find_spec(package) is None:
            raise InputError(f"file_format ONNX: the package {package} is not installed, which writing ONNX needs")


def _inputs(config: Any, seed: int = 0) -> list[np.ndarray]:
    """Random inputs of the exported file, of two clips if it takes any number of them."""
    rng = np.random.default_rng(seed)
    batch, side = config.export_batch_size or 2, config.image_size
    inputs = [rng.uniform(-128, 128, (batch, config.num_segments * 3, side, side)).astype(np.float32)]
    if config.relations == "sampled":
        draws = [sampling.sample_relations(config.num_segments, config.subsample_num, rng) for _ in range(batch)]
        inputs.append(np.stack(draws).astype(np.int32))
    return inputs


def _name_onnx(path: Path, any_batch: bool) -> None:
    """Calls the output ``logits`` and frees the batch, which MindSpore writes as a number although no node needs it."""
    import onnx

    model = onnx.load(path)
    output = model.graph.output[0]
    for node in model.graph.node:
        node.output[:] = ["logits" if name == output.name else name for name in node.output]
    output.name = "logits"
    if any_batch:
        for value in (*model.graph.input, output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, path)


def usage(config: Any, categories: list[str], file_name: str) -> dict[str, Any]:
    """What a program that runs the exported file has to know, for its JSON."""
    side = config.image_size
    return {
        "file": file_name,
        "file_format": config.file_format,
        "categories": categories,
        "num_segments": config.num_segments,
        "image_size": config.image_size,
        "input": {
            "name": "video",
            "dtype": "float32",
            "shape": [config.export_batch_size or "batch", config.num_segments * 3, side, side],
            "channel_order": "BGR",
            "channel_means": list(CHANNEL_MEANS_BGR),
            "scale": 1.0,
        },
        "sampling": "frame i of T is floor(N / T * (i + 1/2)) of a clip of N frames, counted from 0",
        "resize": f"shorter side to {side * 256 // 224}, then the centre {side} x {side}",
        "output": "logits float32 [batch, classes]; softmax gives probabilities",
        "consensus_type": config.consensus_type,
        "relations": config.relations,
        "subsample_num": config.subsample_num,
        "flip": config.flip,
        "mindspore_version": ms.__version__,
    }


def read_usage(path: Path) -> dict[str, Any]:
    """What the JSON beside an exported file says, see ``usage``.

    Raises:
        InputError: if it or the exported file is missing, or if it is not such a JSON.
    """
    about = path.with_suffix(".json")
    needed = ("categories", "num_segments", "image_size", "flip", "relations", "subsample_num", "input")
    try:
        says = json.loads(about.read_text(encoding="utf-8"))
        {key: says[key] for key in needed}, says["input"]["shape"][0]
    except FileNotFoundError:
        if not path.is_file():
            raise InputError(f"{path}: no such exported network") from None
        raise InputError(f"{path}: {about.name} is not beside it, which says its classes and how to feed it") from None
    except OSError as error:
        raise InputError(f"{about}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{about}: expected the JSON that export.py writes beside a network ({error!r})") from None
    return says


def load_exported(path: Path) -> Callable[[list[np.ndarray]], np.ndarray]:
    """A function from the inputs of the exported file (see ``export_network``) to its logits, float32 [B, C].

    Raises:
        InputError: if the file is missing, damaged or of another format, or if what runs it is not installed.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such exported network")
    load = {".mindir": _load_mindir, ".onnx": _load_onnx}.get(path.suffix)
    if load is None:
        raise InputError(f"{path}: expected a file whose name ends in .mindir or .onnx")
    return load(path)


def largest_difference(network: TSN, config: Any, path: Path) -> tuple[float, int]:
    """Largest difference between a score of the network and of the file at ``path``, and the clips compared."""
    inputs = _inputs(config)
    expected = network(*map(Tensor, inputs)).asnumpy()
    found = load_exported(path)(inputs)
    return float(np.abs(found - expected).max()), len(expected)


def _load_mindir(path: Path) -> Callable[[list[np.ndarray]], np.ndarray]:
    try:
        cell = nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: MindSpore {ms.__version__} cannot read it as MINDIR (damaged, truncated or of another version)"
        ) from error
    return lambda inputs: cell(*map(Tensor, inputs)).asnumpy()


def _load_onnx(path: Path) -> Callable[[list[np.ndarray]], np.ndarray]:
    if importlib.util.find_spec("onnxruntime") is None:
        raise InputError(f"{path}: the package onnxruntime is not installed, which running ONNX needs")
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no other base
        raise InputError(f"{path}: not a whole ONNX file (damaged, truncated or another format)") from error
    names = [node.name for node in session.get_inputs()]
    return lambda inputs: session.run(["logits"], dict(zip(names, inputs)))[0]
