"""Makes a folder of static files: a web page that recognises gestures of a camera or a video in the visitor's browser.

Any web server or static host can serve it; nothing leaves the browser. The model is a checkpoint, or the first of the
two ONNX files for streams. A checkpoint is exported in 8 bits if --dataset_root is given.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import Config, load_config
from model_utils.stop_signals import ctrl_c_at_once, raise_on_sigterm
from model_utils.util import run_main
from src.inference.options import add_model_option, seconds


class PageSettings(Config):
    """The keys of the YAML and the options that this program adds."""

    window: float | None
    output: str


def add_page_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    options = parser.add_argument_group("Page")
    add_model_option(options)
    options.add_argument(
        "--window",
        type=seconds,
        metavar="SECONDS",
        help="seconds that one recognition looks back on; another name of --stream_window",
    )
    return options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = add_page_arguments(parser)
    options.add_argument(
        "--output", required=True, metavar="FOLDER", help="folder of the page; an earlier page there is replaced"
    )


def make(config: PageSettings, folder: Path) -> None:
    """Writes the page for ``config.ckpt_file`` to ``folder``."""
    from src.data.names import background_warning
    from src.inference.model import load_model
    from src.inference.streaming import build_detector
    from src.shipping.page import export_for_page, read_pair, whole_folder, write_page

    with whole_folder(folder) as partial, TemporaryDirectory() as exported:
        path = Path(config.ckpt_file)
        if path.suffix == ".ckpt":
            from model_utils.device_adapter import start_device

            start_device(config)
            path = export_for_page(config, Path(exported))
        *_, usage = read_pair(path)
        config = copy.copy(config)
        config.ckpt_file = str(path)
        settings = load_model(config).settings  # includes the files' settings
        detector = build_detector(settings, usage["categories"])
        if not detector.background:
            print(f"warning: {background_warning(settings.background_class)}", file=sys.stderr)
        write_page(path, partial, config.window or settings.stream_window, asdict(detector.rules), detector.background)


def size_of(folder: Path) -> float:
    """MB of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    config = cast("PageSettings", load_config(description=__doc__, add_arguments=add_arguments))
    raise_on_sigterm()  # removes an unfinished page
    with ctrl_c_at_once():
        folder = Path(config.output)
        make(config, folder)
        print(f"{folder}: {size_of(folder):.1f} MB; to see it: python -m http.server --bind 127.0.0.1 -d {folder}")


if __name__ == "__main__":
    run_main(main)
