"""Ctrl-C where Python is not reached at once: one line, status 130, nobody else's comments."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import ctypes, os, signal, sys, time
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import run_main

def comment():
    ctypes.CDLL(None).write(2, b"comment\\n", 8)

def main():
    with ctrl_c_at_once():
        os.kill(os.getpid(), signal.SIGINT)
"""


def run(body):
    code = BEGIN + "".join(f"        {line}\n" for line in body.splitlines()) + "run_main(main)\n"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(600)",
        "try:\n    time.sleep(600)\nfinally:\n    comment()",
        "try:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    raise RuntimeError('made of it')",
        "ctypes.CDLL(None).sleep(600)",
    ],
    ids=["Python", "comments of a library", "error of a library", "library that does not return"],
)
def test_ctrl_c_is_one_line(body):
    done = run(body)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_afterwards_all_is_as_before():
    body = """
import os, signal, sys, time
from model_utils.stop_signals import ctrl_c_at_once
with ctrl_c_at_once():
    pass
print("shown", file=sys.stderr)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)
except KeyboardInterrupt:
    print("as usual")
"""
    done = subprocess.run([sys.executable, "-c", body], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "as usual\n", "shown\n")
