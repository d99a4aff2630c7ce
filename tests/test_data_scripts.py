"""The data scripts as a user runs them: usage, one-line errors, paths relative to where the user stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parents[1]
ONE_PATH = ["make_synthetic_jester", "preprocess_jester_dataset"]


def run(name, *arguments, cwd, **environment):
    command = ["bash", str(REPO_ROOT / "scripts" / f"{name}.sh"), *map(str, arguments)]
    environment = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def assert_usage(result, name):
    assert result.returncode == 1
    error, usage, *_ = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert usage.startswith(f"usage: bash scripts/{name}.sh")
    assert result.stdout == ""


def assert_one_line(result, message):
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


@pytest.mark.parametrize("name", ONE_PATH)
@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--seed", "1"]])
def test_usage_of_scripts_with_one_path(tmp_path, name, arguments):
    assert_usage(run(name, *arguments, cwd=tmp_path), name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "b", "c"]])
def test_usage_of_unpack(tmp_path, arguments):
    assert_usage(run("unpack_jester_dataset", *arguments, cwd=tmp_path), "unpack_jester_dataset")
    assert list(tmp_path.iterdir()) == []


def test_missing_inputs(tmp_path):
    assert_one_line(run("unpack_jester_dataset", "no data", "out", cwd=tmp_path), "no data: no such folder")
    assert_one_line(run("preprocess_jester_dataset", "no root", cwd=tmp_path), "no root: no such folder")
    assert list(tmp_path.iterdir()) == []


def test_error_of_the_program_is_one_line_and_its_status_is_passed_on(tmp_path):
    (tmp_path / "data").mkdir()
    result = run("unpack_jester_dataset", "data", "out", cwd=tmp_path)
    assert_one_line(result, "20bn-jester-download-package-labels.zip: no such file")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    unknown = run("make_synthetic_jester", "out", "--colour", "red", cwd=tmp_path)
    assert unknown.returncode != 0
    assert "--colour" in unknown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_interpreter_that_is_not_there(tmp_path):
    result = run("make_synthetic_jester", "out", cwd=tmp_path, PYTHON="no-such-python")
    assert_one_line(result, "no-such-python: no such interpreter")


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


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("absolute a; absolute /b; absolute ''", "$PWD/a\n/b\n\n"),
        (
            "resolve_options 'p q' --p 'x y' --r z --q=w --p=; printf '<%s>' \"${OPTIONS[@]}\"",
            "<--p><$PWD/x y><--r><z><--q=$PWD/w><--p=>",
        ),
        ("require_arguments 2 a '' --o v; echo fine", "fine\n"),
    ],
)
def test_shared_functions(tmp_path, script, printed):
    command = ["bash", "-c", f'set -euo pipefail; source "$1"; {script}', "-", str(REPO_ROOT / "scripts" / "common.sh")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == printed.replace("$PWD", str(tmp_path))
