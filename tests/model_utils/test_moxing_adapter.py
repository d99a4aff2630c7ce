"""ModelArts, with a stand-in for its `moxing` that copies between local folders; and the numbers of a process."""

import os
import re
import shutil
import sys
from types import ModuleType

import pytest

from model_utils import config as config_module
from model_utils import device_adapter, local_adapter, moxing_adapter
from model_utils.config import load_config
from model_utils.errors import InputError
from model_utils.logging import get_logger
from model_utils.moxing_adapter import moxing_session, moxing_wrapper

LAUNCHERS = ["DEVICE_ID", "RANK_ID", "RANK_SIZE", "JOB_ID", "MS_NODE_ID", "MS_WORKER_NUM", "OMPI_COMM_WORLD_RANK"]
LAUNCHERS += ["OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "LOCAL_WORLD_SIZE"]
LAUNCHERS += ["MS_SCHED_HOST", "MS_SCHED_PORT", "MS_ROLE", "MS_RECEIVE_MSG_TIMEOUT", "MS_CPU_COMM_OP_TIMEOUT"]


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
        assert config.train_output_dir.startswith(str(tmp_path / "cache" / "train"))
        assert config.ckpt_file == ""
        write_result(config)
        assert not (remote / "out").exists()
    assert (remote / "out" / "train-logs" / "train.log").read_text() == "epoch: 1"
    assert copies == [("data", "data"), ("checkpoints", "load"), ("train", "out")]


@pytest.mark.parametrize("passed", [True, False])
def test_the_decorator_of_the_model_zoo(passed, config, copies, remote, monkeypatch):
    """It works on the configuration that the function gets, or on that of the process."""
    monkeypatch.setitem(vars(config_module), "config", config)
    order = []

    @moxing_wrapper(pre_process=lambda: order.append("before"), post_process=lambda: order.append("after"))
    def run(*settings):
        order.append(moxing_adapter.config.dataset_root == os.path.join(config.data_path, "."))
        write_result(config)
        return settings

    assert run(*[config] * passed) == (config,) * passed
    assert order == ["before", True, "after"]
    assert copies == [("data", "data"), ("checkpoints", "load"), ("train", "out")]


def test_results_are_sent_after_a_failure_and_the_log_has_it(config, copies, remote):
    def run():
        with moxing_session(config):
            get_logger(config.train_output_dir)
            raise InputError("the list is empty")

    with pytest.raises(InputError):
        run()
    get_logger(rank=1)  # closes the log file
    assert (remote / "out" / "train-logs" / "train.log").read_text().endswith(":ERROR:error: the list is empty\n")


def test_missing_remote_folder(config, copies):
    config.data_url += "-missing"
    with pytest.raises(InputError, match="data-missing: the remote folder does not exist"), moxing_session(config):
        pytest.fail("the run must not start")
    assert copies == []


def test_output_that_would_be_lost(config, copies, tmp_path):
    config.eval_output_dir = str(tmp_path / "elsewhere")
    message = f"^eval_output_dir: {re.escape(str(tmp_path / 'elsewhere'))} is not inside output_path"
    with pytest.raises(InputError, match=message), moxing_session(config):
        pytest.fail("the run must not start")


@pytest.mark.parametrize(("device", "sends"), [("0", True), ("3", False)])
def test_one_process_of_a_node_sends_the_results(device, sends, config, copies, monkeypatch):
    monkeypatch.setenv("RANK_SIZE", "8")
    monkeypatch.setenv("DEVICE_ID", device)
    with moxing_session(config):
        write_result(config)
    assert (("train", "out") in copies) == sends


def test_data_are_fetched_once_for_a_job(config, copies, monkeypatch):
    config.checkpoint_url = config.train_url = ""
    for job in ("job-1", "job-1", "job-2", "job-2"):
        monkeypatch.setenv("JOB_ID", job)
        with moxing_session(config):
            pass
    assert copies == [("data", "data")] * 2


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1, 0)),
        ({"DEVICE_ID": "1", "RANK_SIZE": "16", "RANK_ID": "9"}, (1, 16, 9)),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "5"}, (1, 8, 5)),
        ({"DEVICE_ID": "1", "MS_WORKER_NUM": "2", "MS_NODE_ID": "1"}, (1, 2, 1)),
    ],
)
def test_numbers_of_a_process(environment, expected, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    numbers = [local_adapter.get_device_id, local_adapter.get_device_num, local_adapter.get_rank_id]
    assert tuple(number() for number in numbers) == expected


# ------------------------------------------------------------------------------------------------- several processes


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "16", "OMPI_COMM_WORLD_LOCAL_SIZE": "8"}, 8),
        ({"OMPI_COMM_WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "4"}, 4),
        ({"MS_WORKER_NUM": "16", "MS_SCHED_HOST": "127.0.0.1"}, 16),
        ({"MS_WORKER_NUM": "16", "MS_SCHED_HOST": "localhost"}, 16),
        ({"MS_WORKER_NUM": "16", "MS_SCHED_HOST": "10.0.0.7"}, 8),
        ({"RANK_SIZE": "32"}, 8),
        ({"RANK_SIZE": "2"}, 2),
    ],
)
def test_processes_of_a_node(environment, expected, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for distributed, count in (("true", expected), ("false", 1)):
        config = load_config(["--is_train_distributed", distributed])
        assert device_adapter.ranks_on_node(config) == count


@pytest.fixture
def started(monkeypatch):
    """Processes that are started, as (arguments, options)."""
    made = []
    monkeypatch.setattr(local_adapter.subprocess, "Popen", lambda *command, **options: made.append((command, options)))
    monkeypatch.setattr(local_adapter, "has_own_scheduler", False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return made


def join(rank, launcher, monkeypatch, **environment):
    """What join_cpu_cluster makes of the environment of a rank of two, which mpirun with this process id started."""
    monkeypatch.setattr(os, "getppid", lambda: launcher)
    mpirun = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
    os.environ.update({**mpirun, "PMIX_RANK": str(rank), **environment})
    local_adapter.join_cpu_cluster()
    return os.environ


def test_a_process_of_mpirun_joins_a_cluster(started, monkeypatch):
    environment = join(1, 7, monkeypatch)
    assert started == []
    assert local_adapter.has_own_scheduler
    expected = {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": "1", "MS_WORKER_NUM": "2"}
    expected.update(MS_SCHED_HOST="127.0.0.1", MS_RECEIVE_MSG_TIMEOUT="600", MS_CPU_COMM_OP_TIMEOUT="600")
    assert {name: environment[name] for name in expected} == expected
    assert not [name for name in environment if name.startswith(("OMPI_", "PMIX_"))]


def test_rank_0_starts_the_scheduler(started, monkeypatch):
    environment = join(0, 7, monkeypatch, OMPI_COMM_WORLD_LOCAL_SIZE="1")
    [(_, options)] = started
    expected = {"MS_ROLE": "MS_SCHED", "MS_SCHED_PORT": environment["MS_SCHED_PORT"], "MS_WORKER_NUM": "2"}
    assert {name: options["env"][name] for name in expected} == expected
    assert local_adapter.local_rank_count() == 1  # known although mpirun's own variables are gone


def test_two_runs_on_a_machine_do_not_meet(started, monkeypatch):
    ports = set()
    for launcher in (7, 8, 30007):
        for rank in (0, 1):
            for name in ("MS_ROLE", "MS_SCHED_PORT"):
                os.environ.pop(name, None)
            ports.add(join(rank, launcher, monkeypatch)["MS_SCHED_PORT"])
    assert len(ports) == 3  # the ranks of one launcher meet
    assert all(1024 < int(port) < 65536 for port in ports)


def test_an_address_that_is_given_is_kept(started, monkeypatch):
    environment = join(0, 7, monkeypatch, MS_SCHED_HOST="10.0.0.7", MS_SCHED_PORT="9000", MS_RECEIVE_MSG_TIMEOUT="5")
    names = ("MS_SCHED_HOST", "MS_SCHED_PORT", "MS_RECEIVE_MSG_TIMEOUT")
    assert [environment[name] for name in names] == ["10.0.0.7", "9000", "5"]


def test_a_process_of_msrun_is_left_as_it_is(started, monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    before = dict(os.environ)
    local_adapter.join_cpu_cluster()
    assert (dict(os.environ), started, local_adapter.has_own_scheduler) == (before, [], False)
