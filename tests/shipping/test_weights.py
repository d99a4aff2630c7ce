"""Weights of exported files, read without their packages: an exported network with a weight that is NaN is refused."""

from __future__ import annotations

import importlib.util

import mindspore as ms
import numpy as np
import pytest

from model_utils.errors import InputError
from src.ops.compat import LEGACY
from src.shipping import weights
from src.shipping.export import export_network
from src.shipping.exported import load_exported
from tests.helpers.networks import CLASSES, seeing_network, settings

FORMATS = ["mindir", *(["onnx"] if importlib.util.find_spec("onnx") else [])]


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, tmp_path_factory):
    """A network and its exported file."""
    network = seeing_network(small=True)
    path = tmp_path_factory.mktemp("exported") / f"trn.{request.param}"
    config = settings(relations="all", file_format=request.param.upper(), export_batch_size=1)
    ms.set_context(mode=ms.GRAPH_MODE if LEGACY else ms.PYNATIVE_MODE)  # 1.10 runs a MINDIR in graph mode only
    export_network(network, config, CLASSES, path)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    return network, path


def test_the_weights_are_those_of_the_network(exported):
    network, path = exported
    found = dict(weights._weights(path))
    for parameter in network.get_parameters():
        np.testing.assert_array_equal(found[parameter.name], parameter.asnumpy().ravel(), err_msg=parameter.name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_file_with_a_weight_that_is_not_finite_is_refused(exported, tmp_path, value):
    network, path = exported
    name = "consensus.fc_fusion_scales.0.1.weight"  # behind a ReLU, which may make 0 of NaN
    held = next(p for p in network.get_parameters() if p.name == name).asnumpy()
    other = held.copy()
    other[0, 0] = value
    content = path.read_bytes()
    assert content.count(held.tobytes()) == 1
    damaged = tmp_path / path.name
    damaged.write_bytes(content.replace(held.tobytes(), other.tobytes()))
    with pytest.raises(InputError, match=f"{damaged}: 1 of its .* tensors hold NaN or infinite values \\({name}\\)"):
        load_exported(damaged)


@pytest.mark.skipif("onnx" not in FORMATS, reason="no onnx here")
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "DOUBLE", "INT64"])
def test_every_way_in_which_onnx_holds_values(tmp_path, raw, kind):
    """The package onnx writes the file."""
    import onnx

    number = getattr(onnx.TensorProto, kind)
    if not raw and kind != "FLOAT":
        pytest.skip("MindSpore and onnxruntime write others raw")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
    values = np.array([[1, 2], [300, -4]], dtype)
    tensor = onnx.helper.make_tensor("w", number, values.shape, values.tobytes() if raw else values.ravel(), raw=raw)
    graph = onnx.helper.make_graph([], "graph", [], [], [tensor])
    model = onnx.helper.make_model(graph, producer_name="x" * 200)
    onnx.save(model, tmp_path / "w.onnx")
    found = dict(weights._weights(tmp_path / "w.onnx"))
    if kind == "INT64":
        assert found == {}
    else:
        assert found["w"].tolist() == values.ravel().tolist()
