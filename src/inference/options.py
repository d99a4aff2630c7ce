"""Checks the options of infer.py and the files that they write. Imports no MindSpore."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from tempfile import TemporaryFile

from model_utils.command_line import number_in
from model_utils.errors import InputError
from model_utils.settings import Settings
from model_utils.util import check_outputs


class InferSettings(Settings):
    """The keys of the YAML and the options that infer.py adds."""

    config_path: str
    source: list[str]
    categories: str
    json: str
    window: float | None
    stride: float | None
    stream: bool
    realtime: bool
    output: str
    explain: str
    explain_class: str


seconds = number_in("float (0, 1000000]")  # the type of an option that takes the seconds of a window
WRITTEN = ("json", "explain", "output")  # options that name a file to write


def add_model_option(options: argparse._ArgumentGroup) -> None:
    """``--model``, which names the model file."""
    options.add_argument(
        "--model",
        dest="ckpt_file",
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="trained model: .ckpt, or .mindir or .onnx with its .json beside it; another name of --ckpt_file",
    )


def check_options(config: InferSettings) -> None:
    """Raises InputError for options that do not go together, and for an unsuitable name of a video."""
    together = [
        ("--realtime", config.realtime, "--stream", config.stream),
        ("--stride", config.stride, "--window, and no --stream", config.window and not config.stream),
        ("--explain_class", config.explain_class, "--explain", config.explain),
        ("--explain", config.explain, "a whole clip", not (config.window or config.stream)),
        ("--explain", config.explain, "--relations all", config.relations == "all"),
        ("--stream", config.stream, "--relations all", config.relations == "all"),
    ]
    for option, given, needed, there in together:
        if given and not there:
            raise InputError(f"{option}: needs {needed}")
    if config.output:
        from src.data.video_writer import check_video_name

        check_video_name(config.output)


def check_files(config: InferSettings, sources: list[str]) -> None:
    """Raises InputError for files that cannot be written, or that would replace a file that is read or also written.

    ``sources``: the elements of ``config.source`` after ``find_sources``.
    """
    if are_several(config, sources) and (config.output or config.explain):
        raise InputError("--output and --explain take one source")
    written = outputs(config)
    check_outputs(written, [*_model_files(config), config.categories, config.config_path, *config.source, *sources])
    _check_no_new_frames(written, config.source)
    for path in written.values():
        check_writable(path)


def outputs(config: InferSettings) -> dict[str, str]:
    """{option: file to write} of the options that name one."""
    return {f"--{name}": getattr(config, name) for name in WRITTEN if getattr(config, name)}


def are_several(config: InferSettings, sources: list[str]) -> bool:
    """Whether several sources were asked for: a folder of videos counts as several, though it may hold one."""
    return len(sources) > 1 or sources != config.source


def check_writable(path: str) -> None:
    """Raises InputError if a file cannot be written: better now than when all the work is done."""
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise InputError(f"{path}: cannot write the file: it is a folder")
    if os.path.exists(target) and not os.path.isfile(target):  # such as /dev/stdout, which write_whole writes into
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=target.parent), contextlib.suppress(FileNotFoundError):
            os.lstat(target)  # its name may be too long
    except OSError as error:
        raise InputError(f"{path}: cannot write the file: {error.strerror}") from None


def _model_files(config: InferSettings) -> list[Path]:
    from src.shipping.exported import EXPORTED_SUFFIXES, PARTS, usage_paths

    path = Path(config.ckpt_file)
    if path.suffix not in EXPORTED_SUFFIXES:
        return [path]
    frame, head = (f"_{part}" for part in PARTS)
    stem = path.stem[: -len(frame)] + head if path.stem.endswith(frame) else path.stem
    paths = {path, path.with_name(stem + path.suffix)}
    return [*paths, *(beside for name in paths for beside in usage_paths(name))]


def _check_no_new_frames(outputs: dict[str, str], sources: list[str]) -> None:
    """Raises InputError for a picture or video in a source folder: the next run would read it as well."""
    from src.data.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    folders = {os.path.realpath(source) for source in sources if os.path.isdir(source)}
    for option, path in outputs.items():
        target = Path(os.path.realpath(path))
        if str(target.parent) in folders and target.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES:
            raise InputError(f"{option}: {path} would be taken for a part of the source; choose another folder")
