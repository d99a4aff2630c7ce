"""Numbers and pictures of an evaluation or a training run, as files: JSON, CSV, PNG, and one HTML page with it all."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import cv2
import numpy as np

from model_utils.errors import InputError
from model_utils.util import write_bytes
from src.evaluation.metrics import confused_pairs, confusion_matrix, per_class, true_class_rank
from src.utils import softmax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT_FILES = ("per_class.csv", "confusion_matrix.png", "report.html", "submission.csv")
PAIRS_SHOWN, MISTAKES_SHOWN = 8, 2
STRIP_HEIGHT = 80
CURVE_COLUMNS = ("epoch", "lr", "loss", "top1", "top5", "seconds")
BLUE, ORANGE, GREY = "#2a6fb0", "#d1701f", "#8a8f98"


def write_results(
    folder: str | os.PathLike,
    metrics: dict[str, Any],
    categories: list[str],
    clips: list[str],
    scores: np.ndarray,
    labels: np.ndarray,
    frames_of: Callable[[int], list[np.ndarray]],
) -> None:
    """Writes ``metrics.json`` and ``predictions.csv``; ``submission.csv`` for the test split; and, if the class of any
    clip is known, ``per_class.csv``, ``confusion_matrix.png`` and ``report.html`` over the clips whose class is.

    Args:
        metrics: what ``metrics.json`` says, with "protocol".
        clips: N names; scores: float [N, C]; labels: int [N], -1 for an unknown class.
        frames_of: gives the frames of clip n as the network saw them, uint8 [height, width, 3] BGR.

    Raises:
        InputError: if a file cannot be written. Those of RESULT_FILES that this evaluation does not have are deleted.
    """
    folder = Path(folder)
    predicted = scores.argmax(1)
    names = np.array(categories)
    files = {
        "metrics.json": (json.dumps(metrics, indent=2, ensure_ascii=False) + "\n").encode(),
        "predictions.csv": _predictions(categories, clips, scores, labels),
    }
    if metrics["protocol"]["split"] == "test":
        files["submission.csv"] = "".join(f"{c};{name}\n" for c, name in zip(clips, names[predicted])).encode()
    known = np.flatnonzero(labels >= 0)
    if len(known):
        confusion = confusion_matrix(labels[known], predicted[known], len(categories))
        files["per_class.csv"] = _per_class_table(categories, confusion)
        files["confusion_matrix.png"] = png_bytes(draw_confusion(categories, confusion))
        mistakes = _mistakes(confusion, known, scores, labels)
        page = _page(metrics, categories, confusion, files["confusion_matrix.png"], mistakes, clips, frames_of)
        files["report.html"] = page.encode()
    for name, data in files.items():
        write_bytes(folder / name, data)
    for name in set(RESULT_FILES) - files.keys():
        (folder / name).unlink(missing_ok=True)


def write_training(folder: str | os.PathLike, epochs: list[dict[str, float | None]]) -> None:
    """Writes ``metrics.csv`` (CURVE_COLUMNS, a row an epoch, empty where nothing was measured) and ``curves.png``.

    Raises InputError if a file cannot be written.
    """
    rows = [["" if epoch[column] is None else f"{epoch[column]:.7g}" for column in CURVE_COLUMNS] for epoch in epochs]
    write_bytes(Path(folder) / "metrics.csv", csv_bytes([CURVE_COLUMNS, *rows]))
    write_bytes(Path(folder) / "curves.png", png_bytes(draw_training(epochs)))


def read_training(folder: str | os.PathLike, epochs: int) -> list[dict[str, float | None]]:
    """What ``write_training`` has written about the first ``epochs`` epochs; none if the file is gone."""
    try:
        with open(Path(folder) / "metrics.csv", encoding="utf-8", newline="") as file:
            rows = [{key: float(text) if text else None for key, text in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise InputError(f"{Path(folder) / 'metrics.csv'}: cannot be read: {error}") from None
    return [row for row in rows if row["epoch"] <= epochs]


# -------------------------------------------------------------------------------------------------------- tables


def csv_bytes(rows: Iterable[Iterable]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _predictions(categories: list[str], clips: list[str], scores: np.ndarray, labels: np.ndarray) -> bytes:
    predicted = scores.argmax(1)
    probabilities = softmax(scores.astype(np.float64)).max(1)
    ranks = true_class_rank(scores, np.maximum(labels, 0)) + 1
    rows = []
    for clip, label, answer, probability, rank in zip(clips, labels, predicted, probabilities, ranks):
        true, rank = (categories[label], rank) if label >= 0 else ("", "")
        rows.append([clip, true, categories[answer], f"{probability:.6f}", rank])
    return csv_bytes([["clip", "true", "predicted", "probability", "rank"], *rows])


def _per_class_table(categories: list[str], confusion: np.ndarray) -> bytes:
    classes = per_class(confusion)
    rows = []
    for label, name in enumerate(categories):
        other = classes["confused_with"][label]
        numbers = [f"{classes[key][label]:.6f}" for key in ("precision", "recall", "f1")]
        confused = [categories[other], confusion[label, other]] if other >= 0 else ["", 0]
        rows.append([name, *numbers, classes["support"][label], *confused])
    return csv_bytes([["class", "precision", "recall", "f1", "support", "most_confused_with", "times"], *rows])


# ------------------------------------------------------------------------------------------------------ pictures


def _figure(width: float, height: float) -> Figure:
    # Not through pyplot, which keeps state and may look for a display. Imported here because it takes a second.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png_bytes(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def draw_confusion(categories: list[str], confusion: np.ndarray) -> Figure:
    """A row for each true class; the number of its clips in each cell, darker for a larger part of them."""
    count = len(categories)
    side = 0.36 * count + 3.5
    figure = _figure(side, side)
    axes = figure.add_subplot()
    fractions = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axes.imshow(np.sqrt(fractions), cmap="Blues", vmin=0, vmax=1)  # the root makes rare mistakes visible
    for row, column in np.argwhere(confusion):
        colour = "white" if fractions[row, column] > 0.3 else "black"
        size = 9 if confusion[row, column] < 1000 else 6
        axes.text(column, row, confusion[row, column], ha="center", va="center", color=colour, fontsize=size)
    axes.set_xticks(range(count), categories, rotation=90)
    axes.set_yticks(range(count), categories)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e4e7eb", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


def draw_recognition(points: list[dict[str, float]]) -> Figure:
    """Accuracy against how much of each clip was seen."""
    figure = _figure(6.4, 3.4)
    axes = figure.add_subplot()
    seen = [100 * point["observe"] for point in points]
    for key, label, colour in (("top1", "top-1", BLUE), ("top5", "top-5", ORANGE)):
        axes.plot(seen, [100 * point[key] for point in points], "o-", color=colour, label=label)
    for x, point in zip(seen, points):
        axes.annotate(
            f"{100 * point['top1']:.1f}",
            (x, 100 * point["top1"]),
            (0, -14),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=BLUE,
        )
    axes.set(xlabel="part of each clip that was seen (%)", ylabel="accuracy (%)", xlim=(0, 105), ylim=(0, 105))
    _plain(axes)
    return figure


def draw_training(epochs: list[dict[str, float | None]]) -> Figure:
    """Loss, learning rate and validation accuracy of each epoch, one below the other."""
    figure = _figure(7, 7)
    loss, rate, accuracy = figure.subplots(3, sharex=True, height_ratios=(3, 1, 3))
    numbers = [epoch["epoch"] for epoch in epochs]
    loss.plot(numbers, [epoch["loss"] for epoch in epochs], "o-", markersize=3, color=GREY)
    loss.set(ylabel="training loss")
    loss.set_ylim(bottom=0)
    rate.step(numbers, [epoch["lr"] for epoch in epochs], where="mid", color=GREY)
    rate.set(ylabel="learning rate", yscale="log")
    rate.minorticks_off()
    rate.margins(y=0.3)
    validated = [epoch for epoch in epochs if epoch["top1"] is not None]
    for key, label, colour in (("top1", "top-1", BLUE), ("top5", "top-5", ORANGE)):
        values = [100 * epoch[key] for epoch in validated]
        accuracy.plot([epoch["epoch"] for epoch in validated], values, "o-", markersize=3, color=colour, label=label)
    accuracy.set(xlabel="epoch", ylabel="validation (%)", ylim=(0, 105))
    accuracy.xaxis.get_major_locator().set_params(integer=True)
    for axes in (loss, rate, accuracy):
        _plain(axes)
    return figure


def _plain(axes: Any) -> None:
    axes.grid(color="#e4e7eb")
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="lower right")


# ---------------------------------------------------------------------------------------------------------- page

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1c2330; max-width: 1080px;
  margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 8px; border-bottom: 1px solid #e4e7eb; padding-bottom: 4px; }
h3 { font-size: 15px; margin: 20px 0 4px; }
p { margin: 4px 0 10px; } .quiet, figcaption { color: #5c6470; } img { max-width: 100%; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(225px, 1fr)); gap: 12px; margin: 18px 0; }
.tile { background: #f4f6f9; border-radius: 8px; padding: 12px 18px; }
.tile b { display: block; font-size: 27px; line-height: 1.2; } .tile span { font-size: 13px; color: #5c6470; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
th, td { padding: 3px 10px 3px 0; border-bottom: 1px solid #eef0f3; vertical-align: middle; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); gap: 2px 28px; margin: 0; }
dl div { display: flex; gap: 10px; border-bottom: 1px solid #eef0f3; } dt { color: #5c6470; flex: 0 0 150px; }
dd { margin: 0; overflow-wrap: anywhere; } .wide { grid-column: 1 / -1; }
.bar { background: #e9edf2; height: 11px; width: 150px; border-radius: 3px; }
.bar i { display: block; height: 100%; background: #2a6fb0; border-radius: 3px; }
figure { margin: 6px 0 14px; } figure img { display: block; border-radius: 4px; } figcaption { font-size: 13px; }
"""


def _page(
    metrics: dict[str, Any],
    categories: list[str],
    confusion: np.ndarray,
    confusion_png: bytes,
    mistakes: list[tuple[int, int, int, list[dict]]],
    clips: list[str],
    frames_of: Callable[[int], list[np.ndarray]],
) -> str:
    protocol, text = metrics["protocol"], html.escape
    title = f"{Path(protocol['ckpt_file']).name} on {metrics['clips']} clips"
    parts = [
        f"<h1>{text(title)}</h1>",
        _tiles(metrics),
        _left_out(metrics),
        "<h2>Protocol</h2>",
        _definitions(protocol),
    ]
    if len(metrics["observed"]) > 1:
        parts += [
            "<h2>Early recognition</h2>",
            "<p class='quiet'>Accuracy when only the first part of each clip is seen.</p>",
            _image(
                png_bytes(draw_recognition(metrics["observed"])), "png", "accuracy against the part of the clip seen"
            ),
        ]
    parts += [
        "<h2>Confusion matrix</h2>",
        "<p class='quiet'>Numbers of clips; the darker, the larger the part of the true class.</p>",
        _image(confusion_png, "png", "confusion matrix"),
        "<h2>Classes</h2>",
        "<p class='quiet'>The least recognised first. Recall: of the clips of the class, those answered right;"
        " precision: of the clips answered with the class, those that are.</p>",
        _class_table(categories, confusion),
        "<h2>Most frequent mistakes</h2>",
        *_mistake_strips(mistakes, categories, confusion, clips, frames_of),
    ]
    head = f"<meta charset='utf-8'><title>{text(title)}</title><meta name='viewport' content='width=device-width'>"
    body = "\n".join(parts)
    return (
        f"<!DOCTYPE html>\n<html lang='en'><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _tiles(metrics: dict[str, Any]) -> str:
    low, high = metrics["top1_interval_95"]
    tiles = [
        (_percent(metrics["top1"]), f"top-1 (95 % interval {100 * low:.1f} to {100 * high:.1f})"),
        (_percent(metrics["top5"]), "top-5" + (f" ({metrics['top5_note']})" if "top5_note" in metrics else "")),
        (_percent(metrics["class_mean"]["recall"]), "mean over classes"),
        (str(metrics["clips"]), f"clips of the {metrics['clips_listed']} listed"),
    ]
    order = metrics.get("order", {})
    if order.get("pair_clips"):
        tiles += [
            (_percent(order["pair_top1"]), f"top-1 on {order['pair_clips']} clips of reversible gestures"),
            (_percent(order["pair_answered_opposite"]), "of these answered with the opposite gesture"),
        ]
    if order.get("rest_clips"):
        tiles.append((_percent(order["rest_top1"]), f"top-1 on the other {order['rest_clips']} clips"))
    body = "".join(f"<div class='tile'><b>{number}</b><span>{html.escape(what)}</span></div>" for number, what in tiles)
    return f"<div class='tiles'>{body}</div>"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _left_out(metrics: dict[str, Any]) -> str:
    if not metrics["left_out"]:
        return ""
    rows = "".join(f"<li>{html.escape(clip['problem'])}</li>" for clip in metrics["left_out"])
    return f"<h2>Clips left out: {len(metrics['left_out'])}</h2><ul>{rows}</ul>"


def _definitions(protocol: dict[str, Any]) -> str:
    rows = []
    for key, value in protocol.items():
        wide = " class='wide'" if len(str(value)) > 24 else ""
        name = html.escape(key.replace("_", " "))
        rows.append(f"<div{wide}><dt>{name}</dt><dd>{html.escape(str(value))}</dd></div>")
    return f"<dl>{''.join(rows)}</dl>"


def _class_table(categories: list[str], confusion: np.ndarray) -> str:
    classes = per_class(confusion)
    rows = [
        "<tr><th>class</th><th class='number'>clips</th><th colspan='2'>recall</th><th colspan='2'>precision</th>"
        "<th class='number'>F1</th><th>most confused with</th></tr>"
    ]
    present = classes["support"] > 0
    for label in np.lexsort((classes["precision"], classes["recall"], ~present)):
        other = classes["confused_with"][label]
        confused = f"{html.escape(categories[other])} ({confusion[label, other]})" if other >= 0 else ""
        answered = confusion[:, label].any()
        bars = _bar(classes["recall"][label] if present[label] else None)
        bars += _bar(classes["precision"][label] if answered else None)
        f1 = f"{classes['f1'][label]:.3f}" if present[label] else "–"
        rows.append(
            f"<tr><td>{html.escape(categories[label])}</td><td class='number'>{classes['support'][label]}</td>{bars}"
            f"<td class='number'>{f1}</td><td>{confused}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _bar(fraction: float | None) -> str:
    if fraction is None:
        return "<td class='number'>–</td><td></td>"
    width = 100 * fraction
    return f"<td class='number'>{width:.1f} %</td><td><div class='bar'><i style='width:{width:.1f}%'></i></div></td>"


def _mistakes(
    confusion: np.ndarray, known: np.ndarray, scores: np.ndarray, labels: np.ndarray
) -> list[tuple[int, int, int, list[dict]]]:
    """(class, wrong answer, number of clips, examples) of the most frequent mistakes; the surest answers are shown."""
    probabilities = softmax(scores[known].astype(np.float64))
    predicted = scores[known].argmax(1)
    pairs = []
    for true, answer, count in confused_pairs(confusion)[:PAIRS_SHOWN]:
        rows = np.flatnonzero((labels[known] == true) & (predicted == answer))
        rows = rows[np.argsort(-probabilities[rows, answer], kind="stable")][:MISTAKES_SHOWN]
        examples = [
            {"clip": int(known[row]), "answered": probabilities[row, answer], "true": probabilities[row, true]}
            for row in rows
        ]
        pairs.append((true, answer, count, examples))
    return pairs


def _mistake_strips(
    mistakes: list[tuple[int, int, int, list[dict]]],
    categories: list[str],
    confusion: np.ndarray,
    clips: list[str],
    frames_of: Callable[[int], list[np.ndarray]],
) -> Iterable[str]:
    if not mistakes:
        yield "<p>None.</p>"
    for true, answer, count, examples in mistakes:
        names = html.escape(f"{categories[true]} taken for {categories[answer]}")
        yield f"<h3>{names}: {count} of {confusion[true].sum()} clips</h3>"
        for example in examples:
            strip = _image(_strip(frames_of(example["clip"])), "jpeg", "frames the network saw, in its order")
            yield (
                f"<figure>{strip}<figcaption>clip {html.escape(clips[example['clip']])}:"
                f" {html.escape(categories[answer])} {_percent(example['answered'])},"
                f" {html.escape(categories[true])} {_percent(example['true'])}</figcaption></figure>"
            )


def _strip(frames: list[np.ndarray]) -> bytes:
    """The frames side by side, as a JPEG file."""
    height, width = frames[0].shape[:2]
    size = max(1, round(width * STRIP_HEIGHT / height)), STRIP_HEIGHT
    small = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    gap = np.full((STRIP_HEIGHT, 3, 3), 255, np.uint8)
    strip = np.hstack([piece for frame in small for piece in (frame, gap)][:-1])
    return cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()


def _image(data: bytes, kind: str, description: str) -> str:
    return f"<img alt='{description}' src='data:image/{kind};base64,{base64.b64encode(data).decode()}'>"
