"""Evaluates the recognition of gestures in streams: events against the ground truth of videos.

The log, the resolved config, stream_metrics.json, stream_scores.npz (the scores of each video, for other thresholds)
and the page stream_report.html go to eval_output_dir. Settings of the network come from the checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import Config, load_config
from model_utils.settings import Use, values_for
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import exclusive_folder, run_main, write_bytes, write_json
from src.inference.options import seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("Streams")
    options.add_argument("--videos", required=True, metavar="FOLDER", help="folder of videos")
    options.add_argument("--truth", required=True, metavar="FILE", help="their gestures, .json or .csv")
    options.add_argument(
        "--window", type=seconds, metavar="SECONDS", help="seconds that one recognition looks back on (default 3)"
    )


class StreamSettings(Config):
    """The keys of the YAML and the options that this program adds."""

    videos: str
    truth: str
    window: float | None


def evaluate_streams(config: StreamSettings) -> None:
    from model_utils.device_adapter import start_device
    from model_utils.logging import get_logger, log_settings
    from src.data.names import BACKGROUND, background_warning
    from src.data.stream_truth import read_truth
    from src.evaluation.events import measure_events
    from src.evaluation.stream_page import render_stream_report
    from src.inference import stream_eval
    from src.inference.model import load_model
    from src.inference.streaming import Recognizer, build_detector

    paths = stream_eval.find_videos(config.videos)
    window = config.window or config.stream_window
    if not config.ckpt_file.endswith(".onnx"):  # which runs without MindSpore
        start_device(config)
    model = load_model(config)
    detector = build_detector(model.settings, model.categories)
    truth = read_truth(config.truth, model.categories, list(paths), detector.background or BACKGROUND)
    output_dir = Path(config.eval_output_dir)
    logger = get_logger(output_dir, file_name="stream_eval.log")
    log_settings(logger, config, output_dir, "eval_streams")
    recognizer = Recognizer(model.parts("stream evaluation"), model.image_size, window)
    if not detector.background:
        logger.warning("%s", background_warning(model.settings.background_class))

    scored, watched = [], []
    for video in stream_eval.score_videos(paths, truth, recognizer, len(model.categories)):
        found = stream_eval.replayed(video, detector)
        counts = len(found.gestures), len(found.events), len(found.pairs)
        logger.info("%s: %d gestures, %d events, %d right", video.name, *counts)
        scored.append(video)
        watched.append(found)
    metrics = measure_events(watched)
    stream_eval.log_metrics(metrics, logger)
    protocol = {"videos": config.videos, "truth": config.truth, "window": window, **asdict(detector.rules)}
    protocol.update(values_for(model.settings, Use.NETWORK, Use.FOLLOWED), ckpt_file=config.ckpt_file)
    protocol.update(device_target=config.device_target, **model.provenance(), background=detector.background)
    document = {**metrics, "per_video": [stream_eval.stream_protocol(video) for video in watched], "protocol": protocol}
    write_json(output_dir / "stream_metrics.json", document)
    write_bytes(output_dir / "stream_scores.npz", stream_eval.scores_bytes(model.categories, scored))
    scores = {video.name: (video.times, video.logits) for video in scored}
    report = render_stream_report(metrics, watched, scores, model.categories, protocol)
    write_bytes(output_dir / "stream_report.html", report)
    logger.info("results are in %s", output_dir)


def main() -> None:
    config = load_config(description=__doc__, add_arguments=add_arguments)
    with ctrl_c_at_once(), exclusive_folder(config.eval_output_dir, "eval_streams.lock"):
        evaluate_streams(cast("StreamSettings", config))


if __name__ == "__main__":
    run_main(main)
