"""Exporting: what an environment cannot do is said before anything is written."""

from __future__ import annotations

import importlib.util

import pytest

from model_utils.errors import InputError
from src.inference import export
from src.ops import compat
from tests.helpers.networks import CLASSES, settings, tiny_network


def refusal(path, **changes):
    config = settings(relations="all", **changes)
    with pytest.raises(InputError) as error:
        export.export_network(tiny_network(), config, CLASSES, path)
    assert not path.parent.exists()
    return str(error.value)


def test_a_package_that_cannot_leave_the_batch_open(tmp_path, monkeypatch):
    monkeypatch.setattr(compat, "EXPORTS_ANY_BATCH", False)
    message = refusal(tmp_path / "out" / "trn.mindir", file_format="MINDIR", export_batch_size=0)
    assert message.startswith("export_batch_size 0: MindSpore ")


def test_onnx_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = refusal(tmp_path / "out" / "trn.onnx", file_format="ONNX", export_batch_size=2)
    assert message == "file_format ONNX: the package onnx is not installed, which writing ONNX needs"
