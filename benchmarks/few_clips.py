"""Compares four ways to learn five gestures with ten clips each.

    python -m benchmarks.few_clips WORK_DIR [--seeds 3] [--epochs 20]

Draws the quickstart's data and trains the network of ``synthetic_config.yaml`` on them once. Then, for each seed, draws
five gestures that this network has not seen, ten clips of each to train with and 120 to test with, and trains each way
with the same settings. Prints top-1 (centre crop, last epoch) and the seconds of the whole command. WORK_DIR keeps what
is made.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path

from benchmarks.data import NEW_GESTURES, REPO, make_dataset, run_program

CONFIG = REPO / "configs/synthetic_config.yaml"
KNOWN = 8  # gestures of the quickstart
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


def run_training(dataset: Path, output: Path, *options: str) -> tuple[float, float]:
    """Trains, unless it is done; returns top-1 of the last validation and seconds."""
    done = output / "seconds.txt"
    if not done.is_file():
        paths = ["--dataset_root", str(dataset), "--train_output_dir", str(output), "--resume", "auto"]
        began = time.monotonic()
        run_program("train.py", "--config_path", str(CONFIG), *paths, *options)
        done.write_text(f"{time.monotonic() - began:.1f}")
    with open(output / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return float(rows[-1]["top1"]), float(done.read_text())


def compare_starts(work: Path, seeds: int, epochs: int) -> None:
    from src.synthetic.gestures import GESTURES

    known = list(GESTURES)[:KNOWN]
    assert not set(known) & set(NEW_GESTURES)
    dataset = work / "known/dataset"
    make_dataset(dataset, known, 480, 120, seed=1)
    top1, seconds = run_training(dataset, work / "known/train")
    print(f"network to start from: {100 * top1:.1f} % of its own {KNOWN} gestures, {seconds:.0f} s", flush=True)
    trained = max((work / "known/train").glob("checkpoint_trn-*.ckpt"), key=lambda path: path.stat().st_mtime)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        clips = CLIPS_A_GESTURE * len(NEW_GESTURES)
        dataset = work / f"new{seed}/dataset"
        make_dataset(dataset, list(NEW_GESTURES), clips, TEST_CLIPS, seed=100 + seed)
        for way, options in ways(trained).items():
            length = epochs * FASTER.get(way, 1)
            plan = {"epochs_num": length, "update_lr_epochs": length * 4 // 5, "eval_interval": length, "seed": seed}
            plan["ckpt_save_interval"] = length
            more = [part for key, value in plan.items() for part in (f"--{key}", str(value))]
            output = work / f"new{seed}/{way.replace(' ', '_').replace(',', '')}_{epochs}"
            result = run_training(dataset, output, *options, *more)
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
    compare_starts(args.work_dir, args.seeds, args.epochs)


if __name__ == "__main__":
    main()
