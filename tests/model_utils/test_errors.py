"""What is said where a package is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from model_utils.errors import missing_package
from tests.helpers import ROOT


@pytest.mark.parametrize("program", ["train.py", "eval.py", "export.py", "infer.py", "eval_streams.py"])
def test_a_program_outside_the_environment(program):
    """Without site-packages: as with a Python that has none of the packages."""
    command = [sys.executable, "-S", str(ROOT / program), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {sys.executable} has no package yaml; ")
    assert done.stderr.count("\n") == 1


def test_what_is_no_missing_package():
    assert missing_package(ModuleNotFoundError("No module named 'src.nothing'", name="src.nothing")) == ""
    assert missing_package(ImportError("cannot import name 'x' from 'numpy'", name="numpy")) == ""
    assert missing_package(KeyError("cv2")) == ""
    assert "no package cv2; " in missing_package(ModuleNotFoundError("", name="cv2.gapi"))
