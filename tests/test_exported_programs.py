"""The programs in docs/exported_programs.md, as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from src.evaluation.scoring import ClipScorer
from src.inference.streaming import Recognizer
from src.ops import compat
from src.shipping import export
from src.shipping.parts import network_parts
from src.transforms import cut_crops
from src.tsn import TSN
from src.utils import softmax
from tests.helpers import ROOT
from tests.helpers.colours import (
    NAMES,
    ColourBackbone,
    colour_settings,
    ordering_network,
    write_video,
)
from tests.helpers.containers import rotate
from tests.helpers.networks import SIDE
from tests.helpers.only_packages import only

pytestmark = [pytest.mark.usefixtures("compiled")] if compat.LEGACY else []  # 1.10 runs a MINDIR in graph mode only
PAGE = ROOT / "docs" / "exported_programs.md"


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


def run(command, folder, packages=None):
    """Runs it in an environment that holds nothing but ``packages``."""
    environment = None if packages is None else only(packages, folder / "only")
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False, env=environment
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "degrees"),
    [("mindir", (300, 200), 90), ("onnx", (40, 52), 0), ("onnx", (40, 52), 180), ("onnx", (300, 200), 270)],
)
def test_the_program_prints_the_scores_of_the_network(tmp_path, name, size, degrees):
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    (program,) = re.findall(rf"```python\n(# {name}_clip\.py.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "src" not in program
    (tmp_path / f"{name}_clip.py").write_text(program)

    ordering = ordering_network()
    backbone = UpperHalf(8)
    backbone.fc = ordering.base_model.fc
    network = TSN(backbone, ordering.consensus, 3, ordering.backbone, ordering.head).set_train(False)
    config = colour_settings(file_format=name.upper(), export_batch_size=0 if compat.EXPORTS_ANY_BATCH else 1)
    export.export_network(network, config, NAMES, tmp_path / f"trn.{name}")
    rows, columns = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    # Blue at the right, red below, so that all four sides differ, and green that grows with time.
    colours = [np.stack([columns, np.full(size, time), rows], -1) for time in np.linspace(0, 1, 17)]
    frames = [(230 * colour).astype(np.uint8) for colour in colours]
    stored = stored_frames(rotate(write_video(tmp_path / "clip.mp4", frames), degrees))

    command = [sys.executable, f"{name}_clip.py", "clip.mp4"]
    ended = run(command, tmp_path, {"numpy", "cv2", "PIL", "onnxruntime"} if name == "onnx" else None)
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
    config = colour_settings(file_format="ONNX", export_batch_size=0, streaming=True)
    export.export_network(network, config, NAMES, tmp_path / "trn.onnx")
    rows, columns = np.mgrid[0 : 1 : 40 * 1j, 0 : 1 : 52 * 1j]
    colours = [np.stack([columns, np.full((40, 52), time), rows], -1) for time in np.linspace(0, 1, 60)]
    write_video(tmp_path / "clip.mp4", [(230 * colour).astype(np.uint8) for colour in colours], rate=10)

    command = [sys.executable, "stream_camera.py", "clip.mp4"]
    ended = run(command, tmp_path, {"numpy", "cv2", "PIL", "onnxruntime"})
    assert ended.returncode == 0, ended.stderr
    found = [re.fullmatch(r" *([\d.]+) s +([\d.]+)%  (.*)", line).groups() for line in ended.stdout.splitlines()]

    recognizer, expected = Recognizer(network_parts(network), SIDE), []
    for index, frame in enumerate(stored_frames(tmp_path / "clip.mp4")):
        scores = recognizer.push(frame, index / 10)
        if scores is not None:
            expected.append((index / 10, 100 * softmax(scores).max(), NAMES[scores.argmax()]))
    assert [float(time) for time, _, _ in found] == pytest.approx([time for time, _, _ in expected], abs=0.01)
    assert [float(share) for _, share, _ in found] == pytest.approx([share for _, share, _ in expected], abs=0.3)
    assert [label for _, _, label in found] == [label for _, _, label in expected]
    assert len(found) > 2


def required(name):
    """The packages of a requirements file with their versions, by the names they are installed under."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(re.match(r"([\w-]+)==([\w.]+)", line).groups() for line in lines if line and line[0] != "#")


def test_requirements_of_inference_are_those_of_the_rest():
    pins = (ROOT / "requirements.txt").read_text()
    for package, version in required("requirements-infer.txt").items():
        assert re.search(rf"^{package}=={re.escape(version)}(; python_version >= \"3.10\")?$", pins, re.MULTILINE)


def test_the_page_names_what_its_programs_import():
    text = PAGE.read_text(encoding="utf-8")
    (line,) = re.findall(r"pip install (.*)", text)
    imported = {"cv2": "opencv-python-headless", "PIL": "pillow", "numpy": "numpy", "onnxruntime": "onnxruntime"}
    assert set(line.split()) == set(imported.values())
    for name in imported:
        assert re.search(rf"(import|from) (\w+, )*{name}\b|import .*, {name}\b|import {name}\b", text), name


@pytest.mark.slow
def test_inference_of_onnx_needs_the_packages_of_requirements_infer_only(tmp_path):
    """A clip, windows and a stream, without MindSpore and without what draws."""
    pytest.importorskip("onnxruntime")
    imported = {"opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml"}
    packages = {imported.get(package, package) for package in required("requirements-infer.txt")}
    packages |= {"dateutil", "pyparsing", "cycler", "kiwisolver", "contourpy", "six", "mpl_toolkits"}  # matplotlib's
    for streaming in (False, True):
        config = colour_settings(file_format="ONNX", export_batch_size=0, streaming=streaming)
        export.export_network(ordering_network(), config, NAMES, tmp_path / "trn.onnx")
    frames = [np.full((40, 52, 3), 4 * level, np.uint8) for level in range(60)]
    write_video(tmp_path / "clip.mp4", frames, rate=10)
    for options in (["trn.onnx"], ["trn.onnx", "--window", "2"], ["trn_frame.onnx", "--stream", "--output", "o.mp4"]):
        options = ["--source", "clip.mp4", "--json", "r.json", "--model", *options]
        command = [sys.executable, str(ROOT / "infer.py"), *options]
        ended = run(command, tmp_path, packages)
        assert ended.returncode == 0, (options, ended.stderr)
        assert (tmp_path / "r.json").is_file()
        (tmp_path / "r.json").unlink()
    command = [sys.executable, str(ROOT / "infer.py"), "--source", "clip.mp4", "--model", "trn.ckpt"]
    (tmp_path / "trn.ckpt").write_bytes(b"weights")
    ended = run(command, tmp_path, packages)
    assert ended.returncode == 1
    assert "has no package mindspore" in ended.stderr
    assert "Traceback" not in ended.stderr
