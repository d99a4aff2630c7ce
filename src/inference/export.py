"""The network as a file for other programs: MINDIR, ONNX or AIR, and what such a program has to know."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from model_utils.errors import InputError
from model_utils.util import write_json, write_whole
from src import sampling
from src.backbones import use_onnx_operators
from src.inference.exported import digest, input_description, load_exported, usage_path
from src.ops import compat
from src.transforms import Pixels
from src.tsn import TSN, pixels_of


def export_network(network: TSN, config: Any, categories: list[str], path: Path) -> None:
    """Writes ``network`` to ``path`` in ``config.file_format``, and what ``usage`` says to its ``usage_path``.

    Inputs of the file: ``video`` float32 [B, T*3, S, S] and, if it takes drawn relations, ``relations`` int32
    [B, T-1, subsample_num]; output: logits float32 [B, C]. B is ``config.export_batch_size``, 0 for any.

    The file takes its name whole or not at all. Its JSON does so just before: between the two the digest in the JSON
    is not that of the file, which ``read_usage`` refuses.

    Raises:
        InputError: if the file cannot be written, or not in this format or for any batch in this environment.
    """
    _check_possible(config)
    network.set_train(False)
    if config.file_format == "ONNX":
        use_onnx_operators(network)
    any_batch, arrays = config.export_batch_size == 0, _inputs(config, pixels_of(network))
    if any_batch and config.file_format == "MINDIR":
        inputs = [Tensor(shape=(None, *array.shape[1:]), dtype=Tensor(array).dtype) for array in arrays]
    else:
        inputs = [Tensor(array) for array in arrays]
    with write_whole(path, "exported network") as partial, TemporaryDirectory() as folder:
        plain_path = Path(folder) / f"network.{config.file_format.lower()}"  # 1.10 knows no path with a space in it
        ms.export(network, *inputs, file_name=str(plain_path.with_suffix("")), file_format=config.file_format)
        if config.file_format == "ONNX":
            _name_onnx(plain_path, any_batch)
        shutil.copyfile(plain_path, partial)
        about = usage(config, categories, path.name, digest(partial), pixels_of(network))
        write_json(usage_path(path), about)


def _check_possible(config: Any) -> None:
    if config.export_batch_size == 0 and not compat.EXPORTS_ANY_BATCH:
        raise InputError(f"export_batch_size 0: MindSpore {ms.__version__} exports no network for any batch, say which")
    for package in ("onnx", "onnxruntime"):
        if config.file_format == "ONNX" and importlib.util.find_spec(package) is None:
            raise InputError(f"file_format ONNX: the package {package} is not installed, which writing ONNX needs")


def _takes_relations(config: Any) -> bool:
    return config.relations == "sampled" and config.consensus_type == "TRNmultiscale"


def _inputs(config: Any, pixels: Pixels, seed: int = 0) -> list[np.ndarray]:
    """Random inputs of the exported file, of two clips if it takes any number of them."""
    rng = np.random.default_rng(seed)
    batch, side = config.export_batch_size or 2, config.image_size
    frames = pixels.prepare(rng.integers(0, 256, (batch, config.num_segments, side, side, 3), np.uint8))
    inputs = [frames.transpose(0, 1, 4, 2, 3).reshape(batch, -1, side, side)]
    if _takes_relations(config):
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


def usage(config: Any, categories: list[str], file_name: str, sha256: str, pixels: Pixels) -> dict[str, Any]:
    """What a program that runs the exported file has to know, for its JSON."""
    side = config.image_size
    return {
        "file": file_name,
        "sha256": sha256,
        "file_format": config.file_format,
        "categories": categories,
        "num_segments": config.num_segments,
        "image_size": side,
        "backbone": config.backbone,
        "input": input_description(config.num_segments, side, config.export_batch_size, pixels),
        "sampling": "frame i of T is floor(N / T * (i + 1/2)) of a clip of N frames, counted from 0",
        "resize": f"shorter side to {side * 256 // 224}, then the centre {side} x {side}",
        "output": "logits float32 [batch, classes]; softmax gives probabilities",
        "consensus_type": config.consensus_type,
        "relations": "sampled" if _takes_relations(config) else "all",
        "subsample_num": config.subsample_num,
        "flip": config.flip,
        "mindspore_version": ms.__version__,
    }


def largest_difference(network: TSN, config: Any, path: Path) -> tuple[float, int]:
    """The largest absolute difference between a score of the network and of the file at ``path``; clips compared."""
    inputs = _inputs(config, pixels_of(network))
    expected = network(*map(Tensor, inputs)).asnumpy()
    found = load_exported(path)(inputs)
    return float(np.abs(found - expected).max()), len(expected)
