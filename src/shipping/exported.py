"""Reads an exported network, .mindir or .onnx, and its JSON. ONNX runs without MindSpore.

    trn.mindir       written by ``export.export_network``
    trn.mindir.json  its name and digest, its classes, how to feed it

For streams there is a pair of files, ``trn_frame.onnx`` and ``trn_head.onnx``. Their JSONs name each other by digest.

A JSON belongs to one file: name and SHA-256 must agree, so that no file answers with another's classes. Older exports
have one JSON for all formats, ``trn.json``, without a digest; it is read if it names the file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable

import numpy as np

from model_utils.errors import InputError, first_line
from model_utils.files import digest, exists, read_file, require_file
from model_utils.settings import Use, is_of_type, keys_for, values_if_missing
from src.backbones import backbone_named
from src.data.names import check_classes
from src.shipping.weights import check_weights
from src.transforms import FLIPS, Pixels

RunNetwork = Callable[[list[np.ndarray]], np.ndarray]

EXPORTED_SUFFIXES = (".mindir", ".onnx")
RELATIONS = ("all", "sampled")
RANGES = {"num_segments": (1, 1000), "image_size": (32, 512), "subsample_num": (1, 10_000)}
MAX_BATCH = 10_000
PARTS = ("frame", "head")  # of a pair
SEAL = "json_sha256"
KEYS = {"file", "categories", "num_segments", "image_size", "relations", "subsample_num", "flip", "input"}
EXPORT_AGAIN = "export the checkpoint again"


def usage_path(path: Path) -> Path:
    """The JSON of an exported file."""
    return path.with_name(path.name + ".json")


def usage_paths(path: Path) -> tuple[Path, Path]:
    """Where the JSON of an exported file may be: its own, or that of older exports."""
    return usage_path(path), path.with_suffix(".json")


def pair_paths(path: Path) -> tuple[Path, Path]:
    """The two files for streams of an export to ``path``: frame to feature, features to scores."""
    frame, head = (path.with_name(f"{path.stem}_{part}{path.suffix}") for part in PARTS)
    return frame, head


def other_path(path: Path, usage: dict[str, Any]) -> Path:
    """The other file of a pair, which the JSON of ``path`` names.

    Raises:
        InputError: if it is missing, or is not the file that the JSON means.
    """
    other = path.with_name(usage["other"]["file"])
    require_file(other, f"file; {path.name} needs it: the network is in both files")
    if digest(other) != usage["other"]["sha256"]:
        raise InputError(f"{other}: belongs to another export than {path.name} (another sha256); {EXPORT_AGAIN}")
    return other


def input_description(num_segments: int, image_size: int, batch: int, pixels: Pixels, part: str = "") -> dict[str, Any]:
    """The JSON entry for an input of pixels: ``video``, or ``frame`` for the part "frame". ``batch`` is 0 for any."""
    frames = 1 if part == "frame" else num_segments
    return {
        "name": part or "video",
        "dtype": "float32",
        "shape": [batch or "batch", frames * 3, image_size, image_size],
        "channel_order": pixels.order,
        "channel_means": list(pixels.means),
        "scale": 1.0 if pixels.unscaled else list(pixels.scales),
    }


def described_input(described: dict[str, Any]) -> Pixels:
    """The inverse of ``input_description``."""
    scales = np.broadcast_to(np.float32(described["scale"]), 3).tolist()
    return Pixels(described["channel_order"], tuple(described["channel_means"]), tuple(scales))


def read_usage(path: Path) -> dict[str, Any]:
    """The JSON of an exported file, see ``usage.usage``.

    Raises:
        InputError: if the file or its JSON is missing, if the JSON belongs to another file, or if a value that is
            used is missing or wrong.
    """
    require_file(path, "exported network")
    json_path = next((candidate for candidate in usage_paths(path) if exists(candidate)), None)
    if json_path is None:
        name = usage_path(path).name
        raise InputError(f"{path}: expected {name} beside it, which says its classes and how to feed it")
    try:
        usage = json.loads(read_file(json_path))
        usable = _is_usable(usage)
    except OSError as error:
        raise InputError(f"{json_path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise InputError(f"{json_path}: damaged, edited by hand, or not what export.py writes; {EXPORT_AGAIN}")
    check_classes((f"{json_path}: categories", name) for name in usage["categories"])
    _check_belongs(json_path, usage, path)
    return usage


def sealed(usage: Mapping[str, Any]) -> dict[str, Any]:
    """``usage`` with a digest of its content, which shows later edits."""
    rest = {key: value for key, value in usage.items() if key != SEAL}
    return {**rest, SEAL: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def _is_usable(usage: dict[str, Any]) -> bool:
    """Whether a JSON is unchanged. Exports of 1.0.0 have no seal: the values that are read must be valid.

    A missing value or a wrong type may raise a Python error.
    """
    if KEYS - usage.keys():
        return False
    if SEAL in usage:
        return usage[SEAL] == sealed(usage)[SEAL]
    part, batch, names = usage.get("part", ""), usage["input"]["shape"][0], usage["categories"]
    size = batch if type(batch) is int and 1 <= batch <= MAX_BATCH else 0
    pixels = backbone_named(usage.get("backbone", values_if_missing()["backbone"])).pixels
    expected = input_description(usage["num_segments"], usage["image_size"], size, pixels, part)
    other = [usage["other"]["file"], usage["other"]["sha256"]] if part else []
    return (
        all(is_of_type(key, usage[key]) for key in keys_for(Use.NETWORK, Use.EXPORTED) if key in usage)
        and all(least <= usage[key] <= most for key, (least, most) in RANGES.items())
        and usage["relations"] in RELATIONS
        and usage["flip"] in FLIPS
        and part in ("", *PARTS)
        and isinstance(names, list)
        and bool(names)
        and all(isinstance(text, str) for text in (usage["file"], usage.get("sha256", ""), *names))
        and all(isinstance(text, str) and text and not {"/", "\0"} & set(text) for text in other)
        and not any(isinstance(usage["input"].get(key), bool) for key in expected)  # True equals 1.0
        # A head takes features; only its network knows how many.
        and (batch == "batch" or bool(size) if part == "head" else expected.items() <= usage["input"].items())
    )


def _check_belongs(json_path: Path, usage: dict[str, Any], path: Path) -> None:
    if usage["file"] != path.name:
        raise InputError(
            f"{path}: {json_path.name} beside it describes {json.dumps(usage['file'])}; give both their names back, or"
            f" {EXPORT_AGAIN}"
        )
    if "sha256" not in usage and json_path == usage_path(path):
        raise InputError(f"{json_path}: no sha256, expected the digest of {path.name}; {EXPORT_AGAIN}")
    if "sha256" in usage and usage["sha256"] != digest(path):
        raise InputError(
            f"{path}: not the file that {json_path.name} describes (another sha256): damaged, or replaced without its"
            f" JSON; {EXPORT_AGAIN}"
        )


def load_exported(path: Path, threads: int = 0) -> RunNetwork:
    """A function from the inputs of an exported file (see ``export.export_network``) to its output, float32 [B, ...].

    Args:
        threads: of onnxruntime, 0 for as many as there are cores.

    Raises:
        InputError: if the file is missing, damaged or of another format, if a weight is NaN or infinite, or if its
            runtime is not installed. The function raises it for inputs that the file does not take.
    """
    require_file(path, "exported network")
    if path.suffix not in EXPORTED_SUFFIXES:
        raise InputError(f"{path}: expected a file whose name ends in {' or '.join(EXPORTED_SUFFIXES)}")
    run = _load_mindir(path) if path.suffix == ".mindir" else _load_onnx(path, threads)
    check_weights(path)

    def checked(inputs: list[np.ndarray]) -> np.ndarray:
        try:
            return run(inputs)
        except Exception as error:  # onnxruntime's have no other base
            shapes = ", ".join(str(list(array.shape)) for array in inputs)
            raise InputError(f"{path}: cannot be run on inputs of shape {shapes}: {first_line(error)}") from error

    return checked


def _load_mindir(path: Path) -> RunNetwork:
    import mindspore as ms

    with TemporaryDirectory() as folder:
        readable = path
        if not str(path).isprintable():  # MindSpore takes names in UTF-8 only
            readable = Path(folder) / "network.mindir"
            shutil.copyfile(path, readable)
        try:
            cell = ms.nn.GraphCell(ms.load(str(readable)))
        except (RuntimeError, ValueError, TypeError) as error:
            raise InputError(
                f"{path}: MindSpore {ms.__version__} cannot read it as MINDIR (damaged, or of another version)"
            ) from error
    return lambda inputs: cell(*map(ms.Tensor, inputs)).asnumpy()


def _load_onnx(path: Path, threads: int) -> RunNetwork:
    if importlib.util.find_spec("onnxruntime") is None:
        raise InputError(f"{path}: running ONNX needs the package onnxruntime, which is not installed")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no other base
        raise InputError(f"{path}: not a whole ONNX file (damaged, truncated or another format)") from error
    names = [node.name for node in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs)))[0]
