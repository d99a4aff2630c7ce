"""How a program ends, and how small files are written."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from model_utils.errors import InputError
from model_utils.util import write_text, write_whole

ROOT = Path(__file__).resolve().parents[2]


def run(body, *, log_dir=None, pipe=""):
    """Run a program whose `main` is `body`, with a log file if `log_dir` is given."""
    lines = ["from model_utils.logging import get_logger", "from model_utils.util import run_main"]
    lines += ["from model_utils.errors import InputError", "def main():"]
    lines += [f"    logger = get_logger({str(log_dir)!r})"] if log_dir else []
    lines += [f"    {line}" for line in body.splitlines()] + ["run_main(main)", "print('never reached')"]
    shell = f'set -o pipefail; "$0" -c "$1" {pipe}'
    command = ["bash", "-c", shell, sys.executable, "\n".join(lines)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_success():
    done = run("print('result')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "result\n", "")


def test_input_error_is_one_line_and_goes_into_the_log_file(tmp_path):
    done = run("logger.info('start')\nraise InputError('list.txt:3: bad')", log_dir=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: list.txt:3: bad\n"
    assert done.stdout.endswith(":INFO:start\n")
    start, error = (tmp_path / "train.log").read_text().splitlines()
    assert start.endswith(":INFO:start")
    assert error.endswith("]:ERROR:error: list.txt:3: bad")


def test_input_error_without_a_log():
    done = run("raise InputError('bad')")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: bad\n")


def test_ctrl_c():
    done = run("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(30)")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_bug_keeps_its_traceback_on_the_terminal_and_in_the_log_file(tmp_path):
    done = run("{}['missing']", log_dir=tmp_path)
    assert done.returncode == 1
    for text in (done.stderr, (tmp_path / "train.log").read_text()):
        assert "Traceback (most recent call last)" in text
        assert "KeyError: 'missing'" in text
    assert done.stdout == ""


def test_exit_status_chosen_inside():
    assert run("raise SystemExit(3)").returncode == 3


@pytest.mark.parametrize("body", ["for i in range(100000): print(i)", "for i in range(100000): logger.info(i)"])
def test_reader_of_the_output_goes_away(body, tmp_path):
    done = run(body, log_dir=tmp_path, pipe="| head -n 1")
    assert done.returncode == 1
    assert done.stderr == "error: the reader of the output has closed it\n"


def test_reader_of_the_output_is_gone_at_the_end():
    done = run("import os\nread, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\nprint('kept until the end')")
    assert (done.returncode, done.stderr) == (1, "error: the reader of the output has closed it\n")


def test_write_text(tmp_path):
    path = tmp_path / "new" / "result.json"
    write_text(path, "first")
    write_text(str(path), "zweites ü\n")
    assert path.read_text(encoding="utf-8") == "zweites ü\n"
    assert os.listdir(path.parent) == ["result.json"]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_text(path, "old")

    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: cannot write the file: No space left on device$"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_symbolic_link_is_followed(tmp_path):
    there, link = tmp_path / "elsewhere" / "result.json", tmp_path / "link.json"
    there.parent.mkdir()
    there.write_text("old")
    link.symlink_to(there)
    write_text(link, "new")
    assert link.is_symlink()
    assert there.read_text() == "new"


def test_what_is_no_regular_file_stays_what_it_is(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write_text(fifo, "through the pipe")
    assert os.read(reader, 100) == b"through the pipe"
    os.close(reader)
    assert stat.S_ISFIFO(os.stat(fifo).st_mode)
    assert os.listdir(tmp_path) == ["fifo"]


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(InputError, match="cannot write the file: Is a directory$"):
        write_text(tmp_path, "new")


def test_the_content_is_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_text(tmp_path / "result.json", "new")
    assert calls == ["fsync", "replace"]


def test_an_exception_in_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_text(path, "old")

    def fail_half_way() -> None:
        with write_whole(path) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_names_that_are_not_utf8_are_written_as_utf8(tmp_path):
    write_text(tmp_path / "a.json", os.fsdecode(b"caf\xe9"))
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "caf\\udce9"
