"""Runs demo.py on the network that names colours, in an environment with Gradio and without pytest.

python -m tests.helpers.demo_server FOLDER [--key value ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

from tests.helpers.colours import NAMES, colour_network, colour_settings


def write_checkpoint(folder: Path) -> Path:
    from src.training.checkpoint import describe, save_checkpoint

    path = folder / "colours.ckpt"
    about = describe(colour_settings(consensus_type="avg"), NAMES, epoch=1, step=1)
    save_checkpoint(path, colour_network().parameters_dict(), about)
    return path


if __name__ == "__main__":
    import demo
    from model_utils.util import run_main

    checkpoint = write_checkpoint(Path(sys.argv[1]))
    sys.argv[1:2] = ["--device_target", "CPU", "--model", str(checkpoint)]
    with mock.patch("src.training.checkpoint.build_network", return_value=colour_network()):
        run_main(demo.main)
