"""Evaluates the recognition of gestures in streams: events against the truth about some videos.

The log, the resolved config, stream_metrics.json, stream_scores.npz (the scores of each video, to try other rules on)
and the page stream_report.html go to eval_output_dir. Settings of the network come from the checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from logging import Logger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_utils.config import Config, load_config
from model_utils.errors import InputError
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import run_main, write_bytes, write_text

# MindSpore takes seconds to import, and --help and a misspelt key need none of it: functions import what they use.
if TYPE_CHECKING:
    import numpy as np

    from src.data.video import Source, Span
    from src.evaluation.events import WatchedVideo
    from src.inference.streaming import EventDetector, Recognizer

METRICS_FILE, SCORES_FILE, PAGE_FILE = "stream_metrics.json", "stream_scores.npz", "stream_report.html"
PROTOCOL = ("ckpt_file", "consensus_type", "num_segments", "image_size", "width_mult", "device_target")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("Streams")
    options.add_argument("--videos", required=True, metavar="FOLDER", help="folder of videos")
    options.add_argument("--truth", required=True, metavar="FILE", help="their gestures, .json or .csv")
    options.add_argument(
        "--window", type=_seconds, metavar="SECONDS", help="seconds that one recognition looks back on (default 3)"
    )


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed, expected seconds above 0")


def evaluate(config: Config) -> None:
    from model_utils.device_adapter import start_device
    from model_utils.logging import get_logger
    from src.data.stream_truth import read_truth
    from src.data.video import find_sources
    from src.evaluation.events import measure
    from src.evaluation.stream_page import render
    from src.inference.model import load_model
    from src.inference.streaming import WINDOW, Recognizer, build_detector

    if not Path(config.videos).is_dir():
        raise InputError(f"{config.videos}: no such folder of videos")
    paths = {Path(path).name: path for path in find_sources([config.videos]) if path != config.videos}
    if not paths:
        raise InputError(f"{config.videos}: no videos in this folder")
    window = config.window or WINDOW
    start_device(config)
    model = load_model(config)
    truth = read_truth(config.truth, model.categories, list(paths))
    output_dir = Path(config.eval_output_dir)
    logger = get_logger(output_dir, file_name="stream_eval.log")
    config.save(output_dir / "config.yaml")
    recognizer = Recognizer(model.inner_network("stream evaluation"), model.image_size, window)
    detector = build_detector(config, model.categories)

    watched, scores = watch_all(paths, truth, recognizer, detector, logger)
    metrics = measure(watched)
    log_metrics(metrics, logger)
    protocol = {"videos": config.videos, "truth": config.truth, "window": window, **detector.rules}
    protocol.update((key, getattr(config, key)) for key in PROTOCOL)
    document = {**metrics, "per_video": [describe(video) for video in watched], "protocol": protocol}
    write_text(output_dir / METRICS_FILE, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    write_bytes(output_dir / SCORES_FILE, scores_bytes(model.categories, scores))
    write_bytes(output_dir / PAGE_FILE, render(metrics, watched, scores, model.categories, protocol))
    logger.info("results are in %s", output_dir)


def watch_all(
    paths: dict[str, str],
    truth: dict[str, list[Span]],
    recognizer: Recognizer,
    detector: EventDetector,
    logger: Logger,
) -> tuple[list[WatchedVideo], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """All videos watched; and of each its scores, as (times [N], logits [N, C])."""
    from model_utils.progress import progress
    from src.data.video import open_source

    watched, scores = [], {}
    with progress("Streams", len(paths), "video") as advance:
        for name, path in paths.items():
            video, scores[name] = watch(name, open_source(path), truth[name], recognizer, detector)
            watched.append(video)
            right = len(video.pairs)
            logger.info("%s: %d gestures, %d events, %d right", name, len(video.gestures), len(video.events), right)
            advance(1)
    return watched, scores


def watch(
    name: str, source: Source, gestures: list[Span], recognizer: Recognizer, detector: EventDetector
) -> tuple[WatchedVideo, tuple[np.ndarray, np.ndarray]]:
    """One video: what happens in it, and its scores.

    Raises:
        InputError: if a gesture starts after the video's end.
    """
    import numpy as np

    from src.evaluation.events import WatchedVideo
    from src.inference.streaming import stream

    seconds = source.num_frames / source.rate
    for gesture in gestures:
        if gesture.start >= seconds:
            raise InputError(
                f"{source.name}: {gesture.label} starts at {gesture.start:g} s; the video ends at {seconds:g} s"
            )
    times, logits, ended = [], [], []
    decided: dict[tuple[float, str], float] = {}
    for moment in stream(recognizer, detector, source, realtime=False):
        if moment.logits is not None:
            times.append(moment.seconds)
            logits.append(moment.logits)
        for change in moment.changes:
            decided.setdefault((change.start, change.label), moment.seconds)
            ended += [change] if change.end is not None else []
    for change in detector.finish(seconds):
        decided.setdefault((change.start, change.label), seconds)
        ended += [change] if change.end is not None else []
    ended.sort()
    when = [decided[event.start, event.label] for event in ended]
    scores = np.array(times), np.array(logits, np.float32).reshape(len(times), len(detector.categories))
    return WatchedVideo(name, seconds, gestures, ended, when), scores


def log_metrics(metrics: dict[str, Any], logger: Logger) -> None:
    """A line a metric."""
    for key, value in metrics.items():
        if key == "classes":
            for label, row in value.items():
                logger.info(
                    "%s: %d of %d found, %d wrong events", label, row["found"], row["gestures"], row["wrong_events"]
                )
        elif key == "confused":
            for gesture, event, times in value:
                logger.info("%s taken for %s: %d", gesture, event, times)
        elif value is None:
            logger.info("%s: not known", key)
        else:
            logger.info(f"{key}: %{'d' if isinstance(value, int) else '.4f'}", value)


def describe(video: WatchedVideo) -> dict[str, Any]:
    """A video as JSON holds it."""
    events = [{**event._asdict(), "decided": decided} for event, decided in zip(video.events, video.decided)]
    gestures = [{"start": span.start, "end": span.end, "label": span.label} for span in video.gestures]
    pairs = [list(pair) for pair in video.pairs]
    return {"video": video.name, "seconds": video.seconds, "gestures": gestures, "events": events, "matched": pairs}


def scores_bytes(categories: list[str], scores: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """An .npz file: ``categories`` [C]; for each video ``VIDEO/times`` [N] and ``VIDEO/logits`` [N, C]."""
    import numpy as np

    arrays = {"categories": np.array(categories)}
    for name, (times, logits) in scores.items():
        arrays[f"{name}/times"], arrays[f"{name}/logits"] = times, logits
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def main() -> None:
    config = load_config(description=__doc__, add_arguments=add_arguments)
    with ctrl_c_at_once():
        evaluate(config)


if __name__ == "__main__":
    run_main(main)
