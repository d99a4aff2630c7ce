"""The clips that the benchmarks read: the project's synthetic Jester, unpacked and preprocessed, made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TRAIN_CLIPS, VAL_CLIPS = 216, 54


def make_data(folder: Path) -> None:
    """Make the dataset in `folder`/jester, unless it is there."""
    dataset = folder / "jester"
    if (dataset / "val_videofolder.txt").is_file():
        return
    archives = folder / "archives"
    clips = ["--train", str(TRAIN_CLIPS), "--val", str(VAL_CLIPS), "--test", "0"]
    for command in (
        ["src.synthetic_jester", str(archives), *clips],
        ["src.unpack_jester_dataset", str(archives), str(dataset)],
        ["src.preprocess_jester_dataset", str(dataset)],
    ):
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
