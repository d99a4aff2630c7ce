"""The page in a real Chromium, with a camera that plays a file and with videos, on a network that names colours."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import infer
from model_utils.config import load_config
from tests.helpers import ROOT
from tests.helpers.browser import (
    BROWSER,
    DRIVER,
    NPM,
    chromium,
    element,
    heard,
    listen,
    problem,
    requested,
    served,
    served_folder,
    state,
    waited,
    write_y4m,
)
from tests.helpers.colours import coloured, write_video
from tests.helpers.pages import made_page, write_colour_pair

pytest.importorskip("selenium")
pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver"),
    pytest.mark.skipif(not NPM, reason="no npm, which fetches the page's runtime"),
]

WINDOW = 0.6  # seconds; a frame every 0.2
RATE, HEIGHT, WIDTH = 10, 120, 160


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_colour_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def page(tmp_path_factory, pair):
    return made_page(pair, tmp_path_factory.mktemp("made") / "page", WINDOW)


@pytest.fixture(scope="module")
def address(page):
    with served_folder(page) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """A browser without a camera, for which page.example is this machine."""
    with chromium("host-resolver-rules=MAP page.example 127.0.0.1") as browser:
        yield browser


@pytest.fixture(scope="module")
def camera_browser(tmp_path_factory):
    """A browser whose camera shows the frames of ``drawn_stream``."""
    camera = write_y4m(tmp_path_factory.mktemp("camera") / "camera.y4m", drawn_stream(), RATE)
    with chromium(camera=camera) as browser:
        yield browser


@contextlib.contextmanager
def changed(page, tmp_path, **values):
    """The address of a copy of the page with other values in its page.json."""
    folder = tmp_path / "changed"
    shutil.copytree(page, folder)
    about = json.loads((folder / "page.json").read_text())
    (folder / "page.json").write_text(json.dumps({**about, **values}))
    with served_folder(folder) as address:
        yield address, folder


def drawn_stream():
    """Three gestures between pauses, as frames; 8.6 s."""
    parts = [coloured("No gesture", 10, HEIGHT, WIDTH)]
    for name, count in (("Red", 14), ("Blue", 12), ("Green", 17)):
        parts += [coloured(name, count, HEIGHT, WIDTH), coloured("No gesture", 11, HEIGHT, WIDTH)]
    return sum(parts, [])


def events_of_infer(tmp_path, pair, video):
    """What ``infer.py --stream`` finds in a video."""
    result = tmp_path / "events.json"
    options = ["--model", pair, "--source", video, "--stream", "--window", WINDOW, "--json", result]
    infer.infer(load_config(list(map(str, options)), add_arguments=infer.add_arguments))
    return json.loads(result.read_text())["events"]


def rows(browser):
    """The table of gestures: (label, start, end)."""
    script = "return [...document.querySelectorAll('#gestures tr')].map(row => ({...row.dataset}))"
    return [(row["label"], float(row["start"]), float(row["end"])) for row in browser.execute_script(script)]


def facts_of(browser):
    """The text of the facts below the picture."""
    return browser.execute_script("return document.getElementById('facts').textContent")


def frames_looked_at(facts):
    """What the facts say of the frames: (looked at, all, percent)."""
    return tuple(map(float, re.search(r"Frames looked at(\d+) of (\d+) \(([\d.]+) %\)", facts).groups()))


def open_video(browser, address, path):
    browser.get(address)
    state(browser, "ready")
    listen(browser)
    element(browser, "file").send_keys(str(path))
    return state(browser, "done", "too-short", "problem")


# ------------------------------------------------------------------------------------------------------ what is found


def test_a_video_gives_the_events_of_infer(browser, address, pair, tmp_path):
    video = write_video(tmp_path / "three.webm", drawn_stream(), RATE)
    expected = events_of_infer(tmp_path, pair, video)
    assert [event["label"] for event in expected] == ["Red", "Blue", "Green"]
    assert open_video(browser, address, video).startswith("three.webm: 3 gestures found in 8.6 s.")
    found = rows(browser)
    assert [label for label, *_ in found] == [event["label"] for event in expected]
    for (_, start, end), event in zip(found, expected):
        assert start == pytest.approx(event["start"], abs=0.002)
        assert end == pytest.approx(event["end"], abs=0.002)
    events = heard(browser)
    assert [(event["label"], event["end"] is None) for event in events] == [
        (label, new) for label, *_ in found for new in (True, False)
    ]
    for ended, event in zip(events[1::2], expected):
        assert ended["probability"] == pytest.approx(event["probability"], abs=1e-4)
    assert "3 gestures" in element(browser, "gesture").text
    looked, frames, percent = frames_looked_at(facts_of(browser))
    assert (frames, percent) == (len(drawn_stream()), pytest.approx(100 * looked / frames, abs=0.5))
    assert looked == pytest.approx(8.6 * 3 / WINDOW, abs=1)  # three frames a window

    # A row of the table and the slider move the video; the page says what is seen there.
    element(browser, "gestures").find_elements("tag name", "button")[1].click()
    waited(lambda: element(browser, "gesture").text == "Blue")
    assert browser.execute_script("return document.getElementById('video').currentTime") >= found[1][1] - WINDOW / 2
    browser.execute_script(
        "const p = document.getElementById('position'); p.value = arguments[0]; p.dispatchEvent(new Event('input'))",
        found[2][1] + 0.4,
    )
    waited(lambda: element(browser, "gesture").text == "Green")


def test_a_camera_gives_the_events_of_infer(camera_browser, address, pair, tmp_path):
    """Those of a contiguous part of the file, which the camera repeats. Nothing comes from elsewhere."""
    reference = events_of_infer(tmp_path, pair, write_video(tmp_path / "thrice.webm", 3 * drawn_stream(), RATE))
    assert [event["label"] for event in reference] == 3 * ["Red", "Blue", "Green"]
    requested(camera_browser)  # for tests before this one
    camera_browser.get(f"{address}?camera")
    listen(camera_browser)
    waited(lambda: len(heard(camera_browser)) >= 10)
    facts = facts_of(camera_browser)
    looked, frames, percent = frames_looked_at(facts)
    assert 0 < looked <= frames  # equal only where a busy browser drops the others
    assert percent == pytest.approx(100 * looked / frames, abs=0.5)
    element(camera_browser, "start").click()  # now it says Stop
    assert "camera is off" in state(camera_browser, "ready")
    events, urls = heard(camera_browser), requested(camera_browser)
    assert [event["end"] is None for event in events] == [True, False] * (len(events) // 2)
    found = [event for event in events if event["end"] is not None][1:]  # of the first a part may have been shown
    begin = [event["label"] for event in reference].index(found[0]["label"])
    shift = found[0]["start"] - reference[begin]["start"]
    # A frame comes up to 0.2 s after it is due for the network.
    slack = 2 * WINDOW / 3 + 0.1
    for event, other in zip(found, reference[begin:]):
        assert event["label"] == other["label"]
        assert event["start"] - shift == pytest.approx(other["start"], abs=slack)
        assert event["end"] - shift == pytest.approx(other["end"], abs=slack)
    assert "Frame to answer" in facts
    assert len(urls) > 10
    assert [url for url in urls if not url.startswith((address, f"blob:{address}", "data:"))] == []


def test_slides_turn(camera_browser, page, tmp_path):
    """The example: a page around the page that hears its gestures."""
    names = ["Swiping Left", "Swiping Right", "Thumb Up", "No gesture"]  # of blue, green, red, grey
    with changed(page, tmp_path, categories=names) as (address, _):
        camera_browser.get(f"{address}slides.html")
        seen = [element(camera_browser, "slide").text]

        def turned():
            text = element(camera_browser, "slide").text
            seen.extend([text] if text != seen[-1] else [])
            return len(seen) >= 3

        waited(turned)
        camera_browser.get("about:blank")
    assert seen[:3] == ["First slide", "Second slide", "First slide"]


# -------------------------------------------------------------------------------------------------------------- states


def test_a_video_that_is_too_short(browser, address, tmp_path):
    video = write_video(tmp_path / "short.webm", coloured("Red", 3, HEIGHT, WIDTH), RATE)
    sentence = open_video(browser, address, video)
    assert sentence.startswith("short.webm: 0.3 s are too short, the network needs 3 pictures over 0.6 s.")


def test_a_video_without_gestures(browser, address, tmp_path):
    video = write_video(tmp_path / "none.webm", coloured("No gesture", 30, HEIGHT, WIDTH), RATE)
    assert open_video(browser, address, video) == "none.webm: No gestures found in 3.0 s."
    assert heard(browser) == []


def test_what_is_no_video(browser, address, tmp_path):
    """The page says so, and takes the next one."""
    path = tmp_path / "notes.mp4"
    path.write_text("no video")
    assert open_video(browser, address, path).startswith("notes.mp4: this browser cannot play it")
    assert problem(browser) == "video"
    element(browser, "file").send_keys(str(write_video(tmp_path / "red.webm", coloured("Red", 30, 90, 90), RATE)))
    assert "1 gesture found" in state(browser, "done")
    assert element(browser, "gesture").text == "Red"


def test_a_video_that_is_stopped(browser, address, tmp_path):
    """What was found stays, and the next video begins anew."""
    browser.get(address)
    state(browser, "ready")
    element(browser, "file").send_keys(str(write_video(tmp_path / "long.webm", 6 * drawn_stream(), RATE)))
    waited(lambda: element(browser, "gestures").find_elements("tag name", "tr"))
    element(browser, "start").click()  # now it says Stop
    assert state(browser, "ready") == "long.webm: stopped."
    waited(lambda: element(browser, "gesture").text == "Stopped")
    element(browser, "file").send_keys(str(write_video(tmp_path / "red.webm", coloured("Red", 30, 90, 90), RATE)))
    assert "1 gesture found" in state(browser, "done")
    assert [label for label, *_ in rows(browser)] == ["Red"]


def test_a_browser_that_is_slow_to_paint(browser, address, tmp_path):
    """For 0.7 s after each seek it gives the frame before, and tells late of the frames that it painted."""
    browser.get(address)
    state(browser, "ready")
    browser.execute_script("""
        const media = HTMLMediaElement.prototype, video = HTMLVideoElement.prototype;
        const Frame = window.VideoFrame, call = video.requestVideoFrameCallback;
        const { get, set } = Object.getOwnPropertyDescriptor(media, "currentTime");
        let before = null, until = 0;
        Object.defineProperty(media, "currentTime", { get, set(seconds) {
            before?.close();
            before = new Frame(this);
            until = performance.now() + 700;
            set.call(this, seconds);
        }});
        window.VideoFrame = function (element) {
            return performance.now() < until ? before.clone() : new Frame(element);
        };
        video.requestVideoFrameCallback = function (told) {
            return call.call(this, (now, data) => setTimeout(() => told(now, data), 700));
        };
    """)
    element(browser, "file").send_keys(str(write_video(tmp_path / "red.webm", coloured("Red", 16, 90, 90), RATE)))
    assert "1 gesture found" in state(browser, "done")
    assert [label for label, *_ in rows(browser)] == ["Red"]


def test_a_camera_that_is_not_there_or_not_given(browser, address):
    browser.get(address)
    state(browser, "ready")
    element(browser, "start").click()
    assert state(browser, "problem").startswith("No camera was found.")
    assert problem(browser) == "no-camera"
    script = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', arguments[0]))"
    for name, kind, words in (
        ("NotAllowedError", "refused", "The browser refused the camera."),
        ("NotReadableError", "in-use", "perhaps another program uses it"),
    ):
        browser.execute_script(script, name)
        element(browser, "start").click()
        waited(lambda kind=kind: problem(browser) == kind)
        assert words in state(browser, "problem")
        assert element(browser, "start").is_enabled()


def test_a_camera_that_goes_away(camera_browser, address):
    camera_browser.get(f"{address}?camera")
    state(camera_browser, "camera")
    camera_browser.execute_script(
        "const [track] = document.getElementById('video').srcObject.getVideoTracks();"
        "track.stop(); track.dispatchEvent(new Event('ended'))"
    )
    assert state(camera_browser, "problem").startswith("The camera stopped.")
    element(camera_browser, "start").click()
    state(camera_browser, "camera")


def test_a_page_without_https(browser, address, tmp_path):
    """No camera, but videos; digests need HTTPS, and the page says that it checked only sizes."""
    port = address.rstrip("/").rsplit(":", 1)[1]
    video = write_video(tmp_path / "red.webm", coloured("Red", 30, HEIGHT, WIDTH), RATE)
    assert "1 gesture found" in open_video(browser, f"http://page.example:{port}/", video)
    assert "only its size was checked" in facts_of(browser)
    element(browser, "start").click()
    assert "only to pages of HTTPS or localhost" in state(browser, "problem")


def test_files_that_are_damaged_or_missing(browser, page, tmp_path):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    with changed(page, tmp_path) as (address, folder):
        for name, change, kind in (
            ("model/trn_head.onnx", damage, "damaged"),
            ("model/trn_frame.onnx", lambda path: path.unlink(), "missing"),
            ("page.json", lambda path: path.write_text("{"), "damaged"),
        ):
            change(folder / name)
            browser.get(address)
            assert name in state(browser, "problem")
            assert problem(browser) == kind


def test_a_page_made_again_in_the_same_second(browser, page, tmp_path):
    with changed(page, tmp_path) as (address, folder):
        index = folder / "page.json"
        browser.get(address)
        state(browser, "ready")
        time = index.stat().st_mtime_ns
        index.write_text("{")
        os.utime(index, ns=(time, time))
        browser.get(address)
        assert "page.json" in state(browser, "problem")


def test_another_number_of_classes(browser, page, tmp_path):
    with changed(page, tmp_path, categories=["Red", "No gesture"]) as (address, _):
        browser.get(address)
        assert "4 scores, 2 classes" in state(browser, "problem")
        assert problem(browser) == "classes"


def test_without_webassembly(browser, address):
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.WebAssembly"})
    browser.get(address)
    assert "no WebAssembly" in state(browser, "problem")
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_opened_as_a_file(browser, page):
    browser.get((page / "index.html").as_uri())
    assert "was opened as a file" in state(browser, "opening")


def test_threads_and_the_policy(browser, address, page):
    """As many threads as the server's headers allow; no request leaves, from the page or from its worker."""
    browser.get(address)
    state(browser, "ready")
    threads = min(browser.execute_script("return navigator.hardwareConcurrency"), 4)
    assert ("one thread" if threads == 1 else f"{threads} threads") in facts_of(browser)
    script = """
      const done = arguments[0];
      fetch("https://example.org/").then(() => done("sent"), () => done("refused"));
    """
    assert browser.execute_async_script(script) == "refused"
    script = """
      const done = arguments[0];
      const code = 'fetch("https://example.org/").then(() => postMessage("sent"), () => postMessage("refused"))';
      const worker = new Worker(URL.createObjectURL(new Blob([code])));
      worker.onmessage = ({data}) => done(data);
    """
    assert browser.execute_async_script(script) == "refused"
    logged = waited(lambda: [row for row in browser.get_log("browser") if row["source"] == "worker"])
    assert "violates the following Content Security Policy directive: \\\"connect-src 'self'" in json.dumps(logged)
    with served(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(page)))) as plain:
        browser.get(plain)
        state(browser, "ready")
        assert "one thread" in facts_of(browser)


class Quiet(SimpleHTTPRequestHandler):
    """Python's own server, without the headers that threads need."""

    def log_message(self, *_):
        pass


def test_on_a_phone(browser, page, tmp_path):
    """At 390 pixels nothing is wider than the screen, and a long name keeps its words."""
    names = ["Turning Hand Counterclockwise", "Zooming Out With Two Fingers", "Sliding Two Fingers Right", "No gesture"]
    video = write_video(tmp_path / "three.webm", drawn_stream(), RATE)
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        with changed(page, tmp_path, categories=names) as (address, _):
            assert "3 gestures found" in open_video(browser, address, video)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
            heights = "return [...document.querySelectorAll('#gestures tr, #bars li')].map(e => e.offsetHeight)"
            assert max(browser.execute_script(heights)) < 100
            assert browser.execute_script("return document.documentElement.scrollHeight") < 2000
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_with_the_keyboard(browser, address):
    """Tab reaches Start first, and Enter presses it."""
    from selenium.webdriver import ActionChains, Keys

    browser.get(address)
    state(browser, "ready")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("id") == "start"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert state(browser, "problem").startswith("No camera was found.")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("id") == "file"


def test_scores_that_are_not_finite(browser, page, tmp_path):
    with changed(page, tmp_path, scales=[float(np.finfo(np.float32).max)] * 3) as (address, _):
        browser.get(address)
        assert "NaN or infinite" in state(browser, "problem")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + 15)])
def test_run_demo(browser, pair, tmp_path, number, status):
    """The script shows the page of a model until it is stopped, and leaves nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["bash", str(ROOT / "scripts/run_demo.sh"), str(pair), "--port", str(port), "--window", str(WINDOW)]
    environment = {**os.environ, "PYTHON": sys.executable, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
        browser.get(f"http://127.0.0.1:{port}/")
        assert state(browser, "ready").startswith("Start the camera, or open a video.")
        process.send_signal(number)
        assert process.wait(20) == status
        assert [path.name for path in tmp_path.iterdir() if path.name != ".ses"] == []  # which is onnxruntime's
    finally:
        process.kill()
        process.wait()
