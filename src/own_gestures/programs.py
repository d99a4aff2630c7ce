"""Runs programs one after the other, each of them once for the same work.

``steps.json`` holds a digest of each step's command and inputs. A step is done again if its command has changed, or a
step that it depends on was done again. A training that was stopped resumes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from model_utils.errors import InputError
from model_utils.stop_signals import Stopped
from model_utils.util import write_json

REPO = Path(__file__).resolve().parents[2]


class Programs:
    """The steps of one work folder.

    Args:
        folder: the work folder; gets ``steps.json`` and the output of each program in ``logs/<step>.log``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "steps.json"
        self.done: dict[str, dict[str, str]] = {}
        with suppress(OSError, ValueError):
            self.done = json.loads(self.file.read_text(encoding="utf-8"))

    def run(self, step: str, command: Sequence[str], inputs: Sequence[str] = (), output: Path | None = None) -> None:
        """Runs a program of the repository, unless the step is done.

        Args:
            command: the program's path in the repository and its arguments.
            inputs: names of earlier steps, and facts such as digests of files; a change of one repeats the step.
            output: its output folder, which is emptied unless the same work was begun there.

        Raises:
            InputError: if the program fails.
        """
        work = [self.done[part]["done"] if part in self.done else part for part in (*command, *inputs)]
        digest = hashlib.sha256(json.dumps(work).encode()).hexdigest()
        if self.done.get(step, {}).get("done") == digest:
            return
        if output and self.done.get(step, {}).get("begun") != digest:
            shutil.rmtree(output, ignore_errors=True)
        self._note(step, begun=digest)
        print(f"== {step}: {shlex.join(command)}", flush=True)
        log = self.folder / "logs" / f"{step}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])}
        with open(log, "w", encoding="utf-8") as file:
            program = [sys.executable, str(REPO / command[0]), *command[1:]]
            status = _finish(subprocess.Popen(program, stdout=file, stderr=subprocess.STDOUT, env=environment))
        if status:
            lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            reason = lines[-1].removeprefix("error: ") if lines else f"exit status {status}"
            raise InputError(f"{step}: {reason} (all of it: {log})")
        print(f"   {time.monotonic() - began:.0f} s", flush=True)
        self._note(step, begun=digest, done=digest, seconds=f"{time.monotonic() - began:.1f}")

    def seconds(self, step: str) -> float:
        """How long a step took when it was done."""
        return float(self.done[step]["seconds"])

    def _note(self, step: str, **facts: str) -> None:
        self.done[step] = facts
        write_json(self.file, self.done)


def _finish(program: subprocess.Popen) -> int:
    """Waits for the exit status. If this program is stopped, it lets the other one save and end first."""
    try:
        return program.wait()
    except Stopped:
        program.terminate()
        raise
    finally:
        program.wait()  # it gets Ctrl-C itself
