"""Sets MindSpore up for the rank and device of this process, on ModelArts or on local machines."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from model_utils import local_adapter
from model_utils.errors import InputError
from model_utils.settings import Settings


def ranks_on_node(config: Settings) -> int:
    """Number of processes of the run on the node of this process; 1 if it trains alone."""
    return local_adapter.local_rank_count() if config.is_train_distributed else 1


def start_device(config: Settings) -> tuple[int, int]:
    """Sets MindSpore up for the device of this process, joins a distributed run, seeds what MindSpore draws.

    If the default of ``device_target``, GPU, cannot be used, the CPU is used, and ``config`` is changed.

    Returns:
        The rank of this process and the number of processes that train together.

    Raises:
        InputError: if the device cannot be used here, or not with as many processes as ``group_size`` says.
    """
    try:
        return _start(config)
    except InputError:
        raise
    except (RuntimeError, ValueError) as error:
        target, reason = config.device_target, str(error).strip().splitlines()[0]
        if "device_target" not in config.given and not config.is_train_distributed and target != "CPU":
            config.device_target = "CPU"
            with suppress(RuntimeError, ValueError):
                alone = _start(config)
                said = f"device_target {target}: none can be used here, so this runs on the CPU"
                print(said, file=sys.stderr, flush=True)
                return alone
            config.device_target = target
        message = f"device_target {target}: cannot be used here"
        if target != "CPU":
            message += " (--device_target CPU runs anywhere)"
        raise InputError(f"{message}: {reason}") from error


def _start(config: Settings) -> tuple[int, int]:
    import mindspore as ms

    device_id = local_adapter.get_device_id() if config.is_train_distributed else config.device_id
    device = {} if config.device_target == "CPU" else {"device_id": device_id}
    ms.set_context(mode=ms.GRAPH_MODE, device_target=config.device_target, **device)
    ms.set_seed(config.seed)
    if not config.is_train_distributed:
        ms.Tensor(0.0) + 1.0  # a device that is not there shows with the first operation
        return 0, 1
    return _join_ranks(config)


def exit_directly() -> None:
    """Ends this process after a distributed run on CPUs without MindSpore's cleanup.

    That crashes now and then, because MindSpore's threads still serve the other processes.
    """
    if local_adapter.has_own_scheduler:  # msrun's scheduler waits for the normal exit of every process
        sys.stdout.flush()
        os._exit(0)


def _join_ranks(config: Settings) -> tuple[int, int]:
    import mindspore as ms
    from mindspore import communication

    if config.device_target == "CPU" and not config.enable_modelarts:
        local_adapter.join_cpu_cluster()
    communication.init()
    rank, world_size = communication.get_rank(), communication.get_group_size()
    if config.group_size and config.group_size != world_size:
        raise InputError(f"group_size {config.group_size}: {world_size} processes were started")
    ms.set_auto_parallel_context(
        parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True, device_num=world_size
    )
    return rank, world_size
