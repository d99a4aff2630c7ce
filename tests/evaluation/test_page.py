"""The page, number by number, for an evaluation worked out by hand."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from model_utils.errors import InputError
from src.evaluation import page, plots
from src.evaluation.tables import Evaluation
from tests.evaluation.by_hand import CLIPS, LABELS, LEFT, NAMES, RIGHT, SCORES, UP, metrics_by_hand, plain_frames

EVALUATION = Evaluation(metrics_by_hand(), NAMES, CLIPS, SCORES, LABELS)
PNG = plots.png_bytes(plots.draw_confusion(NAMES, EVALUATION.confusion))


def render(evaluation=EVALUATION, confusion=PNG, frames_of=plain_frames):
    return page.render_report(evaluation, confusion, frames_of).decode()


def texts(tag, text):
    """The text of each element, without tags and with single spaces."""
    found = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", text, re.DOTALL)
    return [html.unescape(" ".join(re.sub("<[^>]+>", "", part).split())) for part in found]


def pictures(text):
    return [(kind, base64.b64decode(data)) for kind, data in re.findall(r"src='data:image/(\w+);base64,([^']+)'", text)]


@pytest.fixture(scope="module")
def text():
    return render()


def test_tiles(text):
    tiles = re.findall(r"<div class='tile'><b>([^<]*)</b><span>([^<]*)</span></div>", text)
    assert tiles == [
        ("60.00 %", "top-1 (95 % interval 31.3 to 83.2)"),  # Wilson's interval of 6 in 10
        ("100.00 %", "top-5 (with 3 classes every answer is among the best 5)"),
        ("66.67 %", "recall, mean over classes"),  # (3/4 + 1/4 + 1) / 3
        ("10", "clips of the 11 listed"),
        ("50.00 %", "top-1 on 8 clips of reversible gestures"),
        ("50.00 %", "of these answered with the opposite gesture"),
        ("100.00 %", "top-1 on the other 2 clips"),
    ]


def test_tiles_take_each_number_from_its_place():
    order = {"pair_clips": 8, "pair_top1": 0.1, "pair_answered_opposite": 0.2, "rest_clips": 2, "rest_top1": 0.3}
    numbers = {"top1": 0.4, "top5": 0.5, "class_mean": {"recall": 0.6, "precision": 0.7, "f1": 0.8}, "order": order}
    assert [number for number, _ in page.tiles(metrics_by_hand(**numbers))] == [
        *("40.00 %", "50.00 %", "60.00 %", "10", "10.00 %", "20.00 %", "30.00 %")
    ]


def test_without_reversible_gestures_there_are_no_tiles_of_them():
    assert len(page.tiles(metrics_by_hand(order={"pair_clips": 0, "rest_clips": 0}))) == 4


def test_classes(text):
    table = text[text.index("<table>") : text.index("</table>")]
    assert texts("th", table) == ["class", "clips", "recall", "precision", "F1", "most confused with"]
    rows = [row for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL) if "<td>" in row]
    assert [texts("td", row) for row in rows] == [
        [RIGHT, "4", "25.0 %", "", "50.0 %", "", "0.333", f"{LEFT} (3)"],
        [LEFT, "4", "75.0 %", "", "50.0 %", "", "0.600", f"{RIGHT} (1)"],
        [UP, "2", "100.0 %", "", "100.0 %", "", "1.000", ""],
    ]
    bars = [re.findall(r"class='bar'><i style='width:([\d.]+)%'", row) for row in rows]
    assert bars == [["25.0", "50.0"], ["75.0", "50.0"], ["100.0", "100.0"]]  # recall, then precision


def test_a_class_without_clips_comes_last_and_has_no_recall():
    """Nobody shows Left: two of four answers Left are wrong, and there is no recall."""
    labels, scores = np.array([1, 1, 2]), np.eye(3, dtype=np.float32)[[0, 1, 2]]
    rows = page.class_rows(Evaluation({}, NAMES, CLIPS[:3], scores, labels))
    assert [row["name"] for row in rows] == [RIGHT, UP, LEFT]
    assert (rows[2]["clips"], rows[2]["recall"], rows[2]["precision"], rows[2]["f1"]) == (0, None, 0.0, None)
    rows = page.class_rows(Evaluation({}, NAMES, CLIPS[:2], scores[1:], labels[1:]))
    assert rows[2]["precision"] is None


def test_mistakes_are_shown_the_most_frequent_and_the_surest_first(text):
    assert texts("h3", text) == [f"{RIGHT} taken for {LEFT}: 3 of 4 clips", f"{LEFT} taken for {RIGHT}: 1 of 4 clips"]
    assert texts("figcaption", text) == [
        f"clip clip5: {LEFT} 95.00 %, {RIGHT} 3.00 %",
        f"clip clip6: {LEFT} 75.00 %, {RIGHT} 5.00 %",
        f"clip clip3: {RIGHT} 60.00 %, {LEFT} 39.00 %",
    ]


def test_a_strip_shows_the_frames_in_their_order_and_colours(text):
    strips = [Image.open(io.BytesIO(data)) for kind, data in pictures(text) if kind == "jpeg"]
    assert [strip.size for strip in strips] == [(3 * 112 + 2 * 3, 80)] * 3  # frames of 56 x 40, enlarged, and the gaps
    for strip, row in zip(strips, (5, 6, 3)):
        middles = [strip.getpixel((x, 40)) for x in (56, 171, 286)]  # RGB
        expected = [(0, 0, 200), (0, 200, 0), (100 + 10 * row, 0, 0)]
        np.testing.assert_allclose(middles, expected, atol=4)
        assert min(strip.getpixel((113, 40))) > 200


def test_long_clips_and_wide_frames_give_bounded_strips():
    frames = [np.full((10, 3000, 3), 10 * i % 256, np.uint8) for i in range(100)]
    strip = Image.open(io.BytesIO(page._clip_strip(lambda _: frames, 0)))
    assert strip.size == (16 * 320 + 15 * 3, 80)
    assert abs(strip.getpixel((5100, 40))[0] - 990 % 256) < 4  # the last frame


def test_pictures_stand_in_their_sections(text):
    recognition, confusion = (at for at, (kind, _) in enumerate(pictures(text)) if kind == "png")
    assert pictures(text)[confusion][1] == PNG
    assert pictures(text)[recognition][1] == plots.png_bytes(plots.draw_recognition(EVALUATION.metrics["observed"]))
    places = [text.index(part) for part in ("<h2>Early recognition", "<h2>Confusion matrix", "<h2>Classes")]
    images = [found.start() for found in re.finditer("src='data:image/png", text)]
    assert sorted(places + images) == [places[0], images[0], places[1], images[1], places[2]]


def test_one_observed_part_gives_no_curve():
    text = render(replace(EVALUATION, metrics=metrics_by_hand(observed=metrics_by_hand()["observed"][1:])))
    assert "Early recognition" not in text
    assert [kind for kind, _ in pictures(text)] == ["png", "jpeg", "jpeg", "jpeg"]


def test_the_page_needs_nothing_else_and_names_are_no_markup():
    names = ["Say $x_{$ <b>bold</b>", "\"quoted\" & 'single'", "تحريك 👍"]
    left_out = [{"clip": str(i), "problem": f"<i>{i}</i>/00003.jpg: frame is empty"} for i in range(150)]
    metrics = metrics_by_hand(left_out=left_out)
    metrics["protocol"]["ckpt_file"] = "logs/a<b>$.ckpt"
    text = render(Evaluation(metrics, names, ["<u>clip</u>"] * 10, SCORES, LABELS))
    assert not re.search(r"""(src|href)=['"](?!data:)|url\(|<script|<link|@import""", text)
    assert not re.search("<b>bold|<i>0|<u>|a<b>", text)
    assert [row for row in texts("td", text) if row in names] == [names[1], names[0], names[2]]
    assert texts("h1", text) == ["a<b>$.ckpt on 10 clips"]
    assert texts("dd", text)[0] == "logs/a<b>$.ckpt"
    assert "<h2>Clips left out: 150</h2>" in text
    assert texts("li", text) == [clip["problem"] for clip in left_out[:100]]


def test_a_clip_whose_frames_are_gone_has_no_strip(caplog_trn):
    def frames_of(row):
        if row == 6:
            raise InputError("clip6/00001.jpg: no such frame")
        return plain_frames(row)

    text = render(frames_of=frames_of)
    assert [kind for kind, _ in pictures(text)].count("jpeg") == 2
    assert texts("figcaption", text)[1].startswith("clip clip6")
    (message,) = caplog_trn
    assert message == "frames of clip clip6: left out, it could not be drawn: clip6/00001.jpg: no such frame"


def test_a_confusion_matrix_that_could_not_be_drawn_is_said():
    assert "The picture (confusion matrix) could not be drawn; the log says why." in render(confusion=None)


def test_with_many_classes_the_most_confused_are_shown_besides():
    names = [f"class {label}" for label in range(60)]
    labels = np.repeat(np.arange(60), 2)
    scores = np.eye(60, dtype=np.float32)[labels]
    scores[10] = np.eye(60)[7]  # a clip of class 5
    metrics = metrics_by_hand(observed=[])
    evaluation = Evaluation(metrics, names, [str(i) for i in range(120)], scores, labels)
    kinds = [kind for kind, _ in pictures(render(evaluation))]
    assert kinds == ["png", "png", "jpeg"]
    assert "All 60 classes, in the order" in render(evaluation)
    right = Evaluation(metrics, names, evaluation.clips, np.eye(60, dtype=np.float32)[labels], labels)
    assert [kind for kind, _ in pictures(render(right))] == ["png"]
    assert "None." in render(right)
