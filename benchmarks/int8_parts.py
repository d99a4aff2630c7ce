"""The cost in accuracy and the gain in size of each part of a network, when it alone has 8 bits.

    python -m benchmarks.int8_parts DATASET_ROOT ONNX

ONNX is a 32-bit file of export.py. Ranges come from 64 clips of the training list, errors from up to 128 of the
validation list: the root mean square of the scores' error over that of the scores less each clip's mean, and the
largest error of a score. Prints a table.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from model_utils.config import load_config
from src.shipping.export import sample_difference
from src.shipping.exported import load_exported, read_usage
from src.shipping.quantise import PRODUCTS, quantise, quantised_nodes
from src.shipping.samples import batches_of, read_samples
from src.transforms import CAFFE_PIXELS

BLOCK_NAME = re.compile(r"base_model\.(inception_\w\w)\.")


def parts(graph: Any) -> dict[str, list[str]]:
    """The names of the nodes of each part."""
    constants = {tensor.name for tensor in graph.initializer}
    kept = quantised_nodes(graph)
    products = [node for node in graph.node if node.op_type in PRODUCTS]
    weighted = [node.name for node in products if node.input[1] in constants]
    groups: dict[str, list[str]] = {}
    for node in graph.node:
        if node.op_type == "Conv" and (block := BLOCK_NAME.match(node.input[1])):
            groups.setdefault(f"block {block[1]}", []).append(node.name)
    last_of_backbone, first_of_head, last_of_head = weighted
    groups |= {
        "all convolutions, pools and joins": [name for name in kept if name not in weighted],
        "last layer of the backbone": [last_of_backbone],
        "first product of the head": [first_of_head],
        "sums over frames, means over tuples": [node.name for node in products if node.name not in weighted],
        "last product of the head": [last_of_head],
        "additions of the head's biases": [node.name for node in graph.node if node.op_type == "Add"],
        "all parts that export.py keeps in 8 bits": kept,
    }
    groups["all of these"] = sorted({name for names in groups.values() for name in names})
    return groups


def main() -> None:
    dataset_root, file = sys.argv[1], Path(sys.argv[2])
    usage = read_usage(file)
    shape = [f"--{key}={usage[key]}" for key in ("num_segments", "image_size")]
    samples = read_samples(load_config(["--dataset_root", dataset_root, *shape]), len(usage["categories"]))
    calibration, compared = (
        CAFFE_PIXELS.prepare(clips.reshape(-1, *clips.shape[2:])).reshape(len(clips), -1, *clips.shape[2:4])
        for clips in (samples.calibration, samples.compared)
    )
    right = load_exported(file)([compared])
    print("| part | error | largest | size of the file |\n|---|---:|---:|---:|")
    with TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        for part, nodes in parts(onnx.load(file).graph).items():
            shutil.copyfile(file, copy)
            quantise(copy, batches_of([calibration], 8), nodes)
            error = sample_difference(right, load_exported(copy)([compared]))
            shown = f"{100 * error['relative']:.2f} % | {error['largest']:.3f}"
            print(f"| {part} | {shown} | {copy.stat().st_size / file.stat().st_size:.3f} |", flush=True)


if __name__ == "__main__":
    main()
