"""Training as a user runs it: stopped in three ways and resumed, and shared by two processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from src.ops.compat import LEGACY
from src.training import checkpoint
from tests.helpers import ROOT
from tests.helpers.clips import write_dataset
from tests.helpers.small_program import write_python

CLIPS, STEPS = 12, 3
SMALL = (
    "--width_mult 0.0625 --image_size 32 --num_segments 3 --img_feature_dim 8 --dropout 0.5 --log_interval 1"
    " --sliding_windows 0.6 --sliding_windows_full 2"
)
DEADLINE = 300
STARTED: list[subprocess.Popen] = []


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root, classes = tmp_path_factory.mktemp("dataset"), ["Swiping Left", "Swiping Right", "No gesture"]
    write_dataset(root, CLIPS * [9], classes, train=range(CLIPS), val=range(5))
    write_python(root)
    return root


def start(dataset, command, log):
    python = str(dataset / "python")
    environment = {**os.environ, "PYTHON": python, "DEVICE_TARGET": "CPU", "DEVICE_NUM": "2", "GLOG_v": "3"}
    with open(log, "a") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
    STARTED.append(process)
    return process


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    """A training that a failed test has left would run for hours."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def standalone(dataset, out, *options):
    """train.py, whose lines go to `out`.log."""
    fixed = ["--device_target", "CPU", "--dataset_root", dataset, "--train_output_dir", out, "--train_batch_size", "4"]
    command = [dataset / "python", "train.py", *fixed, *SMALL.split(), *options]
    return start(dataset, list(map(str, command)), f"{out}.log")


def distributed(dataset, out, *options):
    script = ["bash", "scripts/run_distributed_train_gpu.sh", dataset, "", "--train_output_dir", out]
    return start(dataset, list(map(str, [*script, "--train_batch_size", "2", *SMALL.split(), *options])), f"{out}.log")


def wait_for(process, out, line, times=1):
    end = time.monotonic() + DEADLINE
    while Path(f"{out}.log").read_text().count(line) < times:
        assert process.poll() is None, Path(f"{out}.log").read_text()
        assert time.monotonic() < end, f"no {line!r} after {DEADLINE} s"
        time.sleep(0.02)


def test_a_run_that_is_stopped_and_killed_ends_like_one_that_is_not(dataset, tmp_path):
    options = ["--epochs_num", "6", "--ckpt_save_steps", "1"]
    whole, out = tmp_path / "whole", tmp_path / "stopped"
    reference = standalone(dataset, whole, *options)
    assert reference.wait(DEADLINE) == 0, Path(f"{whole}.log").read_text()

    for count, (number, status) in enumerate(((2, 130), (15, 143), (9, -9)), 1):
        process = standalone(dataset, out, *options, "--resume", "auto", "--train_workers", count)
        wait_for(process, out, "compiling the training graph", count)
        wait_for(process, out, "loss is", Path(f"{out}.log").read_text().count("loss is") + 1)
        process.send_signal(signal.Signals(number))
        assert process.wait(DEADLINE) == status, Path(f"{out}.log").read_text()
    assert Path(f"{out}.log").read_text().count("stopped; the same command with --resume auto resumes\n") == 2
    process = standalone(dataset, out, *options, "--resume", "auto")
    assert process.wait(DEADLINE) == 0, Path(f"{out}.log").read_text()
    name = f"checkpoint_trn-6_{STEPS}.ckpt"
    assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in whole.iterdir())


needs_two_ranks = pytest.mark.skipif(
    LEGACY or shutil.which("mpirun") is None,
    reason="needs Open MPI (Debian: openmpi-bin), and MindSpore 2, since 1.10 has no collectives on CPUs",
)


@needs_two_ranks
def test_two_ranks_compute_what_one_does(dataset, tmp_path):
    """Every step exceeds the limit of the gradients; without a limit, see `test_train_cell.py`."""
    options = ["--clip_grad_norm", "0.5", "--eval_interval", "1"]
    one, two = tmp_path / "one", tmp_path / "two"
    process = standalone(dataset, one, *options, "--max_steps", "4")
    assert process.wait(DEADLINE) == 0, Path(f"{one}.log").read_text()
    for more in (["--max_steps", "2"], ["--max_steps", "4", "--resume", "auto"]):  # stopped inside an epoch
        process = distributed(dataset, two, *options, *more)
        assert process.wait(DEADLINE) == 0, Path(f"{two}.log").read_text()

    logs = [Path(f"{out}.log").read_text().splitlines() for out in (one, two)]
    losses = [[line for line in log if "loss is" in line] for log in logs]
    assert [line.split(",")[0] for line in losses[0]] == [line.split(",")[0] for line in losses[1]]
    assert len(losses[0]) == 4
    validations = [[line.split(":INFO:")[1] for line in log if "validation after" in line] for log in logs]
    assert validations[0] == validations[1][-2:]  # before them is one at the stop
    assert all(line.endswith("; 5 clips") for line in validations[0])
    assert "loss is" in (two / "train_rank1.log").read_text()
    expected, _ = checkpoint.read_checkpoint(one / "checkpoint_trn-2_1.ckpt")
    found, _ = checkpoint.read_checkpoint(two / "checkpoint_trn-2_1.ckpt")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        ours, theirs = found[name].asnumpy(), value.asnumpy()
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max(), name


@needs_two_ranks
def test_the_death_of_a_rank_ends_the_job(dataset, tmp_path):
    out = tmp_path / "out"
    process = distributed(dataset, out, "--epochs_num", "1000", "--eval_interval", "0")
    wait_for(process, out, "loss is")
    ranks = [pid for pid, command in processes(out) if "mpirun" not in command]
    os.kill(max(ranks), signal.SIGKILL)
    assert process.wait(60) != 0
    end = time.monotonic() + 10
    while processes(out) and time.monotonic() < end:
        time.sleep(0.1)
    assert processes(out) == []


def processes(out):
    """(id, command line) of every process that has `out` in its arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(out) in command:
            found.append((int(folder.name), command))
    return found
