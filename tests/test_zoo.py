"""What users of the model zoo's port import and call, called as they call it, and compared with ours."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.convert_bn_inception import convert_torch_checkpoint_to_mindspore
from src.preprocess_jester_dataset import preprocess_dataset
from src.train_cell import CustomTrainOneStepCell, CustomWithLossCell
from src.training.checkpoint import read_checkpoint
from src.trn import MultiScaleTRN, RelationModuleMultiScale
from src.utils import get_frames_combinations
from tests.helpers.clips import write_clip

ROOT = Path(__file__).resolve().parents[1]


def drawn(rng, shape, num_frames, subsample_num):
    """Combinations as a user of the zoo draws them: int32 [*shape, T - 1, subsample_num], the T-frame scale first."""
    counts = [len(get_frames_combinations(num_frames, scale)) for scale in range(num_frames, 1, -1)]
    return np.stack([rng.integers(0, count, (*shape, subsample_num)) for count in counts], -2).astype(np.int32)


def same_weights(network, other):
    for mine, theirs in zip(network.get_parameters(), other.get_parameters()):
        mine.set_data(Tensor(theirs.asnumpy()))


def test_frames_combinations():
    assert get_frames_combinations(5, 3) == list(combinations(range(5), 3))
    assert get_frames_combinations(4, 4) == [(0, 1, 2, 3)]


def test_the_relation_module():
    rng = np.random.default_rng(0)
    module = RelationModuleMultiScale(6, 4, 5, num_bottleneck=7, subsample_num=2)
    names = {parameter.name: parameter.shape for parameter in module.get_parameters()}
    assert names["fc_fusion_scales.0.1.weight"] == (7, 24)  # the scale of 4 frames
    assert names["fc_fusion_scales.2.3.weight"] == (5, 7)
    ours = MultiScaleTRN(4, 6, 5, 2, 7)
    same_weights(ours, module)
    features, chosen = Tensor(rng.standard_normal((3, 4, 6)), ms.float32), Tensor(drawn(rng, (3,), 4, 2))
    np.testing.assert_array_equal(module(features, chosen).asnumpy(), ours(features, chosen).asnumpy())
    assert RelationModuleMultiScale(img_feature_dim=8, num_frames=3, num_class=2).fc_fusion_scales[0].num_draws == 1


def test_converting_a_state_dict():
    torch = pytest.importorskip("torch")
    from benchmarks.torch_reference import BNInception as TorchBNInception
    from benchmarks.torch_reference import randomise

    state = randomise(TorchBNInception(), seed=1).state_dict()
    state["last_linear.weight"], state["last_linear.bias"] = torch.ones(1000, 1024), torch.arange(1000.0)
    parameters = convert_torch_checkpoint_to_mindspore(state)
    assert {name: parameter.name for name, parameter in parameters.items()} == {name: name for name in parameters}
    assert sum(not name.startswith("fc.") for name in parameters) == 69 * 6  # 69 convolutions: 2 tensors, and 4 of BN
    np.testing.assert_array_equal(parameters["fc.bias"].asnumpy(), np.arange(1000))
    np.testing.assert_array_equal(
        parameters["inception_3a.branch_3x3.bn.gamma"].asnumpy(), state["inception_3a_3x3_bn.weight"].numpy()
    )
    without = {name: tensor for name, tensor in state.items() if not name.startswith("last_linear")}
    assert len(convert_torch_checkpoint_to_mindspore(without)) == 69 * 6


def run_by_path(program, *arguments):
    """Runs a file of ``src`` as the zoo's README does, from the repository root and without further help."""
    command = [sys.executable, f"src/{program}.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_converter_by_its_path(tmp_path):
    torch = pytest.importorskip("torch")
    from benchmarks.torch_reference import BNInception as TorchBNInception
    from benchmarks.torch_reference import randomise

    state = randomise(TorchBNInception(0.125), seed=1).state_dict()
    state["fc.weight"], state["fc.bias"] = torch.ones(1000, 128), torch.zeros(1000)
    torch.save(state, tmp_path / "bn.pth")
    options = "--torch_ckpt_path", tmp_path / "bn.pth", "--ms_ckpt_out_path", tmp_path / "bn.ckpt"
    run = run_by_path("convert_bn_inception", *options, "--width_mult", "0.125")
    assert (run.returncode, run.stderr) == (0, "")
    written, _ = read_checkpoint(tmp_path / "bn.ckpt")
    assert written["fc.weight"].shape == (1000, 128)
    gamma = written["inception_5b.branch_1x1.bn.gamma"].asnumpy()
    np.testing.assert_array_equal(gamma, state["inception_5b_1x1_bn.weight"].numpy())
    for wrong in (options[:2], (*options, "in.pth", "out.ckpt"), ("in.pth",), ()):
        run = run_by_path("convert_bn_inception", *wrong)
        assert run.returncode == 1
        expected = "expected SOURCE TARGET, or --torch_ckpt_path SOURCE --ms_ckpt_out_path TARGET"
        assert run.stderr == f"error: command line: {expected}\n"


@pytest.fixture
def dataset(tmp_path):
    """An unpacked dataset of three clips."""
    root = tmp_path / "jester"
    for name in ("1", "2", "3"):
        write_clip(root / "20bn-jester-v1" / name, 9, 40, 52, seed=int(name))
    (root / "labels").mkdir()
    lists = {"labels": "Thumb Up\nNo gesture\n", "train": "1;Thumb Up\n3;No gesture\n", "validation": "2;Thumb Up\n"}
    for name, text in lists.items():
        (root / "labels" / f"{name}.csv").write_text(text)
    return root


LISTS = {
    "categories.txt": "No gesture\nThumb Up\n",
    "train_videofolder.txt": "1 9 1\n3 9 0\n",
    "val_videofolder.txt": "2 9 1\n",
}


def test_preprocessing_by_its_path_and_by_its_name(dataset, tmp_path, monkeypatch):
    run = run_by_path("preprocess_jester_dataset", dataset)
    assert (run.returncode, run.stderr) == (0, "")
    monkeypatch.setattr(sys, "argv", ["mine.py", str(dataset), "--save_labels_path", str(tmp_path / "lists")])
    preprocess_dataset()
    for folder in (dataset, tmp_path / "lists"):
        assert {path.name: path.read_text() for path in folder.glob("*.txt")} == LISTS


def test_the_other_converter_by_its_path():
    assert run_by_path("convert_trn_pytorch", "--help").returncode == 0


class Scores(nn.Cell):
    """A network of one layer, for the training cells: images [B, D] -> [B, C], whatever the combinations are."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Dense(6, 3)

    def construct(self, images, combinations):
        return self.fc(images) + 0 * combinations.astype(ms.float32).mean()


@pytest.mark.parametrize("max_grad_norm", [20.0, 0.01])
def test_the_training_cells(max_grad_norm):
    """A step of plain gradient descent on a softmax, computed by hand."""
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((4, 6)).astype(np.float32), np.array([0, 2, 1, 2], np.int32)
    network = Scores()
    weight, bias = network.fc.weight.asnumpy().copy(), network.fc.bias.asnumpy().copy()
    with_loss = CustomWithLossCell(network, nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean"))
    batch = Tensor(images), Tensor(drawn(rng, (4,), 3, 2)), Tensor(labels)
    step = CustomTrainOneStepCell(with_loss, nn.SGD(network.trainable_params(), 0.5), max_grad_norm)
    step.set_train()
    loss = step(*batch).asnumpy()

    scores = images @ weight.T + bias
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert loss == pytest.approx(-np.log(shares[range(4), labels]).mean(), abs=1e-6)
    errors = (shares - np.eye(3)[labels]) / 4
    gradients = errors.T @ images, errors.sum(0)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    shrunk = min(1, max_grad_norm / norm)
    np.testing.assert_allclose(network.fc.weight.asnumpy(), weight - 0.5 * shrunk * gradients[0], atol=1e-6)
    np.testing.assert_allclose(network.fc.bias.asnumpy(), bias - 0.5 * shrunk * gradients[1], atol=1e-6)
