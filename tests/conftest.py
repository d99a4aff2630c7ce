"""Tests run on the CPU, operation by operation unless one asks for a compiled graph; the packages differ in that."""

import logging
import os
from pathlib import Path
from typing import Optional

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a test a core, and layers so small that more threads only wait

import mindspore as ms  # noqa: E402
import pytest  # noqa: E402

from model_utils.util import LOGGER_NAME  # noqa: E402
from src.ops.compat import LEGACY  # noqa: E402

ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
os.environ.pop("DEVICE_TARGET", None)  # the programs would follow it


@pytest.fixture
def compiled():
    """Networks are compiled in this test: tens of seconds once, and then milliseconds a training step, not seconds."""
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture
def small_backbone():
    """BNInception has one block of its ten, see `helpers.networks`."""
    from tests.helpers.networks import one_block

    with one_block():
        yield


@pytest.fixture
def clips_here(monkeypatch):
    """Clips are loaded in this process: to start another takes longer than to load the few of a test."""
    from tests.helpers.clips import load_here

    monkeypatch.setattr("src.tsn_dataset.fill_batches", load_here)


@pytest.fixture
def no_pictures(monkeypatch):
    """Files of pictures are there, and hold none: Matplotlib takes longer than all else in most tests of programs."""
    for name in ("draw_confusion", "draw_recognition", "draw_training"):
        monkeypatch.setattr(f"src.evaluation.plots.{name}", lambda *_: None)
    for module in ("plots", "page"):
        monkeypatch.setattr(f"src.evaluation.{module}.png_bytes", lambda figure: b"a picture")


@pytest.fixture
def caplog_trn():
    """The warnings in the program's log, as they come."""
    messages, logger, handler = [], logging.getLogger(LOGGER_NAME), logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
    assert not any("\n" in message for message in messages)


@pytest.fixture
def foreign(tmp_path):
    """A folder whose name is not UTF-8."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    return folder


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """Folder with the numbers that PyTorch computes, see `helpers.exchange`; made here where torch is installed."""
    if "TRN_EXCHANGE" in os.environ:
        return Path(os.environ["TRN_EXCHANGE"]) / "torch"
    pytest.importorskip("torch")
    from tests.helpers.exchange import write_reference

    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder)
    return folder


# What is tested with the legacy package too: what MindSpore computes, reads or writes and may differ there, and one
# walk from archives to a recognised clip. Lists, archives, videos, pictures, pages and wrong inputs are Python's and
# the same for both. A file that is named on the command line runs with either package.
LEGACY_TOO = """
ops training/test_checkpoint.py training/test_frozen.py training/test_trainer.py
evaluation/test_evaluate_files.py evaluation/test_evaluator.py evaluation/test_scoring.py
inference/test_explain.py inference/test_pair.py shipping/test_export.py shipping/test_weights.py
test_backbones.py test_bn_inception.py test_exported_programs.py test_model_api.py test_same_numbers.py
test_train_cell.py test_trn.py test_tsn.py test_tsn_dataset.py test_zoo.py e2e/test_scripts.py
"""
BOTH = {Path(__file__).parent / name for name in LEGACY_TOO.split()}
assert all(path.exists() for path in BOTH), BOTH


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> Optional[bool]:
    """With the legacy package: every test file that is not in ``LEGACY_TOO``."""
    if LEGACY and collection_path.name.startswith("test_") and not BOTH & {collection_path, collection_path.parent}:
        return True
    return None  # what pytest decides


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End-to-end tests are slow, all of them."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.slow)
