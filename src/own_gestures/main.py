"""From clips of your own gestures to a network that recognises them in a stream.

    clips ─► frames, lists, background ─► frozen and whole training ─► the better one ─► window and thresholds
          ─► report on clips and streams ─► two 8-bit files ─► three lines

Each step runs one of the programs, and prints the command. The settings are in ``frozen.yaml``, ``whole.yaml`` and
``stream.yaml`` of the work folder. After an edit the same command repeats the steps that depend on it.
"""

from __future__ import annotations

import csv
import json
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.files import digest
from model_utils.stop_signals import raise_on_sigterm
from model_utils.util import locked, run_main, write_bytes, write_json
from src.data.annotations import VideoClip, find_clips, read_annotations
from src.data.names import BACKGROUND
from src.own_gestures import network, own_lists, summary
from src.own_gestures.join_streams import JOINED_RATE
from src.own_gestures.own_lists import OWN_LISTS
from src.own_gestures.programs import Programs

MARKER = ".made-by-my_gestures"
FEWEST, ENOUGH = 4, 10  # clips of a class


class Run:
    """One run: the arguments, the work folder and the steps."""

    def __init__(self, args: Namespace) -> None:
        self.args, self.out = args, args.out_dir.resolve()
        self.dataset, self.programs = self.out / "dataset", Programs(self.out)
        self.mark = f"# written by my_gestures.sh --minutes {args.minutes:g} --from {args.start or 'nothing'}"

    def convert_start(self) -> Path | None:
        """The checkpoint to start from. A PyTorch file, the authors' or with ImageNet weights, is converted first."""
        start = self.args.start
        if start is None or start.suffix == ".ckpt":
            return start and start.resolve()
        target = self.out / "start.ckpt"
        kind = "trn_pytorch" if start.name.endswith(".pth.tar") else "bn_inception"
        self.programs.run("convert", [f"src/convert_{kind}.py", str(start.resolve()), str(target)], [_state(start)])
        return target

    def prepare(self) -> str:
        """Frames and lists; returns the name of the background class."""
        args, annotations = self.args, self.args.annotations
        clips = read_annotations(annotations, args.videos) if annotations else find_clips(args.videos)
        names = sorted({clip.label for clip in clips})
        background = own_lists.background_among(names)
        label = background or BACKGROUND[0]
        options = []
        if annotations:
            if not background:
                clips = own_lists.with_stretches_between(clips, args.videos, label)
            own_lists.write_annotations(self.out / "annotations.csv", clips)
            options = ["--annotations", str(self.out / "annotations.csv")]
        between = annotations and not background and any(clip.label == label for clip in clips)
        _check_numbers(clips)
        videos = [_state(args.videos / name) for name in sorted({clip.video for clip in clips})]
        own = [_state(annotations)] if annotations else []
        command = ["src/data/prepare_videos.py", str(args.videos.resolve()), str(self.dataset), *options]
        self.programs.run("prepare", [*command, "--seed", str(args.seed)], [*videos, *own])
        report = own_lists.write_own_lists(self.dataset, label if between else background, label)
        print(f"background: {label}, the stretches without annotation" if between else report, flush=True)
        return label

    def train(self, start: Path | None, background: str) -> Path:
        """The better of the trainings that fit into the time; returns its checkpoint."""
        args = self.args
        settings, whole = network.start_of(start)
        clips = len(own_lists.own_rows(self.dataset, "training"))
        keys = network.recipe(settings, self.dataset, background, clips, args.seed)
        top1: dict[str, float] = {}
        seconds_left = 60 * args.minutes
        if start and args.train != "whole":
            frozen = {**keys, "pre_trained_backbone": str(start), "freeze_backbone": True}
            top1["frozen"] = self.train_one("train-frozen", network.for_epochs(frozen, network.FROZEN_EPOCHS))["top1"]
            seconds_left -= self.programs.seconds("train-frozen")
        # The frozen training is enough if all clips are right, or if the time left holds only a few epochs.
        if not top1 or (args.train == "both" and top1["frozen"] < 1 and seconds_left > 0):
            if start:
                keys["pre_trained" if whole else "pre_trained_backbone"] = str(start)
            epochs = self.epochs_that_fit(keys, seconds_left)
            if epochs > network.LEAST_EPOCHS or not top1:
                top1["whole"] = self.train_one("train-whole", network.for_epochs(keys, epochs))["top1"]
        best = max(top1, key=lambda name: top1[name])  # on a tie the frozen one, which came first
        shown = ", ".join(f"{name} {100 * value:.1f} %" for name, value in top1.items())
        print(f"held-out clips right: {shown}; taken: {best}", flush=True)
        return network.last_checkpoint(self.out / f"train-{best}")

    def epochs_that_fit(self, keys: dict[str, Any], seconds: float) -> int:
        """How many epochs of a whole training fit, measured by the second epoch of a short one."""
        second = self.train_one("probe", {**network.for_epochs(keys, 2), "eval_interval": 0})
        return network.epochs_in(seconds - self.programs.seconds("probe"), second["seconds"])

    def train_one(self, step: str, keys: dict[str, Any]) -> dict[str, float]:
        """Trains; returns the last row of its curves, in which top1 is the share of held-out clips that are right."""
        config, output = self.out / f"{step.removeprefix('train-')}.yaml", self.out / step
        network.write_config(config, self.mark, keys)
        command = ["train.py", "--config_path", str(config), "--train_output_dir", str(output), "--resume", "auto"]
        self.programs.run(step, command, ["prepare", digest(config), *self.lists()], output)
        return network.last_epoch(output)

    def lists(self) -> list[str]:
        return [digest(self.dataset / name) for name in OWN_LISTS.values()]

    def tune(self, model: Path, background: str) -> Path:
        """Window and thresholds, chosen on held-out clips that are joined to streams; returns the config."""
        streams, config = self.out / "streams", self.out / "stream.yaml"
        joined = ["src/own_gestures/join_streams.py", str(self.dataset), str(streams), "--background", background]
        if self.args.annotations:
            joined += ["--videos", str(self.args.videos.resolve()), "--annotations", str(self.out / "annotations.csv")]
        self.programs.run("join", joined, ["prepare", *self.lists()], streams)
        given = ["--videos", str(streams / "videos"), "--truth", str(streams / "truth.json"), "--output", str(config)]
        windows = ",".join(f"{window:g}" for window in self.windows())
        command = ["tune_stream.py", "--ckpt_file", str(model), *given, "--windows", windows]
        self.programs.run("tune", command, ["join", _state(model)])
        return config

    def windows(self) -> list[float]:
        """From three quarters to five quarters of a clip's usual length, in seconds."""
        rows = own_lists.own_rows(self.dataset, "validation")
        usual = sorted(int(row.split()[-2]) for row in rows)[len(rows) // 2] / JOINED_RATE
        return sorted({max(0.5, round(usual * share, 2)) for share in (0.75, 1.0, 1.25)})

    def evaluate(self, model: Path, stream: Path) -> None:
        clips = ["eval.py", "--ckpt_file", str(model), "--dataset_root", str(self.dataset)]
        clips += ["--categories_list_file_name", OWN_LISTS["categories"]]
        clips += ["--eval_list_file_name", OWN_LISTS["validation"], "--eval_output_dir", str(self.out / "eval")]
        self.programs.run("eval", [*clips, "--test_crops", "1"], [_state(model), *self.lists()])
        given = ["--videos", str(self.out / "streams/videos"), "--truth", str(self.out / "streams/truth.json")]
        command = ["eval_streams.py", "--ckpt_file", str(model), *given, "--config_path", str(stream)]
        command += ["--eval_output_dir", str(self.out / "eval-streams")]
        self.programs.run("eval-streams", command, [_state(model), digest(stream)])

    def export(self, model: Path) -> Path:
        output = self.out / "export"
        command = ["export.py", "--ckpt_file", str(model), "--dataset_root", str(self.dataset)]
        command += ["--train_list_file_name", OWN_LISTS["training"], "--categories_list_file_name"]
        command += [OWN_LISTS["categories"], "--file_format", "ONNX", "--quantize", "int8", "--streaming", "true"]
        self.programs.run("export", [*command, "--export_output_dir", str(output)], [_state(model)], output)
        return output / "trn_int8_frame.onnx"


def _state(path: Path) -> str:
    """A file's path, size and time of change, which stand for its content."""
    stat = path.stat()
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _check_numbers(clips: list[VideoClip]) -> None:
    counts = Counter(clip.label for clip in clips)
    few = [f"{name} {count}" for name, count in sorted(counts.items()) if count < ENOUGH]
    if any(count < FEWEST for count in counts.values()):
        raise InputError(f"too few clips: {', '.join(few)}; expected {FEWEST} of each class, better {ENOUGH} or more")
    if few:
        print(f"few clips: {', '.join(few)}; {ENOUGH} or more of each class are better", flush=True)


def run_steps(args: Namespace) -> None:
    """Runs the steps that are not done yet."""
    work = Run(args)
    out = work.out
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise InputError(f"{args.out_dir}: is not empty, and my_gestures.sh did not make it; give another folder")
    with locked(out / ".lock", f"{args.out_dir}: another my_gestures.sh works in this folder"):
        write_bytes(out / MARKER, b"")
        start = work.convert_start()
        background = work.prepare()
        model = work.train(start, background)
        write_json(out / "taken.json", {"model": str(model), "background_class": background})
        stream = work.tune(model, background)
        work.evaluate(model, stream)
        exported = work.export(model)
    with open(out / "eval/per_class.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    print(f"Report: {out / 'eval/report.html'}, {out / 'eval-streams/stream_report.html'}; model: {model}")
    numbers = out / "eval/metrics.json", stream.with_suffix(".json")
    metrics, streams = (json.loads(path.read_text(encoding="utf-8")) for path in numbers)
    print(summary.held_out_expectation(metrics, streams))
    print(summary.weakest(rows, background))
    print(f"Try it: bash scripts/run_demo.sh {exported} --config_path {stream}")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="my_gestures", description="From clips of one's own gestures to a working stream.")
    parser.add_argument("videos", type=Path, help="folder of class folders of videos, or of the annotated videos")
    parser.add_argument("out_dir", type=Path, help="work folder; made if it is not there")
    parser.add_argument("--from", dest="start", type=Path, help="checkpoint, .pth.tar or .pth to start from")
    parser.add_number("--minutes", "float (0, 10000]", 10.0, "time for the trainings")
    parser.add_argument("--annotations", type=Path, help="CSV with a header video,label[,start,end][,split]; seconds")
    parser.add_choice("--train", ("both", "frozen", "whole"), "which trainings to try")
    parser.add_number("--seed", "int [0, inf)", 0, "of every random choice")
    args = parser.parse_args(argv)
    if not args.videos.is_dir():
        raise InputError(f"{args.videos}: no such folder; expected the folder of the videos")
    for path in (args.start, args.annotations):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: no such file")
    if args.start and not args.start.name.endswith((".ckpt", ".pth.tar", ".pth")):
        raise InputError(f"--from {args.start}: expected a name that ends in .ckpt, .pth.tar or .pth")
    raise_on_sigterm()  # else the step would go on
    run_steps(args)


if __name__ == "__main__":
    run_main(main)
