"""How a program ends, and how small files are written."""

import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from model_utils.errors import InputError
from model_utils.util import (
    REFUSALS,
    check_outputs,
    exclusive_files,
    exclusive_folder,
    locked,
    run_main,
    write_json,
    write_text,
    write_whole,
)
from tests.helpers import ROOT
from tests.helpers.refusals import refusal
from tests.model_utils.test_stop_signals import interruptible


def run(body, *, log_dir=None, pipe="", **variables):
    """Run a program whose `main` is `body`, with a log file if `log_dir` is given."""
    lines = ["from model_utils.logging import get_logger", "from model_utils.util import run_main"]
    lines += ["from model_utils.errors import InputError", "def main():"]
    lines += [f"    logger = get_logger({str(log_dir)!r})"] if log_dir else []
    lines += [f"    {line}" for line in body.splitlines()] + ["run_main(main)", "print('never reached')"]
    shell = f'set -o pipefail; "$0" -c "$1" {pipe}'
    command = ["bash", "-c", shell, sys.executable, "\n".join(lines)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment.update(variables)
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, preexec_fn=interruptible
    )


def test_input_error_is_one_line_and_goes_into_the_log_file(tmp_path):
    done = run("logger.info('start')\nraise InputError('list.txt:3: bad')", log_dir=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: list.txt:3: bad\n"
    assert done.stdout.endswith(":INFO:start\n")
    start, error = (tmp_path / "train.log").read_text().splitlines()
    assert start.endswith(":INFO:start")
    assert error.endswith("]:ERROR:error: list.txt:3: bad")


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path):
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (99, 99))"
    done = run(f"{limit}\nwith open({str(tmp_path / 'f')!r}, 'wb') as file:\n    file.write(bytes(999))")
    assert (done.returncode, done.stderr) == (1, "error: output: cannot be written: File too large\n")


@pytest.mark.slow
def test_a_backend_for_windows_that_there_is_not():
    """Pictures are only written, so that the environment's choice does not matter."""
    done = run(
        "import matplotlib\nfrom matplotlib.figure import Figure\nprint(matplotlib.get_backend())", MPLBACKEND="rubbish"
    )
    assert (done.returncode, done.stdout.lower()) == (0, "agg\n"), done.stderr


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


def test_reader_of_the_output_goes_away(tmp_path):
    done = run("for i in range(20000): logger.info(i)", log_dir=tmp_path, pipe="| head -n 1")
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


def test_a_json_gives_names_that_are_not_utf8_back(tmp_path):
    document = {os.fsdecode(b"caf\xe9"): [os.fsdecode(b"\xff\xfe.mp4"), "caf\u00e9", "\\udce9", "\U0001f590"]}
    write_json(tmp_path / "a.json", document)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == document
    assert r'"caf\udce9"' in text
    assert r'"\udcff\udcfe.mp4"' in text
    assert '"caf\u00e9"' in text


# ---------------------------------------------------------------------------------- outputs that are inputs or outputs


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A working folder with a source, a link of each kind to it, and a folder of frames."""
    monkeypatch.chdir(tmp_path)
    for name in ("source", "model", "frames/1.jpg", "frames/notes"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    Path("symlink").symlink_to("source")
    Path("dangling").symlink_to("missing")
    os.link("source", "hardlink")
    Path("folder").symlink_to("frames")
    return ["", "source", "model", "missing", "frames"]


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("source", "source is read"),
        ("./frames/../source", "source is read"),
        ("symlink", "source is read"),
        ("hardlink", "source is read"),
        ("model", "model is read"),
        ("missing", "missing is read"),
        ("dangling", "missing is read"),
        ("frames/1.jpg", "frames/1.jpg is read"),
        ("folder/notes", "frames/notes is read"),
        ("other", "--explain writes it too"),
    ],
)
def test_an_output_that_is_taken(files, path, taken):
    said = refusal(check_outputs, {"--explain": "other", "--json": path}, files)
    assert said == f"--json: {path} would be written over: {taken}; choose another name"


def test_two_outputs_that_are_one_file_through_links(files):
    for first, second in (("new", "./new"), ("model", "link"), ("link", "model")):
        Path("link").unlink(missing_ok=True)
        Path("link").symlink_to("model")
        with pytest.raises(InputError, match="^--b: .*: --a writes it too; choose another name$"):
            check_outputs({"--a": first, "--b": second}, [])


def test_outputs_that_are_free(files):
    check_outputs({"--a": "", "--b": ""}, files)
    check_outputs({"--a": "/dev/null", "--b": "/dev/null"}, ["/dev/null", *files])
    check_outputs({"--a": "frames/new.json", "--b": "source.json"}, files)


# ------------------------------------------------------------------------------------------------------- full disk

FULL = "cannot be written: No space left on device"


def test_a_log_file_on_a_full_disk_is_one_line(tmp_path):
    (tmp_path / "train.log").symlink_to("/dev/full")
    done = run("logger.info('start')\nprint('never reached')", log_dir=tmp_path)
    said = f"error: {tmp_path}/train.log: cannot write the log file: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert "never reached" not in done.stdout


def test_a_full_disk_does_not_hide_what_ended_the_program(tmp_path):
    (tmp_path / "train.log").symlink_to("/dev/full")
    done = run("raise InputError('lr 9: too large')", log_dir=tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: lr 9: too large\n")


@pytest.mark.parametrize("body", ["print('a result')", "print('x' * 100000, flush=True)"])
def test_output_on_a_full_disk_is_one_line(tmp_path, body):
    done = run(body, log_dir=tmp_path, pipe="> /dev/full")
    assert (done.returncode, done.stderr) == (1, f"error: output: {FULL}\n")


# -------------------------------------------------------------------------------------------- terminals and encodings


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["latin-1", "C"],
)
def test_names_that_the_terminal_cannot_show(tmp_path, variables):
    body = r"""
name = "\u624b\u52bf \udcff"
print(name)
logger.info(name)
raise InputError(name)
"""
    done = run(body, log_dir=tmp_path, **variables)
    escaped = r"\u624b\u52bf \udcff"
    assert done.returncode == 1
    assert done.stderr == f"error: {escaped}\n"
    assert [line.rsplit(":", 1)[-1] for line in done.stdout.splitlines()] == [escaped, escaped]
    first, last = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert first.endswith("\u624b\u52bf " + r"\udcff")
    assert last.endswith("error: \u624b\u52bf " + r"\udcff")


@pytest.mark.parametrize("program", ["train.py", "infer.py"])
def test_programs_start_with_a_safe_path(program, tmp_path):
    """PYTHONSAFEPATH leaves a program's own folder out of the places where imports are looked for."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, str(ROOT / program), "--trian", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: command line: ")


# ------------------------------------------------------------------------------------------------------------ locks


def test_a_lock(tmp_path):
    path = tmp_path / "new" / "lock"
    with locked(path, "busy"):
        with pytest.raises(InputError, match="^busy$"), locked(path, "busy"):
            pytest.fail("it is held")
        assert path.exists()
    assert not path.exists()
    with pytest.raises(KeyError), locked(path, "busy"):
        raise KeyError
    with locked(path, "busy"):
        pass
    assert os.listdir(tmp_path) == []


def test_waiting_for_a_lock(tmp_path):
    """The second begins when the first has ended, in a file of its own."""
    path, came = tmp_path / "lock", []

    def second():
        with locked(path, "busy", wait=True):
            came.append(path.exists())

    thread = threading.Thread(target=second)
    with locked(path, "busy"):
        thread.start()
        time.sleep(0.1)
        assert came == []
    thread.join(10)
    assert came == [True]
    assert os.listdir(tmp_path) == []


def test_a_lock_that_was_removed_by_its_holder_is_taken_anew(tmp_path, monkeypatch):
    """Between opening the file and locking it, the process before removes it and a third one makes another."""
    path, flock, calls = tmp_path / "lock", fcntl.flock, []

    def late(file, operation):
        if not calls:
            path.unlink()
            path.touch()
        calls.append(operation)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(path, "busy"):
        monkeypatch.undo()
        assert len(calls) == 2
        with pytest.raises(InputError, match="busy"), locked(path, "busy"):
            pytest.fail("it is held")


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path / "lock", "busy"):
        pass
    assert capsys.readouterr().err == f"{tmp_path}/lock: cannot be locked: Operation not supported\n"


def test_a_lock_in_an_impossible_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: cannot be written: "), locked(tmp_path / "file/lock", ""):
        pytest.fail("it cannot be held")


@pytest.mark.parametrize("number", sorted(REFUSALS))
def test_what_the_system_refuses_is_one_line(capsys, number):
    """Wherever it comes up; without the name of a file nobody could act on it, so it stays a bug."""

    def main(*filename):
        raise OSError(number, os.strerror(number), *filename)

    with pytest.raises(SystemExit) as end:
        run_main(lambda: main("/disk/a file"))
    assert end.value.code == 1
    assert capsys.readouterr().err == f"error: /disk/a file: {os.strerror(number)}\n"
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        run_main(main)


def test_a_folder_for_one_process(tmp_path):
    folder = tmp_path / "a" / "b"
    used = f"{folder}: another process writes into this folder; wait until it has ended, or give another folder"
    with exclusive_folder(folder, "x.lock"):
        assert os.listdir(folder) == ["x.lock"]
        with pytest.raises(InputError, match=f"^{used}$"), exclusive_folder(folder, "x.lock"):
            pytest.fail("must not get in")
        with exclusive_folder(folder, "y.lock"):  # another kind of program
            (folder / "result").touch()
        assert sorted(os.listdir(folder)) == ["result", "x.lock"]
    assert os.listdir(folder) == ["result"]


@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt])
def test_a_folder_in_which_nothing_was_written_goes(tmp_path, error):
    with pytest.raises(error), exclusive_folder(tmp_path / "a" / "b", "x.lock"):
        raise error
    assert os.listdir(tmp_path) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(error), exclusive_folder(tmp_path / "mine", "x.lock"):
        raise error
    assert os.listdir(tmp_path) == ["mine"]


def test_an_error_of_the_system_in_a_folder_names_the_file(tmp_path):
    with (
        pytest.raises(InputError, match=f"^{tmp_path}/a/b: cannot be written: No such file or directory$"),
        exclusive_folder(tmp_path, "x.lock"),
    ):
        (tmp_path / "a" / "b").touch()
    with pytest.raises(BrokenPipeError), exclusive_folder(tmp_path, "x.lock"):  # that of a reader of stdout
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_files_for_one_process(tmp_path):
    """A folder is one that will be replaced."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    used = f"^{tmp_path}/(file|folder): another process writes it; wait until it has ended$"
    with exclusive_files([tmp_path / "file", tmp_path / "link", tmp_path / "folder", "/dev/null"]):
        assert sorted(os.listdir(tmp_path)) == [".file.lock", ".folder.lock", "folder", "link"]
        for name in ("file", "link", "folder"):
            with pytest.raises(InputError, match=used), exclusive_files([tmp_path / "other", tmp_path / name]):
                pytest.fail("must not get in")
        with exclusive_files([tmp_path / "other", "/dev/null"]):
            pass
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]


@pytest.mark.parametrize(
    "name", ["n" * 250 + ".json", "\u00fc" * 125 + ".json", "n" * 200 + "." + "s" * 54, "n." + "s" * 253]
)
def test_the_longest_names_are_written(tmp_path, name):
    """255 bytes, as many as file systems take; two long names of one beginning are two files."""
    assert len(os.fsencode(name)) == 255
    other = name[:-7] + "x" + name[-6:]
    with (
        exclusive_files([tmp_path / name]),
        exclusive_files([tmp_path / other]),
        write_whole(tmp_path / name) as one,
        write_whole(tmp_path / other) as two,
    ):
        one.write_text("1")
        two.write_text("2")
    assert (tmp_path / name).read_text() == "1"
    assert (tmp_path / other).read_text() == "2"
    assert len(os.listdir(tmp_path)) == 2
