"""Chromium for tests: with a camera that plays a file, on a folder that is served here."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np

from src.shipping.serve import page_server

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
NPM = shutil.which("npm")
TIMEOUT = 90  # seconds


@contextlib.contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[str]:
    """The address of a server while it runs."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    with served(page_server(folder, 0)) as address:
        yield address


@contextlib.contextmanager
def chromium(*arguments: str, camera: Path | None = None) -> Iterator[Any]:
    """A browser of its own, whose camera plays ``camera``, a Y4M file, again and again."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    given = ["headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1200,1000", *arguments]
    if camera:
        given += ["use-fake-ui-for-media-stream", "use-fake-device-for-media-stream"]
        given += [f"use-file-for-fake-video-capture={camera}"]
    for argument in given:
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def waited(condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """The first true value of a condition."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("nothing came")


def element(browser: Any, name: str) -> Any:
    return browser.find_element("id", name)


def state(browser: Any, *wanted: str) -> str:
    """Waits until the page is in one of these states; returns its sentence."""
    script = "const {state} = document.querySelector('main').dataset;"
    script += " return [state, document.getElementById('status').textContent]"
    last: list[str] = []

    def reached() -> bool:
        last[:] = browser.execute_script(script)
        return last[0] in wanted

    try:
        waited(reached)
    except AssertionError:
        raise AssertionError(f"{last}, expected {wanted}; {browser.get_log('browser')}") from None
    return last[1]


def problem(browser: Any) -> str:
    """The kind of the problem that the page explains."""
    return browser.execute_script("return document.querySelector('main').dataset.problem")


def listen(browser: Any) -> None:
    """Notes the events "gesture" from now on."""
    browser.execute_script(
        "window.heard = []; document.addEventListener('gesture', ({detail}) => window.heard.push(detail))"
    )


def heard(browser: Any) -> list[dict[str, Any]]:
    return browser.execute_script("return window.heard")


def requested(browser: Any) -> list[str]:
    """The addresses of all requests so far."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def write_y4m(path: Path, frames: list[np.ndarray], rate: int) -> Path:
    """The file of a camera."""
    height, width = frames[0].shape[:2]
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())
    return path
