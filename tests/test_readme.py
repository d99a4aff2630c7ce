"""The programs in the README that use an exported network, as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.data.video import open_source
from src.evaluation.scoring import ClipScorer
from src.inference import export
from src.inference.timeline import read_clip
from src.ops import compat
from src.transforms import test_crops as crops_of
from src.utils import softmax
from tests.helpers.colours import NAMES, changing_frames, colour_settings, ordering_network, write_video
from tests.helpers.networks import SIDE

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", ["mindir", "onnx"])
@pytest.mark.parametrize("size", [(40, 52), (300, 200)])
def test_the_program_prints_the_scores_of_the_network(tmp_path, name, size):
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    (program,) = re.findall(rf"```python\n(# {name}_clip\.py.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert "src" not in program
    (tmp_path / f"{name}_clip.py").write_text(program)

    network = ordering_network()
    config = colour_settings(file_format=name.upper(), export_batch_size=0 if compat.EXPORTS_ANY_BATCH else 1)
    export.export_network(network, config, NAMES, tmp_path / f"trn.{name}")
    write_video(tmp_path / "clip.mp4", changing_frames(17, *size))

    command = [sys.executable, f"{name}_clip.py", "clip.mp4"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    frames = read_clip(open_source(str(tmp_path / "clip.mp4")), 3, 0).frames
    scores = ClipScorer(network, test_crops=1)(crops_of(frames, SIDE, 1)[None], np.zeros(1))[0]
    printed = [line.strip().split("%  ") for line in ended.stdout.splitlines()]
    assert [label for _, label in printed] == [NAMES[i] for i in np.argsort(-scores)]
    # One level of one pixel may differ: the program resizes all pictures with Pillow.
    expected = 100 * np.sort(softmax(scores))[::-1]
    assert [float(percent) for percent, _ in printed] == pytest.approx(expected, abs=0.2)
