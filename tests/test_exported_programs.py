"""The programs in docs/exported_programs.md, as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.evaluation.scoring import ClipScorer
from src.inference.streaming import Recognizer
from src.ops import compat
from src.shipping import export
from src.transforms import cut_crops
from src.tsn import TSN
from src.utils import softmax
from tests.helpers.colours import (
    NAMES,
    ColourBackbone,
    colour_settings,
    ordering_network,
    write_video,
)
from tests.helpers.containers import rotate
from tests.helpers.networks import SIDE

PAGE = Path(__file__).parents[1] / "docs" / "exported_programs.md"


class UpperHalf(ColourBackbone):
    """Mean colour of the upper half: another one if the picture is turned."""

    def construct(self, frames, dropout_mask=None):
        return self.fc(frames[:, :, : SIDE // 2].mean((2, 3)) / 64)


def stored_frames(path):
    """The frames of a video without its rotation."""
    capture, frames = cv2.VideoCapture(str(path)), []
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    while capture.grab():
        frames.append(capture.retrieve()[1])
    capture.release()
    return frames


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mindir", "onnx"])
@pytest.mark.parametrize(("size", "degrees"), [((40, 52), 0), ((300, 200), 90), ((40, 52), 180), ((40, 52), 270)])
def test_the_program_prints_the_scores_of_the_network(tmp_path, name, size, degrees):
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    (program,) = re.findall(rf"```python\n(# {name}_clip\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "src" not in program
    (tmp_path / f"{name}_clip.py").write_text(program)

    ordering = ordering_network()
    backbone = UpperHalf(8)
    backbone.fc = ordering.base_model.fc
    network = TSN(backbone, ordering.consensus, 3).set_train(False)
    config = colour_settings(file_format=name.upper(), export_batch_size=0 if compat.EXPORTS_ANY_BATCH else 1)
    export.export_network(network, config, NAMES, tmp_path / f"trn.{name}")
    rows, columns = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    # Blue at the right, red below, so that all four sides differ, and green that grows with time.
    colours = [np.stack([columns, np.full(size, time), rows], -1) for time in np.linspace(0, 1, 17)]
    frames = [(230 * colour).astype(np.uint8) for colour in colours]
    stored = stored_frames(rotate(write_video(tmp_path / "clip.mp4", frames), degrees))

    command = [sys.executable, f"{name}_clip.py", "clip.mp4"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    printed = [line.strip().split("%  ") for line in ended.stdout.splitlines()]

    def percentages(turned):
        chosen = [turned[17 * (2 * i + 1) // 6] for i in range(3)]
        scores = ClipScorer(network, test_crops=1)(cut_crops(chosen, SIDE, 1)[None], np.zeros(1))[0]
        return {label: 100 * share for label, share in zip(NAMES, softmax(scores))}

    found = {label: float(percent) for percent, label in printed}
    assert list(found) == sorted(NAMES, key=lambda label: -found[label])
    # One level of one pixel may differ: the program resizes all pictures with Pillow.
    upright = percentages([np.ascontiguousarray(np.rot90(frame, -degrees // 90)) for frame in stored])
    assert found == pytest.approx(upright, abs=0.2)
    if degrees:
        assert max(abs(found[label] - share) for label, share in percentages(stored).items()) > 1


@pytest.mark.slow
def test_the_camera_loop_prints_what_a_stream_of_the_network_has(tmp_path):
    pytest.importorskip("onnxruntime")
    (program,) = re.findall(r"```python\n(# stream_camera\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "src" not in program
    assert program.count("\n") <= 35
    (tmp_path / "stream_camera.py").write_text(program)
    network = ordering_network()
    config = colour_settings(file_format="ONNX", export_batch_size=0)
    export.export_pair(network, config, NAMES, tmp_path / "trn.onnx")
    rows, columns = np.mgrid[0 : 1 : 40 * 1j, 0 : 1 : 52 * 1j]
    colours = [np.stack([columns, np.full((40, 52), time), rows], -1) for time in np.linspace(0, 1, 60)]
    write_video(tmp_path / "clip.mp4", [(230 * colour).astype(np.uint8) for colour in colours], rate=10)

    command = [sys.executable, "stream_camera.py", "clip.mp4"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    found = [re.fullmatch(r" *([\d.]+) s +([\d.]+)%  (.*)", line).groups() for line in ended.stdout.splitlines()]

    recognizer, expected = Recognizer(network, SIDE), []
    for index, frame in enumerate(stored_frames(tmp_path / "clip.mp4")):
        scores = recognizer.push(frame, index / 10)
        if scores is not None:
            expected.append((index / 10, 100 * softmax(scores).max(), NAMES[scores.argmax()]))
    assert [float(time) for time, _, _ in found] == pytest.approx([time for time, _, _ in expected], abs=0.01)
    assert [float(share) for _, share, _ in found] == pytest.approx([share for _, share, _ in expected], abs=0.3)
    assert [label for _, _, label in found] == [label for _, _, label in expected]
    assert len(found) > 2
