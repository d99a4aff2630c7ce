"""The report of an evaluation as one HTML page that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np

from src.evaluation import plots
from src.evaluation.metrics import confused_pairs, per_class
from src.evaluation.plots import picture_or_warning, png_bytes
from src.evaluation.tables import Evaluation
from src.evaluation.templates import percent, render
from src.utils import softmax

TEMPLATE = "page.html.j2"
PAIRS_SHOWN, MISTAKES_SHOWN, LEFT_OUT_SHOWN = 8, 2, 100
STRIP_HEIGHT = 80  # pixels
STRIP_FRAMES = 16  # at most
LONG_VALUE = 24  # characters; a longer value of the protocol gets a line of its own

FramesOf = Callable[[int], "list[np.ndarray]"]


def render_report(evaluation: Evaluation, confusion_png: bytes | None, frames_of: FramesOf) -> bytes:
    """The page as a UTF-8 file.

    Args:
        confusion_png: the picture of the confusion matrix; None if it could not be drawn.
        frames_of: see ``results.write_results``; a clip whose frames cannot be read gets no picture.
    """
    metrics, categories, observed = evaluation.metrics, evaluation.categories, evaluation.metrics["observed"]
    several = len(observed) > 1
    return render(
        TEMPLATE,
        metrics["protocol"],
        title=f"{Path(metrics['protocol']['ckpt_file']).name} on {metrics['clips']} clips",
        tiles=tiles(metrics),
        left_out=metrics["left_out"],
        left_out_shown=LEFT_OUT_SHOWN,
        long_value=LONG_VALUE,
        recognition=_picture("early recognition", lambda: plots.draw_recognition(observed)) if several else None,
        several_observed=several,
        confusion=_data_uri(confusion_png, "png"),
        most_confused=_most_confused(evaluation),
        num_classes=len(categories),
        classes=class_rows(evaluation),
        mistakes=list(mistakes(evaluation, frames_of)),
    )


def tiles(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The headline: (number, its meaning)."""
    low, high = metrics["top1_interval_95"]
    shown = [
        (percent(metrics["top1"]), f"top-1 (95 % interval {100 * low:.1f} to {100 * high:.1f})"),
        (percent(metrics["top5"]), "top-5" + (f" ({metrics['top5_note']})" if "top5_note" in metrics else "")),
        (percent(metrics["class_mean"]["recall"]), "recall, mean over classes"),
        (str(metrics["clips"]), f"clips of the {metrics['clips_listed']} listed"),
    ]
    order = metrics.get("order", {})
    if order.get("pair_clips"):
        shown += [
            (percent(order["pair_top1"]), f"top-1 on {order['pair_clips']} clips of reversible gestures"),
            (percent(order["pair_answered_opposite"]), "of these answered with the opposite gesture"),
        ]
    if order.get("rest_clips"):
        shown.append((percent(order["rest_top1"]), f"top-1 on the other {order['rest_clips']} clips"))
    return shown


def class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A row of the table for each class: the lowest recall first, classes without clips last.

    ``recall`` and ``f1`` are None for a class without clips, ``precision`` for a class that was never answered.
    """
    confusion, categories = evaluation.confusion, evaluation.categories
    classes = per_class(confusion)
    present, answered = classes["support"] > 0, confusion.any(0)
    rows = []
    for label in np.lexsort((classes["precision"], classes["recall"], ~present)):
        other = classes["confused_with"][label]
        rows.append(
            {
                "name": categories[label],
                "clips": int(classes["support"][label]),
                "recall": float(classes["recall"][label]) if present[label] else None,
                "precision": float(classes["precision"][label]) if answered[label] else None,
                "f1": float(classes["f1"][label]) if present[label] else None,
                "confused_with": categories[other] if other >= 0 else None,
                "times": int(confusion[label, other]) if other >= 0 else 0,
            }
        )
    return rows


def mistakes(evaluation: Evaluation, frames_of: FramesOf) -> Iterator[dict[str, Any]]:
    """The most frequent kinds of mistakes; of each kind, the examples with the highest probability."""
    categories, known = evaluation.categories, evaluation.known
    for true, answer, count in confused_pairs(evaluation.confusion)[:PAIRS_SHOWN]:
        rows = known[(evaluation.labels[known] == true) & (evaluation.predicted[known] == answer)]
        probabilities = softmax(evaluation.scores[rows].astype(np.float64))  # [clips of this kind, C]
        examples = []
        for place in np.argsort(-probabilities[:, answer], kind="stable")[:MISTAKES_SHOWN]:
            row = int(rows[place])
            strip = picture_or_warning(f"frames of clip {evaluation.clips[row]}", partial(_clip_strip, frames_of, row))
            examples.append(
                {
                    "clip": evaluation.clips[row],
                    "picture": _data_uri(strip, "jpeg"),
                    "answered": float(probabilities[place, answer]),
                    "true": float(probabilities[place, true]),
                }
            )
        clips = int(evaluation.confusion[true].sum())
        names = {"true": categories[true], "answer": categories[answer]}
        yield {**names, "times": count, "clips": clips, "examples": examples}


def _picture(name: str, draw: Callable[[], Any]) -> str | None:
    return _data_uri(picture_or_warning(name, lambda: png_bytes(draw())), "png")


def _most_confused(evaluation: Evaluation) -> str | None:
    """A readable part of the confusion matrix of many classes; None if the whole is readable or all is right."""
    categories, confusion = evaluation.categories, evaluation.confusion
    if len(categories) <= plots.NUMBERED_CLASSES or not plots.most_confused(confusion):
        return None
    return _picture("most confused classes", lambda: plots.draw_most_confused(categories, confusion))


def _clip_strip(frames_of: FramesOf, row: int) -> bytes:
    """The frames of a clip side by side as a JPEG file, at most STRIP_FRAMES of them."""
    frames = frames_of(row)
    shown = np.linspace(0, len(frames) - 1, min(len(frames), STRIP_FRAMES)).round().astype(int)
    small = plots.thumbnails([frames[index] for index in shown], STRIP_HEIGHT)
    gap = np.full((STRIP_HEIGHT, 3, 3), 255, np.uint8)
    strip = np.hstack([piece for frame in small for piece in (frame, gap)][:-1])
    return cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()


def _data_uri(data: bytes | None, kind: str) -> str | None:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}" if data else None
