"""Result files from made-up scores."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import order_ablation
from model_utils.errors import InputError
from src.evaluation import plots, results, tables
from src.evaluation.metrics import summarise, true_class_rank
from tests.evaluation import by_hand
from tests.evaluation.by_hand import metrics_by_hand

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
    results.write_results(folder, tables.Evaluation(metrics, NAMES, clips, scores, labels), frames_of)
    return metrics


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_by_hand(tmp_path):
    clips = by_hand.CLIPS, by_hand.SCORES, by_hand.LABELS
    evaluation = tables.Evaluation(metrics_by_hand(), by_hand.NAMES, *clips)
    results.write_results(tmp_path, evaluation, by_hand.plain_frames)
    assert (tmp_path / "per_class.csv").read_text().splitlines() == [
        "class,precision,recall,f1,support,most_confused_with,times",
        "Swiping Left,0.500000,0.750000,0.600000,4,Swiping Right,1",
        "Swiping Right,0.500000,0.250000,0.333333,4,Swiping Left,3",
        "Thumb Up,1.000000,1.000000,1.000000,2,,0",
    ]
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(lines) == 1 + 10
    assert lines[0] == "clip,true,predicted,probability,rank"
    assert lines[1] == "clip0,Swiping Left,Swiping Left,0.900000,1"
    assert lines[4] == "clip3,Swiping Left,Swiping Right,0.600000,2"
    assert lines[7] == "clip6,Swiping Right,Swiping Left,0.750000,3"
    assert not (tmp_path / "submission.csv").exists()
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    np.testing.assert_allclose(numbers["top1_interval_95"], [0.3127, 0.8318], atol=1e-4)
    assert numbers["order"] == {
        **{"pair_clips": 8, "pair_top1": 0.5, "pair_answered_opposite": 0.5},
        **{"rest_clips": 2, "rest_top1": 1.0},
    }


def test_clips_in_parts_give_the_same_table(tmp_path, monkeypatch):
    scores, labels = made_up()
    write(tmp_path / "whole", scores, labels)
    monkeypatch.setattr(tables, "CLIPS_AT_ONCE", 7)
    write(tmp_path / "parts", scores, labels)
    assert (tmp_path / "parts/predictions.csv").read_bytes() == (tmp_path / "whole/predictions.csv").read_bytes()


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


def no_memory(*_):
    raise MemoryError("12 GB")


ALL_FILES = ["confusion_matrix.png", "metrics.json", "per_class.csv", "predictions.csv", "report.html"]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_numbers_are_there_before_anything_is_drawn(tmp_path, monkeypatch):
    def stop(*_):
        assert names_in(tmp_path) == ["metrics.json", "per_class.csv", "predictions.csv"]
        raise KeyboardInterrupt

    write(tmp_path, *made_up(20))
    monkeypatch.setattr(plots, "draw_confusion", stop)  # pictures of the earlier numbers are gone by then
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, *made_up(20, seed=1))


@pytest.mark.parametrize(
    ("part", "lost", "warnings"),
    [
        ("plots.draw_confusion", ["confusion_matrix.png"], 1),
        ("page.tiles", ["report.html"], 1),
        ("plots.draw_recognition", [], 1),
    ],
)
def test_a_picture_that_fails_costs_itself_only(tmp_path, monkeypatch, caplog_trn, part, lost, warnings):
    write(tmp_path, *made_up(20))
    monkeypatch.setattr(f"src.evaluation.{part}", no_memory)
    observed = [{"observe": part, "clips": 60, "top1": part / 2, "top5": 1.0} for part in (0.5, 1.0)]
    write(tmp_path, *made_up(20, seed=1), observed=observed)
    assert names_in(tmp_path) == [name for name in ALL_FILES if name not in lost]
    assert len(caplog_trn) == warnings
    assert all("could not be drawn: MemoryError: 12 GB" in line for line in caplog_trn)
    assert all(name in caplog_trn[0] for name in lost)


def test_files_of_others_are_left_alone(tmp_path):
    """An evaluation on test clips has no report of its own and removes only one that an evaluation wrote."""
    scores, labels = made_up(6)
    unknown = np.full(6, -1)
    test_split = {**PROTOCOL, "split": "test"}
    mine = [tmp_path / name for name in ("report.html", "per_class.csv", "notes.txt")]
    for path in mine:
        path.write_text("mine")
    for _ in range(2):
        write(tmp_path, scores, unknown, protocol=test_split)
        assert [path.read_text() for path in mine] == ["mine"] * 3
    (tmp_path / "metrics.json").write_text("{}")  # of another program
    (tmp_path / "submission.csv").write_text("mine")
    write(tmp_path, scores, labels)
    assert (tmp_path / "submission.csv").read_text() == "mine"
    write(tmp_path, scores, labels, protocol=test_split)
    write(tmp_path, scores, labels)
    assert not (tmp_path / "submission.csv").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_names_of_any_kind(tmp_path, monkeypatch, caplog_trn):
    names = ["Say $x_{$", "<b>\"x\"</b>, 'y'", "向左滑动 👍 " + "W" * 200, "a\\b"]
    monkeypatch.setattr("tests.evaluation.test_results.NAMES", names)
    protocol = {**PROTOCOL, "ckpt_file": "logs/$x_{$<b>\udcff.ckpt"}  # a file name that is not UTF-8
    metrics = write(tmp_path, *made_up(), protocol=protocol)
    assert names_in(tmp_path) == ALL_FILES
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert [line["class"] for line in read_csv(tmp_path / "per_class.csv")] == names
    assert not [line for line in caplog_trn if "could not be drawn" in line]


def test_training_curves(tmp_path, monkeypatch):
    first = {"epoch": 1, "lr": 0.001, "loss": 2.5, "top1": None, "top5": None, "seconds": 1.25}
    second = {"epoch": 2, "lr": 0.0001, "loss": 1.5, "top1": 0.5, "top5": 0.75, "seconds": 1.0}
    drawn, draw = [], plots.draw_training
    monkeypatch.setattr(plots, "draw_training", lambda epochs: drawn.append(list(epochs)) or draw(epochs))
    results.write_training(tmp_path, [first])
    before = (tmp_path / "curves.png").read_bytes()
    results.write_training(tmp_path, [first, second])
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,lr,loss,top1,top5,seconds",
        "1,0.001,2.5,,,1.25",
        "2,0.0001,1.5,0.5,0.75,1",
    ]
    assert drawn == [[first], [first, second]]
    assert (tmp_path / "curves.png").read_bytes() != before
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (7 * plots.DPI, 7 * plots.DPI)
    numbers = [{**epoch, "epoch": float(epoch["epoch"])} for epoch in (first, second)]
    assert results.read_training(tmp_path, 2) == numbers
    assert results.read_training(tmp_path, 1) == numbers[:1]
    assert results.read_training(tmp_path / "elsewhere", 1) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epoch,loss\n1,2\n", "expected the columns epoch,lr"),
        (b"epoch,lr,loss,top1,top5,seconds\n1,1,x,,,1\n", "metrics.csv, line 2: expected numbers"),
        (b"epoch,lr,loss,top1,top5,seconds\n,1,1,,,1\n", "line 2: expected an epoch"),
        (b"epoch,lr,loss,top1,top5,seconds\n1,1,1,,,1,1\n", "line 2: expected an epoch and 5 more"),
        (b"\xff", "cannot be read"),
    ],
)
def test_curves_that_cannot_be_read(tmp_path, content, message):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        results.read_training(tmp_path, 9)


def test_curves_are_numbers_even_if_they_cannot_be_drawn(tmp_path, monkeypatch, caplog_trn):
    monkeypatch.setattr(plots, "draw_training", no_memory)
    results.write_training(tmp_path, [dict.fromkeys(results.CURVE_COLUMNS, 1.0)])
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    assert caplog_trn == [f"{tmp_path / 'curves.png'}: left out, it could not be drawn: MemoryError: 12 GB"]


@pytest.fixture
def ablation(tmp_path):
    for head in order_ablation.HEAD_TITLES:
        for number, order in enumerate(order_ablation.ORDERS):
            folder = tmp_path / head / order
            folder.mkdir(parents=True)
            pairs = {"pair_clips": 8, "pair_top1": number / 4, "pair_answered_opposite": 0.25}
            metrics = {"top1": 0.5, "clips": 10, "order": {**pairs, "rest_clips": 2, "rest_top1": 1.0}}
            (folder / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path


def test_order_ablation_table(ablation, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["order_ablation", str(ablation)])
    answers, draw = [], order_ablation.draw_answers
    monkeypatch.setattr(order_ablation, "draw_answers", lambda rows: answers.append(rows) or draw(rows))
    order_ablation.main()
    table = (ablation / "order_ablation.md").read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    assert "| TRN | shuffled | 50.0 | 50.0 | 25.0 | 100.0 |" in table
    assert "10 clips, 8 of them of reversible pairs, 2 of the rest" in table
    rows = read_csv(ablation / "order_ablation.csv")
    assert len(rows) == 9
    assert (rows[4]["consensus"], rows[4]["frame_order"]) == ("TRN", "reversed")
    assert float(rows[4]["pair_top1"]) == 0.25
    (drawn,) = answers
    assert [(row["consensus"], row["frame_order"], row["pair_top1"]) for row in drawn[:4]] == [
        ("TRNmultiscale", "natural", 0.0),
        ("TRNmultiscale", "reversed", 0.25),
        ("TRNmultiscale", "shuffled", 0.5),
        ("TRN", "natural", 0.0),
    ]
    with Image.open(ablation / "order_ablation.png") as image:
        assert image.width > 300


def test_order_ablation_names_what_is_missing(ablation):
    (ablation / "avg/reversed/metrics.json").write_text('{"top1": 1.0, "clips": 3}')
    with pytest.raises(InputError, match=r"avg.reversed.metrics\.json: expected .*'order'"):
        order_ablation.read_results(ablation)
    for content in ("[]", "{", '{"top1": 1.0, "clips": 3, "order": 5}'):
        (ablation / "avg/reversed/metrics.json").write_text(content)
        with pytest.raises(InputError, match=r"avg.reversed.metrics\.json: expected the metrics of an evaluation"):
            order_ablation.read_results(ablation)
    (ablation / "avg/reversed/metrics.json").unlink()
    with pytest.raises(InputError, match=r"avg.reversed.metrics\.json: cannot be read"):
        order_ablation.read_results(ablation)
