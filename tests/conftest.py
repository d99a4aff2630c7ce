"""Tests run on the CPU, operation by operation unless one asks for a compiled graph; the packages differ in that."""

import os
from pathlib import Path

import mindspore as ms
import pytest

ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
os.environ.pop("DEVICE_TARGET", None)  # the programs would follow it


@pytest.fixture
def compiled():
    """Networks are compiled in this test: tens of seconds once, and then milliseconds a training step, not seconds."""
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End-to-end tests are slow, all of them."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.slow)
