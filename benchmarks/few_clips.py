"""Five gestures with ten clips each, learnt four ways: which start is worth how much?

    python -m benchmarks.few_clips WORK_DIR [--seeds 3] [--epochs 20]

Draws the quickstart's data and trains its network on them once. Then, for each seed, draws five gestures that this
network has not seen, ten clips of each to train with and 120 to test with, and trains each way with the quickstart's
settings. Prints top-1 (centre crop, last epoch) and the seconds of the whole command. WORK_DIR keeps what is made.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
CONFIG = REPO / "configs/synthetic_config.yaml"
KNOWN = 8  # gestures of the quickstart
NEW_GESTURES = (
    "Rolling Hand Forward",
    "Rolling Hand Backward",
    "Turning Hand Clockwise",
    "Turning Hand Counterclockwise",
    "Stop Sign",
)
CLIPS_A_GESTURE, TEST_CLIPS = 10, 120
FASTER = {"frozen, ten times the epochs": 10}


def ways(trained: Path) -> dict[str, list[str]]:
    """Options of each way to start."""
    backbone = ["--pre_trained_backbone", str(trained)]
    frozen = [*backbone, "--freeze_backbone", "true"]
    return {
        "from scratch": [],
        "backbone": backbone,
        "whole network": ["--pre_trained", str(trained)],
        "frozen backbone": frozen,
        "frozen, ten times the epochs": frozen,
    }


def run(*command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env=environment)


def make_dataset(folder: Path, labels: list[str], train: int, val: int, seed: int) -> Path:
    """Draws, unpacks and lists clips in ``folder``, unless they are there."""
    from src.synthetic.jester import make_archives

    dataset = folder / "dataset"
    if not (dataset / "val_videofolder.txt").is_file():
        make_archives(folder / "archives", labels, {"train": train, "validation": val, "test": 0}, seed, 3)
        run("-m", "src.data.unpack_jester_dataset", str(folder / "archives"), str(dataset))
        run("-m", "src.preprocess_jester_dataset", str(dataset))
    return dataset


def train(dataset: Path, output: Path, *options: str) -> tuple[float, float]:
    """Trains, unless it is done; returns top-1 of the last validation and seconds."""
    done = output / "seconds.txt"
    if not done.is_file():
        paths = ["--dataset_root", str(dataset), "--train_output_dir", str(output), "--resume", "auto"]
        began = time.monotonic()
        run(str(REPO / "train.py"), "--config_path", str(CONFIG), *paths, *options)
        done.write_text(f"{time.monotonic() - began:.1f}")
    with open(output / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return float(rows[-1]["top1"]), float(done.read_text())


def measure(work: Path, seeds: int, epochs: int) -> None:
    from src.synthetic.gestures import GESTURES

    known = list(GESTURES)[:KNOWN]
    assert not set(known) & set(NEW_GESTURES)
    dataset = make_dataset(work / "known", known, 480, 120, seed=1)
    top1, seconds = train(dataset, work / "known/train")
    print(f"network to start from: {100 * top1:.1f} % of its own {KNOWN} gestures, {seconds:.0f} s", flush=True)
    trained = max((work / "known/train").glob("checkpoint_trn-*.ckpt"), key=lambda path: path.stat().st_mtime)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        clips = CLIPS_A_GESTURE * len(NEW_GESTURES)
        dataset = make_dataset(work / f"new{seed}", list(NEW_GESTURES), clips, TEST_CLIPS, seed=100 + seed)
        for way, options in ways(trained).items():
            length = epochs * FASTER.get(way, 1)
            plan = {"epochs_num": length, "update_lr_epochs": length * 4 // 5, "eval_interval": length, "seed": seed}
            plan["ckpt_save_interval"] = length
            more = [part for key, value in plan.items() for part in (f"--{key}", str(value))]
            output = work / f"new{seed}/{way.replace(' ', '_').replace(',', '')}_{epochs}"
            result = train(dataset, output, *options, *more)
            found.setdefault(way, []).append(result)
            print(f"seed {seed}, {way}, {length} epochs: {100 * result[0]:.1f} %, {result[1]:.0f} s", flush=True)
    print_table(found, epochs)


def print_table(found: dict[str, list[tuple[float, float]]], epochs: int) -> None:
    print(f"\n| start | epochs | top-1 of {TEST_CLIPS} clips, each seed | mean | seconds |\n|---|---:|---|---:|---:|")
    for way, results in found.items():
        accuracies = [100 * top1 for top1, _ in results]
        listed = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
        mean, seconds = statistics.mean(accuracies), statistics.mean(seconds for _, seconds in results)
        print(f"| {way} | {epochs * FASTER.get(way, 1)} | {listed} | {mean:.1f} | {seconds:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    measure(args.work_dir, args.seeds, args.epochs)


if __name__ == "__main__":
    main()
