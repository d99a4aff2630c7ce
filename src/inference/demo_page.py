"""The page of ``demo.py``, in Gradio: a tab for videos, a tab for the browser's camera.

Gradio keeps an upload in a folder until this module deletes it. All else is sent within the page and never on the disk.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from model_utils.errors import InputError
from src.data.video import printable
from src.inference.demo_camera import CameraStream
from src.inference.demo_html import CSS, Pages
from src.inference.demo_video import LONGEST, answer_video
from src.inference.model import Model
from src.inference.timeline import WINDOW

HOST = "127.0.0.1"
LARGEST_UPLOAD = 64  # MiB
FRAME_INTERVAL = 0.08  # seconds, between the frames that the page takes
CAMERA_SIZE = {"width": {"ideal": 320}, "height": {"ideal": 240}}  # more pixels help no network of 224
VISITORS = 20  # whose cameras run at the same time
FORGOTTEN = 3600  # seconds after which an idle visitor's state, or an upload without an answer, is deleted
# The browser refuses whatever is not on this server.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
# The page's clock in seconds, how many frames its camera has shown, and the clock of the answer on the page.
CLOCK = """() => {
    const video = document.querySelector('video[data-testid=webcam-video]');
    const answer = document.querySelector('.trn-live');
    const frames = video && video.getVideoPlaybackQuality ? video.getVideoPlaybackQuality().totalVideoFrames : 0;
    return [performance.now() / 1000, frames, answer ? Number(answer.dataset.clock) : -1];
}"""
CLOCK_INTERVAL = 0.04  # seconds


class NetworkThread:
    """One thread for all that MindSpore does, because its settings hold for a thread, and one call at a time."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="network")

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.submit(function, *arguments).result()


class Demo:
    """The functions behind the page.

    Args:
        model: the model of all visitors.
        new_stream: makes a recogniser and a detector for one visitor; None for a model that cannot look at a stream.
        run: calls the network, see ``NetworkThread``.
        uploads: the folder in which each upload lies in a folder of its own.
        window: seconds that one recognition looks back on.
    """

    def __init__(
        self,
        model: Model,
        new_stream: Callable[[], tuple] | None,
        run: Callable[..., Any],
        uploads: Path,
        window: float = WINDOW,
    ) -> None:
        self.model, self.new_stream, self.run, self.uploads, self.window = model, new_stream, run, uploads, window
        self.pages = Pages(model.categories)

    def on_video(self, path: str | None) -> tuple[str, None]:
        """The answer to an upload, which is then deleted, and an empty upload field."""
        if not path:
            return "", None
        name = printable(Path(path).name)
        try:
            with _taken_out(Path(path), self.uploads) as file:
                state = self.new_stream() if self.new_stream else None
                answer = answer_video(file, name, self.model, self.window, state, self.run)
                return self.pages.video(name, answer), None
        except InputError as error:
            return self.pages.message(str(error)), None

    def on_frame(
        self,
        image: np.ndarray | None,
        clock: float | None,
        shown_frames: float | None,
        answered: float | None,
        camera: CameraStream | None,
    ) -> tuple[str, CameraStream | None]:
        """The answer to a camera's frame, uint8 [height, width, 3] RGB, and the visitor's state; rest see ``CLOCK``."""
        if self.new_stream is None:
            return self.pages.message("The camera needs a checkpoint (.ckpt) or the two files for streams."), None
        if camera is None:
            recognizer, detector = self.new_stream()
            camera = CameraStream(recognizer, detector, self.run)
        if image is not None and clock is not None:
            try:
                camera.push(np.ascontiguousarray(image[..., ::-1]), clock, int(shown_frames or 0), answered)
            except InputError as error:
                return self.pages.message(str(error)), None
        return self.pages.camera(camera), camera


@contextlib.contextmanager
def _taken_out(path: Path, uploads: Path) -> Iterator[Path]:
    """Moves an upload where no other visitor's upload of the same content, which has the same path, meets it.

    All that Gradio keeps of the upload is deleted at the end: the file, its folder, and an empty file beside it.
    """
    with tempfile.TemporaryDirectory(dir=uploads) as folder:
        own = Path(folder) / f"upload{path.suffix}"
        try:
            os.rename(path, own)
        except FileNotFoundError:
            name = printable(path.name)
            raise InputError(f"{name}: deleted with the same file of another visitor; upload it again") from None
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        for entry in uploads.iterdir():
            if entry.is_file() and not entry.stat().st_size:
                entry.unlink(missing_ok=True)
        yield own


def build_page(demo: Demo) -> Any:
    """The Gradio page."""
    import gradio as gr

    with gr.Blocks(title=f"TRN: {demo.model.path.name}", analytics_enabled=False, delete_cache=(60, FORGOTTEN)) as page:
        gr.Markdown(
            f"## {demo.model.path.name}\n{len(demo.model.categories)} classes: {', '.join(demo.model.categories)}"
        )
        with gr.Tab("Video"):
            limits = f"at most {LONGEST:.0f} s and {LARGEST_UPLOAD} MiB"
            file = gr.File(label=f"Video file, {limits}", height=130)
            answer = gr.HTML(padding=False)
            file.upload(demo.on_video, file, [answer, file], concurrency_limit=2, api_visibility="private")
        with gr.Tab("Camera"):
            gr.Markdown("Open the camera, allow it in the browser, then press *Record*. No frame is written to a disk.")
            options = gr.WebcamOptions(mirror=False, constraints={"video": CAMERA_SIZE})
            with gr.Row():
                image = gr.Image(
                    label="Your camera, not mirrored", sources=["webcam"], streaming=True, webcam_options=options
                )
                live = gr.HTML(padding=False)
            clock = [gr.Number(visible="hidden") for _ in range(3)]
            state = gr.State(None, time_to_live=FORGOTTEN)
            gr.Timer(CLOCK_INTERVAL).tick(None, None, clock, js=CLOCK, show_progress="hidden")
            image.stream(
                demo.on_frame,
                [image, *clock, state],
                [live, state],
                stream_every=FRAME_INTERVAL,
                concurrency_limit=VISITORS,
                show_progress="hidden",
                api_visibility="private",
            )
    return page


@contextlib.contextmanager
def upload_folder() -> Iterator[Path]:
    """The folder of uploads while the page is served; to be entered before Gradio is imported."""
    with tempfile.TemporaryDirectory(prefix="trn-demo-") as folder:
        os.environ.update(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
        yield Path(folder)


def serve(demo: Demo, port: int) -> None:
    """Serves the page on the loopback interface until an exception, such as Ctrl-C.

    Raises:
        InputError: if the port is taken.
    """
    import gradio as gr

    page = build_page(demo)
    font = [gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")]
    theme = gr.themes.Default(font=font, font_mono=[gr.themes.Font("monospace")])
    try:
        app, address, _ = page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=LARGEST_UPLOAD * 2**20,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            theme=theme,
            css=CSS,
            app_kwargs={"middleware": [_policy_middleware()]},
        )
    except OSError:
        raise InputError(f"--port {port}: taken by another program; choose another number") from None
    print(f"{address} shows the page on this machine; Ctrl-C ends it", flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def _policy_middleware() -> Any:
    from starlette.middleware import Middleware

    class Policy:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def send_with_policy(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
                await send(message)

            await self.app(scope, receive, send_with_policy)

    return Middleware(Policy)
