"""Result files from made-up scores."""

from __future__ import annotations

import base64
import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from model_utils.errors import InputError
from src.evaluation import order_ablation, plots, results
from src.evaluation.metrics import summarise, true_class_rank

NAMES = ["Stop <Sign>", "Swiping Left", "Swiping Right", "Thumb Up"]
PROTOCOL = {"ckpt_file": "logs/trn.ckpt", "split": "val", "test_crops": 10}


def made_up(clips=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, clips)  # nobody shows the last class
    scores = rng.normal(size=(clips, 4)).astype(np.float32)
    scores[np.arange(clips), labels] += 1
    return scores, labels


def frames_of(row):
    return [np.full((40, 56, 3), 10 * row % 256, np.uint8)] * 3


def write(folder, scores, labels, frames_of=frames_of, **changes):
    known = labels >= 0
    summary = summarise(scores[known], labels[known], NAMES) if known.any() else {"clips": len(labels)}
    metrics = {"protocol": PROTOCOL, "clips_listed": len(labels), **summary, "left_out": [], "observed": [], **changes}
    clips = [f"clip{row}" for row in range(len(labels))]
    results.write_results(folder, metrics, NAMES, clips, scores, labels, frames_of)
    return metrics


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_say_what_the_scores_say(tmp_path):
    scores, labels = made_up()
    metrics = write(tmp_path, scores, labels)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    predictions = read_csv(tmp_path / "predictions.csv")
    assert len(predictions) == 60
    for row, line in enumerate(predictions):
        assert line["clip"] == f"clip{row}"
        assert line["true"] == NAMES[labels[row]]
        assert line["predicted"] == NAMES[np.argmax(scores[row])]
        assert float(line["probability"]) == pytest.approx(probabilities[row].max(), abs=1e-6)
        better = sum(score > scores[row, labels[row]] for score in scores[row])
        assert int(line["rank"]) == better + 1

    classes = {line["class"]: line for line in read_csv(tmp_path / "per_class.csv")}
    assert list(classes) == NAMES
    for label, name in enumerate(NAMES):
        mine = np.flatnonzero(labels == label)
        answers = scores[mine].argmax(1)
        assert int(classes[name]["support"]) == len(mine)
        wrong = np.bincount(answers[answers != label], minlength=4)
        assert int(classes[name]["times"]) == wrong.max()
        if wrong.any():
            assert float(classes[name]["recall"]) == pytest.approx(np.mean(answers == label), abs=1e-6)
            assert classes[name]["most_confused_with"] == NAMES[wrong.argmax()]
    assert classes["Thumb Up"]["most_confused_with"] == ""
    assert Image.open(tmp_path / "confusion_matrix.png").width > 300
    assert not (tmp_path / "submission.csv").exists()


def test_page_holds_everything_and_needs_nothing_else(tmp_path):
    scores, labels = made_up()
    asked = []
    left_out = [{"clip": "clip 99", "problem": "a<b/00003.jpg: frame is empty"}]
    observed = [{"observe": part, "clips": 60, "top1": part / 2, "top5": 1.0} for part in (0.5, 1.0)]

    def frames(row):
        asked.append(row)
        return frames_of(row)

    metrics = write(tmp_path, scores, labels, frames, left_out=left_out, observed=observed)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=['"](?!data:)|url\(|<script|<link|@import""", page)
    assert f"{100 * metrics['top1']:.2f} %" in page
    assert "with 4 classes every answer is among the best 5" in page
    assert "logs/trn.ckpt" in page
    assert "Early recognition" in page
    assert "a&lt;b/00003.jpg: frame is empty" in page
    assert "Stop &lt;Sign&gt;" in page
    assert "<Sign>" not in page

    pictures = re.findall(r"src='data:image/(\w+);base64,([^']+)'", page)
    assert [kind for kind, _ in pictures[:2]] == ["png", "png"]
    assert base64.b64decode(pictures[1][1]) == (tmp_path / "confusion_matrix.png").read_bytes()
    strips = [Image.open(io.BytesIO(base64.b64decode(data))) for kind, data in pictures[2:] if kind == "jpeg"]
    assert len(strips) == len(asked) > 4
    predicted = scores.argmax(1)
    for row, strip in zip(asked, strips):
        assert predicted[row] != labels[row]
        assert strip.size == (3 * 112 + 2 * 3, 80)  # three frames of 56 x 40, enlarged, and the gaps
        assert abs(int(np.asarray(strip)[40, 50].mean()) - 10 * row % 256) < 5
        assert f"clip <bdi>clip{row}</bdi>: " in page


def test_all_right_and_all_of_one_class(tmp_path):
    labels = np.full(5, 1)
    write(tmp_path, np.eye(4, dtype=np.float32)[labels], labels)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "100.00 %" in page
    assert "None." in page


def test_unknown_classes_give_a_submission_and_no_stale_report(tmp_path):
    scores, labels = made_up(6)
    write(tmp_path, scores, labels)
    write(tmp_path, scores, np.full(6, -1), protocol={**PROTOCOL, "split": "test"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "predictions.csv", "submission.csv"]
    answers = [NAMES[label] for label in scores.argmax(1)]
    assert (tmp_path / "submission.csv").read_text().splitlines() == [
        f"clip{i};{name}" for i, name in enumerate(answers)
    ]
    assert {(line["true"], line["rank"]) for line in read_csv(tmp_path / "predictions.csv")} == {("", "")}


def test_a_few_known_classes_are_scored_on_their_own(tmp_path):
    scores, labels = made_up(40)
    labels[::2] = -1
    metrics = write(tmp_path, scores, labels, protocol={**PROTOCOL, "split": "test"})
    assert metrics["clips"] == 20
    assert sum(int(line["support"]) for line in read_csv(tmp_path / "per_class.csv")) == 20
    assert len((tmp_path / "submission.csv").read_text().splitlines()) == 40
    ranks = [line["rank"] for line in read_csv(tmp_path / "predictions.csv")]
    assert ranks[::2] == [""] * 20
    assert [int(rank) for rank in ranks[1::2]] == (true_class_rank(scores[1::2], labels[1::2]) + 1).tolist()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(InputError, match="results.*cannot write"):
        write(tmp_path / "results", *made_up(4))


def test_training_curves(tmp_path):
    first = {"epoch": 1, "lr": 0.001, "loss": 2.5, "top1": None, "top5": None, "seconds": 1.25}
    second = {"epoch": 2, "lr": 0.0001, "loss": 1.5, "top1": 0.5, "top5": 0.75, "seconds": 1.0}
    results.write_training(tmp_path, [first])
    results.write_training(tmp_path, [first, second])
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,lr,loss,top1,top5,seconds",
        "1,0.001,2.5,,,1.25",
        "2,0.0001,1.5,0.5,0.75,1",
    ]
    _, _, accuracy = plots.draw_training([first, second]).axes
    assert [line.get_xydata().tolist() for line in accuracy.lines] == [[[2, 50]], [[2, 75]]]
    assert Image.open(tmp_path / "curves.png").height > 300


@pytest.fixture
def ablation(tmp_path):
    for head in order_ablation.HEADS:
        for number, order in enumerate(order_ablation.ORDERS):
            folder = tmp_path / head / order
            folder.mkdir(parents=True)
            pairs = {"pair_clips": 8, "pair_top1": number / 4, "pair_answered_opposite": 0.25}
            metrics = {"top1": 0.5, "clips": 10, "order": {**pairs, "rest_clips": 2, "rest_top1": 1.0}}
            (folder / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path


def test_order_ablation_table(ablation, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["order_ablation", str(ablation)])
    order_ablation.main()
    table = (ablation / "order_ablation.md").read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    assert "| TRN | shuffled | 50.0 | 50.0 | 25.0 | 100.0 |" in table
    assert "10 clips, 8 of them of reversible pairs, 2 of the rest" in table
    rows = read_csv(ablation / "order_ablation.csv")
    assert len(rows) == 9
    assert (rows[4]["consensus"], rows[4]["frame_order"]) == ("TRN", "reversed")
    assert float(rows[4]["pair_top1"]) == 0.25
    assert Image.open(ablation / "order_ablation.png").width > 300


def test_order_ablation_names_what_is_missing(ablation):
    (ablation / "avg/reversed/metrics.json").write_text('{"top1": 1.0, "clips": 3}')
    with pytest.raises(InputError, match=r"avg.reversed.metrics\.json: expected .*'order'"):
        order_ablation.read_results(ablation)
    (ablation / "avg/reversed/metrics.json").unlink()
    with pytest.raises(InputError, match=r"avg.reversed.metrics\.json: cannot be read"):
        order_ablation.read_results(ablation)
