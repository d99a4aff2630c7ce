"""Shows a model's page on this machine: gestures of a camera or a video, recognised in the browser.

Makes the page in a temporary folder and serves it on 127.0.0.1 until Ctrl-C. The model is a checkpoint, or the first of
the two ONNX files for streams.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from make_page import PageSettings, add_page_arguments, make
from model_utils.command_line import number_in
from model_utils.config import load_config
from model_utils.stop_signals import ctrl_c_at_once, raise_on_sigterm
from model_utils.util import run_main
from src.shipping.serve import HOST, page_server

PORT = 7860


class DemoSettings(PageSettings):
    """The keys of the YAML and the options that this program adds."""

    port: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = add_page_arguments(parser)
    port = number_in("int [1, 65535]")
    options.add_argument("--port", type=port, default=PORT, metavar="N", help=f"of the page (default {PORT})")


def show(config: DemoSettings) -> None:
    with TemporaryDirectory(prefix="trn-page-") as temporary:
        folder = Path(temporary) / "page"
        with page_server(folder, config.port) as server:
            make(config, folder)
            print(f"http://{HOST}:{config.port}/ (Ctrl-C ends it)", flush=True)
            server.serve_forever()


def main() -> None:
    config = cast("DemoSettings", load_config(description=__doc__, add_arguments=add_arguments))
    raise_on_sigterm()  # removes the temporary page
    with ctrl_c_at_once():
        show(config)


if __name__ == "__main__":
    run_main(main)
