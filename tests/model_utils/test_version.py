"""The version: every program shows it, and the changelog and the release notes are about it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from model_utils.version import VERSION
from tests.helpers import ROOT

PROGRAMS = sorted(
    {
        str(path.relative_to(ROOT))
        for path in (*ROOT.glob("*.py"), *(ROOT / "src").rglob("*.py"))
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_shows_the_version(program, tmp_path):
    """Without MindSpore, which takes seconds to import."""
    (tmp_path / "mindspore.py").write_text("raise SystemExit('MindSpore is imported')")
    command, environment = [sys.executable, str(ROOT / program), "--version"], {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Temporal Relation Networks on MindSpore {VERSION}\n"


def test_the_newest_entry_of_the_changelog_is_this_version():
    newest = re.search(r"^## (?!Unreleased)(.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.fullmatch(rf"{re.escape(VERSION)} - \d{{4}}-\d\d-\d\d", newest[1])


def test_there_are_release_notes():
    notes = (ROOT / "docs" / "releases" / f"v{VERSION}.md").read_text(encoding="utf-8")
    assert notes.startswith(f"# v{VERSION}\n")
