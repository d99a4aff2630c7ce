"""The data scripts as a user runs them: paths relative to where the user stands, with spaces in them."""

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


def test_archives_to_list_files_with_spaces_in_relative_paths(tmp_path):
    counts = ["--gestures", "3", "--train", "6", "--val", "3", "--test", "1", "--parts", "2"]
    for name, arguments in [
        ("make_synthetic_jester", ["my archives", *counts, "--contact_sheet", "my sheet.png"]),
        ("unpack_jester_dataset", ["my archives", "my data/Jester"]),
        ("preprocess_jester_dataset", ["my data/Jester", "--save_labels_path=my lists"]),
    ]:
        result = run(name, *arguments, cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, ""), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my archives", "my data", "my lists", "my sheet.png"]
    lists = {path.name: path.read_text().splitlines() for path in (tmp_path / "my lists").iterdir()}
    assert lists["categories.txt"] == ["Swiping Left", "Swiping Right", "Swiping Up"]
    assert [len(lists[f"{split}_videofolder.txt"]) for split in ("train", "val", "test")] == [6, 3, 1]
    for row in lists["train_videofolder.txt"]:
        clip, num_frames, _ = row.split()
        frames = sorted(path.name for path in (tmp_path / "my data" / "Jester" / "20bn-jester-v1" / clip).iterdir())
        assert frames == [f"{number:05d}.jpg" for number in range(1, int(num_frames) + 1)]


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
