"""Quantises an ONNX file to 8-bit weights and activations (static, QDQ, per channel) with onnxruntime.

8 bits have the backbone's convolutions, the layers between them, and every matrix product with constant weights that
another one follows: nearly all of the work and of the bytes. The last product and the sums and means over tuples stay
FP32, because nothing averages their error (docs/shipping.md has the error of each part).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np

OPSET = 17  # MindSpore writes 11; scales per channel need 13
BETWEEN = ("Relu", "Concat", "MaxPool", "Clip")  # 8-bit only between 8-bit layers
PRODUCTS = ("MatMul", "Gemm")


def quantise(path: Path, batches: Iterable[list[np.ndarray]], nodes: list[str] | None = None) -> None:
    """Replaces an ONNX file by its quantised form.

    Weights have 7 bits: on a processor without VNNI products of 8 bits overflow where two of them are added.

    Args:
        path: the file; is written over.
        batches: inputs that the ranges of the activations are taken from.
        nodes: names of the nodes that become 8-bit; by default ``quantised_nodes``.
    """
    import onnx
    from onnx import version_converter
    from onnxruntime import quantization

    model = version_converter.convert_version(onnx.load(path), OPSET)
    names = [value.name for value in model.graph.input]
    rows = (dict(zip(names, batch)) for batch in batches)
    chosen = quantised_nodes(model.graph) if nodes is None else nodes
    with TemporaryDirectory() as folder, warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)  # the quantiser's advice
        stack.callback(logging.disable, logging.NOTSET)
        plain = Path(folder) / "plain.onnx"
        onnx.save(model, plain)
        quantization.quantize_static(
            str(plain),
            str(path),
            SimpleNamespace(get_next=lambda: next(rows, None)),  # acts as a CalibrationDataReader
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=chosen,
            op_types_to_quantize=sorted({node.op_type for node in model.graph.node if node.name in chosen}),
        )


def quantised_nodes(graph: Any) -> list[str]:
    """The names of the nodes that become 8-bit, of an ONNX graph in the order of computation."""
    constants = {tensor.name for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type in PRODUCTS and node.input[1] in constants]
    followed = _followed(graph, products)
    chosen, eight_bit = [], set()
    for node in graph.node:
        if node.op_type in BETWEEN:
            wanted = all(name in eight_bit for name in node.input if name not in constants)
        else:
            wanted = node.op_type == "Conv" or (node.op_type in PRODUCTS and node.name in followed)
        if wanted:
            chosen.append(node.name)
            eight_bit.update(node.output)
    return chosen


def _followed(graph: Any, products: list[Any]) -> set[str]:
    """Names of the products from which a path leads to another of them."""
    names = {node.name for node in products}
    before: set[str] = set()  # values that some product needs
    followed = set()
    for node in reversed(graph.node):
        needed = any(name in before for name in node.output)
        if node.name in names and needed:
            followed.add(node.name)
        if needed or node.name in names:
            before.update(node.input)
    return followed
