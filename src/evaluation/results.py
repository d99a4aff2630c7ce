"""Writes the results of an evaluation or a training: numbers first, then pictures and a page.

A picture that cannot be drawn is a warning in the log.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Callable

import numpy as np

from model_utils.errors import InputError
from model_utils.util import write_bytes
from src.evaluation import page, plots, tables

CONFUSION_PICTURE, PAGE_FILE = "confusion_matrix.png", "report.html"
CURVE_NUMBERS, CURVE_PICTURE = "metrics.csv", "curves.png"
CURVE_COLUMNS = ("epoch", "lr", "loss", "top1", "top5", "seconds")


def write_results(
    folder: str | os.PathLike, evaluation: tables.Evaluation, frames_of: Callable[[int], list[np.ndarray]]
) -> None:
    """Writes the files of an evaluation; removes an earlier one's files that this one does not have.

    Always ``metrics.json`` and ``predictions.csv``; for the test split ``submission.csv``; if there are clips of known
    class, ``per_class.csv``, ``confusion_matrix.png`` and ``report.html`` about these.

    Args:
        frames_of: gives the frames of clip n as the network saw them, uint8 [height, width, 3] BGR.

    Raises:
        InputError: if a file cannot be written.
    """
    folder = Path(folder)
    earlier = _files_of_earlier_evaluation(folder)
    numbers = tables.number_files(evaluation)
    for name, data in numbers.items():
        write_bytes(folder / name, data)
    for name in earlier - numbers.keys():  # pictures, too: they show other numbers
        (folder / name).unlink(missing_ok=True)
    if not len(evaluation.known):
        return
    confusion = plots.write_picture(
        folder / CONFUSION_PICTURE,
        lambda: plots.png_bytes(plots.draw_confusion(evaluation.categories, evaluation.confusion)),
    )
    plots.write_picture(folder / PAGE_FILE, lambda: page.render_report(evaluation, confusion, frames_of))


def _files_of_earlier_evaluation(folder: Path) -> set[str]:
    """Names of the files of the evaluation whose ``metrics.json`` is in this folder; empty if there is none."""
    try:
        metrics = json.loads((folder / tables.METRICS_FILE).read_bytes())
        is_test, is_known = metrics["protocol"]["split"] == "test", "top1" in metrics
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    names = {tables.SUBMISSION_FILE} if is_test else set()
    return names | ({tables.CLASSES_FILE, CONFUSION_PICTURE, PAGE_FILE} if is_known else set())


def write_training(folder: str | os.PathLike, epochs: list[dict[str, float | None]], picture: bool = True) -> None:
    """Writes ``metrics.csv`` (CURVE_COLUMNS, a row an epoch, empty where nothing was measured) and ``curves.png``.

    Raises:
        InputError: if a file cannot be written.
    """
    rows = [["" if epoch[column] is None else f"{epoch[column]:.7g}" for column in CURVE_COLUMNS] for epoch in epochs]
    write_bytes(Path(folder) / CURVE_NUMBERS, tables.csv_bytes([CURVE_COLUMNS, *rows]))
    if picture:
        plots.write_picture(Path(folder) / CURVE_PICTURE, lambda: plots.png_bytes(plots.draw_training(epochs)))


def read_training(folder: str | os.PathLike, epochs: int) -> list[dict[str, float | None]]:
    """The rows of the first ``epochs`` epochs that ``write_training`` wrote; empty without the file.

    Raises:
        InputError: if the file cannot be read or ``write_training`` did not write it.
    """
    path = Path(folder) / CURVE_NUMBERS
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if tuple(header) != CURVE_COLUMNS:
        raise InputError(f"{path}: expected the columns {','.join(CURVE_COLUMNS)}; move the file away to start anew")
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            epoch, *others = [float(text) if text else None for text in line]
        except ValueError as error:
            raise InputError(f"{path}, line {number}: expected numbers: {error}") from None
        if epoch is None or len(line) != len(CURVE_COLUMNS):
            raise InputError(f"{path}, line {number}: expected an epoch and {len(CURVE_COLUMNS) - 1} more columns")
        if epoch <= epochs:
            rows.append(dict(zip(CURVE_COLUMNS, (epoch, *others))))
    return rows
