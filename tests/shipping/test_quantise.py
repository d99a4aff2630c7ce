"""8-bit ONNX: which layers become 8-bit, what they are calibrated on, and what the JSON says about the result."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from model_utils.errors import InputError
from src.shipping import export
from src.shipping.exported import load_exported, read_usage
from src.shipping.quantise import quantise, quantised_nodes
from src.shipping.samples import Samples, batches_of, read_samples
from src.tsn import prepare_for_inference
from tests.helpers.clips import write_dataset
from tests.helpers.networks import CLASSES, SIDE, seeing_network, settings, video_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def config(**changes):
    keys = {
        "relations": "all",
        "file_format": "ONNX",
        "export_batch_size": 0,
        "quantize": "int8",
        "seed": 0,
        "model_name": "trn",
    }
    return settings(**{**keys, **changes})


def prepared():
    network = seeing_network(small=True)
    prepare_for_inference(network)
    return network


def draw_samples(calibration=12, compared=6):
    rng = np.random.default_rng(3)
    clips = rng.integers(0, 256, (calibration + compared, 3, SIDE, SIDE, 3), dtype=np.uint8)
    return Samples(
        clips[:calibration], clips[calibration:], {"list_file": "list.txt", "clips": calibration, "seed": 0}, "v.txt"
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same network in 32 and in 8 bits: paths, the network, the samples, the difference that the export gave."""
    folder, network, samples = tmp_path_factory.mktemp("quantised"), prepared(), draw_samples()
    export.export_network(prepared(), config(), CLASSES, folder / "fp32.onnx")
    difference = export.export_network(network, config(), CLASSES, folder / "int8.onnx", samples)
    return folder, network, samples, difference


@pytest.mark.slow
def test_the_json_says_what_was_done_and_how_far_off_it_is(files):
    folder, network, samples, difference = files
    about = read_usage(folder / "int8.onnx")
    assert about["quantize"] == "int8"
    assert about["calibration"] == {"list_file": "list.txt", "clips": 12, "seed": 0}
    assert about["difference"] == difference
    assert read_usage(folder / "fp32.onnx")["quantize"] == "none"

    video = video_of(samples.compared)
    expected, found = network(video).asnumpy(), load_exported(folder / "int8.onnx")([video.asnumpy()])
    assert (difference["clips"], difference["list_file"]) == (6, "v.txt")
    assert difference["rms"] == pytest.approx(np.sqrt(np.mean((found - expected) ** 2)), rel=1e-4)
    assert difference["largest"] == pytest.approx(max(abs(float(x)) for x in (found - expected).ravel()), rel=1e-4)
    spread = np.sqrt(np.mean((expected - expected.mean(1, keepdims=True)) ** 2))
    assert difference["relative"] == pytest.approx(np.sqrt(np.mean((found - expected) ** 2)) / spread, rel=1e-4)
    assert difference["same_class"] == sum(found.argmax(1) == expected.argmax(1))
    assert 0 < difference["relative"] < 0.05


def test_what_is_quantised(files):
    folder, network, _, _ = files
    model = onnx.load(folder / "int8.onnx")
    assert model.opset_import[0].version >= 13
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    kinds = {name: onnx.numpy_helper.to_array(tensor).dtype for name, tensor in tensors.items()}
    scales = {
        node.input[0]: tensors[node.input[1]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors
    }
    eight_bit = {name.removesuffix("_quantized") for name, kind in kinds.items() if kind == np.int8}
    convolutions = {p.name for p in network.base_model.get_parameters() if p.name.endswith("conv.weight")}
    assert convolutions
    assert all(any(name.startswith(part) for part in eight_bit) for name in convolutions)
    for name, scale in scales.items():
        weight = onnx.numpy_helper.to_array(tensors[name])
        assert np.abs(weight.astype(int)).max() <= 64 or weight.dtype != np.int8  # 7 bits
        if weight.dtype == np.int8 and weight.ndim == 4:
            assert list(scale.dims) == [len(weight)]  # a scale for each channel
    # The last product of the head keeps its weights as they are.
    last = network.consensus.last.asnumpy()
    assert any(np.array_equal(onnx.numpy_helper.to_array(t), last) for t in model.graph.initializer)
    assert not any(
        np.array_equal(onnx.numpy_helper.to_array(t), network.consensus.first.asnumpy())
        for t in model.graph.initializer
    )


def graph(*nodes, constants=()):
    zeros = [onnx.numpy_helper.from_array(np.zeros((1, 1), np.float32), name) for name in constants]
    made = [onnx.helper.make_node(kind, inputs, [output], name=output) for kind, output, *inputs in nodes]
    return onnx.helper.make_graph(made, "graph", [], [], zeros)


def test_products_that_no_other_follows_stay():
    made = graph(
        ("Conv", "conv", "x", "w1"),
        ("Relu", "relu", "conv"),
        ("Gemm", "fc", "relu", "w2"),
        ("Relu", "later", "mean"),  # of what is not 8-bit
        ("MatMul", "sums", "one_hot", "fc"),  # its constant comes first: picks rows
        ("MatMul", "last", "sums", "w3"),
        ("MatMul", "also_last", "fc", "w4"),
        ("Add", "logits", "last", "also_last"),
        constants=("w1", "w2", "w3", "w4", "one_hot"),
    )
    assert quantised_nodes(made) == ["conv", "relu", "fc"]


def test_a_join_is_8_bit_only_if_all_that_it_joins_is():
    made = graph(
        ("Conv", "a", "x", "w"),
        ("Sigmoid", "b", "a"),
        ("Concat", "mixed", "a", "b"),
        ("MaxPool", "pool", "a"),
        ("Concat", "whole", "a", "pool"),
        constants=("w",),
    )
    assert quantised_nodes(made) == ["a", "pool", "whole"]


@pytest.mark.slow
@pytest.mark.parametrize(("relations", "batch"), [("all", 4), ("sampled", 0)])
def test_fixed_batches_and_drawn_relations(tmp_path, relations, batch):
    given = config(relations=relations, export_batch_size=batch)
    difference = export.export_network(prepared(), given, CLASSES, tmp_path / "trn.onnx", draw_samples(5, 3))
    assert 0 < difference["relative"] < 0.05
    assert difference["clips"] == 3


def test_batches_are_filled_up_from_the_beginning():
    rows = [[array.tolist() for array in batch] for batch in batches_of([np.arange(5), np.arange(5) * 10], 2)]
    assert rows == [[[0, 1], [0, 10]], [[2, 3], [20, 30]], [[4, 0], [40, 0]]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"), 5 * [4], CLASSES, train=range(4), val=range(4, 5))


def read(dataset, **changes):
    keys = {"dataset_root": str(dataset), "images_dir_name": "20bn-jester-v1", "calibration_clips": 3}
    keys |= {"train_list_file_name": "train_videofolder.txt", "eval_list_file_name": "val_videofolder.txt"}
    keys |= {"frame_name": "{:05d}.jpg"}
    return read_samples(config(**{**keys, **changes}), 3)


def test_calibration_reads_frames_of_other_names(dataset, tmp_path):
    expected = read(dataset)
    own = shutil.copytree(dataset, tmp_path / "own")
    for frame in list((own / "20bn-jester-v1").glob("*/*.jpg")):
        frame.rename(frame.with_name(f"img_{frame.name}"))
    found = read(own, frame_name="img_{:05d}.jpg")
    np.testing.assert_array_equal(found.calibration, expected.calibration)
    np.testing.assert_array_equal(found.compared, expected.compared)


def test_calibration_clips_are_drawn_by_seed(dataset):
    first, again, other = read(dataset), read(dataset), read(dataset, seed=1)
    assert first.provenance == {"list_file": "train_videofolder.txt", "clips": 3, "seed": 0}
    assert (first.calibration.shape, first.compared.shape) == ((3, 3, SIDE, SIDE, 3), (1, 3, SIDE, SIDE, 3))
    assert first.compared_list == "val_videofolder.txt"
    assert np.array_equal(first.calibration, again.calibration)
    assert not np.array_equal(first.calibration, other.calibration)


def test_it_is_compared_on_clips_that_the_network_was_not_trained_on(dataset):
    samples = read(dataset, calibration_clips=99)
    assert (samples.provenance["clips"], len(samples.compared)) == (4, 1)
    seen = {clip.tobytes() for clip in (*samples.calibration, *samples.compared)}
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_root": "nowhere"}, "nowhere/train_videofolder.txt"),
        ({"eval_list_file_name": "none.txt"}, "/none.txt: "),
        ({"images_dir_name": "elsewhere"}, "elsewhere/clip.: clip folder is missing"),
    ],
)
def test_no_clips_to_calibrate_on(dataset, changes, message):
    with pytest.raises(InputError, match=message):
        read(dataset, **changes)


@pytest.mark.slow
def test_only_the_nodes_that_were_named(files, tmp_path):
    folder, _, samples, _ = files
    path = shutil.copyfile(folder / "fp32.onnx", tmp_path / "one.onnx")
    first = next(node.name for node in onnx.load(path).graph.node if node.op_type == "Conv")
    quantise(path, batches_of([video_of(samples.calibration).asnumpy()], 4), [first])
    nodes = onnx.load(path).graph.node
    eight_bit = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    assert [node.name for node in nodes if len(node.input) > 1 and node.input[1] in eight_bit] == [first]
