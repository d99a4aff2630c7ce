"""Rank and device of this process in a run on local machines, from the environment variables of its launcher."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

from model_utils.errors import InputError

DEVICES_PER_NODE = 8
LOCAL_SIZE = "LOCAL_WORLD_SIZE"
PR_SET_PDEATHSIG = 1  # of prctl: the signal for a process whose parent ends

has_own_scheduler = False  # whether rank 0 has started the scheduler that connects the processes


def get_device_id() -> int:
    """Number of the device of this process on its node; 0 if nothing says otherwise."""
    return _first_number("DEVICE_ID", "OMPI_COMM_WORLD_LOCAL_RANK", default=0)


def get_device_num() -> int:
    """Number of processes of the run, one a device; 1 if nothing says otherwise."""
    return _first_number("RANK_SIZE", "OMPI_COMM_WORLD_SIZE", "MS_WORKER_NUM", default=1)


def get_rank_id() -> int:
    """Number of this process in the run; 0 if nothing says otherwise."""
    return _first_number("RANK_ID", "OMPI_COMM_WORLD_RANK", "MS_NODE_ID", default=0)


def local_rank_count() -> int:
    """Number of processes of the run on this node.

    msrun does not set it. If the scheduler's address is local, all processes are here; otherwise DEVICES_PER_NODE is
    assumed.
    """
    world_size = get_device_num()
    is_one_node = os.environ.get("MS_SCHED_HOST") in ("127.0.0.1", "localhost")
    fallback = world_size if is_one_node else min(world_size, DEVICES_PER_NODE)
    return max(1, _first_number("OMPI_COMM_WORLD_LOCAL_SIZE", LOCAL_SIZE, default=fallback))


def _first_number(*names: str, default: int) -> int:
    for name in names:
        value = os.environ.get(name)
        if value:
            if not value.isdecimal():
                raise InputError(f"environment variable {name}: {value!r} is not allowed, expected a number")
            return int(value)
    return default


def join_cpu_cluster() -> None:
    """Sets the environment that MindSpore's CPU collectives need in a process of mpirun; msrun sets it itself.

    The collectives do not use MPI: the processes connect to a scheduler, which rank 0 starts. Runs on several nodes
    must set its address in ``MS_SCHED_HOST`` and ``MS_SCHED_PORT``. The default is a local port computed from the
    launcher's process id, so that two runs on one machine stay apart.
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
    os.environ[LOCAL_SIZE] = str(local_rank_count())
    for name in [name for name in os.environ if name.startswith(("OMPI_", "PMIX_"))]:
        del os.environ[name]
    if rank == 0:
        subprocess.Popen(
            [sys.executable, "-c", "from mindspore import communication; communication.init()"],
            env={**os.environ, "MS_ROLE": "MS_SCHED"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # It must end with this process: it would wait for ever for processes that were killed.
            preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
    os.environ.update(MS_ROLE="MS_WORKER", MS_NODE_ID=str(rank))
