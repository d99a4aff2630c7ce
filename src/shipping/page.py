"""Makes a folder of static files: a web page that recognises gestures in its visitor's browser.

index.html slides.html style.css js/   the page and an example of its use, from the folder ``page`` beside this file
runtime/                               onnxruntime-web, from npm, with its licences
model/                                 the two files for streams
page.json                              the page's settings: classes, pixels, thresholds, digests
sample.webm                            a drawn video, if some of the classes can be drawn
"""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from model_utils.errors import InputError, reason
from model_utils.files import digest
from model_utils.settings import Settings
from model_utils.util import exclusive_files, write_json
from model_utils.version import VERSION
from src.data.video_writer import VideoWriter
from src.shipping.exported import EXPORT_AGAIN, other_path, pair_paths, read_usage
from src.synthetic.gestures import GESTURES
from src.synthetic.streams import STREAM_RATE, draw_stream

SOURCE = Path(__file__).with_suffix("")
PAGE_JSON = "page.json"
MADE_BY = "make_page.sh"
MODEL_NAME = Path("model/trn.onnx")
RUNTIME, RUNTIME_VERSION = "onnxruntime-web", "1.30.0"
RUNTIME_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_WASM = "ort-wasm-simd-threaded.wasm"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", RUNTIME_WASM)
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")  # onnxruntime's, which the package on npm leaves out
SAMPLE, SAMPLE_GESTURES, SAMPLE_SEED = "sample.webm", 4, 28


def check_page_folder(folder: Path) -> None:
    """Raises InputError for a folder that is neither empty nor a page: its content would be lost."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_page(folder):
        raise InputError(f"{folder}: would be replaced, but {MADE_BY} did not make it; give another folder")


def _is_page(folder: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        page_json = json.loads((folder / PAGE_JSON).read_text(encoding="utf-8"))
        return isinstance(page_json, dict) and page_json.get("made_by") == MADE_BY
    return False


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write into. It replaces ``folder`` at the end, or is removed after an exception.

    Raises:
        InputError: as ``check_page_folder`` does, if another process writes it, and if it cannot be written.
    """
    target = Path(os.path.realpath(folder))
    try:
        with (
            exclusive_files([target]),
            TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary,
        ):
            check_page_folder(folder)
            partial, before = Path(temporary) / "new", Path(temporary) / "before"
            partial.mkdir()
            yield partial
            if target.exists():
                target.rename(before)
            partial.rename(target)
    except OSError as error:
        raise InputError(f"{folder}: cannot write the page: {reason(error)}") from error


def export_for_page(config: Settings, folder: Path) -> Path:
    """Exports the checkpoint ``config.ckpt_file`` as the two files for streams; returns the first.

    The default of ``quantize`` is int8 if ``dataset_root`` is given, whose training clips are needed for calibration.

    Raises:
        InputError: if the checkpoint cannot be used or exported.
    """
    from src.shipping.export import check_formats, export_network
    from src.shipping.samples import read_samples
    from src.training.checkpoint import load_network
    from src.tsn import prepare_for_inference

    config = copy.copy(config)
    config.file_format, config.streaming, config.export_batch_size = "ONNX", True, 1
    has_clips = "dataset_root" in config.given
    if "quantize" not in config.given:
        config.quantize = "int8" if has_clips else "none"
    if config.quantize == "int8" and not has_clips:
        raise InputError("quantize int8: needs --dataset_root, whose training clips it is calibrated on")
    check_formats(config)
    network, categories, config = load_network(config, None)
    prepare_for_inference(network)
    samples = read_samples(config, len(categories)) if config.quantize == "int8" else None
    path = folder / MODEL_NAME.name
    export_network(network, config, categories, path, samples)
    return pair_paths(path)[0]


def read_pair(path: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Both ONNX files for streams, of which ``path`` is the first, and the JSON of the first.

    Raises:
        InputError: for other files, and for files that do not take one frame at a time.
    """
    expected = (
        f"{path}: expected a checkpoint (.ckpt), or the first of the two files of export.py --file_format ONNX"
        f" --streaming true, such as {pair_paths(MODEL_NAME)[0].name}"
    )
    if path.suffix != ".onnx":
        raise InputError(expected)
    usage = read_usage(path)
    if usage.get("part") != "frame":
        raise InputError(expected)
    head = other_path(path, usage)
    for file in (path, head):
        batch = read_usage(file)["input"]["shape"][0]
        if batch not in ("batch", 1):
            raise InputError(f"{file}: takes {batch} at once, expected --export_batch_size 0 or 1; {EXPORT_AGAIN}")
    return path, head, usage


def write_page(pair: Path, folder: Path, window: float, rules: dict[str, float], background: list[str]) -> None:
    """Writes the page into ``folder``, which exists and is empty.

    Args:
        pair: the first of the two files, see ``read_pair``.
        window: seconds that one recognition looks back on.
        rules: the thresholds of an ``EventDetector``.
        background: the classes that are no gesture.

    Raises:
        InputError: if the pair cannot be used, or the runtime cannot be fetched.
    """
    *parts, usage = read_pair(pair)
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    fetch_runtime(folder / "runtime")
    (folder / MODEL_NAME).parent.mkdir()
    names = pair_paths(folder / MODEL_NAME)
    for part, name in zip(parts, names):
        shutil.copyfile(part, name)
    fed = usage["input"]
    page_json = {
        "made_by": MADE_BY,
        "trn_version": VERSION,
        "precision": "8 bits" if usage.get("quantize") == "int8" else "32 bits",
        "categories": usage["categories"],
        "num_segments": usage["num_segments"],
        "image_size": usage["image_size"],
        "channel_order": fed["channel_order"],
        "channel_means": fed["channel_means"],
        "scales": np.broadcast_to(fed["scale"], 3).tolist(),
        "window": window,
        "events": rules,
        "background": background,
        "frame": _described(names[0], folder),
        "head": _described(names[1], folder),
        "runtime": {"version": RUNTIME_VERSION, **_described(folder / "runtime" / RUNTIME_WASM, folder)},
        "sample": draw_sample(folder, usage["categories"], background),
    }
    write_json(folder / PAGE_JSON, page_json)


def _described(path: Path, folder: Path) -> dict[str, Any]:
    return {"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": digest(path)}


def draw_sample(folder: Path, categories: list[str], background: list[str]) -> str | None:
    """Draws a video of some of the classes; None if none of them can be drawn."""
    drawn = [name for name in categories if name in GESTURES and name not in background]
    if not drawn:
        return None
    order = np.random.default_rng(SAMPLE_SEED).permutation(drawn)[:SAMPLE_GESTURES]
    frames, _ = draw_stream([str(name) for name in order], SAMPLE_SEED, 1)
    with VideoWriter(str(folder / SAMPLE), STREAM_RATE) as video:
        for frame in frames:
            video.write(frame)
    return SAMPLE


def fetch_runtime(folder: Path) -> None:
    """Puts the files of onnxruntime-web that the page needs, and its licences, into ``folder``.

    npm caches the package, so the next page needs no network.

    Raises:
        InputError: without npm, if npm cannot fetch the package, or if it is not the pinned one.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise InputError("the page needs the licences of the package onnxruntime, which is not installed")
    folder.mkdir()
    with TemporaryDirectory() as temporary:
        archive = _npm_pack(Path(temporary))
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != RUNTIME_SHA512:
            raise InputError(f"npm: {archive.name} is not the package that was expected (another SHA-512)")
        with tarfile.open(archive) as package:
            for name in RUNTIME_FILES:
                content = package.extractfile(f"package/dist/{name}")
                assert content is not None, name
                (folder / name).write_bytes(content.read())
    for name in LICENCES:
        shutil.copyfile(Path(spec.origin).with_name(name), folder / name)


def _npm_pack(folder: Path) -> Path:
    wanted = f"{RUNTIME}@{RUNTIME_VERSION}"
    options = ["--silent", "--prefer-offline", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            ["npm", "pack", wanted, *options], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise InputError(f"{wanted} is fetched by npm, which is not installed (Debian: apt-get install npm)") from None
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        why = " ".join(done.stderr.split())[:200] or "no network?"
        raise InputError(f"npm cannot fetch {wanted}: {why}")
    return archives[0]
