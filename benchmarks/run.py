"""Measures this project's claims about speed, each side by side with the alternative that a user would run.

Prints a table; writes a JSON for each item and a picture of all items to benchmarks/results. benchmarks/harness.py says
how to add an item.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("benchmarks.inputs", "benchmarks.network", "benchmarks.deploy")
PACKAGES = ("mindspore", "torch", "numpy", "opencv-python-headless", "pillow", "onnxruntime")


def machine() -> dict[str, str | int]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(), "cores": len(os.sched_getaffinity(0))}


def packages() -> dict[str, str]:
    found = {distribution.metadata["Name"]: distribution.version for distribution in metadata.distributions()}
    return {"python": platform.python_version(), **{name: found[name] for name in PACKAGES if name in found}}


def main() -> None:
    from benchmarks import show
    from benchmarks.data import make_data
    from benchmarks.harness import measure_item

    items = {item.name: item for module in MODULES for item in importlib.import_module(module).ITEMS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=items, default=list(items), metavar="NAME", help=", ".join(items))
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (default %(default)s)")
    parser.add_argument("--no_growth", action="store_true", help="leave out 2 and 4 times the work")
    cache = Path(tempfile.gettempdir()) / "trn-benchmarks"
    parser.add_argument("--data", type=Path, default=cache, help="folder for the clips, kept (default %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="default %(default)s")
    args = parser.parse_args()

    args.results.mkdir(parents=True, exist_ok=True)
    make_data(args.data)
    for name in args.only:
        print(f"measuring {name}: {items[name].title}", file=sys.stderr, flush=True)
        result = measure_item(items[name], args.data, args.rounds, not args.no_growth)
        result = {**result, "machine": machine(), "packages": packages()}
        (args.results / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    found = [path for path in (args.results / f"{name}.json" for name in items) if path.is_file()]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    show.draw_results(results, args.results / "results.png")
    print(show.markdown([result for result in results if result["name"] in args.only]))
    print(f"\n{machine()}, {packages()}")
    print(", ".join(f"{r['name']}: {r['cores_busy_with_other_things']} cores busy otherwise" for r in results))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    os.environ.setdefault("GLOG_v", "3")  # MindSpore shows errors only
    main()
