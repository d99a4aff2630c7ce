"""What the file system refuses is named, by its reason; what is no file is not opened."""

import os
import socket

import pytest

from model_utils import files
from model_utils.errors import InputError
from tests.helpers.permissions import obeyed_permissions


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file").write_bytes(b"some bytes")
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0)
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "file").touch()
    (tmp_path / "closed").chmod(0)
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
    yield tmp_path
    (tmp_path / "closed").chmod(0o700)


def test_a_file_is_read_whole(folder):
    assert files.read_file(folder / "file") == b"some bytes"
    (folder / "link").symlink_to("file")
    assert files.read_file(str(folder / "link")) == b"some bytes"
    files.require_file(folder / "file", "file")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("secret", "Permission denied"),
        ("closed/file", "Permission denied"),
        (".", "Is a directory"),
        ("missing", "No such file or directory"),
        ("broken", "No such file: it is a link to nowhere"),
        ("pipe", "it is a named pipe; expected a regular file"),
        ("socket", "it is a socket; expected a regular file"),
        ("/dev/null", "it is a device; expected a regular file"),
        ("a\0b", "no file has a NUL byte in its name"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_read_has_a_reason(folder, name, reason):
    with obeyed_permissions(), pytest.raises(OSError) as error:  # noqa: PT011
        files.read_file(folder / name)
    assert error.value.strerror == reason
    assert error.value.filename == str(folder / name)
    missing = name in ("missing", "broken")
    said = "no such list" if missing else f"cannot be read ({reason})"
    with obeyed_permissions(), pytest.raises(InputError) as refused:
        files.require_file(folder / name, "list")
    assert str(refused.value) == f"{folder / name}: {said}"


def test_whether_something_is_there(folder):
    assert [files.exists(folder / name) for name in ("file", "pipe", "broken", "missing", "x" * 300, "file/x")] == [
        *[True] * 3,
        *[False] * 3,
    ]
    assert [files.is_folder(folder / name) for name in ("closed", "file", "missing")] == [True, False, False]
    assert [path.name for path in files.list_folder(folder)] == sorted(os.listdir(folder))
    for ask in (files.exists, files.is_folder, files.status):
        with (
            obeyed_permissions(),
            pytest.raises(InputError, match=r"closed/file: cannot be read \(Permission denied\)"),
        ):
            ask(folder / "closed" / "file")
    with obeyed_permissions(), pytest.raises(InputError, match=r"closed: cannot be read \(Permission denied\)"):
        files.list_folder(folder / "closed")
