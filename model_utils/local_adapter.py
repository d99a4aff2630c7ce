"""Who this process is in a run on machines of one's own, as its launcher (a script, msrun or mpirun) says."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

from model_utils.errors import InputError

has_own_scheduler = False  # the processes of this run meet at one that its rank 0 has started


def get_device_id() -> int:
    """Number of the device of this process on its node; 0 if nothing says otherwise."""
    return _first_number("DEVICE_ID", "OMPI_COMM_WORLD_LOCAL_RANK", default=0)


def get_device_num() -> int:
    """Number of processes of the run, one a device; 1 if nothing says otherwise."""
    return _first_number("RANK_SIZE", "OMPI_COMM_WORLD_SIZE", "MS_WORKER_NUM", default=1)


def get_rank_id() -> int:
    """Number of this process among those of the run; 0 if nothing says otherwise."""
    return _first_number("RANK_ID", "OMPI_COMM_WORLD_RANK", "MS_NODE_ID", default=0)


def get_job_id() -> str:
    """Name of the run."""
    return "local"


def _first_number(*names: str, default: int) -> int:
    for name in names:
        value = os.environ.get(name)
        if value:
            if not value.isdecimal():
                raise InputError(f"environment variable {name}: {value!r} is not allowed, expected a number")
            return int(value)
    return default


def _end_with_parent() -> None:
    """Asks the kernel to end this process with the one that started it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def join_cpu_cluster() -> None:
    """Gives a process that mpirun started what MindSpore's own CPU collectives need; after msrun it is there already.

    They know no MPI: the processes meet at a scheduler, which rank 0 starts beside itself. Its address is
    ``MS_SCHED_HOST`` and ``MS_SCHED_PORT`` if set, which runs over several nodes need, else a local port that follows
    from the launcher's process, so that two runs on a machine do not meet.
    """
    global has_own_scheduler
    if "MS_ROLE" in os.environ:
        return
    has_own_scheduler = True
    rank, world_size = get_rank_id(), get_device_num()
    port = 20000 + os.getppid() % 20000
    os.environ.setdefault("MS_SCHED_HOST", "127.0.0.1")
    os.environ.setdefault("MS_SCHED_PORT", str(port))
    os.environ["MS_WORKER_NUM"] = str(world_size)
    for name in ("MS_RECEIVE_MSG_TIMEOUT", "MS_CPU_COMM_OP_TIMEOUT"):
        os.environ.setdefault(name, "600")  # seconds; one process may compile for a minute longer than another
    for name in [name for name in os.environ if name.startswith(("OMPI_", "PMIX_"))]:
        del os.environ[name]
    if rank == 0:
        subprocess.Popen(
            [sys.executable, "-c", "from mindspore import communication; communication.init()"],
            env={**os.environ, "MS_ROLE": "MS_SCHED"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,  # by itself it would wait for ever for processes that were killed
        )
    os.environ.update(MS_ROLE="MS_WORKER", MS_NODE_ID=str(rank))
