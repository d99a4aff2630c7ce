"""The data scripts in a folder whose name is not UTF-8, and what scripts share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parents[1]


def run(name, *arguments, cwd, **environment):
    command = ["bash", str(REPO_ROOT / "scripts" / f"{name}.sh"), *map(str, arguments)]
    environment = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, errors="surrogateescape", timeout=120
    )


def test_paths_that_are_not_utf_8(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    counts = ["--gestures", "2", "--train", "2", "--val", "2", "--test", "0", "--parts", "1"]
    for name, arguments in [
        ("make_synthetic_jester", ["archives \udcff", *counts]),
        ("unpack_jester_dataset", ["archives \udcff", "data \udcff"]),
        ("preprocess_jester_dataset", ["data \udcff"]),
    ]:
        result = run(name, *arguments, cwd=folder, PYTHONUTF8="0", LC_ALL="C.UTF-8")
        assert (result.returncode, result.stderr) == (0, ""), name
    assert len(os.listdir(os.path.join(folder, "data \udcff", "20bn-jester-v1"))) == 4
    result = run("unpack_jester_dataset", "nowhere \udcff", "data", cwd=folder)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("gives_config --lr 1 --config_path x && echo yes", "yes\n"),
        ("gives_config --config_path=x && echo yes", "yes\n"),
        ("gives_config --lr 1 --config_paths x config_path || echo no", "no\n"),
        ("require_arguments 2 a '' --o v; echo fine", "fine\n"),
    ],
)
def test_shared_functions(tmp_path, script, printed):
    command = ["bash", "-c", f'set -euo pipefail; source "$1"; {script}', "-", str(REPO_ROOT / "scripts" / "common.sh")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == printed
