"""Chooses the window and the thresholds for gestures in streams on videos with ground truth; writes a config file.

The videos are scored once with each window; then the thresholds with the fewest edits are searched. Also prints what to
expect of other videos: each video is judged with the thresholds that the others choose. The file is for --config_path
of infer.py, eval_streams.py and make_page.py.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import Config, load_config
from model_utils.errors import InputError
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import exclusive_files, run_main, write_json, write_text

if TYPE_CHECKING:
    from src.inference.stream_eval import ScoredVideo
    from src.inference.streaming import EventRules

MARK = "# written by tune_stream.py"
WINDOWS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # seconds


class TuneSettings(Config):
    """The keys of the YAML and the options that this program adds."""

    videos: str
    truth: str
    windows: list[float]
    output: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("Streams")
    options.add_argument("--videos", required=True, metavar="FOLDER", help="folder of videos")
    options.add_argument("--truth", required=True, metavar="FILE", help="their gestures, .json or .csv")
    listed = ",".join(f"{window:g}" for window in WINDOWS)
    options.add_argument(
        "--windows", type=_windows, default=list(WINDOWS), metavar="SECONDS,...", help=f"to choose from ({listed})"
    )
    options.add_argument("--output", default="stream.yaml", metavar="FILE", help="file to write (stream.yaml)")


def _windows(text: str) -> list[float]:
    with contextlib.suppress(ValueError):
        windows = sorted({float(part) for part in text.split(",")})
        if windows[0] > 0 and windows[-1] <= 1e6:
            return windows
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed, expected seconds above 0, separated by commas")


def tune(config: TuneSettings) -> None:
    from model_utils.device_adapter import start_device
    from src.data.names import BACKGROUND
    from src.data.stream_truth import read_truth
    from src.evaluation.events import measure_events
    from src.inference.model import load_model
    from src.inference.stream_eval import find_videos, score_videos
    from src.inference.stream_tuning import choose_rules, on_other_videos
    from src.inference.streaming import Recognizer, build_detector

    output = Path(config.output)
    if output.exists() and not output.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise InputError(f"--output: {output} would be written over, but tune_stream.py did not write it")
    paths = find_videos(config.videos)
    if not config.ckpt_file.endswith(".onnx"):  # which runs without MindSpore
        start_device(config)
    model = load_model(config)
    detector = build_detector(model.settings, model.categories)
    truth = read_truth(config.truth, model.categories, list(paths), detector.background or BACKGROUND)
    found: list[tuple[int, float, EventRules, list[ScoredVideo]]] = []
    for window in config.windows:
        recognizer = Recognizer(model.parts("tune_stream.py"), model.image_size, window)
        recordings = list(score_videos(paths, truth, recognizer, len(model.categories)))
        rules, fewest = choose_rules(recordings, detector)
        print(f"window {window:g} s: {fewest} edits", flush=True)
        found.append((fewest, window, rules, recordings))
    middle = config.windows[len(config.windows) // 2]  # on a tie the nearest window is taken
    fewest, window, rules, recordings = min(found, key=lambda row: (row[0], abs(row[1] - middle)))
    keys = {"stream_window": window, **{f"event_{key}": value for key, value in asdict(rules).items()}}
    write_text(output, _text(keys, recordings, fewest, model.path))
    expected = measure_events(on_other_videos(recordings, detector)) if len(recordings) > 1 else None
    minutes = sum(recording.seconds for recording in recordings) / 60
    write_json(output.with_suffix(".json"), {**keys, "edits": fewest, "minutes": minutes, "on_other_videos": expected})
    print("\n".join([*(f"{key}: {value:g}" for key, value in keys.items()), expectation(expected)]))
    print(f"written: {output}, {output.with_suffix('.json')}")


def expectation(metrics: dict[str, Any] | None) -> str:
    """What to expect of other videos."""
    if metrics is None:
        return "only one video, so there is no estimate for other videos"
    shown = ("precision", "recall", "levenshtein_accuracy", "false_alarms_per_minute")
    values = ", ".join(f"{key} {'–' if metrics[key] is None else format(metrics[key], '.2f')}" for key in shown)
    return f"each video with the thresholds that the others choose: {values}"


def _text(keys: dict[str, float], recordings: list[ScoredVideo], fewest: int, model: Path) -> str:
    gestures = sum(len(recording.gestures) for recording in recordings)
    heading = f"{MARK} for {model.name}: {fewest} edits in {len(recordings)} videos with {gestures} gestures\n"
    return heading + "".join(f"{key}: {value:g}\n" for key, value in keys.items())


def main() -> None:
    config = cast("TuneSettings", load_config(description=__doc__, add_arguments=add_arguments))
    output = Path(config.output)
    with ctrl_c_at_once(), exclusive_files([output, output.with_suffix(".json")]):
        tune(config)


if __name__ == "__main__":
    run_main(main)
