"""The lines at the end: what to expect, and which clips to record for the weakest class."""

from __future__ import annotations

from typing import Any

from src.evaluation.metrics import interval


def held_out_expectation(metrics: dict[str, Any], streams: dict[str, Any]) -> str:
    """What to expect of clips and streams like the held-out ones, each with its 95 % interval."""
    low, high = (100 * value for value in metrics["top1_interval_95"])
    parts = [f"{100 * metrics['top1']:.0f} % of clips right ({low:.0f} to {high:.0f})"]
    found = streams["on_other_videos"]
    if found:
        low, high = (100 * value for value in interval(found["recall"], found["gestures"]))
        parts += [f"{100 * found['recall']:.0f} % of gestures found in streams ({low:.0f} to {high:.0f})"]
        wrong, minutes = found["events"] - found["matched"], streams["minutes"]
        low, high = (bound / minutes for bound in poisson_interval(wrong))
        parts += [f"{wrong / minutes:.1f} false alarms a minute ({low:.1f} to {high:.1f})"]
    return f"Expect: {', '.join(parts)}; 95 % intervals, {metrics['clips']} clips that it was not trained on"


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact 95 % interval of the mean of a Poisson distribution after one count (Garwood's)."""
    from scipy.special import gammaincinv

    return float(gammaincinv(count, 0.025)) if count else 0.0, float(gammaincinv(count + 1, 0.975))


def weakest(classes: list[dict[str, str]], background: str) -> str:
    """What to record for the class that is recognised least often.

    Args:
        classes: rows of ``per_class.csv``.
        background: the class that is no gesture.
    """
    gestures = [row for row in classes if int(row["support"]) and row["class"] != background]
    worst = min(gestures, key=lambda row: float(row["recall"]))
    name, clips, recall = worst["class"], int(worst["support"]), float(worst["recall"])
    if recall == 1:
        return "Weakest class: none; record clips by other people and in other places to find out what is still wrong"
    other = worst["most_confused_with"]
    taken = f", taken for {other}" if other else ""
    both = f"{name} and of {other}" if other else name
    share = f"{round(recall * clips)} of {clips} clips right{taken}"
    return (
        f"Weakest class: {name}, {share}; record ten more clips of {both}, with other people, distances and"
        " light, so that the two differ in nothing but the gesture"
    )
