"""Figures: each number, colour and name at its place, and a bounded size for any number of classes."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from benchmarks import order_ablation
from model_utils.errors import InputError
from model_utils.stop_signals import Stopped
from src.evaluation import plots
from tests.evaluation.by_hand import CONFUSION, NAMES, OBSERVED

AWKWARD = [
    "Say $x_{$",
    r"a^b_{ \frac",
    "W" * 200,
    '<b>"x"</b>',
    "向左滑动" * 20,
    "تحريك اليد",
    "up 👍🏽",
    "a\tb\x01",
    "$\\",
]


def image_of(figure):
    return Image.open(io.BytesIO(plots.png_bytes(figure)))


def cell_middles(image, axes, count):
    """The pixels in the middle of each of count x count cells that axes are divided into."""
    pixels, box = np.asarray(image), axes.get_position()
    middles = (np.arange(count) + 0.5) / count
    rows = (len(pixels) * (1 - box.y1 + box.height * middles)).astype(int)
    columns = (len(pixels[0]) * (box.x0 + box.width * middles)).astype(int)
    return pixels[np.ix_(rows, columns)]


def names_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_confusion_by_hand():
    (axes,) = plots.draw_confusion(NAMES, CONFUSION).axes
    numbers = {text.get_position(): (text.get_text(), text.get_color()) for text in axes.texts}
    assert numbers == {  # (predicted, true); white where more than 0.3 of the class is
        (0, 0): ("3", "white"),
        (1, 0): ("1", "black"),
        (0, 1): ("3", "white"),
        (1, 1): ("1", "black"),
        (2, 2): ("2", "white"),
    }
    shades = axes.images[0].get_array()
    np.testing.assert_allclose(shades, np.sqrt([[3 / 4, 1 / 4, 0], [3 / 4, 1 / 4, 0], [0, 0, 1]]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert names_of(axes.xaxis) == names_of(axes.yaxis) == NAMES


def test_a_picture_of_a_confusion_is_dark_where_the_answers_are():
    figure = plots.draw_confusion(NAMES, np.array([[0, 5, 0], [0, 0, 0], [0, 0, 0]]))
    figure.axes[0].texts[0].remove()
    levels = cell_middles(image_of(figure).convert("L"), figure.axes[0], 3)
    assert np.argwhere(levels < 128).tolist() == [[0, 1]]


def diagonal(count):
    confusion = 999 * np.eye(count, dtype=int)
    confusion[count // 2, count // 4] = 1
    return confusion


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 40, 41, 201])
def test_a_confusion_matrix_has_a_bounded_size(count):
    names = [f"{AWKWARD[label % len(AWKWARD)]} {label}" for label in range(count)]
    figure = plots.draw_confusion(names, diagonal(count))
    image = image_of(figure)
    assert 200 < image.width == image.height < 2800
    (axes,) = figure.axes
    assert bool(axes.texts) == (count <= 40)
    assert len(names_of(axes.xaxis)) == count
    box = axes.get_position()
    side = box.width * image.width
    assert side / count == pytest.approx(round(side / count))  # whole pixels a cell
    if count > 40:  # a single mistake is in the picture, away from the diagonal and the frame
        pixels = np.asarray(image.convert("L"), float)
        x = int(box.x0 * image.width + side * (count // 4 + 0.5) / count)
        y = int((1 - box.y1) * image.height + side * (count // 2 + 0.5) / count)
        assert pixels[y - 1 : y + 2, x - 1 : x + 2].min() < 225  # Matplotlib may be a pixel off
        assert pixels[y - 4 * round(side / count), x] > 240


def test_the_most_confused_classes_in_pairs():
    confusion = 9 * np.eye(50, dtype=int)
    confusion[30, 10], confusion[10, 4] = 5, 2
    confusion[20, 40] = 3
    assert plots.most_confused(confusion) == [30, 10, 20, 40, 4]
    (axes,) = plots.draw_most_confused([f"n{i}" for i in range(50)], confusion).axes
    assert names_of(axes.yaxis) == ["n30", "n10", "n20", "n40", "n4"]
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {**{(i, i): "9" for i in range(5)}, (1, 0): "5", (3, 2): "3", (4, 1): "2"}
    assert axes.images[0].get_array()[0, 1] == pytest.approx(np.sqrt(5 / 14))
    assert len(plots.most_confused(np.ones((300, 300), int))) == 24


def test_accuracy_against_the_part_seen():
    (axes,) = plots.draw_recognition(OBSERVED).axes
    lines = {line.get_label(): (line.get_xydata().tolist(), line.get_color()) for line in axes.lines}
    assert lines == {
        "top-1": ([[25, 30], [100, 60]], plots.BLUE),
        "top-5": ([[25, 70], [100, 100]], plots.ORANGE),
    }
    assert [(note.get_text(), note.xy) for note in axes.texts] == [("30.0", (25, 30)), ("60.0", (100, 60))]
    assert axes.get_xlabel() == "part of each clip that was seen (%)"
    assert axes.get_xlim() == axes.get_ylim() == (0, 105)


def test_training_curves():
    first = {"epoch": 1, "lr": 0.001, "loss": 2.5, "top1": None, "top5": None, "seconds": 1.25}
    second = {"epoch": 2, "lr": 0.0001, "loss": 1.5, "top1": 0.5, "top5": 0.75, "seconds": 1.0}
    figure = plots.draw_training([first, second])
    loss, rate, accuracy = figure.axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [[[1, 2.5], [2, 1.5]]]
    assert [line.get_xydata().tolist() for line in rate.lines] == [[[1, 0.001], [2, 0.0001]]]
    lines = {line.get_label(): (line.get_xydata().tolist(), line.get_color()) for line in accuracy.lines}
    assert lines == {"top-1": ([[2, 50]], plots.BLUE), "top-5": ([[2, 75]], plots.ORANGE)}
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "learning rate", "validation (%)"]
    assert (loss.get_ylim()[0], accuracy.get_ylim()) == (0, (0, 105))
    assert rate.get_yscale() == "log"
    plots.png_bytes(figure)
    assert "0.001" in names_of(rate.yaxis)
    assert not any("$" in name for axes in figure.axes for name in names_of(axes.yaxis))


def test_curves_of_a_training_without_validation():
    epochs = [{"epoch": n, "lr": 0.001, "loss": 3.0 - n, "top1": None, "top5": None, "seconds": 1.0} for n in (1, 2)]
    figure = plots.draw_training(epochs)
    assert [(axes.get_ylabel(), axes.get_xlabel()) for axes in figure.axes] == [
        ("training loss", ""),
        ("learning rate", "epoch"),
    ]
    assert all(tick == int(tick) for tick in figure.axes[1].get_xticks())


def test_the_order_experiment_by_hand():
    """Heads and orders in their places; the class in blue from 0, its opposite on it in orange, the rest pale."""
    rows = [
        {"consensus": head, "frame_order": order, "pair_top1": 0.1 * (place + 1), "pair_answered_opposite": 0.3}
        for place, head in enumerate(order_ablation.HEAD_TITLES)
        for order in order_ablation.ORDERS
    ]
    rows[1].update(pair_top1=0.02, pair_answered_opposite=0.96)
    figure = order_ablation.draw_answers(rows)
    assert [axes.get_title() for axes in figure.axes] == ["multi-scale TRN", "TRN", "average consensus"]
    bars = [(round(bar.get_y()), round(bar.get_height()), bar.get_facecolor()) for bar in figure.axes[0].patches]
    colours = [bar[2] for bar in bars]
    assert [bar[0] for bar in bars] == [0, 0, 0, 10, 2, 10, 40, 98, 40]
    assert [bar[1] for bar in bars] == [10, 2, 10, 30, 96, 30, 60, 2, 60]
    assert colours[::3] == [to_rgba(colour) for colour in (plots.BLUE, plots.ORANGE, plots.PALE)]
    assert [text.get_text() for text in figure.axes[0].texts] == ["10", "", "10", "30", "96", "30"]
    assert [round(bar.get_height()) for bar in figure.axes[2].patches[:1]] == [30]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["the gesture", "the opposite gesture", "another"]
    assert image_of(figure).width > 300


def test_no_name_is_markup_and_none_makes_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plots.draw_confusion(AWKWARD, diagonal(len(AWKWARD)))
        figure.suptitle("$x_{$")
        figure.axes[0].annotate("$x_{$", (0, 0))
        figure.axes[0].plot([0], [0], label="$x_{$")
        figure.axes[0].legend()
        plots.png_bytes(figure)
    shown = names_of(figure.axes[0].xaxis)
    assert shown[0] == AWKWARD[0]
    assert shown[2] == "W" * 26 + "…" + "W" * 13
    assert shown[7] == "a b "


def test_a_picture_of_any_size_is_bounded():
    image = image_of(Figure(figsize=(400, 100)))
    assert 15e6 < image.width * image.height < 16.1e6


def test_a_picture_that_fails_is_one_line_in_the_log(caplog_trn):
    for error in (MemoryError("12 GB"), ValueError("two\nlines"), InputError("clip: gone")):
        assert plots.picture_or_warning("a.png", lambda error=error: (_ for _ in ()).throw(error)) is None
    assert caplog_trn == [
        f"a.png: left out, it could not be drawn: {reason}"
        for reason in ("MemoryError: 12 GB", "ValueError: two lines", "clip: gone")
    ]
    for error in (Stopped(15, "stopped"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            plots.picture_or_warning("a.png", lambda error=error: (_ for _ in ()).throw(error))
    assert plots.picture_or_warning("a.png", lambda: b"png") == b"png"
