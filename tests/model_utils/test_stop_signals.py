"""Signals: what they end and when, Ctrl-C where Python is not reached at once."""

import signal
import subprocess
import sys

import pytest

from tests.helpers import ROOT

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


WAIT = "while True: time.sleep(0.01)"


def interruptible():
    """SIGINT, SIGTERM and SIGHUP as a terminal's shell gives them, even where the tests run under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=options.get("before", interruptible),
    )


def run(body):
    code = BEGIN + "".join(f"        {line}\n" for line in body.splitlines()) + "run_main(main)\n"
    return start(code)


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        WAIT,
        f"try:\n    {WAIT}\nfinally:\n    comment()",
        f"try:\n    {WAIT}\nexcept KeyboardInterrupt:\n    raise RuntimeError('made of it')",
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
    done = start(body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "as usual\n", "shown\n")


WORK = """
import os, signal, sys, time
from model_utils.stop_signals import StopSignals
from model_utils.util import run_main

def main():
    with StopSignals("stopped; saved") as stop:
        os.kill(os.getpid(), {signal})
        for step in range(100):
            time.sleep(0.05)
            if stop.received:
                print("saves")
                stop.end()
        print("works on")
run_main(main)
"""
NOTICE = "stopping after this step; a second signal stops at once\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_work_saves_before_it_ends(name):
    """A closed terminal sends SIGHUP."""
    done = start(WORK.format(signal=f"signal.{name}"))
    number = getattr(signal, name)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "saves\n", f"{NOTICE}stopped; saved\n")


@pytest.mark.parametrize("context", ["StopSignals('stopped')", "ctrl_c_at_once()"])
def test_what_was_suspended_works_on(context):
    """Ctrl-Z and, a second later, fg."""
    done = start(f"""
import os, signal, subprocess, time
from model_utils.stop_signals import StopSignals, ctrl_c_at_once
with {context} as stop:
    time.sleep(0.3)
    subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {{os.getpid()}}"])
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.5)
    print("works on", stop.received if stop else 0)
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "works on 0\n", "")


def test_under_nohup_a_closed_terminal_changes_nothing():
    def nohup():
        interruptible()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    done = start(WORK.format(signal="signal.SIGHUP").replace("range(100)", "range(10)"), before=nohup)
    assert (done.returncode, done.stdout, done.stderr) == (0, "works on\n", "")
