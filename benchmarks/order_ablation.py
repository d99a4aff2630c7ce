"""The order experiment as a table and a picture: answers to clips played forwards, backwards and shuffled.

``scripts/run_order_ablation.sh`` trains and scores; this reads ``OUT_DIR/<consensus>/<order>/metrics.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_utils.errors import InputError
from model_utils.files import read_file
from model_utils.util import run_main, write_bytes
from src.evaluation import plots, tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD_TITLES = {"TRNmultiscale": "multi-scale TRN", "TRN": "TRN", "avg": "average consensus"}
ORDERS = ("natural", "reversed", "shuffled")
COLUMNS = {
    "top1": "all",
    "pair_top1": "reversible pairs",
    "pair_answered_opposite": "pairs, opposite answered",
    "rest_top1": "rest",
}


def read_results(folder: Path) -> list[dict[str, Any]]:
    """A row for each head and order: consensus, frame_order, clips, pair_clips, rest_clips and the keys of COLUMNS.

    Raises:
        InputError: for a file that is missing or is not an evaluation with reversible gestures.
    """
    rows = []
    for head in HEAD_TITLES:
        for order in ORDERS:
            path = folder / head / order / "metrics.json"
            try:
                metrics = json.loads(read_file(path))
                numbers = {"top1": metrics["top1"], "clips": metrics["clips"], **metrics["order"]}
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror}") from None
            except KeyError as error:
                raise InputError(f"{path}: expected an evaluation of reversible gestures, {error} missing") from None
            except (ValueError, TypeError):
                raise InputError(f"{path}: expected the metrics of an evaluation; evaluate again") from None
            rows.append({"consensus": head, "frame_order": order, **numbers})
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown, in percent, with the numbers of clips below."""
    lines = ["| head | frames | " + " | ".join(COLUMNS.values()) + " |", "|---|---|" + "---:|" * len(COLUMNS)]
    for row in rows:
        cells = ["–" if row[key] is None else f"{100 * row[key]:.1f}" for key in COLUMNS]
        lines.append(f"| {HEAD_TITLES[row['consensus']]} | {row['frame_order']} | " + " | ".join(cells) + " |")
    first = rows[0]
    counts = (
        f"{first['clips']} clips, {first['pair_clips']} of them of reversible pairs, {first['rest_clips']} of the rest"
    )
    return "\n".join([*lines, "", f"Top-1 in percent; {counts}.", ""])


def draw_answers(rows: list[dict[str, Any]]) -> Figure:
    """For each head and order, how clips of reversible pairs are answered: the class, its opposite, another class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, head in zip(figure.subplots(1, len(HEAD_TITLES), sharey=True), HEAD_TITLES):
        mine = [row for row in rows if row["consensus"] == head]
        right = [100 * (row["pair_top1"] or 0) for row in mine]
        opposite = [100 * (row["pair_answered_opposite"] or 0) for row in mine]
        bars = [axes.bar(ORDERS, right, color=plots.BLUE, label="the gesture")]
        bars.append(axes.bar(ORDERS, opposite, bottom=right, color=plots.ORANGE, label="the opposite gesture"))
        other = [100 - a - b for a, b in zip(right, opposite)]
        axes.bar(ORDERS, other, bottom=[100 - c for c in other], color=plots.PALE, label="another")
        for group in bars:
            labels = [f"{value:.0f}" if value >= 6 else "" for value in group.datavalues]
            axes.bar_label(group, labels, label_type="center", color="white")
        axes.set(title=HEAD_TITLES[head], ylim=(0, 100))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("clips of reversible pairs (%)")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, title="answered")
    return figure


def main() -> None:
    """Command line: OUT_DIR."""
    folder = Path(sys.argv[1])
    rows = read_results(folder)
    table = markdown(rows)
    write_bytes(folder / "order_ablation.md", table.encode())
    write_bytes(folder / "order_ablation.csv", tables.csv_bytes([rows[0], *(row.values() for row in rows)]))
    print(table)
    plots.write_picture(folder / "order_ablation.png", lambda: plots.png_bytes(draw_answers(rows)))


if __name__ == "__main__":
    run_main(main)
