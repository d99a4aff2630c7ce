"""A stream in real time: which frames of a 30 fps camera are scored, and how long after a frame.

    python -m benchmarks.realtime [ROUNDS]

Full width, 224 px, T = 8, random weights, a made video of 640 x 480. It is played at its own rate, as by
`infer.py --stream --realtime`: a frame that comes too late is left out. Prints one row for each kind of model.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.deploy import NAMES, exported, load, random_checkpoint
from src.data.video import open_source
from src.data.video_writer import VideoWriter
from src.inference.streaming import EventDetector, Recognizer, stream

RATE, SECONDS, HEIGHT, WIDTH = 30, 20, 480, 640


def make_video(path: Path) -> None:
    """A grey gradient that moves, with some noise: decoding it costs about what a camera's pictures cost."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 255, WIDTH)[None, :, None]
    with VideoWriter(str(path), RATE) as writer:
        for index in range(RATE * SECONDS):
            noise = rng.integers(0, 8, (HEIGHT, WIDTH, 3))
            writer.write(((x + 3 * index + noise) % 256).astype(np.uint8))


class Watched(Recognizer):
    """Counts the frames that came in time."""

    pushed = 0

    def push(self, frame: np.ndarray, seconds: float | None = None) -> np.ndarray | None:
        self.pushed += seconds is not None  # the frames that compile the network have no time
        return super().push(frame, seconds)


def play(recognizer: Watched, video: Path) -> tuple[int, list[float]]:
    """Number of frames, and the seconds from each scored frame to its scores."""
    source, frames, delays = open_source(str(video)), 0, []
    began = time.monotonic()
    for moment in stream(recognizer, EventDetector(NAMES), source, realtime=True):
        frames += 1
        if moment.logits is not None:
            delays.append(time.monotonic() - began - moment.seconds)
    return frames, delays


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        make_video(video := data / "camera.mp4")
        models = {"checkpoint (.ckpt)": random_checkpoint(data), "ONNX pair": exported(data, False, pair=True)}
        models["INT8 ONNX pair"] = exported(data, True, pair=True)
        print("| model | frames | left out late | scored | delay, median (ms) | delay, 95 % (ms) |")
        print("|---|---:|---:|---:|---:|---:|")
        for label, model in models.items():
            loaded = load(model)
            recognizer = Watched(loaded.parts("a stream"), loaded.image_size)
            played = [play(recognizer, video) for _ in range(rounds)]
            frames = sum(number for number, _ in played)
            delays = np.concatenate([seconds for _, seconds in played]) * 1000
            median, most = np.percentile(delays, (50, 95))
            late = frames - recognizer.pushed
            print(f"| {label} | {frames} | {late} | {len(delays)} | {median:.0f} | {most:.0f} |", flush=True)


if __name__ == "__main__":
    main()
