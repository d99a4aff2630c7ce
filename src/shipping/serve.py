"""Serves the folder of a page on this machine, with the headers that let a browser use several threads."""

from __future__ import annotations

import errno
import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from model_utils.errors import InputError

HOST = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    # Not the system's table of types, which may know none of these.
    extensions_map = {
        "": "application/octet-stream",
        ".css": "text/css",
        ".html": "text/html",
        ".js": "text/javascript",
        ".json": "application/json",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".webm": "video/webm",
    }

    def end_headers(self) -> None:
        # Both together isolate the page: only then browsers share memory between threads.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def page_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of ``folder`` on ``HOST``; ``port`` 0 takes a free one.

    Raises:
        InputError: if the port cannot be used.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        hint = "; choose another with --port" if error.errno == errno.EADDRINUSE else ""
        raise InputError(f"port {port}: {os.strerror(error.errno or 0)}{hint}") from None
