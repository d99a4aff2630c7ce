"""Runs on ModelArts: fetches data and checkpoints from remote folders before a run, sends the results after it.

    with moxing_session(config):
        train(config)

Without ``enable_modelarts`` this does nothing, and ``moxing``, which only ModelArts has, is not imported.

``moxing_wrapper`` and ``config`` are the model zoo's names.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Optional

from model_utils import config as config_module
from model_utils.config import Config
from model_utils.errors import InputError
from model_utils.local_adapter import DEVICES_PER_NODE, get_device_id, get_device_num
from model_utils.settings import Use, keys_for
from model_utils.util import locked, log_failure, write_text

Step = Optional[Callable[[], object]]


@contextmanager
def moxing_session(config: Config) -> Iterator[None]:
    """Fetches ``data_url`` and ``checkpoint_url`` before a run, and sends ``output_path`` to ``train_url`` after it.

    Results of a failed run are sent, too. Relative paths in ``config`` become absolute, in the local copy that
    ``model_utils/settings.py`` says.

    Raises:
        InputError: without moxing, for a missing remote folder, for an output folder outside ``output_path``, and if
            copying fails.
    """
    if not config.enable_modelarts:
        yield
        return
    try:
        import moxing
    except ImportError:
        raise InputError("enable_modelarts: true needs the package moxing, which only ModelArts has") from None
    _use_local_copies(config)
    _fetch_once(moxing, config.data_url, config.data_path)
    _fetch_once(moxing, config.checkpoint_url, config.load_path)
    try:
        yield
    except BaseException as failure:
        log_failure(failure)  # before the log is sent
        try:
            _send_results(moxing, config)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)  # the failure itself is raised below
        raise
    _send_results(moxing, config)


def moxing_wrapper(pre_process: Step = None, post_process: Step = None) -> Callable[[Callable], Callable]:
    """A decorator: runs a function inside ``moxing_session`` of its ``Config`` argument, or else of ``config``.

    ``pre_process`` and ``post_process`` run before and after it, on ModelArts only.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            settings = next((value for value in (*args, *options.values()) if isinstance(value, Config)), None)
            settings = settings or config_module.config
            before, after = (pre_process, post_process) if settings.enable_modelarts else (None, None)
            with moxing_session(settings):
                if before:
                    before()
                result = function(*args, **options)
                if after:
                    after()
            return result

        return run

    return decorate


if TYPE_CHECKING:
    config: Config
else:
    __getattr__ = config_module.__getattr__


def _use_local_copies(config: Config) -> None:
    for key in keys_for(Use.IN_DATA):
        setattr(config, key, os.path.join(config.data_path, getattr(config, key)))
    for key in keys_for(Use.IN_LOAD):
        if getattr(config, key) not in ("", "auto"):
            setattr(config, key, os.path.join(config.load_path, getattr(config, key)))
    output_path = Path(os.path.abspath(config.output_path))
    for key in keys_for(Use.IN_OUTPUT):
        folder = Path(os.path.abspath(output_path / getattr(config, key)))
        if config.train_url and output_path not in (folder, *folder.parents):
            raise InputError(
                f"{key}: {folder} is not inside output_path ({output_path}), so train_url would not get it"
            )
        setattr(config, key, str(folder))


def _send_results(moxing: ModuleType, config: Config) -> None:
    first_of_node = get_device_id() % min(get_device_num(), DEVICES_PER_NODE) == 0
    if config.train_url and first_of_node and os.path.isdir(config.output_path):
        _copy(moxing, config.output_path, config.train_url)


def _copy(moxing: ModuleType, source: str, target: str) -> None:
    try:
        moxing.file.copy_parallel(source, target)
    except Exception as error:  # moxing has exceptions of its own, and none of them is a bug of this program
        raise InputError(f"{source}: cannot be copied to {target}: {error}") from error


def _fetch_once(moxing: ModuleType, url: str, path: str) -> None:
    """Copies a remote folder to ``path`` once per job and node; other processes of the node wait for it.

    A file beside ``path`` names the folder that was copied.
    """
    if not url:
        return
    if not moxing.file.exists(url):
        raise InputError(f"{url}: the remote folder does not exist")
    copied = Path(path.rstrip("/") + ".copied")
    source = f"{os.environ.get('JOB_ID') or 'default'} {url}"
    with locked(copied.with_name(f"{copied.name}.lock"), "", wait=True):
        if not copied.exists() or copied.read_text(encoding="utf-8") != source:
            copied.unlink(missing_ok=True)
            _copy(moxing, url, path)
            write_text(copied, source)
