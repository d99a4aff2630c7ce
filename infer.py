"""Recognises gestures in clips and videos: folders of frames, video files, folders of videos, or a camera.

The model is a checkpoint (.ckpt), or an exported network (.mindir, .onnx) with its JSON beside it. Prints the five
likeliest classes of each source, a timeline (--window), or gestures as they start and end (--stream).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import load_config
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import exclusive_files, run_main
from src.inference.options import (
    InferSettings,
    add_model_option,
    are_several,
    check_files,
    check_options,
    outputs,
    seconds,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("Inference")
    add_model_option(options)
    options.add_argument(
        "--source",
        required=True,
        nargs="+",
        metavar="S",
        help="folder of frames (00001.jpg, ...), video file, folder of (folders of) videos, or number of a camera",
    )
    options.add_argument("--categories", default="", metavar="FILE", help="class names, by default the model's")
    options.add_argument("--json", default="", metavar="FILE", help="write the results to this file as well")
    options.add_argument(
        "--window",
        type=seconds,
        metavar="SECONDS",
        help="look at a video in windows of this length and print a timeline; with --stream, or a camera, the seconds"
        " that one recognition looks back on (default 3); a folder of frames has 12 a second",
    )
    options.add_argument(
        "--stride", type=seconds, metavar="SECONDS", help="from one window to the next (default: half a window)"
    )
    options.add_argument(
        "--stream", action="store_true", help="look at the frames one by one and say when a gesture starts and ends"
    )
    options.add_argument("--realtime", action="store_true", help="with --stream: play a file at its own rate")
    options.add_argument(
        "--output",
        default="",
        metavar="VIDEO",
        help="write the result drawn on the frames, as .mp4 or .webm at their mean rate",
    )
    options.add_argument(
        "--explain", default="", metavar="PNG", help="draw which relations and frames support the predicted class"
    )
    options.add_argument("--explain_class", default="", metavar="NAME", help="with --explain: for this class instead")


def infer(config: InferSettings) -> None:
    check_options(config)
    from model_utils.device_adapter import start_device
    from src.data.lists import read_categories
    from src.data.video import find_sources
    from src.inference.model import load_model
    from src.inference.recognise import recognise_sources

    sources = find_sources(config.source)
    check_files(config, sources)
    if not config.ckpt_file.endswith(".onnx"):  # which runs without MindSpore
        start_device(config)
    if config.explain and "test_crops" not in config.given:
        config.test_crops = 1  # the explanation is of the centre crop's score
    with exclusive_files(outputs(config).values()):
        names = read_categories(config.categories) if config.categories else None
        model = load_model(config, names)
        recognise_sources(config, model, sources, are_several(config, sources))


def main() -> None:
    config = load_config(description=__doc__, add_arguments=add_arguments)
    for note in config.notes:
        print(note, file=sys.stderr)
    with ctrl_c_at_once():
        infer(cast("InferSettings", config))


if __name__ == "__main__":
    run_main(main)
