"""The folder of a run: the order of its checkpoints, what may be deleted, and that no second run gets in."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from model_utils.errors import InputError
from src.ops.ranks import ALONE
from src.training import run_folder
from src.training.checkpoint import save_checkpoint
from tests.helpers import ROOT
from tests.training.test_trainer import TwoRanks


def write(path, epochs_done, step=0, rewinds=0):
    """A checkpoint that says how far it is."""
    progress = {"epochs_done": epochs_done, "step": step, "loss_sum": 0.0, "best": None, "since_best": 0}
    return save_checkpoint(path, {"a": np.zeros(1)}, {"progress": {**progress, "rewinds": rewinds}})


def age(folder, seconds):
    """Gives the files, in the order of their epochs, these times of modification."""
    for path, second in zip(sorted(folder.glob("*trn*"), key=lambda path: len(path.name)), seconds):
        os.utime(path, (second, second))


@pytest.fixture
def folder(tmp_path):
    """Epochs 8, 9 and 10, by name not in this order."""
    for epoch in (8, 9, 10):
        write(tmp_path / f"checkpoint_trn-{epoch}_4.ckpt", epoch)
    return tmp_path


TIMES = {"as saved": [1, 2, 3], "reversed": [3, 2, 1], "equal": [5, 5, 5], "future": [2**33, 1, 1]}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_the_order_is_that_of_the_epochs_whatever_the_clock_said(folder, times):
    age(folder, times)
    assert run_folder.newest_checkpoint(folder).name == "checkpoint_trn-10_4.ckpt"
    run_folder.keep_newest(folder, 2, "checkpoint_trn-10_4.ckpt")
    assert sorted(os.listdir(folder)) == ["checkpoint_trn-10_4.ckpt", "checkpoint_trn-9_4.ckpt"]


def test_a_copy_of_the_folder(folder, tmp_path):
    write(folder / "checkpoint_last.ckpt", 10, 2)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert run_folder.newest_checkpoint(tmp_path / "copy") == tmp_path / "copy" / "checkpoint_last.ckpt"


@pytest.mark.parametrize(("count", "times"), [(1, TIMES["as saved"]), (2, TIMES["future"]), (3, TIMES["reversed"])])
def test_what_was_just_saved_stays(folder, count, times):
    """A run that went back saves epoch 6 where epochs 8 to 10 lie already."""
    write(folder / "checkpoint_trn-6_4.ckpt", 6, rewinds=1)
    age(folder, times)
    run_folder.keep_newest(folder, count, "checkpoint_trn-6_4.ckpt")
    names = ["checkpoint_trn-6_4.ckpt", "checkpoint_trn-10_4.ckpt", "checkpoint_trn-9_4.ckpt"]
    assert sorted(os.listdir(folder)) == sorted(names[:count])


def test_what_is_no_numbered_checkpoint_stays(folder):
    others = [
        "checkpoint_best.ckpt",
        "checkpoint_last.ckpt",
        "checkpoint_trn-5_4 (copy).ckpt",
        "checkpoint_trn-a_b.ckpt",
    ]
    for name in others:
        (folder / name).touch()
    run_folder.keep_newest(folder, 1, "checkpoint_trn-10_4.ckpt")
    assert sorted(os.listdir(folder)) == sorted(["checkpoint_trn-10_4.ckpt", *others])


@pytest.mark.parametrize(
    ("last", "newest"),
    [
        ((9, 3), "checkpoint_trn-10_4.ckpt"),
        ((9, 4), "checkpoint_trn-10_4.ckpt"),  # all steps of epoch 10, before its validation
        ((10, 1), "checkpoint_last.ckpt"),
        ((11, 0), "checkpoint_last.ckpt"),
    ],
)
def test_the_state_inside_an_epoch_and_the_numbered_ones(folder, last, newest):
    write(folder / "checkpoint_last.ckpt", *last)
    os.utime(folder / "checkpoint_last.ckpt", (4, 4))
    assert run_folder.newest_checkpoint(folder).name == newest


def test_the_file_is_believed_and_not_its_name(folder):
    (folder / "checkpoint_trn-8_4.ckpt").rename(folder / "checkpoint_trn-99_4.ckpt")
    assert run_folder.newest_checkpoint(folder).name == "checkpoint_trn-10_4.ckpt"


def test_positions(tmp_path):
    def said(name, **about):
        return run_folder.position(save_checkpoint(tmp_path / name, {"a": np.zeros(1)}, about))

    assert run_folder.position(write(tmp_path / "a.ckpt", 3)) == (0, 3, math.inf)
    assert run_folder.position(write(tmp_path / "b.ckpt", 3, 2, rewinds=1)) == (1, 4, 2)
    assert said("checkpoint_trn-7_4.ckpt") == (0, 7, 4)  # without a word about it: its name
    assert said("checkpoint_trn-7_5.ckpt", epoch=6) == (0, 6, math.inf)
    assert said("checkpoint_trn-7_6.ckpt", epoch=6, step=2) == (0, 6, 2)
    assert said("checkpoint_trn-7_7.ckpt", progress={"epochs_done": "six"}) == (0, 7, 7)
    assert said("c.ckpt") == (0, 0, 0)


@pytest.mark.parametrize("how", ["in place", "renamed"])
def test_a_file_that_is_written_again_is_read_again(folder, tmp_path, how):
    """It is as large as before and, if another was renamed to it, as old."""
    path, other = folder / "checkpoint_trn-9_4.ckpt", tmp_path / "other.ckpt"
    assert run_folder.position(path) == (0, 9, math.inf)
    before = path.stat()
    write(other, 3, rewinds=1)
    assert other.stat().st_size == before.st_size
    if how == "in place":
        path.write_bytes(other.read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.rename(path)
    assert run_folder.position(path) == (1, 3, math.inf)


def test_damaged_files(folder):
    """A numbered one is known by its name; the other is asked for, and cannot answer."""
    (folder / "checkpoint_trn-9_4.ckpt").write_bytes(b"damaged")
    assert run_folder.newest_checkpoint(folder).name == "checkpoint_trn-10_4.ckpt"
    (folder / "checkpoint_last.ckpt").write_bytes(b"damaged")
    with pytest.raises(InputError, match="checkpoint_last.ckpt: not a whole MindSpore checkpoint"):
        run_folder.newest_checkpoint(folder)


def test_a_run_that_went_back_is_newer_than_what_it_left(folder):
    assert run_folder.rewinds(folder, folder / "checkpoint_trn-10_4.ckpt") == 0
    assert run_folder.rewinds(folder, folder / "checkpoint_trn-8_4.ckpt") == 1
    write(folder / "checkpoint_last.ckpt", 8, 1, rewinds=1)
    assert run_folder.newest_checkpoint(folder).name == "checkpoint_last.ckpt"
    assert run_folder.rewinds(folder, folder / "checkpoint_last.ckpt") == 1
    assert run_folder.rewinds(folder, folder / "checkpoint_trn-9_4.ckpt") == 2
    elsewhere = folder / "new"
    elsewhere.mkdir()
    assert run_folder.rewinds(elsewhere, folder / "checkpoint_trn-8_4.ckpt") == 0


def test_find_checkpoint(tmp_path):
    assert run_folder.find_checkpoint("", tmp_path) is None
    assert run_folder.find_checkpoint("auto", tmp_path / "not there") is None
    assert run_folder.find_checkpoint(str(tmp_path / "some.ckpt"), tmp_path) == tmp_path / "some.ckpt"
    write(tmp_path / "checkpoint_best.ckpt", 5)  # a network only
    assert run_folder.find_checkpoint("auto", tmp_path) is None


# -------------------------------------------------------------------------------------------------- one run a folder


@pytest.mark.parametrize(
    "name", ["checkpoint_trn-5_4.ckpt", "checkpoint_last.ckpt", "checkpoint_best.ckpt", "metrics.csv"]
)
def test_a_folder_that_holds_a_run_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"of the other run")
    ways = f"holds a training run already \\({name}\\); give --resume auto to resume it, or another --train_output_dir"
    with pytest.raises(InputError, match=ways), run_folder.open_run(tmp_path, "", ALONE):
        pytest.fail("the run must not start")
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"of the other run"


def test_a_folder_without_a_run_is_not(tmp_path):
    """What is left of a run that ended before its first save."""
    for name in ("train.log", "config.yaml", "notes.txt"):
        (tmp_path / name).touch()
    with run_folder.open_run(tmp_path, "", ALONE) as resumed:
        assert resumed is None
    with run_folder.open_run(tmp_path / "new" / "folder", "auto", ALONE) as resumed:
        assert resumed is None
    assert sorted(os.listdir(tmp_path)) == ["config.yaml", "notes.txt", "train.log"]


def test_a_run_is_resumed_in_its_folder(folder, tmp_path):
    with run_folder.open_run(folder, "auto", ALONE) as resumed:
        assert resumed == folder / "checkpoint_trn-10_4.ckpt"
    with run_folder.open_run(folder, str(folder / "checkpoint_trn-9_4.ckpt"), ALONE) as resumed:
        assert resumed == folder / "checkpoint_trn-9_4.ckpt"


def test_a_run_is_not_resumed_in_the_folder_of_another(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.csv").touch()
    refused = "other: holds a training run already"
    with (
        pytest.raises(InputError, match=refused),
        run_folder.open_run(tmp_path / "other", str(folder / "checkpoint_trn-9_4.ckpt"), ALONE),
    ):
        pytest.fail("the run must not start")


def test_nothing_to_resume_from_is_no_leave_to_write_over_a_run(tmp_path):
    write(tmp_path / "checkpoint_best.ckpt", 5)
    refused = r"\(checkpoint_best.ckpt\); give another --train_output_dir$"
    with pytest.raises(InputError, match=refused), run_folder.open_run(tmp_path, "auto", ALONE):
        pytest.fail("the run must not start")


HOLDER = """
import sys, time
from src.ops.ranks import ALONE
from src.training.run_folder import open_run
with open_run(sys.argv[1], "auto", ALONE):
    print("holds it", flush=True)
    time.sleep(600)
"""


def test_a_folder_in_use_is_locked_until_its_process_ends(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"holds it\n"
        used = f"{tmp_path}: another training uses this folder; give another --train_output_dir"
        with pytest.raises(InputError, match=f"^{used}$"), run_folder.open_run(tmp_path, "auto", ALONE):
            pytest.fail("the run must not start")
        holder.kill()
    with run_folder.open_run(tmp_path, "", ALONE):
        assert os.listdir(tmp_path) == ["train.lock"]
    assert os.listdir(tmp_path) == []


def test_the_ranks_of_a_job_share_the_folder(tmp_path):
    with run_folder.open_run(tmp_path, "auto", TwoRanks(0)), run_folder.open_run(tmp_path, "auto", TwoRanks(1)):
        assert os.listdir(tmp_path) == ["train.lock"]


def test_no_rank_starts_where_rank_0_cannot(tmp_path):
    ranks, refused = TwoRanks(1, ahead=1), "rank 0 cannot use this folder"
    with pytest.raises(InputError, match=refused), run_folder.open_run(tmp_path / "new", "", ranks):
        pytest.fail("the run must not start")
    assert not (tmp_path / "new").exists()


def test_what_killed_writers_left_is_deleted(folder):
    (folder / ".checkpoint_last.99.partial.ckpt").write_bytes(b"half")
    run_folder.delete_partial(folder)
    assert len(os.listdir(folder)) == 3
