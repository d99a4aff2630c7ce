"""A Python that has no packages but some: what an environment of its own would show, without installing one."""

from __future__ import annotations

import os
from pathlib import Path

# What onnxruntime brings with it.
OF_ONNXRUNTIME = {"flatbuffers", "google", "packaging", "coloredlogs", "humanfriendly", "sympy", "mpmath"}
SITECUSTOMIZE = """
import importlib.machinery, sys


class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is None and name not in {names!r} and not name.startswith("_"):
            spec = importlib.machinery.PathFinder.find_spec(name, None)
            if spec and "-packages" in (spec.origin or str(spec.submodule_search_locations)):
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Hidden)
"""


def only(packages: set[str], folder: Path) -> dict[str, str]:
    """The environment variables of a Python that can import these packages and no others; writes into ``folder``."""
    names = packages | (OF_ONNXRUNTIME if "onnxruntime" in packages else set())
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(names=names))
    return {**os.environ, "PYTHONPATH": str(folder)}
