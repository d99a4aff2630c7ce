import os
import subprocess
import sys

import pytest

from src.ops.compat import LEGACY

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
