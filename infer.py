"""Recognises what happens in clips and videos: folders of frames, video files, folders of videos, or a camera.

The model is a checkpoint (.ckpt), or an exported network (.mindir, .onnx) with its JSON beside it; its settings come
with it. Prints the five likeliest classes of each source, a timeline (--window), or gestures as they come (--stream).
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Callable

from model_utils.config import Config, load_config
from model_utils.errors import InputError
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import run_main, write_bytes, write_text

# MindSpore takes seconds to import, and --help and a misspelt key need none of it: functions import what they use.
if TYPE_CHECKING:
    from src.data.video import Source, Span
    from src.inference.model import Model
    from src.inference.streaming import EventDetector, Recognizer

LONG = 10.0  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("Inference")
    options.add_argument(
        "--model",
        dest="ckpt_file",
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="trained model: .ckpt, or .mindir or .onnx with its .json beside it; another name of --ckpt_file",
    )
    options.add_argument(
        "--source",
        required=True,
        nargs="+",
        metavar="S",
        help="folder of frames (00001.jpg, ...), video file, folder of videos, or number of a camera",
    )
    options.add_argument("--categories", default="", metavar="FILE", help="class names, by default the model's")
    options.add_argument("--json", default="", metavar="FILE", help="write the results to this file as well")
    options.add_argument(
        "--window",
        type=_seconds,
        metavar="SECONDS",
        help="look at a video in windows of this length and print a timeline; with --stream, or a camera, the seconds"
        " that one recognition looks back on (default 3); a folder of frames has 12 a second",
    )
    options.add_argument(
        "--stride", type=_seconds, metavar="SECONDS", help="from one window to the next (default: half a window)"
    )
    options.add_argument(
        "--stream", action="store_true", help="look at the frames one by one and say when a gesture starts and ends"
    )
    options.add_argument("--realtime", action="store_true", help="with --stream: play a file at its own rate")
    options.add_argument("--output", default="", metavar="VIDEO", help="write the result drawn on the video, as .mp4")
    options.add_argument(
        "--explain", default="", metavar="PNG", help="draw which relations and frames speak for the predicted class"
    )
    options.add_argument("--explain_class", default="", metavar="NAME", help="with --explain: for this class instead")


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed, expected seconds above 0")


def infer(config: Config) -> None:
    check_options(config)
    from model_utils.device_adapter import start_device
    from src import tsn_dataset
    from src.data import video
    from src.inference.model import load_model

    sources = video.find_sources(config.source)
    several = sources != config.source or len(sources) > 1
    if several and (config.output or config.explain):
        raise InputError("--output and --explain take one source")
    if config.output and Path(config.output).exists() and Path(config.output).samefile(sources[0]):
        raise InputError(f"--output: {config.output} is the source itself")
    if not config.ckpt_file.endswith(".onnx"):  # which runs without MindSpore
        start_device(config)
    model = load_model(config, tsn_dataset.read_categories(config.categories) if config.categories else None)
    recognise = recogniser(config, model)

    results = []
    for number, path in enumerate(sources, start=1):
        if several:
            print(f"[{number}/{len(sources)}] ", end="")
        try:
            results.append({"source": path, **recognise(video.open_source(path))})
        except InputError as error:
            if config.on_error == "stop":
                raise
            print(f"left out: {error}")
            results.append({"source": path, "error": str(error)})
    if config.json:
        document = results if several else results[0]
        write_text(config.json, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def check_options(config: Config) -> None:
    """Raises InputError for options that do not go together, and for files that cannot be written later."""
    together = [
        ("--realtime", config.realtime, "--stream", config.stream),
        ("--stride", config.stride, "--window and without --stream", config.window and not config.stream),
        ("--explain_class", config.explain_class, "--explain", config.explain),
        ("--explain", config.explain, "a whole clip", not (config.window or config.stream)),
        ("--explain", config.explain, "--relations all", config.relations == "all"),
        ("--stream", config.stream, "--relations all", config.relations == "all"),
    ]
    for option, given, needed, there in together:
        if given and not there:
            raise InputError(f"{option}: goes with {needed}")
    if config.output:
        from src.data.video import check_video_name

        check_video_name(config.output)
    for path in filter(None, (config.json, config.explain, config.output)):
        check_writable(path)


def check_writable(path: str) -> None:
    """Raises InputError if a file cannot be written: better now than when all the work is done."""
    try:
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot write the file: {error.strerror}") from None
    if Path(path).is_dir():
        raise InputError(f"{path}: cannot write the file: it is a folder")


def recogniser(config: Config, model: Model) -> Callable[[Source], dict[str, Any]]:
    """The function that looks at a source in the way asked for, prints what it sees and returns it, ready for JSON."""
    from src.inference.streaming import WINDOW, Recognizer, build_detector

    if config.explain_class and config.explain_class not in model.categories:
        raise InputError(f"--explain_class: {config.explain_class!r} is none of {', '.join(model.categories)}")
    window = config.window or WINDOW
    if config.stream:
        recognizer = Recognizer(model.inner_network("--stream"), model.image_size, window)
        return lambda source: follow(config, recognizer, build_detector(config, model.categories), source)

    def recognise(source: Source) -> dict[str, Any]:
        if source.num_frames is None and config.stride:
            raise InputError(f"{source.name}: has no end, so --stride does not go with it; expected --stream")
        if source.num_frames is None or not config.window:
            return look(config, model, source, window)
        return slide(config, model, source)

    return recognise


def look(config: Config, model: Model, source: Source, seconds: float) -> dict[str, Any]:
    """One answer for a source as a whole, or for so many seconds of a camera."""
    from src.data.video import Span
    from src.evaluation import report
    from src.inference import drawing, explain
    from src.inference import model as recognition

    seen = recognition.look(source, model.num_segments, seconds)
    logits = model.clip_logits(seen.frames)
    top = model.top(logits)
    print(f"{source.name}: {seen.num_frames} frames, {model.num_segments} of them looked at")
    for row in top:
        print(f"{row['probability']:8.2%}  {row['label']}")
    length = seen.num_frames / source.rate
    if length > LONG:
        print(f"{length:.0f} s in one answer; --window 3 looks at 3 s at a time")
    numbers = {"frame_indices": seen.indices.tolist(), "logits": logits.tolist(), "top": top}
    result = {"num_frames": seen.num_frames, **numbers}
    if config.explain:
        scales = explain.explain_frames(model.inner_network("--explain"), seen.frames, model.image_size)
        label = model.categories.index(config.explain_class or top[0]["label"])
        result["explanation"] = explain.describe(scales, label, model.categories, seen.indices)
        figure = explain.draw(scales, label, model.categories, seen.frames, seen.indices, source.rate)
        write_bytes(config.explain, report.png_bytes(figure))
    if config.output:
        if source.num_frames is None:
            raise InputError(f"{source.name}: --output of a camera goes with --stream")
        drawing.write_video(config.output, source, [Span(0.0, length, **top[0])], model.categories)
    return result


def slide(config: Config, model: Model, source: Source) -> dict[str, Any]:
    """A timeline: an answer for each window."""
    from model_utils.progress import progress
    from src.inference import drawing
    from src.inference import model as recognition

    stride = config.stride or config.window / 2
    windows = recognition.windows(source.num_frames, source.rate, config.window, stride)
    print(f"{source.name}: {source.num_frames} frames, {source.num_frames / source.rate:.1f} s")
    timeline = []
    with progress("Recognise", len(windows), "window") as advance:
        for span in recognition.timeline(model, source, windows):
            timeline.append(span)
            advance(1)
    for span in timeline:
        print(f"{span.start:8.2f} s {span.end:8.2f} s {span.probability:8.2%}  {span.label}")
    if config.output:
        drawing.write_video(config.output, source, drawing.nearest(timeline), model.categories)
    about = {"num_frames": source.num_frames, "rate": source.rate, "window": config.window, "stride": stride}
    return {**about, "timeline": [span._asdict() for span in timeline]}


def follow(config: Config, recognizer: Recognizer, detector: EventDetector, source: Source) -> dict[str, Any]:
    """Gestures that start and end, said as they do, until the source ends or Ctrl-C."""
    from model_utils.progress import progress
    from src.inference import drawing, streaming

    window = recognizer.interval * recognizer.num_segments
    print(f"{source.name}: looking back on {window:g} s, Ctrl-C ends it")
    events, num_frames, seconds = [], 0, 0.0
    with contextlib.ExitStack() as stack:
        advance = stack.enter_context(progress("Stream", source.num_frames, "frame")) if source.num_frames else int
        show = stack.enter_context(drawing.live_video(config.output, source, detector.categories))
        try:
            for moment in streaming.stream(recognizer, detector, source, config.realtime):
                num_frames, seconds = num_frames + 1, moment.seconds
                events += announce(moment.changes)
                show(moment.frame, seconds, detector.best, [*events, *filter(None, [detector.current])])
                advance(1)
        except KeyboardInterrupt:
            pass
    events += announce(detector.finish(seconds))
    if detector.best is None:
        print(f"{seconds:.2f} s are too short: nothing is recognised before {window:g} s")
    about = {"num_frames": num_frames, "seconds": seconds, "window": window}
    return {**about, "events": [event._asdict() for event in events]}


def announce(changes: list[Span]) -> list[Span]:
    """Prints the gestures that started or ended; returns those that ended."""
    from tqdm import tqdm

    for event in changes:
        at, what = (event.start, "starts") if event.end is None else (event.end, "ends  ")
        tqdm.write(f"{at:8.2f} s  {what}  {event.label} ({event.probability:.0%})")
    return [event for event in changes if event.end is not None]


def main() -> None:
    config = load_config(description=__doc__, add_arguments=add_arguments)
    with ctrl_c_at_once():
        infer(config)


if __name__ == "__main__":
    run_main(main)
