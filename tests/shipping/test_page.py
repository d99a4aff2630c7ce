"""The folder of a page: what goes into it, what it refuses, and the server on this machine."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import urllib.error
import urllib.request

import pytest

from model_utils.errors import InputError
from model_utils.version import VERSION
from src.data.video import VideoFile
from src.ops.compat import EXPORTS_ANY_BATCH
from src.shipping import page
from src.shipping.exported import sealed
from src.shipping.serve import page_server
from tests.helpers.browser import served_folder
from tests.helpers.colours import NAMES
from tests.helpers.pages import made_page, write_colour_pair

pytestmark = pytest.mark.skipif(not EXPORTS_ANY_BATCH, reason="the package writes no ONNX")

RULES = {"on": 0.7, "off": 0.4, "share": 0.5, "least": 0.6, "early": 0.8}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_colour_pair(tmp_path_factory.mktemp("pair"))


def write_npm(folder, script):
    """A program ``npm`` of ours, the only one on the PATH besides the shell's."""
    path = folder / "bin" / "npm"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path.parent)


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that gives a package with the names of the real one."""
    archive = tmp_path / "package.tgz"
    with tarfile.open(archive, "w:gz") as package:
        for name in (*page.RUNTIME_FILES, "ort.js"):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            package.addfile(member, io.BytesIO(name.encode()))
    bin_folder = write_npm(tmp_path, f'[ "$1 $2" = "pack onnxruntime-web@{page.RUNTIME_VERSION}" ] && cp "{archive}" .')
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    value = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    monkeypatch.setattr(page, "RUNTIME_SHA512", value)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_the_page_knows(tmp_path, npm, pair):
    folder = tmp_path / "page"
    folder.mkdir()
    page.write_page(pair, folder, 2.5, RULES, ["No gesture"])
    about = json.loads((folder / "page.json").read_text())
    expected = {
        "trn_version": VERSION,
        "precision": "32 bits",
        "categories": NAMES,
        "num_segments": 3,
        "image_size": 32,
        "channel_order": "BGR",
        "channel_means": [104, 117, 128],
        "scales": [1, 1, 1],
        "window": 2.5,
        "events": RULES,
        "background": ["No gesture"],
        "sample": None,
    }
    assert {key: about[key] for key in expected} == expected
    for key, original in (("frame", pair), ("head", pair.with_name("trn_head.onnx")), ("runtime", None)):
        path = folder / about[key]["file"]
        assert (about[key]["bytes"], about[key]["sha256"]) == (path.stat().st_size, sha256(path))
        assert original is None or path.read_bytes() == original.read_bytes()
    assert sorted(path.name for path in (folder / "runtime").iterdir()) == sorted([*page.RUNTIME_FILES, *page.LICENCES])
    assert "MIT License" in (folder / "runtime/LICENSE").read_text()
    assert {"index.html", "slides.html", "style.css", "js", "model", "page.json", "runtime"} == {
        path.name for path in folder.iterdir()
    }


def test_the_sample_shows_classes_of_the_network(tmp_path):
    assert page.draw_sample(tmp_path, ["Waving", "No gesture"], ["No gesture"]) is None
    assert list(tmp_path.iterdir()) == []
    assert page.draw_sample(tmp_path, ["Swiping Left", "Waving", "No gesture"], ["No gesture"]) == "sample.webm"
    assert VideoFile(tmp_path / "sample.webm").duration > 3


def test_nothing_is_loaded_from_elsewhere():
    """Neither by the page's files, which name no other host, nor by anything else: its policy forbids it."""
    files = [path for path in page.SOURCE.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".css", ".js"}
    for path in files:
        urls = re.findall(r"\w+://[^\s\"'`)]+", path.read_text(encoding="utf-8"))
        assert [url for url in urls if url != "http://www.w3.org/2000/svg"] == [], path
    index = (page.SOURCE / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', index)[1]
    rules = dict(rule.split(None, 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["connect-src"]) == ("'none'", "'self'")
    assert "unsafe-inline" not in policy
    assert "unsafe-eval'" not in policy.replace("wasm-unsafe-eval'", "")
    allowed = {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:", "data:"}
    assert {word for rule in rules.values() for word in rule.split()} <= allowed


# ------------------------------------------------------------------------------------------------------ what is refused


def test_a_folder_that_is_not_a_page_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/page.json").write_text('{"made_by": "hand"}')
    (tmp_path / "file").write_text("")
    for name, message in (("mine", "mine: would be replaced, but make_page.sh did not make it"), ("file", "a folder")):
        with pytest.raises(InputError, match=message), page.whole_folder(tmp_path / name):
            pass
    assert (tmp_path / "mine/page.json").read_text() == '{"made_by": "hand"}'


def test_a_page_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "page"
    for content in ("first", "second"):
        with page.whole_folder(folder) as partial:
            (partial / "page.json").write_text(json.dumps({"made_by": "make_page.sh", "content": content}))
            (partial / content).touch()
        assert sorted(path.name for path in folder.iterdir()) == sorted(["page.json", content])
    with pytest.raises(ZeroDivisionError), page.whole_folder(folder) as partial:
        (partial / "third").write_text(str(1 / 0))
    assert (folder / "second").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_files_that_cannot_be_copied(tmp_path):
    """As on a full disk: the reason of the first is said."""
    said = rf"^{re.escape(str(tmp_path))}/page: cannot write the page: \[Errno 2\] No such file or directory: "
    (tmp_path / "from").mkdir()
    (tmp_path / "from/a.js").symlink_to("gone")
    with pytest.raises(InputError, match=said), page.whole_folder(tmp_path / "page") as partial:
        shutil.copytree(tmp_path / "from", partial, dirs_exist_ok=True)


def test_without_npm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^onnxruntime-web@\S+ is fetched by npm, which is not installed"):
        page.fetch_runtime(tmp_path / "runtime")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'npm error ENOTFOUND registry' >&2; exit 1", "npm cannot fetch onnxruntime-web@.*ENOTFOUND registry"),
        ("exit 1", "npm cannot fetch onnxruntime-web@.*no network"),
        ("echo other > package.tgz", "package.tgz is not the package that was expected"),
    ],
)
def test_npm_that_fails(tmp_path, monkeypatch, script, message):
    monkeypatch.setenv("PATH", f"{write_npm(tmp_path, script)}:/usr/bin:/bin")
    with pytest.raises(InputError, match=message):
        page.fetch_runtime(tmp_path / "runtime")


def test_files_that_are_no_pair(tmp_path, pair):
    with pytest.raises(InputError, match=r"trn_head.onnx: expected a checkpoint .* such as trn_frame.onnx"):
        page.read_pair(pair.with_name("trn_head.onnx"))
    about = pair.with_name("trn_frame.onnx.json")
    text = about.read_text()
    try:
        says = json.loads(text)
        says["input"]["shape"][0] = 4
        about.write_text(json.dumps(sealed(says)))
        with pytest.raises(InputError, match="trn_frame.onnx: takes 4 at once, expected --export_batch_size 0 or 1"):
            page.read_pair(pair)
    finally:
        about.write_text(text)


# -------------------------------------------------------------------------------------------------------------- server


@pytest.fixture
def address(tmp_path):
    for name in ("index.html", "a.js", "b.mjs", "c.wasm", "d.onnx", "e.json", "f.webm", "g.css"):
        (tmp_path / name).write_text(name)
    with served_folder(tmp_path) as address:
        yield address


def test_types_and_headers(address):
    """Browsers refuse a module of another type, and threads without the other two headers."""
    types = {
        "": "text/html",
        "a.js": "text/javascript",
        "b.mjs": "text/javascript",
        "c.wasm": "application/wasm",
        "d.onnx": "application/octet-stream",
        "e.json": "application/json",
        "f.webm": "video/webm",
        "g.css": "text/css",
    }
    for name, expected in types.items():
        with urllib.request.urlopen(address + name) as answer:
            assert answer.headers["Content-Type"] == expected
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert answer.read().decode() == (name or "index.html")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address + "../test_page.py")


def test_a_port_that_is_taken(address, tmp_path):
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(InputError, match=rf"^port {port}: Address already in use; choose another with --port$"):
        page_server(tmp_path, port)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="no npm")
def test_the_real_runtime(tmp_path, pair):
    """The pinned package is what npm has, and has the files that the page loads; full width stays below 30 MB."""
    folder = made_page(pair, tmp_path / "page")
    script = (folder / "runtime/ort.wasm.min.mjs").read_text(encoding="utf-8")
    assert page.RUNTIME_VERSION in script
    network, sample = 14.2e6, 0.6e6  # of full width in 8 bits, and what draw_sample writes
    rest = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".onnx")
    assert rest + network + sample < 30e6
