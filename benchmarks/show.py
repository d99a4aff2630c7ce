"""Results as a table for the terminal and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def markdown(results: list[dict[str, Any]]) -> str:
    """Markdown: a row for each side of each item; a ratio is its time over that of the item's first side."""
    lines = [
        "| item | side | time a unit | CPU time a unit | x the first side's (min-max) | wanted | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for side in result["sides"]:
            first = side is result["sides"][0]
            name = f"{result['name']}, a {result['unit']}" if first else ""
            ratio = f"{side['ratio']:.2f} ({min(side['ratios']):.2f}-{max(side['ratios']):.2f})"
            times = f"{_seconds(side['median_seconds'])} | {_seconds(side['median_cpu_seconds'])}"
            cells = (name, side["label"], times, "" if first else ratio, _wanted(side), f"{side['peak_mb']} MB")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _wanted(side: dict[str, Any]) -> str:
    if side["at_most"] is not None:
        return f"<= {_seconds(side['at_most'])}"
    return "" if side["at_least"] is None else f">= {side['at_least']:g}"


def _seconds(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} us"


def draw_results(results: list[dict[str, Any]], path: Path) -> None:
    """A picture with a row for each item: the ratio of each round, and how the time grows with the work."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 1 + max(len(result["growth"]) for result in results)
    figure, rows = pyplot.subplots(
        len(results), columns, figsize=(5 * columns, 3 * len(results)), squeeze=False, layout="constrained"
    )
    for result, axes in zip(results, rows):
        _draw_ratios(axes[0], result)
        for axis, growth in zip(axes[1:], result["growth"].values()):
            _draw_growth(axis, growth)
        for axis in axes[1 + len(result["growth"]) :]:
            axis.set_axis_off()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def _draw_ratios(axis: Any, result: dict[str, Any]) -> None:
    for row, side in enumerate(result["sides"]):
        axis.plot(side["ratios"], [row] * len(side["ratios"]), "o", alpha=0.6, color=f"C{row}")
        if side["at_least"] is not None:
            axis.plot(side["at_least"], row, "|", color="black", markersize=18)
    axis.set_yticks(range(len(result["sides"])), [side["label"] for side in result["sides"]])
    axis.set_ylim(len(result["sides"]) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.set_title(f"{result['name']}: time of a {result['unit']}, x the first side's", fontsize=10)


def _draw_growth(axis: Any, growth: dict[str, Any]) -> None:
    factors = growth["factors"]
    for index, (label, times) in enumerate(growth["sides"].items()):
        axis.plot(factors, times, "o-", color=f"C{index}", label=label)
        axis.plot(factors, growth["cpu"][label], "--", color=f"C{index}", linewidth=1)
    axis.plot(factors, [factor / factors[0] for factor in factors], ":", color="grey", label="linear")
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(factors, [f"{factor:g}x" for factor in factors])
    axis.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    axis.minorticks_off()
    axis.set_title(f"time of a round (CPU time: dashed) against {growth['meaning']}", fontsize=10)
    axis.legend(fontsize=7)
