"""Tests run on the CPU, operation by operation unless one asks for a compiled graph; the packages differ in that."""

import os
from pathlib import Path

import mindspore as ms
import pytest

from src.ops.compat import LEGACY

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


# Shell scripts before a stand-in of Python, pages, and the text of the documentation are the same for both packages.
ONCE = {"test_scripts.py", "test_documentation.py", "test_page.py", "test_page_js.py", "test_version.py"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """End-to-end tests are slow, all of them. With the legacy package, the slower run, what is in ONCE is left out."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.slow)
    left_out = [item for item in items if LEGACY and item.path.name in ONCE and "e2e" not in item.path.parts]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
