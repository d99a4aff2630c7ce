"""Runs a program whose BNInception has one block of its ten, so that it compiles in seconds.

python -m tests.helpers.small_program PROGRAM ARGUMENT...
"""

import runpy
import sys

from tests.helpers.networks import one_block

if __name__ == "__main__":
    del sys.argv[0]
    with one_block():
        runpy.run_path(sys.argv[0], run_name="__main__")
