"""The version: every program shows it, and the changelog and the release notes are about it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from model_utils.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = ("train.py", "eval.py", "eval_streams.py", "export.py", "infer.py", "demo.py", "make_page.py")
PROGRAMS = sorted(
    {
        str(path.relative_to(ROOT))
        for path in (*ROOT.glob("*.py"), *(ROOT / "src").rglob("*.py"))
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
)


def test_all_entry_points_are_looked_at():
    assert {*ENTRY_POINTS, "src/convert_bn_inception.py", "src/data/prepare_videos.py"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_shows_the_version(program):
    command = [sys.executable, str(ROOT / program), "--version"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Temporal Relation Networks on MindSpore {VERSION}\n"


def test_the_newest_entry_of_the_changelog_is_this_version():
    newest = re.search(r"^## (?!Unreleased)(.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.fullmatch(rf"{re.escape(VERSION)} - \d{{4}}-\d\d-\d\d", newest[1])


def test_there_are_release_notes():
    notes = (ROOT / "docs" / "releases" / f"v{VERSION}.md").read_text(encoding="utf-8")
    assert notes.startswith(f"# v{VERSION}\n")
