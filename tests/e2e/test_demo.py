"""The page of demo.py in a real Chromium whose camera plays a file, on a network that names colours."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import pytest

import infer
from model_utils.config import load_config
from tests.helpers.colours import colour_network, coloured, write_video
from tests.helpers.containers import rotate

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-demo" / "bin" / "python"  # Gradio does not go with the other requirements
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WINDOW = 0.6  # seconds; a frame every 0.2
RATE, HEIGHT, WIDTH = 10, 120, 160
TIMEOUT = 90  # seconds

pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-demo with Gradio; scripts/run_tests.sh makes it"),
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of the page, the folder of the server's temporary files, and the checkpoint."""
    folder, temporary = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("temporary")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "TMPDIR": str(temporary), "GLOG_v": "3", "PYTHONPATH": str(ROOT)}
    options = [str(folder), "--port", str(port), "--window", str(WINDOW)]
    command = [str(PYTHON), "-m", "tests.helpers.demo_server", *options]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith(f"http://127.0.0.1:{port}/ "), line
        yield line.split()[0], temporary, folder / "colours.ckpt"
        process.terminate()
        assert process.wait(20) == 128 + 15
        assert [path for path in temporary.rglob("*") if path.name.startswith("trn-demo")] == []
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def visit(server):
    """A function that opens the page in a browser of its own, whose camera plays a file."""
    webdriver = pytest.importorskip("selenium.webdriver")
    with contextlib.ExitStack() as stack:

        def open_page(camera: Path | None = None):
            options = webdriver.ChromeOptions()
            options.binary_location = BROWSER
            for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1200,1000"):
                options.add_argument(f"--{argument}")
            if camera:
                options.add_argument("--use-fake-ui-for-media-stream")
                options.add_argument("--use-fake-device-for-media-stream")
                options.add_argument(f"--use-file-for-fake-video-capture={camera}")
            options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
            browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
            stack.callback(browser.quit)
            browser.get(server[0])
            waited(lambda: find(browser, "input[type=file]"))
            return browser

        yield open_page


def waited(condition):
    """The first true value of a condition; the page may replace an element while it is looked at."""
    from selenium.common.exceptions import StaleElementReferenceException

    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(StaleElementReferenceException):
            value = condition()
            if value:
                return value
        time.sleep(0.1)
    raise AssertionError("nothing came")


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def press(browser, text):
    """Clicks the button, or the tab, that has this text."""

    def click():
        buttons = [button for button in find(browser, "button") if button.text == text]
        for button in buttons[-1:]:
            button.click()
        return buttons

    waited(click)


def answer(browser, path):
    """The text of the answer to an upload, which names the file."""
    waited(lambda: find(browser, "input[type=file]"))[0].send_keys(str(path))
    selector = ".trn-answer, .trn-message"
    return waited(lambda: [e.text for e in find(browser, selector) if path.name in e.text])[0]


def is_clean(temporary):
    """Whether no file lies in the server's temporary folder."""
    return not [path for path in temporary.rglob("*") if path.is_file()]


def drawn_stream(order):
    """Three gestures between pauses, as frames; 12.1 s."""
    parts = [coloured("No gesture", 2 * RATE, HEIGHT, WIDTH)]
    for name, seconds in zip(order, (2.0, 1.2, 2.4)):
        parts += [coloured(name, round(seconds * RATE), HEIGHT, WIDTH), coloured("No gesture", 15, HEIGHT, WIDTH)]
    return sum(parts, [])


def write_y4m(path, frames):
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())
    return path


def events_of_infer(tmp_path, monkeypatch, checkpoint, video):
    """What ``infer.py --stream`` finds in a video."""
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
    monkeypatch.setattr("src.training.checkpoint.build_network", lambda *_: colour_network())
    result = tmp_path / "events.json"
    options = ["--model", checkpoint, "--source", video, "--stream", "--window", WINDOW, "--json", result]
    infer.infer(load_config(list(map(str, options)), add_arguments=infer.add_arguments))
    return json.loads(result.read_text())["events"]


def watch(browser):
    """The gestures that ended, (label, start, end), after the camera has played its file once and a half."""
    press(browser, "Camera")
    press(browser, "Click to Access Webcam")
    press(browser, "Record")
    waited(lambda: [e for e in find(browser, ".trn-live") if float(e.get_attribute("data-seconds")) > 18])
    script = "return [...document.querySelectorAll('.trn-live tr[data-label]')].map(row => ({...row.dataset}))"
    rows = [row for row in browser.execute_script(script) if row["end"]]
    return [(row["label"], float(row["start"]), float(row["end"])) for row in reversed(rows)]


def test_two_cameras_at_once_give_the_events_of_infer(server, visit, tmp_path, monkeypatch):
    """Each visitor's are those of a contiguous part of the file, which the camera repeats."""
    address, _, checkpoint = server
    orders = [("Red", "Blue", "Green"), ("Blue", "Red", "Green")]
    cameras, expected = [], []
    for number, order in enumerate(orders):
        frames = drawn_stream(order)
        cameras.append(write_y4m(tmp_path / f"{number}.y4m", frames))
        video = write_video(tmp_path / f"{number}.avi", 3 * frames, RATE)
        expected.append(events_of_infer(tmp_path, monkeypatch, checkpoint, video))
        assert [event["label"] for event in expected[-1]] == 3 * list(order)
    browsers = [visit(camera) for camera in cameras]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(watch, browsers))
    # A frame comes up to 0.2 s after it is due for the network, and its time is that of the page's clock, 0.04 s apart.
    slack = 2 * WINDOW / 3 + 0.1
    for events, reference in zip(found, expected):
        events = events[1:]  # of the first the camera may have shown a part
        assert len(events) >= 2
        begin = [event["label"] for event in reference].index(events[0][0])
        shift = events[0][1] - reference[begin]["start"]
        for (label, start, end), event in zip(events, reference[begin:]):
            assert label == event["label"]
            assert start - shift == pytest.approx(event["start"], abs=slack)
            assert end - shift == pytest.approx(event["end"], abs=slack)
    live = find(browsers[0], ".trn-live")[0]
    assert 0 < int(live.get_attribute("data-looked-at")) < int(live.get_attribute("data-arrived"))
    assert "From a frame to its answer on the page: at most" in live.text


def test_uploads(server, visit, tmp_path):
    """Each gets an answer or a line that says why not; no file stays, and nothing comes from elsewhere."""
    address, temporary, _ = server
    browser = visit()
    text = tmp_path / "notes.txt"
    text.write_text("no video")
    assert answer(browser, text) == "notes.txt: not a video, no frame of it could be decoded"
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    assert "empty.mp4" in answer(browser, empty)
    one = answer(browser, write_video(tmp_path / "one.avi", coloured("Red", 1)))
    assert "1 frame, " in one
    assert one.split("The whole video in one answer")[1].split()[0] == "Red"

    video = write_video(tmp_path / "turned.mp4", coloured("Green", 24, 90, 160))
    rotate(video, 90)
    assert answer(browser, video).split("The whole video in one answer")[1].split()[0] == "Green"
    size = "const v = document.querySelector('.trn video'); return v.readyState && [v.videoWidth, v.videoHeight]"
    width, height = waited(lambda: browser.execute_script(size))
    assert height / width == pytest.approx(160 / 90, rel=0.01)  # upright, and the browser plays it
    assert waited(lambda: browser.execute_script("return document.querySelector('.trn img').naturalWidth")) > 500
    assert waited(lambda: is_clean(temporary))

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 5
    assert [url for url in urls if not url.startswith((address, "data:", "blob:"))] == []


def test_uploads_of_two_visitors_at_once(server, visit, tmp_path):
    red = write_video(tmp_path / "red.avi", coloured("Red", 60))
    blue = write_video(tmp_path / "blue.avi", coloured("Blue", 40))
    browsers = [visit(), visit()]
    for turn in range(2):
        paths = [red, blue][:: 1 if turn == 0 else -1]
        with ThreadPoolExecutor(2) as pool:
            texts = list(pool.map(answer, browsers, paths))
        tops = [text.split("The whole video in one answer")[1].split()[0] for text in texts]
        assert tops == ["Red", "Blue"][:: 1 if turn == 0 else -1]
    assert waited(lambda: is_clean(server[1]))


def test_an_upload_that_is_too_large(server, visit, tmp_path):
    large = tmp_path / "large.mp4"
    with open(large, "wb") as file:
        file.truncate(65 * 2**20)
    browser = visit()
    find(browser, "input[type=file]")[0].send_keys(str(large))
    assert waited(lambda: "exceed the maximum" in browser.find_element("css selector", "body").text)
    assert waited(lambda: is_clean(server[1]))
