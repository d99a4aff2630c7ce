"""What users of the model zoo's port import and call, called as they call it, and compared with ours."""

import subprocess
import sys
from itertools import combinations
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from mindspore.train.callback import LossMonitor, TimeMonitor
from PIL import Image

from model_utils.config import load_config
from model_utils.errors import InputError
from model_utils.util import get_param_groups
from src.bn_inception import BNInception
from src.convert_bn_inception import convert_torch_checkpoint_to_mindspore
from src.data.clips import EvaluationLoader, FrameFolders
from src.data.video_list import read_video_list
from src.evaluation.scoring import ClipScorer
from src.preprocess_jester_dataset import preprocess_dataset
from src.train_cell import CustomTrainOneStepCell, CustomWithLossCell
from src.training.checkpoint import read_checkpoint
from src.transforms import cut_crops
from src.trn import MultiScaleTRN, RelationModuleMultiScale
from src.tsn import TSN
from src.tsn_dataset import (
    TSNDataSet,
    VideoRecord,
    get_categories_list,
    get_dataset_for_evaluation,
    get_dataset_for_training,
    training_loader,
)
from src.utils import get_frames_combinations
from tests.helpers import ROOT
from tests.helpers.clips import write_clip


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
    for wrong in (options[:2], ("in.pth",)):
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


WIDTH, SEGMENTS, SIDE = 0.0625, 3, 32


def network(**options):
    """A TRN put together as the zoo's train.py does."""
    base = BNInception(out_channels=8, frozen_bn=True, width_mult=WIDTH, **options)
    return TSN(base_network=base, consensus_network=RelationModuleMultiScale(8, SEGMENTS, 2, 16, subsample_num=2))


def test_the_backbone_keeps_the_rate_that_it_is_given(small_backbone):
    """dropout 0.2 drops 80 % of the features in training, and nothing otherwise."""
    backbone = BNInception(out_channels=5, dropout=0.2, width_mult=WIDTH)
    ones = Tensor(np.ones((50, backbone.feature_channels), np.float32))
    backbone.features = lambda frames: ones
    backbone.fc = nn.Cell()
    backbone.fc.construct = lambda features: features
    kept = backbone.set_train()(ones).asnumpy()
    assert np.mean(kept == 0) == pytest.approx(0.8, abs=0.03)
    np.testing.assert_allclose(kept[kept > 0], 5, rtol=1e-5)
    np.testing.assert_array_equal(backbone.set_train(False)(ones).asnumpy(), 1)
    backbone = BNInception(4, width_mult=WIDTH)
    assert (backbone.conv1_7x7_s2.conv.in_channels, backbone.fc.out_channels) == (4, 1000)
    assert not backbone.conv2_3x3.frozen


def test_the_network_of_two_networks(small_backbone):
    """A batch of clips, or the crops of one clip; a row a crop, which is that of the crop alone."""
    rng, whole = np.random.default_rng(0), network(dropout=0.2).set_train(False)
    assert whole.num_segments == SEGMENTS
    video = rng.standard_normal((10, SEGMENTS * 3, SIDE, SIDE)).astype(np.float32)
    combinations = drawn(rng, (10,), SEGMENTS, 2)
    rows = np.concatenate([whole(Tensor(video[i : i + 1]), Tensor(combinations[i : i + 1])).asnumpy() for i in (0, 9)])
    crops = whole(Tensor(video.reshape(1, -1, SIDE, SIDE)), Tensor(combinations[None])).asnumpy()
    assert crops.shape == (10, 2)
    np.testing.assert_allclose(crops[[0, 9]], rows, atol=1e-6)


def test_parameter_groups():
    names = [[parameter.name for parameter in group] for group in get_param_groups(network().trainable_params())]
    assert names[0] == ["base_model.conv1_7x7_s2.conv.weight"]
    assert names[1] == ["base_model.conv1_7x7_s2.conv.bias"]
    assert names[2] == ["base_model.conv1_7x7_s2.bn.gamma", "base_model.conv1_7x7_s2.bn.beta"]
    assert len(names[3]) == len(names[4]) == 68 + 1 + 4  # convolutions, the last layer, two layers of two relations
    assert {name.rsplit(".", 1)[1] for name in names[3]} == {"weight"}
    assert names[4][-1] == "consensus.fc_fusion_scales.1.3.bias"


@pytest.fixture
def prepared(dataset):
    for name, text in LISTS.items():
        (dataset / name).write_text(text)
    return dataset


def test_the_list_of_categories(prepared):
    assert get_categories_list(str(prepared), "categories.txt") == ["No gesture", "Thumb Up"]


def arrays(batches):
    return [tuple(column.asnumpy() for column in batch) for batch in batches.create_tuple_iterator(num_epochs=1)]


def test_the_dataset_for_training(prepared):
    where = (str(prepared), "20bn-jester-v1", "train_videofolder.txt")
    parts = []
    for rank in range(2):
        data, classes = get_dataset_for_training(*where, SIDE, SEGMENTS, 1, 2, 7, rank, 2, train_workers=1)
        assert (classes, data.get_dataset_size()) == (2, 1)
        assert data.get_col_names() == ["images", "combinations", "labels"]
        (batch,) = arrays(data)
        assert [(column.shape, column.dtype) for column in batch] == [
            ((1, SEGMENTS * 3, SIDE, SIDE), np.float32),
            ((1, SEGMENTS - 1, 2), np.int32),
            ((1,), np.int32),
        ]
        parts.append(batch)
    assert sorted(int(labels[0]) for _, _, labels in parts) == [0, 1]  # each rank has its clip
    both, _ = get_dataset_for_training(*where, SIDE, SEGMENTS, 2, 2, 7, 0, 1)
    (batch,) = arrays(both)
    for whole, first, second in zip(batch, *parts):
        np.testing.assert_array_equal(whole, np.concatenate([first, second]))
    assert -128 <= batch[0].min() < -20 < 20 < batch[0].max() <= 255 - 104  # means are off
    with pytest.raises(InputError, match="2 training clips are less than one step"):
        get_dataset_for_training(*where, SIDE, SEGMENTS, 3, 2, 7, 0, 1)


def test_the_dataset_for_evaluation_gives_the_evaluations_scores(small_backbone, prepared):
    where = (str(prepared), "20bn-jester-v1", "train_videofolder.txt")
    data, classes = get_dataset_for_evaluation(*where, SIDE, SEGMENTS, 2, 7)
    assert (classes, data.get_dataset_size()) == (2, 2)
    whole = network().set_train(False)
    whole.base_model.fc.weight.set_data(whole.base_model.fc.weight * 1000)
    settings = SimpleNamespace(relations="sampled", subsample_num=2, seed=7)
    scorer = ClipScorer(whole, settings, test_crops=10)
    frames = FrameFolders(prepared / "20bn-jester-v1", "{:05d}.jpg")
    loader, records = EvaluationLoader(frames, SEGMENTS, SIDE, 10), read_video_list(prepared / where[2], 2, frames)
    for index, (images, chosen, labels) in enumerate(arrays(data)):
        assert (images.shape, images.dtype) == ((1, 10 * SEGMENTS * 3, SIDE, SIDE), np.float32)
        assert (chosen.shape, chosen.dtype) == ((1, 10, SEGMENTS - 1, 2), np.int32)
        assert labels.tolist() == [records[index].label]
        rows = whole(Tensor(images), Tensor(chosen)).asnumpy()
        clip = cut_crops(loader.read(records[index], index), SIDE, 10)
        expected = scorer(clip[None], np.array([index]))[0]
        np.testing.assert_allclose(rows.mean(0), expected, atol=1e-4)
        assert np.ptp(expected) > 1e-3


def test_model_trains_on_the_dataset(small_backbone, prepared, capsys):
    """As the zoo's train.py does, with MindSpore's own loop and callbacks."""
    where = (str(prepared), "20bn-jester-v1", "train_videofolder.txt")
    data, _ = get_dataset_for_training(*where, SIDE, SEGMENTS, 2, 2, 7, 0, 1)
    whole = network(dropout=0.2)
    before = {parameter.name: parameter.asnumpy().copy() for parameter in whole.trainable_params()}
    first_weights, first_biases, bn, weights, biases = get_param_groups(whole.trainable_params())
    groups = [{"params": first_weights + weights, "lr": 0.01}, {"params": first_biases + biases + bn, "lr": 0.02}]
    with_loss = CustomWithLossCell(whole, nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean"))
    step = CustomTrainOneStepCell(with_loss, nn.SGD(groups, momentum=0.9), max_grad_norm=20.0)
    callbacks = [TimeMonitor(), LossMonitor()]
    ms.Model(step).train(2, data, callbacks=callbacks, dataset_sink_mode=False)
    printed = capsys.readouterr().out
    assert "epoch: 1 step: 1, loss is " in printed
    assert "epoch: 2 step: 1, loss is " in printed
    same = [p.name for p in whole.trainable_params() if np.array_equal(before[p.name], p.asnumpy())]
    assert not [name for name in same if "consensus" in name or ".fc." in name]  # gradients before them round to none
    assert len(same) < len(before) / 2


def test_frames_one_by_one(prepared):
    root, rows = str(prepared / "20bn-jester-v1"), str(prepared / "train_videofolder.txt")
    data = TSNDataSet(root, rows, 3, "{:05d}.jpg", transforms=lambda frames: frames, test_mode=True, check_frames=True)
    frames, label = data[1]
    assert (len(data), label) == (2, 0)
    for row in ("3 9 0", ["3", "9", "0"]):
        record = VideoRecord(row)
        assert (record.name, record.num_frames, record.label) == ("3", 9, 0)
        assert record == data.video_list[1]
    for number, frame in zip((2, 5, 8), frames):  # the middle ones of 9
        picture = Image.open(prepared / "20bn-jester-v1" / "3" / f"{number:05d}.jpg")
        np.testing.assert_array_equal(np.asarray(frame), np.asarray(picture))
    drawn_frames, _ = TSNDataSet(root, rows, 3, "{:05d}.jpg")[0]
    assert [frame.size for frame in drawn_frames] == [(52, 40)] * 3
    (prepared / "20bn-jester-v1" / "3" / "00004.jpg").unlink()
    with pytest.raises(InputError, match="3/00004.jpg: frame is missing"):
        TSNDataSet(root, rows, 3, "{:05d}.jpg", check_frames=True)


def test_the_zoos_yaml_drops_what_it_drops_there():
    """Unchanged: 80 % of the features, by the masks that training draws with each clip."""
    config = load_config(["--config_path", str(ROOT / "tests" / "helpers" / "zoo_config.yaml")])
    loader = training_loader(config, ["No gesture", "Thumb Up"], features=1024)
    *_, mask = loader.draw(VideoRecord("clip 8 0"), index=0, epoch=0)
    assert mask.shape == (8, 1024)
    assert np.mean(mask == 0) == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(mask[mask > 0], 5)
