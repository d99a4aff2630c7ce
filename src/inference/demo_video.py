"""What the page of ``demo.py`` answers to a video: top five, timeline, gestures, explanation, the video drawn on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from model_utils.errors import InputError
from src.data.video import Frames, Span, VideoFile, printable
from src.inference import timeline
from src.inference.model import Model
from src.transforms import scale_shorter_side

if TYPE_CHECKING:
    from src.evaluation.protocol import Scorer
    from src.inference.streaming import EventDetector, Recognizer

LONGEST = 120.0  # seconds; the answer is one page
DRAWN_SIDE, WIDEST = 320, 4  # pixels of the shorter side of the annotated video; the longer as a multiple of it
VIDEO_TYPE = "webm"  # every browser plays it


@dataclass(frozen=True)
class VideoAnswer:
    """Everything about one video.

    ``top`` are the likeliest classes of the whole, ``windows`` that of each window. ``gestures`` and ``explanation``, a
    PNG, are None where the model cannot give them; ``missing`` says why. ``drawn`` is a WebM file, ``warning`` what of
    the video cannot be read.
    """

    num_frames: int
    seconds: float
    window: float
    top: list[dict[str, Any]]
    windows: list[Span]
    gestures: list[Span] | None
    explanation: bytes | None
    missing: str
    drawn: bytes
    warning: str


def answer_video(
    path: Path,
    name: str,
    model: Model,
    window: float,
    stream_state: tuple[Recognizer, EventDetector] | None,
    run: Callable[..., Any],
) -> VideoAnswer:
    """Recognises an uploaded video.

    Args:
        path: the file.
        name: what messages call it.
        window: seconds of each window.
        stream_state: for this video alone; None for a model that cannot look at a stream.
        run: calls the network, see ``CameraStream``: call by call, so that others get their turn in between.

    Raises:
        InputError: if the file is no video, or too long a one.
    """
    try:
        source = VideoFile(path)
    except InputError as error:
        raise InputError(str(error).replace(printable(path), name)) from None
    source.name, source.warning = name, source.warning.replace(source.name, name)
    if source.duration > LONGEST:
        raise InputError(
            f"{name}: {source.duration:.0f} s, expected at most {LONGEST:.0f} s; infer.py takes longer ones"
        )
    model = replace(model, score=_OnThread(model.score, run))
    clip = timeline.read_clip(source, model.num_segments, source.duration)
    top = model.top(model.clip_logits(clip.frames))
    windows = timeline.window_times(source, window, window / 2)
    spans = list(timeline.recognise_windows(model, source, windows)) if len(windows) > 1 else []
    label = model.categories.index(top[0]["label"])
    explanation, missing = None, ""
    try:
        model.explained_network("No explanation" if stream_state else "No explanation and no gestures")
        explanation = run(_explanation, model, clip, label)
    except InputError as error:
        missing = str(error)
    return VideoAnswer(
        source.num_frames,
        source.duration,
        window,
        top,
        spans,
        _gestures(source, *stream_state, run) if stream_state else None,
        explanation,
        missing,
        _drawn(source, spans or [Span(0.0, source.duration, **top[0])], model.categories),
        source.warning,
    )


class _OnThread:
    """A scorer whose calls go through ``run``."""

    def __init__(self, score: Scorer, run: Callable[..., Any]) -> None:
        self.score, self.run, self.batch_size = score, run, score.batch_size

    def __call__(self, clips: np.ndarray, indices: np.ndarray) -> np.ndarray:
        return self.run(self.score, clips, indices)


def _gestures(
    source: VideoFile, recognizer: Recognizer, detector: EventDetector, run: Callable[..., Any]
) -> list[Span]:
    """The gestures as ``infer.py --stream`` finds them."""
    from src.inference.streaming import stream

    moments = stream(recognizer, detector, source, realtime=False)
    ended = []
    while (moment := run(next, moments, None)) is not None:
        ended += [change for change in moment.changes if change.end is not None]
        seconds = moment.seconds
    return ended + [change for change in detector.finish(seconds) if change.end is not None]


def _explanation(model: Model, clip: timeline.Clip, label: int) -> bytes:
    from src.evaluation.plots import png_bytes
    from src.inference.explain import explain_frames
    from src.inference.explanation_picture import draw_explanation

    scales = explain_frames(model.explained_network("No explanation"), clip.frames, model.image_size)
    return png_bytes(draw_explanation(scales, label, model.categories, clip.frames, clip.indices, clip.times))


class _ForPage:
    """A video whose frames are scaled for a page, unless they are as narrow as no camera's."""

    def __init__(self, source: VideoFile) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def frames(self, wanted: Any = None) -> Frames:
        for index, frame in self.source.frames(wanted):
            shorter, longer = sorted(frame.shape[:2])
            yield index, frame if longer > WIDEST * shorter else scale_shorter_side([frame], DRAWN_SIDE)[0]


def _drawn(source: VideoFile, spans: list[Span], categories: list[str]) -> bytes:
    from src.inference import drawing

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"drawn.{VIDEO_TYPE}"
        scaled: Any = _ForPage(source)
        shown = drawing.nearest(spans) if len(spans) > 1 else spans
        drawing.write_video(str(path), scaled, shown, categories)
        return path.read_bytes()
