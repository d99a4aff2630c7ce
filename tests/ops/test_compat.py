import importlib
import os
import pkgutil
import runpy
import subprocess
import sys

import pytest

import model_utils
import src
from src.ops import compat
from src.ops.compat import LEGACY


def test_every_module_can_be_imported():
    """With the legacy package, whose Python is older, most of them are not tested otherwise."""
    for package in (src, model_utils):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


@pytest.mark.skipif(LEGACY, reason="the legacy package needs no variable")
@pytest.mark.parametrize(("given", "used"), [("", "AVX2"), ("SSE41", "SSE41")])
def test_the_user_s_own_choice_of_instructions_counts(given, used, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    if given:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", given)
    runpy.run_path(compat.__file__)
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == used


CONVOLUTION = """
from src.ops.compat import LEGACY
from mindspore import Tensor, numpy, ops

ops.Conv2D(4, 3, pad_mode="pad", pad=1)(numpy.ones((1, 4, 8, 8)), numpy.ones((4, 4, 3, 3))).asnumpy()
"""


@pytest.mark.slow
@pytest.mark.skipif(LEGACY, reason="the legacy package's oneDNN has no such path")
def test_no_convolution_runs_in_reference_code():
    environment = {name: value for name, value in os.environ.items() if name != "ONEDNN_MAX_CPU_ISA"}
    environment["ONEDNN_VERBOSE"] = "1"
    ran = subprocess.run(
        [sys.executable, "-c", CONVOLUTION], env=environment, capture_output=True, text=True, check=True
    )
    convolutions = [line for line in ran.stdout.splitlines() if ",exec,cpu,convolution," in line]
    assert convolutions
    assert not [line for line in convolutions if "ref:any" in line]
