"""Evaluation and validation as wholes: a tiny network on a few clips, without compiling it."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace

import cv2
import mindspore.dataset as ds
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

import eval as evaluation_program
import train as training_program
from model_utils.config import load_config
from model_utils.errors import InputError
from model_utils.stop_signals import StopSignals
from src import sampling, tsn_dataset
from src.backbones import Backbone
from src.data.clips import EvaluationLoader
from src.evaluation.evaluator import Accuracy, EvaluatedClips, Evaluator, validation_accuracy
from src.evaluation.scoring import ClipScorer
from src.heads import Head
from src.ops.ranks import ALONE, Ranks
from src.training.checkpoint import describe, read_checkpoint, save_checkpoint
from src.training.state import Progress
from src.transforms import CAFFE_PIXELS, cut_crops
from tests.evaluation.test_results import read_csv
from tests.helpers.clips import folders, read_frames, write_dataset
from tests.helpers.networks import CLASSES, SIDE, settings, video_of

pytestmark = pytest.mark.usefixtures("no_pictures", "clips_here")

NUM_CLIPS = 6


class SmallNetwork(nn.Cell):
    """Mean colours of three frames, normalised over the batch in training, and one layer: the frames' order counts."""

    num_segments = 3
    base_model = SimpleNamespace(feature_channels=64)
    backbone, head = Backbone(None, CAFFE_PIXELS), Head(None, draws_relations=True)

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.bn = nn.BatchNorm1d(9)
        self.fc = nn.Dense(9, 3)
        for parameter in self.fc.get_parameters():
            parameter.set_data(Tensor(rng.normal(size=parameter.shape).astype(np.float32)))

    def construct(self, video, relations=None, dropout_mask=None):
        return self.fc(self.bn(video.reshape((-1, 9, SIDE * SIDE)).mean(2) / 8))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Six clips of 9 to 14 frames; a validation list with all of them and a test list without classes."""
    lengths, whole = [9 + index for index in range(NUM_CLIPS)], range(NUM_CLIPS)
    root = write_dataset(tmp_path_factory.mktemp("dataset"), lengths, CLASSES, train=whole, val=whole)
    (root / "test_videofolder.txt").write_text("".join(f"clip{index} {9 + index} -1\n" for index in whole))
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "trn.ckpt"
    return save_checkpoint(path, SmallNetwork().parameters_dict(), describe(settings(), CLASSES, epoch=1, step=1))


@pytest.fixture
def broken(dataset, tmp_path):
    """A copy of the dataset in which one frame, of those looked at, is cut off; and the path of that frame."""
    root = tmp_path / "broken"
    shutil.copytree(dataset, root)
    frame = root / "20bn-jester-v1/clip2/00006.jpg"
    frame.write_bytes(frame.read_bytes()[:300])
    return root, frame


@pytest.fixture
def evaluate(dataset, checkpoint, tmp_path, monkeypatch):
    """Runs eval.py with options; returns (metrics, lines of the log, folder)."""
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
    monkeypatch.setattr("src.training.checkpoint.build_network", lambda config, num_classes: SmallNetwork())

    def run(*options, root=dataset):
        folder = tmp_path / "results"
        paths = ["--dataset_root", str(root), "--ckpt_file", str(checkpoint), "--eval_output_dir", str(folder)]
        defaults = ["--test_crops", "1", "--eval_batch_size", "4", "--eval_workers", "1"]
        evaluation_program.evaluate(load_config([*paths, *defaults, *options]))
        log = (folder / "eval.log").read_text().splitlines()
        return json.loads((folder / "metrics.json").read_text()), log, folder

    return run


# -------------------------------------------------------------------------------------------------- what is looked at


def test_only_the_observed_part_is_sampled():
    rng = np.random.default_rng(0)
    for num_frames in (1, 7, 8, 37, 100):
        for fraction, expected in ((1.0, num_frames), (0.25, -(-num_frames // 4)), (0.07, -(-7 * num_frames // 100))):
            segments = sampling.evaluated_segments(num_frames, 8, "natural", fraction, rng)
            assert segments.tolist() == [int(expected / 8 * (i + 0.5)) for i in range(8)]


@pytest.mark.parametrize("text", ["", "0", "1.5", "half", "nan"])
def test_observe_refuses(text):
    with pytest.raises(InputError, match="observe: .*fractions in"):
        evaluation_program.observed_fractions(text)


def test_observed_fractions_increase():
    assert evaluation_program.observed_fractions("1.0, .25,0.5,0.25") == [0.25, 0.5, 1.0]


# ------------------------------------------------------------------------------------------------------------- scores


def evaluator_of(dataset, network, crops=1, batch_size=4, frame_order="natural", ranks=ALONE):
    loader = EvaluationLoader(folders(dataset / "20bn-jester-v1"), 3, SIDE, crops, frame_order)
    scorer = ClipScorer(network, test_crops=crops, batch_size=batch_size)
    return Evaluator(scorer, loader, records_of(dataset), ranks=ranks)


def records_of(dataset):
    return tsn_dataset.read_video_list(dataset / "val_videofolder.txt", 3, folders(dataset / "20bn-jester-v1"))


@pytest.mark.parametrize("frame_order", ["natural", "reversed"])
def test_scores_are_those_of_the_chosen_frames(dataset, frame_order):
    network = SmallNetwork()
    root = dataset / "20bn-jester-v1"
    evaluator = evaluator_of(dataset, network, crops=5, frame_order=frame_order)
    scored = evaluator(observe=0.5)
    assert scored.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert scored.indices.tolist() == list(range(NUM_CLIPS))
    assert scored.left_out == {}
    for index in range(NUM_CLIPS):
        half = -(-(9 + index) // 2)
        chosen = [int(half / 3 * (i + 0.5)) for i in range(3)]
        frames = read_frames(root / f"clip{index}", chosen[:: -1 if frame_order == "reversed" else 1])
        expected = network(video_of(cut_crops(frames, SIDE, 5))).asnumpy().mean(0)
        np.testing.assert_allclose(scored.scores[index], expected, rtol=1e-3, atol=1e-4)


def test_a_network_whose_scores_are_not_numbers_is_not_right_but_an_error(dataset):
    network = SmallNetwork()
    network.fc.bias.set_data(Tensor(np.array([0, np.nan, 0], np.float32)))
    with pytest.raises(InputError, match="clip clip0: the network's scores are NaN or infinite"):
        evaluator_of(dataset, network)()


def test_a_scorer_and_a_loader_are_built_from_all_their_settings():
    """Each value is another one than the default."""
    keys = {"dataset_root": "root", "images_dir_name": "frames", "num_segments": 5, "image_size": 64, "seed": 11}
    keys.update(frame_name="{}.png", frame_order="reversed", relations="sampled", subsample_num=7)
    loader = tsn_dataset.evaluation_loader(SimpleNamespace(**keys), 5)
    assert loader == EvaluationLoader(folders("root/frames", "{}.png"), 5, 64, 5, "reversed", 1.0, 11)
    mirrored, network = np.array([0]), SmallNetwork()
    scorer = ClipScorer(network, SimpleNamespace(**keys), test_crops=5, batch_size=6, mirrored=mirrored)
    assert (scorer.logits.network, scorer.logits.crops, scorer.batch_size) == (network, 5, 6)
    assert (scorer.mirrored is mirrored, scorer.draws) == (True, (7, 11))


def test_ranks_score_the_list_together(dataset):
    network = SmallNetwork()
    alone = evaluator_of(dataset, network)()
    parts = [evaluator_of(dataset, network, ranks=Ranks(rank, 4))() for rank in range(4)]
    indices = np.concatenate([part.indices for part in parts])
    assert indices.tolist() == [0, 4, 1, 5, 2, 3]
    scores = np.concatenate([part.scores for part in parts])
    np.testing.assert_allclose(scores, alone.scores[indices], rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------------------ eval.py


def test_evaluation_leaves_log_and_results(evaluate):
    metrics, log, folder = evaluate("--log_interval", "2", "--observe", "0.5,1.0", "--frame_order", "reversed")
    messages = [line.split(":INFO:")[-1] for line in log]
    steps = [line for line in messages if line.startswith("Steps: ")]
    assert [line.split(";")[0] for line in steps] == ["Steps: 4", "Steps: 6"] * 2
    order = [messages.index(line) for line in ("evaluation finished", "Result:", steps[0], messages[-2], messages[-1])]
    assert order == sorted(order)
    assert messages.index("Result:") + 1 == messages.index(steps[0])
    assert steps[-1] == f"Steps: 6; top1: {metrics['top1']:f}; top5: 1.000000"
    assert messages[-2:] == [f"Top1: {100 * metrics['top1']:.2f}%", "Top5: 100.00%"]
    assert "with 3 classes every answer is among the best 5" in messages
    (times,) = [line for line in log if line.startswith("epoch time: ")]
    whole, step = map(float, re.fullmatch(r"epoch time: (\S+) ms, per step time: (\S+) ms", times).groups())
    assert whole / step == pytest.approx(6 * 2, rel=0.01)  # each of 6 clips was scored at 2 fractions

    names = "config.yaml confusion_matrix.png eval.log metrics.json per_class.csv predictions.csv report.html"
    assert sorted(path.name for path in folder.iterdir()) == names.split()
    predictions = read_csv(folder / "predictions.csv")
    assert [row["clip"] for row in predictions] == [f"clip{index}" for index in range(NUM_CLIPS)]
    assert np.mean([row["true"] == row["predicted"] for row in predictions]) == metrics["top1"]
    assert [point["observe"] for point in metrics["observed"]] == [0.5, 1.0]
    assert metrics["observed"][-1]["top1"] == metrics["top1"]
    assert metrics["order"]["pair_clips"] == 4
    assert (metrics["clips"], metrics["clips_listed"], metrics["left_out"]) == (6, 6, [])
    expected = {"frame_order": "reversed", "observe": "0.5,1.0", "test_crops": 1, "relations": "all", "split": "val"}
    assert metrics["protocol"].items() >= expected.items()
    assert metrics["protocol"]["num_segments"] == 3  # the checkpoint's
    assert len(metrics["protocol"]["ckpt_sha256"]) == 64


@pytest.mark.parametrize(("observe", "last"), [("0.5,1.0", 1.0), ("0.25,0.5", 0.5)])
def test_mistakes_are_shown_as_the_network_saw_them_last(evaluate, dataset, monkeypatch, observe, last):
    """Frames of the largest part of the clip, played backwards."""
    shown = []
    monkeypatch.setattr("src.evaluation.page._clip_strip", lambda frames_of, row: shown.append(frames_of(row)) or b"")
    _, _, folder = evaluate("--observe", observe, "--frame_order", "reversed")
    wrong = [row["clip"] for row in read_csv(folder / "predictions.csv") if row["true"] != row["predicted"]]
    expected = []
    for clip in wrong:
        length = -int(-len(list((dataset / "20bn-jester-v1" / clip).iterdir())) * last // 1)
        numbers = [int(length / 3 * (i + 0.5)) + 1 for i in (2, 1, 0)]
        expected.append([cv2.imread(str(dataset / f"20bn-jester-v1/{clip}/{number:05d}.jpg")) for number in numbers])
    assert shown
    for frames in shown:
        assert any(np.array_equal(frames, others) for others in expected)


def test_a_clip_that_cannot_be_read_is_left_out_if_asked(evaluate, broken):
    root, frame = broken
    whole, _, _ = evaluate()
    answers = read_csv(evaluate()[2] / "predictions.csv")
    metrics, log, folder = evaluate("--on_error", "skip", root=root)
    [left_out] = metrics["left_out"]
    assert left_out["clip"] == "clip2"
    assert str(frame) in left_out["problem"]
    assert (metrics["clips"], metrics["clips_listed"]) == (5, 6)
    assert read_csv(folder / "predictions.csv") == answers[:2] + answers[3:]
    assert metrics["top1"] == pytest.approx((6 * whole["top1"] - (answers[2]["true"] == answers[2]["predicted"])) / 5)
    assert str(frame) in (folder / "report.html").read_text()
    said = "\n".join(log)
    assert f"WARNING:left out clip2: {frame}: frame is truncated" in said
    assert "WARNING:1 of 6 clips left out" in said
    assert "INFO:accuracy over 5 of 6 clips" in said


def test_a_clip_left_out_at_any_fraction_is_reported(evaluate, broken):
    """A quarter of 13 frames is frames 1, 3 and 4; the whole is frames 3, 7 and 11."""
    root, _ = broken
    (root / "20bn-jester-v1/clip4/00001.jpg").write_bytes(b"")
    metrics, log, _ = evaluate("--on_error", "skip", "--observe", "0.25,1.0", root=root)
    assert [row["clip"] for row in metrics["left_out"]] == ["clip2", "clip4"]
    assert [(point["observe"], point["clips"]) for point in metrics["observed"]] == [(0.25, 5), (1.0, 5)]
    assert metrics["clips"] == 5
    said = "\n".join(log)
    assert said.count("WARNING:left out clip") == 2
    assert "WARNING:2 of 6 clips left out" in said


def test_nothing_left_to_score(evaluate, broken):
    root, _ = broken
    for folder in (root / "20bn-jester-v1").iterdir():
        shutil.rmtree(folder)
    with pytest.raises(InputError, match="none of the 6 clips can be read"):
        evaluate("--on_error", "skip", root=root)


def test_the_test_split_needs_no_classes(evaluate):
    metrics, log, folder = evaluate("--split", "test", "--log_interval", "2")
    assert (metrics["clips"], metrics["protocol"]["split"]) == (6, "test")
    assert "top1" not in metrics
    assert not [line for line in log if "op1" in line]
    predictions = read_csv(folder / "predictions.csv")
    expected = [f"clip{index};{row['predicted']}" for index, row in enumerate(predictions)]
    assert (folder / "submission.csv").read_text().splitlines() == expected
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(("split", "expected"), [("train", "clip1 clip4"), ("val", "clip0 clip2"), ("test", "clip5")])
def test_each_split_is_scored_from_its_own_list(evaluate, broken, split, expected):
    root, _ = broken
    lists = {"train": "clip1 10 0\nclip4 13 1\n", "val": "clip0 9 0\nclip2 5 1\n", "test": "clip5 14 2\n"}
    for name, text in lists.items():
        (root / f"{name}_videofolder.txt").write_text(text)
    metrics, _, folder = evaluate("--split", split, root=root)
    assert [row["clip"] for row in read_csv(folder / "predictions.csv")] == expected.split()
    assert metrics["protocol"]["list_file"] == str(root / f"{split}_videofolder.txt")
    assert "top1" in metrics  # of test clips too, if their classes are known


def softmax_of(rows):
    exponentials = np.exp(rows - rows.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def assert_predictions(folder, scores):
    """That predictions.csv holds these scores' best classes and their probabilities."""
    rows = read_csv(folder / "predictions.csv")
    assert [row["predicted"] for row in rows] == [CLASSES[best] for best in scores.argmax(1)]
    written = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(written, softmax_of(scores.astype(np.float64)).max(1), atol=2e-4)


class Sides(SmallNetwork):
    """How much brighter the left half is, for the first class alone: mirroring changes the sign."""

    def construct(self, video, relations=None, dropout_mask=None):
        first = video[:, :3]
        left, right = first[..., : SIDE // 2].mean((1, 2, 3)), first[..., SIDE // 2 :].mean((1, 2, 3))
        return ops.stack((left - right, 0 * left, 0 * left + 0.3), 1)


@pytest.mark.parametrize("flip", ["label_aware", "plain", "none"])
def test_ten_crops_swap_the_classes_of_mirrored_crops_back_if_mirroring_changed_them(
    evaluate, dataset, flip, monkeypatch
):
    network = Sides()
    monkeypatch.setattr("src.training.checkpoint.copy_parameters", lambda *_: [])
    monkeypatch.setattr("src.training.checkpoint.build_network", lambda config, num_classes: network)
    _, _, folder = evaluate("--test_crops", "10", "--flip", flip)
    scores, others = [], []
    for index in range(NUM_CLIPS):
        chosen = sampling.test_segments(9 + index, 3)
        pixels = cut_crops(read_frames(dataset / f"20bn-jester-v1/clip{index}", chosen), SIDE, 10)
        logits = network(video_of(pixels)).asnumpy()
        swapped = logits.copy()
        swapped[1::2] = logits[1::2][:, [1, 0, 2]]  # Swiping Left is a mirrored Swiping Right
        both = swapped.mean(0), logits.mean(0)
        scores.append(both[flip != "label_aware"])
        others.append(both[flip == "label_aware"])
    assert np.ptp(softmax_of(np.array(scores)).max(1) - softmax_of(np.array(others)).max(1)) > 0.01
    assert_predictions(folder, np.array(scores))


@pytest.mark.parametrize("seed", [0, 2])
def test_the_seed_decides_how_frames_are_shuffled(evaluate, dataset, seed):
    _, _, folder = evaluate("--frame_order", "shuffled", "--seed", str(seed))
    network, scores = SmallNetwork().set_train(False), []
    for index in range(NUM_CLIPS):
        order = sampling.generator(seed, 0, index, "shuffle").permutation(sampling.test_segments(9 + index, 3))
        pixels = cut_crops(read_frames(dataset / f"20bn-jester-v1/clip{index}", order), SIDE, 1)
        scores.append(network(video_of(pixels)).asnumpy()[0])
    assert_predictions(folder, np.array(scores))


def test_only_the_test_list_may_lack_classes(evaluate):
    with pytest.raises(InputError, match=r"test_videofolder\.txt:1: class index -1; expected 0 to 2"):
        evaluate("--eval_list_file_name", "test_videofolder.txt")


# --------------------------------------------------------------------------------------------------------- validation


class FakeEvaluator:
    """Answers with one result after the other: the places of the true classes of some clips."""

    ranks = ALONE
    loader = SimpleNamespace(frames=folders("images"))

    def __init__(self, *results):
        self.results = list(results)

    def __call__(self):
        places = np.array(self.results.pop(0))
        scores = np.tile(np.arange(9, -1, -1, dtype=np.float32), (len(places), 1))
        return EvaluatedClips(scores, places, np.arange(len(places)), {})


def test_the_fifth_place_counts_for_top5_and_the_sixth_does_not():
    assert validation_accuracy(FakeEvaluator([4, 4, 4, 5]), 10) == Accuracy(0.0, 0.75, 4, one_answer=0)
    assert validation_accuracy(FakeEvaluator([0, 1, 4, 5]), 10) == Accuracy(0.25, 0.75, 4, one_answer=0)
    with pytest.raises(InputError, match="none of the validation clips can be read"):
        validation_accuracy(FakeEvaluator([]), 10)


def test_best_validation_is_remembered():
    progress = Progress()
    accuracies = [(0.3, 0.6), (0.3, 0.3), (0.3, 0.6), (0.3, 0.9), (0.6, 0.6)]
    is_best = [progress.count_validation(*accuracy, 3) for accuracy in accuracies]
    assert is_best == [True, False, False, True, True]  # by top-1, then by top-5; an equal one is not better
    assert (progress.best, progress.since_best) == ((0.6, 0.6, 3), 0)
    assert not progress.count_validation(0.5, 1.0, 3)
    assert (progress.best, progress.since_best) == ((0.6, 0.6, 3), 1)


@pytest.fixture
def train(dataset, tmp_path, monkeypatch):
    """Runs train.py on a small network with options; returns (log, rows of metrics.csv, folder)."""
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
    monkeypatch.setattr("src.tsn.build_network", lambda config, num_classes: SmallNetwork())

    def run(*options):
        folder = tmp_path / "training"
        shutil.rmtree(folder, ignore_errors=True)
        defaults = "--num_segments 3 --image_size 32 --train_batch_size 2 --train_workers 1 --eval_workers 1"
        paths = ["--dataset_root", str(dataset), "--train_output_dir", str(folder)]
        training_program.train(load_config([*paths, *defaults.split(), "--lr", "0.05", *options]), StopSignals(""))
        return (folder / "train.log").read_text(), read_csv(folder / "metrics.csv"), folder

    return run


def losses(log):
    return [line for line in log.splitlines() if "loss is" in line]


def test_the_programs_read_through_generator_datasets(train, evaluate, monkeypatch):
    made = []
    original = ds.GeneratorDataset.__init__

    def watched(dataset, source, column_names, **options):
        made.append(column_names)
        original(dataset, source, column_names, **options)

    monkeypatch.setattr(ds.GeneratorDataset, "__init__", watched)
    train("--epochs_num", "1", "--eval_interval", "1")
    assert made == [["clip", "label", "relations", "dropout_mask"], ["clip", "label", "index"]]
    evaluate()
    assert made[2:] == [["clip", "label", "index"]]


@pytest.mark.slow
def test_training_follows_the_batches_and_validation_does_not(train, monkeypatch):
    """Against the running mean worked out by hand from the batches that the network was given."""
    modes, means = [], []

    class Watched(SmallNetwork):
        def construct(self, video, relations=None, dropout_mask=None):
            modes.append(self.training)
            if self.training:
                means.append(video.reshape((-1, 9, SIDE * SIDE)).mean(2).asnumpy().mean(0) / 8)
            return super().construct(video)

    monkeypatch.setattr("src.tsn.build_network", lambda config, num_classes: Watched())
    _, _, folder = train("--epochs_num", "2", "--eval_interval", "1")
    assert modes == ([True] * 3 + [False] * 3) * 2
    expected = np.zeros(9)
    for mean in means:
        expected = 0.9 * expected + 0.1 * mean
    moving, _ = read_checkpoint(folder / "checkpoint_trn-2_3.ckpt")
    np.testing.assert_allclose(moving["bn.moving_mean"].asnumpy(), expected, rtol=1e-3, atol=1e-4)


def test_training_hands_its_settings_to_the_loaders(train, monkeypatch):
    """With 5 cores and 2 ranks on this node each rank starts 2 workers at most."""
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    monkeypatch.setattr("model_utils.device_adapter.ranks_on_node", lambda config: 2)
    seen = {}

    def watch(original):
        def watched(loader, records, **options):
            seen[original.__name__] = loader, len(records), options
            return original(loader, records, **options)

        monkeypatch.setattr(tsn_dataset, original.__name__, watched)

    watch(tsn_dataset.training_dataset)
    watch(tsn_dataset.evaluation_dataset)
    options = "--epochs_num 1 --train_workers 8 --eval_workers 7 --width_mult 0.0625 --subsample_num 1 --seed 3"
    train(*options.split(), "--flip", "plain", "--dropout", "0.25")
    loader, clips_listed, options = seen["training_dataset"]
    expected = {"num_segments": 3, "image_size": SIDE, "subsample_num": 1, "seed": 3, "flip": "plain", "dropout": 0.25}
    assert vars(loader).items() >= {**expected, "features": 64}.items()
    assert loader.mirrored.tolist() == [1, 0, 2]
    assert clips_listed == NUM_CLIPS
    assert options.items() >= {"batch_size": 2, "workers": 2, "first_epoch": 0, "first_step": 0}.items()
    loader, clips_listed, options = seen["evaluation_dataset"]
    assert (loader.test_crops, loader.seed, clips_listed) == (1, 3, NUM_CLIPS)
    assert options.items() >= {"batch_size": 2, "workers": 2}.items()


@pytest.mark.slow
def test_validating_changes_nothing_in_the_training(train):
    log, rows, folder = train("--epochs_num", "2", "--log_interval", "1", "--eval_interval", "0")
    assert [row["top1"] for row in rows] == [""] * 2
    assert not (folder / "checkpoint_best.ckpt").exists()
    last, _ = read_checkpoint(folder / "checkpoint_trn-2_3.ckpt")
    validated_log, _, folder = train("--epochs_num", "2", "--log_interval", "1", "--eval_interval", "1")
    assert losses(validated_log) == losses(log)
    assert len(losses(log)) == 6
    again, _ = read_checkpoint(folder / "checkpoint_trn-2_3.ckpt")
    for name, parameter in last.items():
        np.testing.assert_array_equal(again[name].asnumpy(), parameter.asnumpy())


@pytest.mark.slow
def test_validation_leaves_curves_and_the_best_checkpoint(train, dataset):
    options = ["--eval_interval", "2", "--update_lr_epochs", "2", "--keep_checkpoint_max", "1"]
    log, rows, folder = train("--epochs_num", "3", "--log_interval", "1", *options)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.05, 0.05, 0.005])
    by_hand = np.array([float(line.split("loss is ")[1]) for line in losses(log)]).reshape(3, 3).mean(1)
    assert [float(row["loss"]) for row in rows] == pytest.approx(by_hand, rel=1e-5)
    assert [row["top1"] != "" for row in rows] == [False, True, True]  # the end is always validated
    assert (folder / "curves.png").is_file()
    assert len(list(folder.glob("checkpoint_trn-*"))) == 1

    best = max((float(row["top1"]), float(row["top5"]), -int(row["epoch"])) for row in rows if row["top1"])
    parameters, about = read_checkpoint(folder / "checkpoint_best.ckpt")
    assert about["epoch"] == -best[2]
    assert about["progress"]["best"] == [pytest.approx(best[0]), pytest.approx(best[1]), 6]

    network = SmallNetwork()
    for parameter in network.get_parameters():
        parameter.set_data(parameters[parameter.name])
    scored = evaluator_of(dataset, network, batch_size=1)()
    assert np.mean(scored.scores.argmax(1) == scored.labels) == pytest.approx(best[0])
