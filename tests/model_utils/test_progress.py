"""Progress: plain lines in a log file, a bar on a terminal."""

from __future__ import annotations

import io
import sys

from model_utils.progress import progress, with_bar


def test_one_plain_line_for_every_tenth(capsys):
    with progress("Draw", 40, "clip") as update:
        for _ in range(40):
            update(1)
    assert capsys.readouterr().out.splitlines() == [f"Draw: {10 * tenth}% of 40 clips" for tenth in range(1, 11)]


def test_large_steps_and_bytes(capsys):
    with progress("Extract", 3_000_000, "B") as update:
        update(1_000_000)
        update(2_000_000)
    assert capsys.readouterr().out.splitlines() == ["Extract: 30% of 3.00MB", "Extract: 100% of 3.00MB"]


def test_nothing_to_do(capsys):
    with progress("Check md5", 0, "B"):
        pass
    assert capsys.readouterr().out == ""


def on_terminal(monkeypatch):
    stdout = io.StringIO()
    stdout.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", stdout)
    return stdout


def test_bar_on_a_terminal(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with progress("Extract", 10, "clip") as update:
        update(10)
    shown = terminal.getvalue().split("\r")[-1]
    assert shown.startswith("Extract: 100%|")
    assert "10/10" in shown


def test_bar_of_a_training_that_was_resumed(monkeypatch):
    """The last step counts, though no further batch is asked for."""
    terminal = on_terminal(monkeypatch)
    for batch in with_bar(range(3, 100), 3, 10):
        if batch == 9:
            break
    shown = terminal.getvalue().split("\r")
    assert "3/10" in shown[1]
    assert shown[-1].startswith("Train: 100%|")
    assert "10/10" in shown[-1]


def test_no_bar_of_a_training_in_a_log_file(capsys):
    assert list(with_bar("abc", 0, 3)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""
