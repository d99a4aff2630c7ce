"""The page of a stream evaluation: the measures, and a timeline of each video. One HTML file that needs no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from src.data.names import background_warning
from src.data.video import Span
from src.evaluation.colours import class_colours
from src.evaluation.events import WatchedVideo
from src.evaluation.templates import render
from src.utils import softmax

STREAM_TEMPLATE = "stream_page.html.j2"
TIMELINE_WIDTH, CURVES_HEIGHT = 1000.0, 80.0  # pixels
TILES = {
    "levenshtein_accuracy": "Levenshtein accuracy: 1 − edits / gestures",
    "precision": "precision: events that are right",
    "recall": "recall: gestures found",
    "f1": "F1",
    "false_alarms_per_minute": "false alarms a minute in videos without gestures",
    "median_start_delay": "s, median from a gesture's start to its event's",
    "median_end_delay": "s, median from a gesture's end to its event's",
    "median_decision_delay": "s, median from a gesture's end to the report of it",
}


def render_stream_report(
    metrics: dict[str, Any],
    videos: list[WatchedVideo],
    scores: dict[str, tuple[np.ndarray, np.ndarray]],
    categories: list[str],
    protocol: dict[str, Any],
) -> bytes:
    """The page as a UTF-8 file.

    Args:
        metrics: of ``events.measure_events``.
        scores: {name of a video: (times [N], logits [N, C])}.
        protocol: everything that the events depend on.
    """
    rgb = class_colours(categories, protocol["background"])
    colours = {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in rgb.items()}
    return render(
        STREAM_TEMPLATE,
        protocol,
        title=f"{Path(protocol['ckpt_file']).name} on {len(videos)} streams",
        tiles=[("–" if metrics[key] is None else f"{metrics[key]:.2f}", text) for key, text in TILES.items()],
        metrics=metrics,
        warning="" if protocol["background"] else background_warning(protocol["background_class"]),
        colours=colours,
        timelines=[timeline(video, *scores[video.name], categories, colours) for video in videos],
        width=TIMELINE_WIDTH,
        curves=CURVES_HEIGHT,
    )


def timeline(
    video: WatchedVideo, times: np.ndarray, logits: np.ndarray, categories: list[str], colours: dict[str, str]
) -> dict[str, Any]:
    """The timeline of a video for the template: bars of gestures and events, a curve for each class's probability."""
    found, right = {gesture for gesture, _ in video.pairs}, {event for _, event in video.pairs}

    def x(seconds: float) -> float:
        return round(TIMELINE_WIDTH * min(seconds / video.seconds, 1.0), 1)

    def bar(span: Span, is_matched: bool) -> dict[str, Any]:
        width = max(x(span.ended_at) - x(span.start), 1.0)
        text = f"{span.label}, {span.start:.2f} to {span.ended_at:.2f} s"
        return {"x": x(span.start), "width": width, "colour": colours[span.label], "text": text, "right": is_matched}

    lines = []
    for label, values in zip(categories, softmax(logits.astype(np.float64)).T):
        points = " ".join(f"{x(t)},{CURVES_HEIGHT * (1 - p):.1f}" for t, p in zip(times.tolist(), values.tolist()))
        lines.append({"colour": colours[label], "points": points, "text": label})
    step = 5 if video.seconds <= 60 else 10 * round(video.seconds / 60)
    return {
        "name": video.name,
        "gestures": [bar(span, i in found) for i, span in enumerate(video.gestures)],
        "events": [bar(span, i in right) for i, span in enumerate(video.events)],
        "decided": [x(seconds) for seconds in video.decided],
        "lines": lines,
        "ticks": [(x(second), second) for second in range(0, int(video.seconds) + 1, step)],
        "summary": f"{len(video.gestures)} gestures, {len(video.events)} events, {len(right)} right",
    }
