"""The table that compares exported forms of a network."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import compare_exports as compare
from model_utils.errors import InputError


def write(folder, answers, truth, shares):
    """An evaluation as eval.py leaves it: clips of classes a, b and c."""
    folder.mkdir(parents=True)
    right = np.mean([a == t for a, t in zip(answers, truth)])
    protocol = {"ckpt_sha256": folder.parent.name.ljust(64, "0")}
    metrics = {"clips": len(truth), "top1": right, "top1_interval_95": [0.5, 0.75], "protocol": protocol}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    rows = [f"clip{i},{t},{a},{p},{1 if a == t else 2}" for i, (a, t, p) in enumerate(zip(answers, truth, shares))]
    (folder / "predictions.csv").write_text("\n".join(["clip,true,predicted,probability,rank", *rows]) + "\n")


@pytest.fixture
def folder(tmp_path):
    for form in compare.FORMS:
        answers, shares = ("abca", [0.9, 0.8, 0.7, 0.6])
        if form == "int8":
            answers, shares = ("abcb", [0.9, 0.75, 0.7, 0.5])
        write(tmp_path / form / "eval", answers, "abcb", shares)
    return tmp_path


def test_the_table(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare", str(folder)])
    compare.main()
    table = (folder / "compare.md").read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows] == list(compare.FORMS)
    assert rows[0][1:4:2] == ["checkpoint00", "+0.00 (-32.67 to +32.67)"]
    int8 = rows[compare.FORMS.index("int8")]
    assert int8[2] == "100.00 (50.0 to 75.0)"
    assert int8[3].startswith("+25.00 (")
    assert int8[4:] == ["3 of 4", "1.0e-01"]


def test_the_interval_of_a_difference():
    """1000 clips, 30 lost and 20 gained: by hand, (20 - 30) / 1002 ± 1.96 sqrt(51 - 100 / 1002) / 1002."""
    before = [True] * 900 + [False] * 100
    after = [False] * 30 + [True] * 870 + [True] * 20 + [False] * 80
    low, high = compare.difference_interval(before, after)
    assert (low, high) == (pytest.approx(-0.009980 - 0.013955, abs=1e-5), pytest.approx(-0.009980 + 0.013955, abs=1e-5))


def test_evaluations_that_do_not_go_together(folder):
    path = folder / "onnx" / "eval" / "predictions.csv"
    path.write_text(path.read_text().replace("clip3", "clip9"))
    with pytest.raises(InputError, match="onnx: other clips than the checkpoint's"):
        compare.read_evaluations(folder)
    path.unlink()
    with pytest.raises(InputError, match="onnx/eval: no whole evaluation there"):
        compare.read_evaluations(folder)
