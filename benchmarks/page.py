"""The page in Chromium: gestures of drawn streams beside infer.py --stream, its speed beside onnxruntime's, its start.

    python -m benchmarks.page streams PAIR      # PAIR: trn_int8_frame.onnx of a network for the quickstart's classes
    python -m benchmarks.page speed [FRAMES]    # random weights, full and quarter width
    python -m benchmarks.page start MODEL [--key value ...]    # run_demo.sh, with and without npm's cache

Needs chromium, chromedriver, npm and selenium. Prints tables and asserts nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.deploy import exported, load
from make_page import size_of
from src.data.video import Span, open_source
from src.data.video_writer import VideoWriter
from src.evaluation.events import match_events
from src.inference.streaming import EventDetector, Recognizer, stream
from src.synthetic.streams import STREAM_RATE, draw_stream, stream_labels
from tests.helpers.browser import chromium, element, heard, listen, served_folder, state, waited, write_y4m
from tests.helpers.pages import made_page

ROOT = Path(__file__).resolve().parents[1]
SEED, VIDEOS = 909, 10  # not a seed of docs/streams.md
FPS, SECONDS, HEIGHT, WIDTH = 30, 20, 480, 640


# ------------------------------------------------------------------------------------------------------------- streams


def events_of_infer(pair: Path, video: Path) -> list[Span]:
    model = load(pair)
    recognizer = Recognizer(model.parts("a stream"), model.image_size)
    detector = EventDetector(model.categories)
    changes = [
        change for moment in stream(recognizer, detector, open_source(str(video)), False) for change in moment[3]
    ]
    changes += detector.finish(float(open_source(str(video)).times[-1]))
    return [change for change in changes if change.end is not None]


def events_of_page(browser: Any, address: str, video: Path) -> list[Span]:
    browser.get(address)
    state(browser, "ready")
    listen(browser)
    element(browser, "file").send_keys(str(video))
    state(browser, "done", "too-short", "problem")
    return [Span(**event) for event in heard(browser) if event["end"] is not None]


def events_of_camera(browser: Any, address: str, seconds: float) -> list[Span]:
    """The events of a camera that plays the stream once from its beginning."""
    browser.get(f"{address}?camera")
    listen(browser)
    state(browser, "camera", "filling")
    time.sleep(seconds)
    element(browser, "start").click()
    return [Span(**event) for event in heard(browser) if event["end"] is not None]


def right(truth: list[dict[str, Any]], events: list[Span]) -> int:
    gestures = [Span(row["start"], row["end"], row["label"], 1.0) for row in truth]
    return len(match_events(gestures, events))


def streams(pair: Path) -> None:
    names = load(pair).categories
    gestures = [name for name in names if name != "No gesture"]
    numbers = [number for number in range(1, 2 * VIDEOS) if stream_labels(gestures, SEED, number)][:VIDEOS]
    print(
        "video  gestures  infer.py: events, right  page: events, right  the same  most s apart  camera: events, right"
    )
    sums = np.zeros(5, int)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        address = stack.enter_context(served_folder(made_page(pair, Path(folder) / "page")))
        browser = stack.enter_context(chromium())
        for number in numbers:
            frames, truth = draw_stream(stream_labels(gestures, SEED, number), SEED, number)
            video = Path(folder) / f"{number}.webm"
            with VideoWriter(str(video), STREAM_RATE) as writer:
                for frame in frames:
                    writer.write(frame)
            expected, found = events_of_infer(pair, video), events_of_page(browser, address, video)
            same = [event.label for event in expected] == [event.label for event in found]
            apart = max((abs(a - b) for e, f in zip(expected, found) for a, b in zip(e[:2], f[:2])), default=0.0)
            even = [frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2] for frame in frames]
            camera = write_y4m(Path(folder) / f"{number}.y4m", even, round(STREAM_RATE))
            with chromium(camera=camera) as watching:
                seen = events_of_camera(watching, address, len(frames) / STREAM_RATE + 0.5)
            row = [len(truth), right(truth, expected), right(truth, found), same, right(truth, seen)]
            sums += row
            counts = f"{len(expected)}, {row[1]}", f"{len(found)}, {row[2]}", f"{len(seen)}, {row[4]}"
            print(
                f"{number:5} {len(truth):9} {counts[0]:>24} {counts[1]:>20} {'yes' if same else 'no':>9} {apart:13.3f}"
                f" {counts[2]:>22}",
                flush=True,
            )
    print(f"of {sums[0]} gestures: infer.py {sums[1]}, page {sums[2]}, camera {sums[4]}; the same events in {sums[3]}")


# --------------------------------------------------------------------------------------------------------------- speed


# Runs in the page: frames of 640 x 480, through the page's own worker.
IN_PAGE = """
const [frames, threads, done] = arguments;
(async () => {
  const { loadNetwork, readPage } = await import("./js/loading.js");
  const page = await readPage();
  const ask = await loadNetwork(page, threads, () => {});
  const times = [];
  for (let i = 0; i < frames; i++) {
    const data = new Uint8ClampedArray(640 * 480 * 4).map((_, j) => (j * 7 + i * 31) % 256);
    const { milliseconds } = await ask({ type: "look", data: data.buffer, width: 640, height: 480 }, [data.buffer]);
    times.push(milliseconds);
  }
  done(times);
})().catch((error) => done(String(error.stack)));
"""


def native(pair: Path, frames: int, threads: int) -> list[float]:
    """The same work in Python: resize, features, scores; ms a frame."""
    from src.shipping.exported import described_input, load_exported, other_path, read_usage
    from src.transforms import cut_crops

    usage = read_usage(pair)
    frame_features = load_exported(pair, threads)
    head = load_exported(other_path(pair, usage), threads=1)
    picture = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    features, times = [], []
    for _ in range(frames):
        began = time.perf_counter()
        crop = cut_crops([picture], usage["image_size"], 1)[0]
        features = (features + [frame_features([described_input(usage["input"]).prepare(crop)])[0]])[-8:]
        if len(features) == 8:
            head([np.stack(features)[None]])
        times.append(1000 * (time.perf_counter() - began))
    return times


def left_out(address: str, camera: Path) -> str:
    """The page's numbers after a camera of 30 frames a second has played."""
    with chromium(camera=camera) as browser:
        browser.get(f"{address}?camera")
        state(browser, "camera", "filling")
        time.sleep(SECONDS)
        pairs = browser.execute_script(
            "return [...document.querySelectorAll('#facts dt')].map(e => [e.textContent, e.nextSibling.textContent])"
        )
    wanted = "Runs on", "Time of the network", "Frames looked at", "Frame to answer", "Due but left out"
    return "; ".join(f"{name}: {text}" for name, text in pairs if name in wanted)


def speed(frames: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rng = np.random.default_rng(0)
        noise = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(FPS)]
        camera = write_y4m(work / "camera.y4m", noise, FPS)
        print("width side threads   Chromium ms (95 %)   onnxruntime ms (95 %)")
        for width, side in ((0.25, 64), (1.0, 224)):
            pair = exported(work, True, True, 1, side, width)
            page = made_page(pair, work / f"page {width}")
            print(f"folder of width {width}: {size_of(page):.1f} MB")
            with served_folder(page) as address:
                with chromium() as browser:
                    browser.set_script_timeout(500)
                    browser.get(address)
                    state(browser, "ready")
                    most = min(browser.execute_script("return navigator.hardwareConcurrency"), 4)
                    for threads in sorted({1, most}):
                        inside = browser.execute_async_script(IN_PAGE, frames + 8, threads)
                        outside = native(pair, frames + 8, threads)
                        cells = []
                        for times in (inside, outside):
                            cells.append(f"{np.median(times[8:]):.1f} ({np.percentile(times[8:], 95):.1f})")
                        print(f"{width:5} {side:4} {threads:7} {cells[0]:>20} {cells[1]:>23}", flush=True)
                print(f"      camera, {FPS} frames a second: {left_out(address, camera)}", flush=True)


# --------------------------------------------------------------------------------------------------------------- start


def seconds_to_ready(model: str, options: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds from run_demo.sh to its address, and to a page that recognises."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["bash", str(ROOT / "scripts/run_demo.sh"), model, "--port", str(port), *options]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        waited(lambda: (process.stdout or sys.stdin).readline().startswith("http"), 600)
        shown = time.monotonic() - began
        with chromium() as browser:
            browser.get(f"http://127.0.0.1:{port}/")
            state(browser, "ready")
            return shown, time.monotonic() - began
    finally:
        process.terminate()
        process.wait()


def start(model: str, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "npm_config_cache": cache, "PYTHON": sys.executable}
        for name in ("first start", "second start"):
            shown, ready = seconds_to_ready(model, options, environment)
            print(f"{name}: the address after {shown:.1f} s, the page is ready after {ready:.1f} s", flush=True)


def main() -> None:
    measurement, *arguments = sys.argv[1:] or ["speed"]
    if measurement == "streams":
        streams(Path(arguments[0]))
    elif measurement == "start":
        start(arguments[0], arguments[1:])
    else:
        speed(int(arguments[0]) if arguments else 40)


if __name__ == "__main__":
    main()
