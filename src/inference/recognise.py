"""The work of infer.py: recognises sources, prints, draws, writes JSON.

A source gets one answer, an answer for each window of it (``--window``), or gestures as they start and end
(``--stream``). Results go into a dict for JSON at once, so that a later error or a picture that cannot be written
loses none of them.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Callable

from model_utils.errors import InputError
from model_utils.files import path_text
from model_utils.progress import progress
from model_utils.util import write_bytes, write_json
from src.data.names import background_warning
from src.data.video import Camera, Recording, Source, Span, open_source
from src.inference import timeline
from src.inference.model import Model
from src.inference.options import InferSettings

# These modules import MindSpore or matplotlib, which takes seconds, so functions import them when needed.
if TYPE_CHECKING:
    from src.inference.streaming import EventDetector, Recognizer

LONG = 10.0  # seconds

Recognise = Callable[[Source, "dict[str, Any]"], None]


def recognise_sources(config: InferSettings, model: Model, sources: list[str], several: bool) -> None:
    """Recognises the sources one after the other and writes ``config.json``: one answer, or a list of ``several``.

    The JSON is written if anything was recognised, also when an error or Ctrl-C ends the work. It holds the "error" of
    a source that cannot be used. ``config.on_error`` "skip" continues with the next source.

    Raises:
        InputError: for a source that cannot be used, unless there are others and ``config.on_error`` is "skip"; if
            none could be used.
    """
    recognise = recogniser(config, model)
    results: list[dict[str, Any]] = []
    try:
        for number, path in enumerate(sources, start=1):
            if several:
                print(f"[{number}/{len(sources)}] ", end="", flush=True)
            results.append({"source": path})
            try:
                source = open_source(path)
                if source.warning:
                    print(f"warning: {source.warning}", file=sys.stderr)
                    results[-1]["warning"] = source.warning
                _check_drawing(config, source)
                recognise(source, results[-1])
            except InputError as error:
                results[-1]["error"] = str(error)
                if config.on_error == "stop" or not several:
                    raise
                print(f"left out: {path_text(str(error))}")
    finally:
        if config.json and any(map(_is_recognised, results)):
            write_json(config.json, results if several else results[0])
    if not any(map(_is_recognised, results)):
        raise InputError(f"nothing was recognised: all {len(results)} sources were left out")


def _check_drawing(config: InferSettings, source: Source) -> None:
    if config.output:
        from src.inference import drawing  # reads fonts, which nothing else needs

        drawing.check_size(config.output, source)


def _is_recognised(result: dict[str, Any]) -> bool:
    return bool(result.keys() - {"source", "warning", "error"})


def recogniser(config: InferSettings, model: Model) -> Recognise:
    """The function that recognises a source as the options say.

    Raises:
        InputError: for an unknown class, and for an option that the model does not support.
    """
    if config.explain_class and config.explain_class not in model.categories:
        raise InputError(f"--explain_class: {config.explain_class!r} is none of {', '.join(model.categories)}")
    if config.explain:
        model.explained_network("--explain")  # an error shows before anything is recognised
    if config.stream:
        from src.inference.streaming import Recognizer, build_detector

        recognizer = Recognizer(model.parts("--stream"), model.image_size, config.window or config.stream_window)
        detector = build_detector(model.settings, model.categories)
        if not detector.background:
            print(f"warning: {background_warning(model.settings.background_class)}", file=sys.stderr)
        return lambda source, result: recognise_stream(config, recognizer, detector, source, result)

    def recognise(source: Source, result: dict[str, Any]) -> None:
        if isinstance(source, Camera) and config.stride:
            raise InputError(f"{source.name}: has no end, so --stride does not go with it; expected --stream")
        if isinstance(source, Camera) or not config.window:
            recognise_clip(config, model, source, result)
        else:
            recognise_timeline(config, model, source, config.window, result)

    return recognise


def recognise_clip(config: InferSettings, model: Model, source: Source, result: dict[str, Any]) -> None:
    """One answer for a source as a whole, or for ``config.window`` seconds of a camera."""
    if isinstance(source, Camera) and config.output:
        raise InputError(f"{source.name}: --output of a camera needs --stream")
    clip = timeline.read_clip(source, model.num_segments, config.window or timeline.WINDOW)
    logits = model.clip_logits(clip.frames)
    top = model.top(logits)
    result.update(num_frames=clip.num_frames, frame_indices=clip.indices.tolist(), logits=logits.tolist(), top=top)
    print(f"{source.name}: {clip.num_frames} frames, {model.num_segments} of them looked at")
    for row in top:
        print(f"{row['probability']:8.2%}  {row['label']}")
    if clip.seconds > LONG:
        print(f"{clip.seconds:.0f} s in one answer; --window 3 looks at 3 s at a time")
    if config.explain:
        label = model.categories.index(config.explain_class or top[0]["label"])
        _explain(config.explain, model, clip, label, result)
    if config.output and not isinstance(source, Camera):
        from src.inference import drawing

        drawing.write_video(config.output, source, [Span(0.0, clip.seconds, **top[0])], model.categories)


def _explain(path: str, model: Model, clip: timeline.ClipFrames, label: int, result: dict[str, Any]) -> None:
    """Writes which relations and frames support a class: numbers to ``result``, a picture to ``path``."""
    from src.evaluation.plots import png_bytes
    from src.inference import explain
    from src.inference.explanation_picture import draw_explanation

    scales = explain.explain_frames(model.explained_network("--explain"), clip.frames, model.image_size)
    result["explanation"] = explain.explain_class(scales, label, model.categories, clip.indices)
    figure = draw_explanation(scales, label, model.categories, clip.frames, clip.indices, clip.times)
    write_bytes(path, png_bytes(figure))


def recognise_timeline(
    config: InferSettings, model: Model, source: Recording, window: float, result: dict[str, Any]
) -> None:
    """A timeline: an answer for each window of ``window`` seconds."""
    stride = config.stride or window / 2
    windows = timeline.window_times(source, window, stride)
    print(f"{source.name}: {source.num_frames} frames, {source.duration:.1f} s")
    spans: list[Span] = []
    rows: list[dict[str, Any]] = []
    details = {"num_frames": source.num_frames, "rate": source.rate, "window": window, "stride": stride}
    with progress("Recognise", len(windows), "window") as advance:
        for span in timeline.recognise_windows(model, source, windows):
            spans.append(span)
            rows.append(span._asdict())
            result.update(details, timeline=rows)
            advance(1)
    for span in spans:
        print(f"{span.start:8.2f} s {span.end:8.2f} s {span.probability:8.2%}  {span.label}")
    if config.output:
        from src.inference import drawing

        drawing.write_video(config.output, source, drawing.nearest(spans), model.categories)


def recognise_stream(
    config: InferSettings, recognizer: Recognizer, detector: EventDetector, source: Source, result: dict[str, Any]
) -> None:
    """Gestures that start and end, printed as they do, until the source ends or Ctrl-C."""
    from src.inference import drawing, streaming

    window = recognizer.interval * recognizer.num_segments
    print(f"{source.name}: looking back on {window:g} s, Ctrl-C ends it")
    events: list[Span] = []
    num_frames, seconds = 0, 0.0
    try:
        with contextlib.ExitStack() as stack:
            advance = stack.enter_context(progress("Stream", source.num_frames, "frame")) if source.num_frames else int
            show = stack.enter_context(drawing.live_video(config.output, source, detector.categories))
            with contextlib.suppress(KeyboardInterrupt):
                for moment in streaming.stream(recognizer, detector, source, config.realtime):
                    num_frames, seconds = num_frames + 1, moment.seconds
                    events += print_events(moment.changes)
                    show(moment.frame, seconds, detector.best, [*events, *filter(None, [detector.current])])
                    advance(1)
    finally:
        if num_frames:
            events += print_events(detector.finish(seconds))
            rows = [event._asdict() for event in events]
            result.update(num_frames=num_frames, seconds=seconds, window=window, events=rows)
    if detector.best is None:
        print(f"{seconds:.2f} s are too short: nothing is recognised before {window:g} s")


def print_events(changes: list[Span]) -> list[Span]:
    """Prints the gestures that started or ended; returns those that ended."""
    from tqdm import tqdm

    for event in changes:
        at, change = (event.start, "starts") if event.end is None else (event.end, "ends  ")
        tqdm.write(f"{at:8.2f} s  {change}  {event.label} ({event.probability:.0%})")
    return [event for event in changes if event.end is not None]
