"""Shows a page, on this machine only, to try a model: upload a video, or perform gestures for the browser's camera.

The model is a checkpoint (.ckpt), or an exported network (.mindir, .onnx) with its JSON beside it; the camera needs a
checkpoint or the two files for streams.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import Config, load_config
from model_utils.errors import InputError
from model_utils.stop_signals import Stopped, ctrl_c_at_once
from model_utils.util import run_main
from src.inference.options import add_model_option, seconds

# MindSpore and Gradio take seconds to import, and --help and a misspelt key need neither: functions import what they
# use.

PORT = 7860


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("Page")
    add_model_option(options)
    options.add_argument(
        "--window", type=seconds, metavar="SECONDS", help="seconds that one recognition looks back on (default 3)"
    )
    options.add_argument("--port", type=_port, default=PORT, metavar="N", help=f"of the page (default {PORT})")


def _port(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 1 <= int(text) <= 65535:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed, expected a number from 1 to 65535")


class DemoSettings(Config):
    """The keys of the YAML and the options that this program adds."""

    window: float | None
    port: int


def show(config: DemoSettings) -> None:
    from src.inference.demo_page import Demo, NetworkThread, serve, upload_folder
    from src.inference.timeline import WINDOW

    with upload_folder() as uploads:
        try:
            import gradio  # noqa: F401
        except ImportError:
            raise InputError("Gradio is not installed: scripts/run_demo.sh makes an environment with it") from None
        run = NetworkThread()
        model, new_stream = run(prepare, config)
        serve(Demo(model, new_stream, run, uploads, config.window or WINDOW), config.port)


def prepare(config: DemoSettings) -> tuple:
    """The model, and a function that makes the recogniser and the detector of a visitor; None for an exported model."""
    from model_utils.device_adapter import start_device
    from src.inference.model import load_model

    if "test_crops" not in config.given:
        config.test_crops = 1  # as in a stream and in an explanation, and ten times as fast
    if not config.ckpt_file.endswith(".onnx"):  # which runs without MindSpore
        start_device(config)
    model = load_model(config)
    if model.network is None and model.pair is None:
        return model, None
    if model.network and config.relations != "all":
        raise InputError("--relations: a page with a checkpoint needs --relations all")
    from src.inference.streaming import Recognizer, build_detector

    recognizer = Recognizer(model.parts("the camera"), model.image_size, config.window or config.stream_window)
    build_detector(config, model.categories)  # thresholds that do not go together show now
    return model, lambda: (recognizer.for_another_stream(), build_detector(config, model.categories))


def _stop(number: int, _: object) -> None:
    raise Stopped(number, "stopped")


def main() -> None:
    config = load_config(description=__doc__, add_arguments=add_arguments)
    signal.signal(signal.SIGTERM, _stop)  # else uploads would stay
    with ctrl_c_at_once():
        show(cast("DemoSettings", config))


if __name__ == "__main__":
    run_main(main)
