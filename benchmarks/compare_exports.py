"""Accuracy of the exported forms of a network beside the checkpoint's: the table of scripts/compare_exports.sh."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

from model_utils.errors import InputError
from model_utils.util import run_main, write_text
from src.evaluation.tables import METRICS_FILE, PREDICTIONS_FILE

FORMS = ("checkpoint", "mindir", "onnx", "int8", "stream", "stream-int8")
Z = 1.959964  # 95 % of a normal distribution


def read_evaluations(folder: Path) -> list[dict[str, Any]]:
    """A row for each form: its accuracy, and how it differs from the checkpoint's.

    Raises:
        InputError: if an evaluation is missing, or is of other clips than the checkpoint's.
    """
    rows: list[dict[str, Any]] = []
    first: list[dict[str, str]] = []
    for form in FORMS:
        metrics, clips = _read(folder / form / "eval")
        first = first or clips
        if [row["clip"] for row in clips] != [row["clip"] for row in first]:
            raise InputError(f"{folder / form}: other clips than the checkpoint's; run the comparison again")
        low, high = difference_interval([row["rank"] == "1" for row in first], [row["rank"] == "1" for row in clips])
        rows.append(
            {
                "form": form,
                "sha256": metrics["protocol"]["ckpt_sha256"][:12],
                "clips": metrics["clips"],
                "top1": metrics["top1"],
                "interval": metrics["top1_interval_95"],
                "difference": metrics["top1"] - rows[0]["top1"] if rows else 0.0,
                "difference_interval": (low, high),
                "same": sum(a["predicted"] == b["predicted"] for a, b in zip(first, clips)),
                "probability": max(
                    abs(float(a["probability"]) - float(b["probability"])) for a, b in zip(first, clips)
                ),
            }
        )
    return rows


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    try:
        metrics = json.loads((folder / METRICS_FILE).read_bytes())
        with open(folder / PREDICTIONS_FILE, encoding="utf-8", newline="") as file:
            clips = [row for row in csv.DictReader(file) if row["rank"]]
        metrics["top1"], metrics["protocol"]["ckpt_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder}: no whole evaluation there; run the comparison again") from None
    return metrics, clips


def difference_interval(before: list[bool], after: list[bool]) -> tuple[float, float]:
    """The 95 % interval of the difference of two accuracies on the same clips (paired, Agresti and Min's).

    Half a clip is added to each of the four counts (right or wrong before and after), so that no interval is empty.
    """
    gained = sum(b and not a for a, b in zip(before, after)) + 0.5
    lost = sum(a and not b for a, b in zip(before, after)) + 0.5
    count = len(before) + 2
    middle = (gained - lost) / count
    half = Z * math.sqrt(gained + lost - (gained - lost) ** 2 / count) / count
    return middle - half, middle + half


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    lines = [
        "| form | sha256 | top-1 (95 % interval) | points beside the checkpoint (95 % interval) | same answer"
        " | probability differs by at most |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = (100 * value for value in row["interval"])
        beside = "{:+.2f} ({:+.2f} to {:+.2f})".format(
            100 * row["difference"], *(100 * value for value in row["difference_interval"])
        )
        lines.append(
            f"| {row['form']} | {row['sha256']} | {100 * row['top1']:.2f} ({low:.1f} to {high:.1f}) | {beside} |"
            f" {row['same']} of {row['clips']} | {row['probability']:.1e} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line: OUT_DIR."""
    folder = Path(sys.argv[1])
    table = markdown(read_evaluations(folder))
    write_text(folder / "compare.md", table)
    print(table)


if __name__ == "__main__":
    run_main(main)
