"""An exported network, .mindir or .onnx, and the JSON that belongs to it. ONNX runs without MindSpore.

    trn.mindir       written by ``export.export_network``
    trn.mindir.json  its name and digest, its classes, how to feed it

A stream has a pair of files, ``trn_frame.onnx`` and ``trn_head.onnx``, whose JSONs name each other by digest.

The JSON belongs to one file: name and SHA-256 digest must agree, so that no file answers with another's classes.
Older exports have one JSON for all formats, ``trn.json``, without a digest; it is read if it names the file.
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
from model_utils.settings import Use, is_of_type, keys_for, values_before
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
    """The JSON of an exported file, and the one of older exports."""
    return usage_path(path), path.with_suffix(".json")


def pair_paths(path: Path) -> tuple[Path, Path]:
    """The files of the pair that has the name of ``path``: frame to feature, features to scores."""
    frame, head = (path.with_name(f"{path.stem}_{part}{path.suffix}") for part in PARTS)
    return frame, head


def other_path(path: Path, usage: dict[str, Any]) -> Path:
    """The other file of a pair, which the JSON of the one names.

    Raises:
        InputError: if it is missing or another file than the JSON says.
    """
    other = path.with_name(usage["other"]["file"])
    require_file(other, f"file; {path.name} needs it: the network is in both files")
    if digest(other) != usage["other"]["sha256"]:
        raise InputError(f"{other}: of another export than {path.name} (another sha256); {EXPORT_AGAIN}")
    return other


def input_description(num_segments: int, image_size: int, batch: int, pixels: Pixels, part: str = "") -> dict[str, Any]:
    """What the input of an exported file is that takes pixels: ``video``, or ``frame`` of a part "frame".

    ``batch`` is 0 for any.
    """
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
    """The pixels that ``input_description`` describes."""
    scales = np.broadcast_to(np.float32(described["scale"]), 3).tolist()
    return Pixels(described["channel_order"], tuple(described["channel_means"]), tuple(scales))


def read_usage(path: Path) -> dict[str, Any]:
    """What the JSON of an exported file says, see ``usage.usage``.

    Raises:
        InputError: if the file or its JSON is missing, if the JSON belongs to another file, or if a value that is
            used is missing or wrong.
    """
    require_file(path, "exported network")
    about = next((candidate for candidate in usage_paths(path) if exists(candidate)), None)
    if about is None:
        name = usage_path(path).name
        raise InputError(f"{path}: expected {name} beside it, which says its classes and how to feed it")
    try:
        says = json.loads(read_file(about))
        usable = _is_usable(says)
    except OSError as error:
        raise InputError(f"{about}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        usable = False
    if not usable:
        raise InputError(f"{about}: damaged, edited by hand, or not what export.py writes; {EXPORT_AGAIN}")
    check_classes((f"{about}: categories", name) for name in says["categories"])
    _check_belongs(about, says, path)
    return says


def sealed(says: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the digest of all else that it says, so that nobody edits it unnoticed."""
    rest = {key: value for key, value in says.items() if key != SEAL}
    return {**rest, SEAL: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def _is_usable(says: dict[str, Any]) -> bool:
    """Whether a JSON is as it was written. Exports of 1.0.0 have no seal: what is read of them must fit together.

    Raises an error of Python's for a value that is missing or of another kind.
    """
    if KEYS - says.keys():
        return False
    if SEAL in says:
        return says[SEAL] == sealed(says)[SEAL]
    part, batch, names = says.get("part", ""), says["input"]["shape"][0], says["categories"]
    size = batch if type(batch) is int and 1 <= batch <= MAX_BATCH else 0
    pixels = backbone_named(says.get("backbone", values_before()["backbone"])).pixels
    fed = input_description(says["num_segments"], says["image_size"], size, pixels, part)
    other = [says["other"]["file"], says["other"]["sha256"]] if part else []
    return (
        all(is_of_type(key, says[key]) for key in keys_for(Use.NETWORK, Use.EXPORTED) if key in says)
        and all(least <= says[key] <= most for key, (least, most) in RANGES.items())
        and says["relations"] in RELATIONS
        and says["flip"] in FLIPS
        and part in ("", *PARTS)
        and isinstance(names, list)
        and bool(names)
        and all(isinstance(text, str) for text in (says["file"], says.get("sha256", ""), *names))
        and all(isinstance(text, str) and text and not {"/", "\0"} & set(text) for text in other)
        and not any(isinstance(says["input"].get(key), bool) for key in fed)  # True equals 1.0
        # A head takes features, whose number its network knows.
        and (batch == "batch" or bool(size) if part == "head" else fed.items() <= says["input"].items())
    )


def _check_belongs(about: Path, says: dict[str, Any], path: Path) -> None:
    if says["file"] != path.name:
        raise InputError(
            f"{path}: {about.name} beside it describes {json.dumps(says['file'])}; give both their names back, or"
            f" {EXPORT_AGAIN}"
        )
    if "sha256" not in says and about == usage_path(path):
        raise InputError(f"{about}: no sha256, expected the digest of {path.name}; {EXPORT_AGAIN}")
    if "sha256" in says and says["sha256"] != digest(path):
        raise InputError(
            f"{path}: not the file that {about.name} describes (another sha256): damaged, or replaced without its"
            f" JSON; {EXPORT_AGAIN}"
        )


def load_exported(path: Path, threads: int = 0) -> RunNetwork:
    """A function from the inputs of an exported file (see ``export.export_network``) to its output, float32 [B, ...].

    Args:
        threads: of onnxruntime, 0 for as many as there are cores.

    Raises:
        InputError: if the file is missing, damaged or of another format, if a weight is NaN or infinite, or if what
            runs it is not installed. The function raises it for inputs that the file does not take.
    """
    require_file(path, "exported network")
    load = {".mindir": _load_mindir, ".onnx": _load_onnx}.get(path.suffix)
    if load is None:
        raise InputError(f"{path}: expected a file whose name ends in {' or '.join(EXPORTED_SUFFIXES)}")
    run = load(path, threads)
    check_weights(path)

    def checked(inputs: list[np.ndarray]) -> np.ndarray:
        try:
            return run(inputs)
        except Exception as error:  # onnxruntime's have no other base
            shapes = ", ".join(str(list(array.shape)) for array in inputs)
            raise InputError(f"{path}: cannot be run on inputs of shape {shapes}: {first_line(error)}") from error

    return checked


def _load_mindir(path: Path, threads: int) -> RunNetwork:  # noqa: ARG001
    import mindspore as ms

    with TemporaryDirectory() as folder:
        readable = path
        if not str(path).isprintable():  # MindSpore takes names in UTF-8 only, and such a name is not
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
