"""What the page of ``demo.py`` shows, as HTML that needs no other file: nothing has to be kept for the browser."""

from __future__ import annotations

import base64
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.evaluation.stream_page import class_colours
from src.evaluation.templates import page_environment
from src.inference.model import TOP

if TYPE_CHECKING:
    import jinja2

    from src.inference.demo_camera import CameraStream
    from src.inference.demo_video import VideoAnswer

TEMPLATE = "demo.html.j2"
LIVE_TIMELINE = 30.0  # seconds

CSS = """
.trn h2 { overflow-wrap: anywhere; margin: 0 0 4px; } .trn h3 { margin: 18px 0 6px; }
.trn .quiet { opacity: 0.7; } .trn summary { cursor: pointer; }
.trn table { border: 0 !important; border-collapse: collapse; width: 100%; margin: 0; }
.trn tr, .trn td, .trn th { border: 0 !important; background: none !important; }
.trn td, .trn th { padding: 3px 10px 3px 0 !important; text-align: left; overflow-wrap: anywhere; }
.trn .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.trn .bar { width: 45%; } .trn .bar i { display: block; height: 14px; border-radius: 3px; min-width: 1px; }
.trn .key { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; }
.trn-columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 28px; }
.trn video { width: 100%; max-height: 480px; background: #000; border-radius: 6px; } .trn img { max-width: 100%; }
.trn-strip { width: 100%; height: 26px; display: block; } .trn-ends { display: flex; justify-content: space-between; }
.trn-message { background: #fff1f0; color: #8c1420; border-left: 4px solid #c0182b; padding: 10px 14px; }
"""


class Pages:
    """Renders answers for a model with these classes."""

    def __init__(self, categories: list[str]) -> None:
        self.categories, self.colours = categories, class_colours(categories)

    @cached_property
    def template(self) -> jinja2.Template:
        return page_environment(Path(__file__).parent).get_template(TEMPLATE)

    def _render(self, kind: str, **values: Any) -> str:
        return self.template.render(kind=kind, colours=self.colours, **values)

    def message(self, text: str) -> str:
        """A line that says what is wrong."""
        return self._render("message", text=text)

    def video(self, name: str, answer: VideoAnswer) -> str:
        """The answer to a video; its picture and its video are within."""
        from src.inference.drawing import nearest

        return self._render(
            "video",
            name=name,
            answer=answer,
            nearest=nearest(answer.windows) if answer.windows else [],
            picture=base64.b64encode(answer.explanation or b"").decode(),
            video=base64.b64encode(answer.drawn).decode(),
        )

    def camera(self, camera: CameraStream) -> str:
        """The state of a stream."""
        top = []
        if camera.probabilities is not None:
            best = camera.probabilities.argsort()[::-1][:TOP]
            top = [{"label": self.categories[i], "probability": float(camera.probabilities[i])} for i in best]
        begin = max(camera.seconds - LIVE_TIMELINE, 0.0)
        recent = [span for span in camera.events if span.end is None or span.end > begin]
        return self._render("camera", camera=camera, top=top, begin=begin, recent=recent)
