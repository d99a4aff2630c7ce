"""The effect of each threshold for events in streams, from the stored scores of ``eval_streams.py``.

    python -m benchmarks.event_rules EVAL_LOGS [PICTURE.png]

One threshold is varied, the others keep their defaults. Prints a table and draws it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.data.video import Span
from src.evaluation.events import measure_events
from src.inference.stream_eval import ScoredVideo, replayed
from src.inference.stream_tuning import candidates_of
from src.inference.streaming import EventDetector, EventRules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THRESHOLDS = {
    "on": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "off": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    "share": (0.0, 0.2, 0.3, 0.35, 0.4, 0.46, 0.5, 0.6),
    "least": (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9),
    "early": (0.5, 0.6, 0.75, 0.9, 1.05, 1.2, 1.5),
}
SHARES = {"precision": "precision", "recall": "recall", "levenshtein_accuracy": "Levenshtein accuracy"}
COLUMNS = {
    **SHARES,
    "false_alarms_per_minute": "false alarms/min",
    "median_decision_delay": "reported after the end (s)",
}


def replay(folder: Path, rules: EventRules) -> dict[str, Any]:
    """The measures of a stored run with these thresholds."""
    document = json.loads((folder / "stream_metrics.json").read_text(encoding="utf-8"))
    watched = []
    with np.load(folder / "stream_scores.npz") as scores:
        detector = EventDetector(scores["categories"].tolist(), rules)
        for entry in document["per_video"]:
            name = entry["video"]
            gestures = [Span(row["start"], row["end"], row["label"], 1.0) for row in entry["gestures"]]
            times, logits = scores[f"{name}/times"], scores[f"{name}/logits"]
            recording = ScoredVideo(name, entry["seconds"], gestures, times, logits)
            watched.append(replayed(recording, detector))
    return measure_events(watched)


def vary(folder: Path) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """For each threshold its values and the measures with each; ``least`` is never more than ``early``."""
    return {
        key: [(asdict(rules)[key], replay(folder, rules)) for rules in candidates_of(EventRules(), key, values)]
        for key, values in THRESHOLDS.items()
    }


def markdown(rows: dict[str, list[tuple[float, dict[str, Any]]]]) -> str:
    """In Markdown; the default of each threshold is bold."""
    lines = ["| threshold | value | " + " | ".join(COLUMNS.values()) + " |", "|---|---:|" + "---:|" * len(COLUMNS)]
    defaults = asdict(EventRules())
    for key, measured in rows.items():
        for value, metrics in measured:
            cells = ["–" if metrics[column] is None else f"{metrics[column]:.2f}" for column in COLUMNS]
            shown = f"**{value:g}**" if value == defaults[key] else f"{value:g}"
            lines.append(f"| `event_{key}` | {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_thresholds(rows: dict[str, list[tuple[float, dict[str, Any]]]]) -> Figure:
    """A column for each threshold: shares above, false alarms and delay below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), layout="constrained")
    above, below = figure.subplots(2, len(rows), sharex="col", sharey="row", squeeze=False)
    for (key, measured), top, bottom in zip(rows.items(), above, below):
        values = [value for value, _ in measured]
        for column, label in SHARES.items():
            top.plot(values, [_or_nan(metrics[column]) for _, metrics in measured], "o-", markersize=3, label=label)
        for column, colour in (("false_alarms_per_minute", "#c0182b"), ("median_decision_delay", "#8a8f98")):
            numbers = [_or_nan(metrics[column]) for _, metrics in measured]
            bottom.plot(values, numbers, "o-", markersize=3, color=colour, label=COLUMNS[column])
        for axes in (top, bottom):
            axes.axvline(asdict(EventRules())[key], color="#e4e7eb", zorder=0)
            axes.spines[["top", "right"]].set_visible(False)
        bottom.set_xlabel(f"event_{key}")
    above[0].set_ylim(0, 1.02)
    above[0].legend(frameon=False, fontsize=8, loc="lower left")
    below[0].legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def main() -> None:
    rows = vary(Path(sys.argv[1]))
    print(markdown(rows))
    if len(sys.argv) > 2:
        draw_thresholds(rows).savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
