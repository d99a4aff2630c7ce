"""The page's JavaScript in Node, beside the values that Python computes: pixels, which frames, gestures, features."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from model_utils.util import write_json
from src.inference.streaming import EventDetector, EventRules, Recognizer
from src.ops.compat import EXPORTS_ANY_BATCH
from src.shipping.page import SOURCE
from src.shipping.parts import Parts
from src.transforms import CAFFE_PIXELS, IMAGENET_PIXELS, cut_crops
from src.utils import softmax
from tests.helpers.pages import made_page, pair_runner, write_pair

TESTS = Path(__file__).parent / "page"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(not NODE, reason="no node, which runs the page's JavaScript")


def base64_of(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def run_node(test: str, values: dict, folder: Path) -> None:
    """Runs a file of tests on values; each of them is to pass, and there is at least one."""
    path = folder / "values.json"
    write_json(path, values)
    command = [str(NODE), "--test", "--test-reporter=tap", str(TESTS / test)]
    done = subprocess.run(
        command, env={**os.environ, "VALUES": str(path)}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)[1]) >= 1


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Noise beside smooth colours: uint8 [height, width, 3] BGR."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, 3))
    ramp = np.linspace(0, 255, width)[None, :, None] * rng.random(3)
    return np.where(np.arange(height)[:, None, None] % 8 < 4, noise, ramp).astype(np.uint8)


def rgba(frame: np.ndarray) -> np.ndarray:
    return np.dstack([frame[..., ::-1], np.full(frame.shape[:2], 255, np.uint8)])


def test_pixels_are_those_of_python(tmp_path):
    """Shrunk pictures are Pillow's, to the last level; enlarged ones are OpenCV's in Python, within one level."""
    cases = []
    sizes = [(480, 640), (720, 405), (100, 176), (256, 300), (73, 73), (90, 41), (1, 7), (257, 256)]
    for seed, (height, width) in enumerate(sizes):
        for size, pixels in ((64, CAFFE_PIXELS), (224, IMAGENET_PIXELS)):
            frame = picture(height, width, seed)
            crop = cut_crops([frame], size, 1)[0, 0]
            target = size * 256 // 224
            page = {
                "image_size": size,
                "channel_order": pixels.order,
                "channel_means": pixels.means,
                "scales": pixels.scales,
            }
            cases.append(
                {
                    "name": f"{width} x {height} to {size}",
                    "width": width,
                    "height": height,
                    "image": base64_of(rgba(frame)),
                    "size": size,
                    "crop": base64_of(crop[..., ::-1]),
                    "exact": target <= min(height, width),
                    "page": page,
                    "input": base64_of(pixels.prepare(crop[None])[0]),
                }
            )
    assert {case["exact"] for case in cases} == {True, False}
    planes = [planes_case(tmp_path, 124, 50), planes_case(tmp_path, 64, 36)]
    run_node("pixels.test.mjs", {"pixels": cases, "planes": planes}, tmp_path)


def planes_case(folder: Path, width: int, height: int) -> dict:
    """A frame of random planes and what FFmpeg, which OpenCV reads videos with, makes of it."""
    path = folder / f"{width}.y4m"
    planes = np.random.default_rng(width).integers(0, 256, width * height * 3 // 2, dtype=np.uint8)
    header = f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\nFRAME\n".encode()
    path.write_bytes(header + planes.tobytes())
    read, frame = cv2.VideoCapture(str(path)).read()
    assert read
    return {
        "name": f"planes {width}",
        "width": width,
        "height": height,
        "planes": base64_of(planes),
        "rgb": base64_of(frame[..., ::-1]),
    }


def gesture_walk(rng: np.random.Generator, classes: int, count: int) -> np.ndarray:
    """Probabilities [count, classes] in which one class after another is likely for a while."""
    logits = np.zeros(classes)
    rows = []
    for _ in range(count):
        if rng.random() < 0.25:
            logits = rng.normal(scale=1.2, size=classes)
            logits[rng.integers(classes)] += rng.choice([0.5, 2, 5])
        rows.append(softmax(logits + rng.normal(scale=0.3, size=classes)))
    return np.array(rows)


def event_case(seed: int, rules: EventRules) -> dict:
    rng = np.random.default_rng(seed)
    categories = ["No gesture", "Left", "Right", "Doing other things", "Up"]
    background = ["No gesture", "Doing other things"][: 1 + seed % 2]
    detector = EventDetector(categories, rules, background)
    times = np.cumsum(rng.choice([0.375, 0.375, 0.4, 0.1, 2.5], 120))
    scorings = []
    for seconds, probabilities in zip(times.tolist(), gesture_walk(rng, len(categories), len(times))):
        changes = [change._asdict() for change in detector.update(seconds, probabilities)]
        current = detector.current._asdict() if detector.current else None
        row = {"seconds": seconds, "probabilities": probabilities.tolist(), "changes": changes, "current": current}
        scorings.append(row)
    end = float(times[-1]) + 0.2
    return {
        "name": f"seed {seed}",
        "categories": categories,
        "background": background,
        "rules": asdict(rules),
        "scorings": scorings,
        "finish": {"seconds": end, "changes": [change._asdict() for change in detector.finish(end)]},
    }


def sampler_case(window: float, segments: int, times: np.ndarray) -> dict:
    """Which frames a Recognizer takes: those that it returns scores for, once it has T."""
    parts = Parts(segments, lambda frames: np.zeros((len(frames), 2)), lambda rows: np.zeros((len(rows), 2)))
    recognizer = Recognizer(parts, 32, window)
    black, taken = np.zeros((40, 40, 3), np.uint8), []
    for seconds in times.tolist():
        before = recognizer.due
        recognizer.push(black, seconds)
        taken += [seconds] if recognizer.due != before else []
    return {
        "name": f"window {window}, {segments} frames, {len(times)} times",
        "interval": window / segments,
        "times": times.tolist(),
        "taken": taken,
    }


def test_gestures_are_those_of_python(tmp_path):
    rules = [EventRules(), EventRules(on=0.5, off=0.3, share=0.3, least=0.2, early=0.4), EventRules(share=0.0)]
    events = [event_case(seed, rules[seed % len(rules)]) for seed in range(12)]
    reported = [change for case in events for row in case["scorings"] for change in row["changes"]]
    assert sum(change["end"] is None for change in reported) > 20
    assert any(case["finish"]["changes"] for case in events)
    rng = np.random.default_rng(7)
    uneven = np.cumsum(rng.choice([0.01, 0.03, 0.05, 0.9], 300, p=[0.3, 0.4, 0.28, 0.02]))
    sampled = [sampler_case(3.0, 8, np.arange(300) / rate) for rate in (12, 25, 29.97, 30, 2)]
    sampled.append(sampler_case(3.0, 8, np.arange(300) * 0.08333))  # of milliseconds that were rounded down
    sampled += [sampler_case(0.6, 3, uneven), sampler_case(3.0, 8, uneven)]
    assert all(len(case["taken"]) > 2 for case in sampled)
    assert any(len(case["taken"]) < len(case["times"]) / 5 for case in sampled)
    logits = rng.normal(scale=6, size=(5, 27)).astype(np.float32)
    rows = [{"logits": row.tolist(), "probabilities": softmax(row).tolist()} for row in logits]
    run_node("events.test.mjs", {"events": events, "sampler": sampled, "softmax": rows}, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not EXPORTS_ANY_BATCH, reason="the package writes no ONNX")
@pytest.mark.skipif(not shutil.which("npm"), reason="no npm, which fetches the page's runtime")
def test_features_are_those_of_onnxruntime(tmp_path):
    """Of 32 and of 8 bits. A damaged file and another number of classes are told apart."""
    cases = []
    frames = [picture(60, 80, seed) for seed in range(5)]
    for kind in ("32 bits", "8 bits"):
        pair = write_pair(tmp_path / kind, quantised=kind == "8 bits")
        folder = made_page(pair, tmp_path / f"{kind} page")
        assert json.loads((folder / "page.json").read_text())["precision"] == kind
        features, probabilities = pair_runner(pair, frames)
        assert np.ptp(features, axis=0).max() > 0.1  # pictures count
        cases.append(
            {
                "name": kind,
                "folder": str(folder),
                "pictures": [{"data": base64_of(rgba(frame)), "width": 80, "height": 60} for frame in frames],
                "features": features.tolist(),
                "probabilities": probabilities.tolist(),
            }
        )
    runtime = str(folder / "runtime")
    run_node("network.test.mjs", {"network": {"runtime": runtime, "cases": cases}}, tmp_path)


def test_every_problem_has_its_sentence():
    source = "\n".join(path.read_text(encoding="utf-8") for path in (SOURCE / "js").glob("*.js"))
    table = (SOURCE / "js/camera.js").read_text(encoding="utf-8").split("CAMERA_PROBLEMS = {")[1].split("}")[0]
    kinds = {*re.findall(r'Problem\("([\w-]+)"', source), *re.findall(r'kind: "([\w-]+)"', source)}
    kinds |= {*re.findall(r'\? "([\w-]+)" : "[\w-]+", error', source), *re.findall(r': "([\w-]+)",', table)}
    assert {"no-camera", "refused", "damaged", "classes", "runtime"} <= kinds
    sentences = (SOURCE / "js/sentences.js").read_text(encoding="utf-8")
    assert {kind for kind in kinds if not re.search(rf'^  "?{kind}"?: ', sentences, re.MULTILINE)} == set()
