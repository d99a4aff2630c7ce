"""ModelArts, with a stand-in for its `moxing` that copies between local folders; and the numbers of a process."""

import multiprocessing
import os
import re
import shutil
import sys
import time
from types import ModuleType

import pytest

from model_utils import device_adapter
from model_utils.config import load_config
from model_utils.moxing_adapter import moxing_session
from src.errors import InputError

LAUNCHERS = ["DEVICE_ID", "RANK_ID", "RANK_SIZE", "JOB_ID", "MS_NODE_ID", "MS_WORKER_NUM", "OMPI_COMM_WORLD_RANK"]
LAUNCHERS += ["OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"]


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def remote(tmp_path):
    for name in ("data", "checkpoints"):
        (tmp_path / "remote" / name).mkdir(parents=True)
    (tmp_path / "remote" / "data" / "categories.txt").write_text("Swiping Left\n")
    (tmp_path / "remote" / "checkpoints" / "bn.ckpt").write_text("weights")
    return tmp_path / "remote"


@pytest.fixture
def copies(monkeypatch):
    """Puts the stand-in in place; gives the list of the copies that it made, as (source, target) names."""
    made = []

    def copy_parallel(source, target):
        made.append((os.path.basename(source), os.path.basename(target)))
        shutil.copytree(source, target, dirs_exist_ok=True)

    moxing = ModuleType("moxing")
    moxing.file = ModuleType("moxing.file")
    moxing.file.exists = os.path.exists
    moxing.file.copy_parallel = copy_parallel
    monkeypatch.setitem(sys.modules, "moxing", moxing)
    return made


@pytest.fixture
def config(tmp_path, remote):
    local = tmp_path / "cache"
    argv = ["--enable_modelarts", "true", "--data_path", str(local / "data"), "--output_path", str(local / "train")]
    argv += ["--load_path", str(local / "load"), "--data_url", str(remote / "data"), "--train_url", str(remote / "out")]
    argv += ["--checkpoint_url", str(remote / "checkpoints"), "--pre_trained_backbone", "bn.ckpt"]
    return load_config(argv)


def write_result(config):
    os.makedirs(config.train_output_dir)
    with open(os.path.join(config.train_output_dir, "train.log"), "w") as file:
        file.write("epoch: 1")


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setitem(sys.modules, "moxing", None)  # importing it would fail
    config = load_config(["--data_url", "obs://bucket/data", "--ckpt_file", "a.ckpt"])
    before = dict(vars(config))
    with moxing_session(config):
        pass
    assert vars(config) == before


def test_without_moxing(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "moxing", None)
    with pytest.raises(InputError, match="enable_modelarts: true needs the package moxing"), moxing_session(config):
        pytest.fail("the run must not start")


def test_a_run(config, copies, remote, tmp_path):
    with moxing_session(config):
        assert config.dataset_root.startswith(str(tmp_path / "cache" / "data"))
        with open(os.path.join(config.dataset_root, config.categories_list_file_name)) as file:
            assert file.read() == "Swiping Left\n"
        with open(config.pre_trained_backbone) as file:
            assert file.read() == "weights"
        assert config.ckpt_file == ""
        write_result(config)
        assert not (remote / "out").exists()
    assert (remote / "out" / "train-logs" / "train.log").read_text() == "epoch: 1"
    assert copies == [("data", "data"), ("checkpoints", "load"), ("train", "out")]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_results_are_sent_after_a_failure(failure, config, copies, remote):
    def run():
        with moxing_session(config):
            write_result(config)
            raise failure

    with pytest.raises(failure):
        run()
    assert (remote / "out" / "train-logs" / "train.log").read_text() == "epoch: 1"


def test_a_failure_before_any_result_is_the_one_reported(config, copies, remote):
    with pytest.raises(InputError, match="the list is empty"), moxing_session(config):
        raise InputError("the list is empty")
    assert not (remote / "out").exists()


def test_without_remote_folders_nothing_is_copied(config, copies):
    config.data_url = config.checkpoint_url = config.train_url = ""
    with moxing_session(config):
        write_result(config)
    assert copies == []


def test_missing_remote_folder(config, copies):
    config.data_url += "-missing"
    with pytest.raises(InputError, match="data-missing: the remote folder does not exist"), moxing_session(config):
        pytest.fail("the run must not start")
    assert copies == []


def test_output_that_would_be_lost(config, copies, tmp_path):
    config.eval_output_dir = str(tmp_path / "elsewhere")
    message = f"^eval_output_dir: {re.escape(config.eval_output_dir)} is not inside output_path"
    with pytest.raises(InputError, match=message), moxing_session(config):
        pytest.fail("the run must not start")


def test_absolute_paths_stay(config, copies, tmp_path):
    config.dataset_root = str(tmp_path / "mounted")
    config.ckpt_file = str(tmp_path / "mine.ckpt")
    config.train_output_dir = str(tmp_path / "cache" / "train" / "logs")
    with moxing_session(config):
        assert config.dataset_root == str(tmp_path / "mounted")
        assert config.ckpt_file == str(tmp_path / "mine.ckpt")
        assert config.train_output_dir == str(tmp_path / "cache" / "train" / "logs")


@pytest.mark.parametrize(("device", "sends"), [("0", True), ("3", False)])
def test_one_process_of_a_node_sends_the_results(device, sends, config, copies, monkeypatch):
    monkeypatch.setenv("RANK_SIZE", "8")
    monkeypatch.setenv("DEVICE_ID", device)
    with moxing_session(config):
        write_result(config)
    assert (("train", "out") in copies) == sends


def test_alone_on_another_device_than_the_first(config, copies, monkeypatch):
    monkeypatch.setenv("DEVICE_ID", "3")
    with moxing_session(config):
        write_result(config)
    assert ("train", "out") in copies


def test_data_are_fetched_once_for_a_job(config, copies, monkeypatch):
    config.checkpoint_url = config.train_url = ""
    for job in ("job-1", "job-1", "job-2", "job-2"):
        monkeypatch.setenv("JOB_ID", job)
        with moxing_session(config):
            pass
    assert copies == [("data", "data")] * 2


def test_a_failed_fetch_is_tried_again(config, copies, monkeypatch):
    config.checkpoint_url = config.train_url = ""
    copy_parallel = sys.modules["moxing"].file.copy_parallel

    def broken(source, target):
        raise OSError("network")

    monkeypatch.setattr(sys.modules["moxing"].file, "copy_parallel", broken)
    with pytest.raises(OSError, match="network"), moxing_session(config):
        pytest.fail("the run must not start")
    monkeypatch.setattr(sys.modules["moxing"].file, "copy_parallel", copy_parallel)
    with moxing_session(config):
        assert os.listdir(config.data_path) == ["categories.txt"]


def test_the_other_processes_of_a_node_wait_for_the_data(config, copies, monkeypatch):
    config.checkpoint_url = config.train_url = ""
    context = multiprocessing.get_context("fork")  # so that the stand-in is there too
    events, started = context.SimpleQueue(), context.Event()
    copy_parallel = sys.modules["moxing"].file.copy_parallel

    def slow(source, target):
        events.put("copy begins")
        started.set()
        time.sleep(0.5)
        copy_parallel(source, target)
        events.put("copy ends")

    monkeypatch.setattr(sys.modules["moxing"].file, "copy_parallel", slow)

    def rank():
        with moxing_session(config):
            events.put("run")

    ranks = [context.Process(target=rank) for _ in range(3)]
    ranks[0].start()
    assert started.wait(30)
    for process in ranks[1:]:
        process.start()
    for process in ranks:
        process.join(30)
        assert process.exitcode == 0
    assert [events.get() for _ in range(5)] == ["copy begins", "copy ends", "run", "run", "run"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1, 0)),
        ({"DEVICE_ID": "3"}, (3, 1, 0)),
        ({"DEVICE_ID": "1", "RANK_SIZE": "16", "RANK_ID": "9"}, (1, 16, 9)),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "5"}, (1, 8, 5)),
        ({"DEVICE_ID": "1", "MS_WORKER_NUM": "2", "MS_NODE_ID": "1"}, (1, 2, 1)),
    ],
)
@pytest.mark.parametrize("enable_modelarts", ["true", "false"])
def test_numbers_of_a_process(environment, expected, enable_modelarts, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = load_config(["--enable_modelarts", enable_modelarts])
    numbers = [device_adapter.get_device_id, device_adapter.get_device_num, device_adapter.get_rank_id]
    assert tuple(number(config) for number in numbers) == expected


def test_job(monkeypatch):
    monkeypatch.setenv("JOB_ID", "job-7")
    assert device_adapter.get_job_id(load_config(["--enable_modelarts", "true"])) == "job-7"
    assert device_adapter.get_job_id(load_config([])) == "local"


def test_environment_that_is_no_number(monkeypatch):
    monkeypatch.setenv("RANK_ID", "first")
    with pytest.raises(InputError, match="^environment variable RANK_ID: 'first' is not allowed, expected a number$"):
        device_adapter.get_rank_id(load_config([]))
