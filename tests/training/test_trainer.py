"""The training loop: what it saves and when, and that a resumed run ends like one that was never stopped."""

import itertools
import logging
import re
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from model_utils.errors import InputError
from model_utils.settings import Use, keys_for
from src.evaluation.evaluator import Accuracy
from src.ops.ranks import ALONE
from src.train_cell import build_optimizer
from src.training import checkpoint, state
from src.training.run_folder import find_checkpoint
from src.training.state import Progress
from src.training.trainer import Trainer, TrainingSet
from tests.helpers.colours import ColourBackbone
from tests.helpers.networks import CLASSES, behind, settings

pytestmark = pytest.mark.usefixtures("no_pictures")

EPOCHS, STEPS = 3, 4


class InstantStep:
    """Takes the place of TrainStep, which takes seconds to compile: all of the state changes with each batch."""

    def __init__(self, network, optimizer, _clip_grad_norm, _loss=None):
        self.network, self.optimizer = network, optimizer

    def set_train(self):
        self.network.set_train()

    def __call__(self, clips, *_):
        assert self.network.training
        shift = float(clips.asnumpy().mean()) / 255
        total = 0.0
        for parameter in state.training_state(self.network, self.optimizer).values():
            value = parameter.asnumpy()
            moved = value + 1 if value.dtype == np.int32 else 0.9 * value + np.float32(shift)
            parameter.set_data(Tensor(moved.astype(value.dtype)))
            total += float(moved.sum())
        return Tensor(np.float32(total))


@pytest.fixture(autouse=True)
def _instant(request, monkeypatch):
    if "compiled" not in request.fixturenames:
        monkeypatch.setattr("src.training.trainer.TrainStep", InstantStep)


class ScriptedValidation:
    """Gives the accuracies it was told to, one a call."""

    def __init__(self, *top1, one_answer=None):
        self.coming, self.one_answer = list(top1), one_answer

    def __call__(self):
        return Accuracy(self.coming.pop(0), 1.0, 6, self.one_answer)


class Stop:
    """Asks to stop in the step after `after` batches, or in a validation."""

    def __init__(self, after=None, validations=99):
        self.after, self.validations, self.received = after, validations, 0

    def watch(self, batches):
        for count, batch in enumerate(batches, 1):
            self.received = count == self.after
            yield batch

    @contextmanager
    def at_once(self):
        self.validations -= 1
        if self.received or self.validations < 0:
            raise KeyboardInterrupt
        yield


def batches(first):
    """What a pipeline gives from step `first` of the run on: every batch depends on its position alone."""
    for position in range(first, EPOCHS * STEPS):
        rng = np.random.default_rng(position)
        relations = np.tile(np.array([[0, -1], [0, 2]], np.int32), (2, 1, 1))
        yield (
            Tensor(rng.integers(0, 256, (2, 3, 4, 4, 3), dtype=np.uint8)),
            Tensor(rng.integers(0, 3, 2).astype(np.int32)),
            Tensor(relations),
            Tensor(2.0 * rng.integers(0, 2, (2, 3, 3)).astype(np.float32)),
        )


DATA = {"the training list": "1a", "frames of the training list": "2b", "the validation list": "3c"}


def make_trainer(folder, validate=None, ranks=ALONE, **changes):
    """A run with new, always equal initial weights."""
    ms.set_seed(7)
    network = behind(ColourBackbone(8))  # one layer before a real head: it compiles in two seconds
    given = {"lr": 0.05, "update_lr_epochs": 2, "weight_decay": 0.01, "dropout": 0.5, "epochs_num": EPOCHS}
    given |= {"train_batch_size": 2, "train_output_dir": str(folder), "log_interval": 1, "ckpt_save_interval": 1}
    config = settings(**{**given, **changes})
    optimizer = build_optimizer(network, config.lr, config.update_lr_epochs, STEPS, 0.9, config.weight_decay)
    clips = TrainingSet(CLASSES, 9, STEPS, DATA)
    return Trainer(network, optimizer, validate, config, clips, ranks, logging.getLogger("test"))


def run(trainer, stop=None):
    stop = stop or Stop()
    return trainer.run(stop.watch(batches(trainer.total_steps)), stop)


def last_file(folder):
    return (folder / f"checkpoint_trn-{EPOCHS}_{STEPS}.ckpt").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of a run that nothing stopped. Tests read it."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.training.trainer.TrainStep", InstantStep)
        assert run(make_trainer(folder, ScriptedValidation(0.2, 0.6, 0.4)))
    return folder


def rows(folder):
    """metrics.csv as {column: values}."""
    header, *lines = (line.split(",") for line in (folder / "metrics.csv").read_text().splitlines())
    return {name: [line[i] for line in lines] for i, name in enumerate(header)}


def test_a_run_leaves_checkpoints_and_curves(whole):
    names = {path.name for path in whole.iterdir()}
    numbered = {f"checkpoint_trn-{epoch}_{STEPS}.ckpt" for epoch in (1, 2, 3)}
    assert names == numbered | {"checkpoint_last.ckpt", "checkpoint_best.ckpt", "metrics.csv", "curves.png"}
    assert rows(whole)["top1"] == ["0.2", "0.6", "0.4"]
    assert [float(rate) for rate in rows(whole)["lr"]] == pytest.approx([0.05, 0.05, 0.005])
    _, about = checkpoint.read_checkpoint(whole / f"checkpoint_trn-{EPOCHS}_{STEPS}.ckpt")
    assert about["progress"] == {
        "epochs_done": 3,
        "step": 0,
        "loss_sum": 0.0,
        "best": [0.6, 1.0, 6],
        "since_best": 1,
        "rewinds": 0,
    }
    assert about["recipe"]["clips_per_step"] == 2
    assert about["categories"] == CLASSES
    _, best = checkpoint.read_checkpoint(whole / "checkpoint_best.ckpt")
    assert best["progress"]["best"] == [0.6, 1.0, 6]


@pytest.mark.parametrize("after", [1, 4, 6])
def test_a_stopped_run_is_resumed_bit_by_bit(whole, tmp_path, after):
    """Stopped in the first step, in the last of an epoch (whose validation then waits), in the middle of one."""
    folder = tmp_path / "stopped"
    trainer = make_trainer(folder, ScriptedValidation(0.2))
    try:
        assert not run(trainer, Stop(after))
        assert after != 4
    except KeyboardInterrupt:
        assert after == 4
    assert trainer.total_steps == after
    assert not (folder / f"checkpoint_trn-{EPOCHS}_{STEPS}.ckpt").exists()

    validated = after // STEPS if after != 4 else 0
    resumed = make_trainer(folder, ScriptedValidation(*(0.2, 0.6, 0.4)[validated:]))
    resumed.resume(find_checkpoint("auto", folder))
    assert resumed.total_steps == after
    assert run(resumed)
    assert last_file(folder) == last_file(whole)
    for column in ("epoch", "lr", "loss", "top1", "top5"):  # all but the seconds
        assert rows(folder)[column] == rows(whole)[column]


@pytest.mark.slow
def test_the_real_step_is_resumed_bit_by_bit(tmp_path, compiled):
    """Momentum, the step that the learning rate follows from, parameters: all are in the file.

    The other run begins in a copy of the folder that was made after six of the twelve steps: each compiles a graph.
    """
    whole, copy = tmp_path / "whole", tmp_path / "copy"

    def copied(batches):
        for count, batch in enumerate(batches):
            if count == 6:
                shutil.copytree(whole, copy)
            yield batch

    assert make_trainer(whole, ckpt_save_steps=2).run(copied(batches(0)), Stop())
    resumed = make_trainer(copy)
    resumed.resume(find_checkpoint("auto", copy))
    assert resumed.total_steps == 6
    assert run(resumed)
    assert last_file(copy) == last_file(whole)
    losses = [[float(loss) for loss in rows(folder)["loss"]] for folder in (copy, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_best_validation_is_remembered(tmp_path):
    """A worse one after the stop does not replace it; with those before the stop it counts for patience."""
    assert not run(make_trainer(tmp_path, ScriptedValidation(0.6, 0.2)), Stop(2 * STEPS + 1))
    best = (tmp_path / "checkpoint_best.ckpt").read_bytes()
    resumed = make_trainer(tmp_path, ScriptedValidation(0.4), patience=2)
    resumed.resume(find_checkpoint("auto", tmp_path))
    assert run(resumed)
    assert (tmp_path / "checkpoint_best.ckpt").read_bytes() == best
    assert (resumed.progress.best, resumed.progress.since_best) == ((0.6, 1.0, 6), 2)


def test_a_run_that_goes_back(whole, tmp_path):
    """Its curves have each epoch once, and it is resumed from where it is, not from what it left."""
    folder = tmp_path / "back"
    shutil.copytree(whole, folder)
    trainer = make_trainer(folder, ScriptedValidation(0.3))
    trainer.resume(folder / f"checkpoint_trn-1_{STEPS}.ckpt")
    assert trainer.progress.rewinds == 1
    assert not run(trainer, Stop(STEPS + 1))
    assert rows(folder)["epoch"] == ["1", "2"]
    assert rows(folder)["top1"] == ["0.2", "0.3"]
    again = make_trainer(folder, ScriptedValidation(0.4))
    again.resume(find_checkpoint("auto", folder))
    assert again.total_steps == 2 * STEPS + 1
    assert run(again)
    assert rows(folder)["epoch"] == ["1", "2", "3"]
    assert rows(folder)["loss"] == rows(whole)["loss"]


def test_the_loss_of_a_part_of_an_epoch(tmp_path, caplog):
    """It is the mean over the steps that were made."""
    trainer = make_trainer(tmp_path, max_steps=6)
    trainer.logger.setLevel(logging.INFO)
    trainer.logger.addHandler(caplog.handler)
    assert run(trainer)
    trainer.logger.removeHandler(caplog.handler)
    losses = [float(line.split("loss is ")[1]) for line in dict.fromkeys(caplog.messages) if "loss is" in line]
    assert len(losses) == 6
    expected = [np.mean(losses[:4]), np.mean(losses[4:])]
    assert [float(loss) for loss in rows(tmp_path)["loss"]] == pytest.approx(expected, rel=1e-5)


def test_each_epoch_is_timed_on_its_own(tmp_path, monkeypatch, caplog):
    """A step takes 10 s, a validation 100 s, which do not count; a resumed epoch counts the steps that it makes."""
    seconds = [0.0]
    monkeypatch.setattr("src.training.trainer.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(InstantStep, "__call__", lambda self, *_: seconds.append(seconds.pop() + 10) or Tensor(1.0))
    monkeypatch.setattr(ScriptedValidation, "__call__", lambda self: seconds.append(seconds.pop() + 100) or accuracy)
    accuracy = Accuracy(0.5, 1.0, 6)
    caplog.set_level(logging.INFO, "test")
    assert not run(make_trainer(tmp_path, ScriptedValidation()), Stop(2 * STEPS + 1))
    resumed = make_trainer(tmp_path, ScriptedValidation())
    resumed.resume(find_checkpoint("auto", tmp_path))
    assert run(resumed)
    times = [line for line in caplog.messages if line.startswith("epoch time")]
    whole = "epoch time: 40000.000 ms, per step time: 10000.000 ms"
    assert times == [whole, whole, "epoch time: 30000.000 ms, per step time: 10000.000 ms"]
    assert [float(value) for value in rows(tmp_path)["seconds"]] == [40, 40, 30]


def test_the_network_is_in_training_mode_in_every_step(tmp_path):
    """Validation puts it into evaluation mode; InstantStep looks."""
    validate = ScriptedValidation(0.2, 0.6, 0.4)
    trainer = make_trainer(tmp_path, lambda: (trainer.network.set_train(False), validate())[1])
    assert run(trainer)
    assert not trainer.network.training


def names(folder):
    return sorted(path.name for path in folder.glob("*.ckpt"))


@pytest.mark.parametrize(("interval", "epochs"), [(1, [1, 2, 3]), (2, [2, 3]), (5, [3])])
def test_checkpoints_every_so_many_epochs(tmp_path, interval, epochs):
    assert run(make_trainer(tmp_path, ckpt_save_interval=interval))
    numbered = [name for name in names(tmp_path) if "trn" in name]
    assert numbered == [f"checkpoint_trn-{epoch}_{STEPS}.ckpt" for epoch in epochs]


def test_the_newest_are_kept(tmp_path):
    assert run(make_trainer(tmp_path, keep_checkpoint_max=2))
    assert names(tmp_path) == ["checkpoint_trn-2_4.ckpt", "checkpoint_trn-3_4.ckpt"]


class TwoRanks:
    """Rank ``rank`` of two; the other one is always as far, but for ``ahead`` steps."""

    size = 2

    def __init__(self, rank, ahead=0):
        self.rank, self.ahead = rank, ahead

    def sum(self, values):
        return np.array([2 * value + self.ahead for value in values], np.float64)


@pytest.mark.parametrize(
    ("rank", "master_only", "saves"), [(0, True, True), (1, True, False), (0, False, True), (1, False, True)]
)
def test_who_saves(tmp_path, rank, master_only, saves):
    validate = ScriptedValidation(0.2)
    trainer = make_trainer(tmp_path, validate, TwoRanks(rank), max_steps=4, ckpt_save_on_master_only=master_only)
    assert run(trainer)
    checkpoints = ["checkpoint_best.ckpt", "checkpoint_last.ckpt", "checkpoint_trn-1_4.ckpt"]
    assert names(tmp_path) == (checkpoints if saves else [])
    assert (tmp_path / "metrics.csv").exists() == (rank == 0)


class OtherRankIsDue(TwoRanks):
    def sum(self, values):
        return super().sum(values) + (len(values) == 1)


@pytest.mark.parametrize(("seconds", "ranks", "epoch"), [(1e9, ALONE, 1), (0, ALONE, 2), (1e9, OtherRankIsDue(0), 2)])
def test_an_epoch_is_not_saved_so_soon_after_another(tmp_path, monkeypatch, seconds, ranks, epoch):
    monkeypatch.setattr("src.training.trainer.RESAVED", seconds)
    assert run(make_trainer(tmp_path, ranks=ranks, ckpt_save_interval=9))
    _, about = checkpoint.read_checkpoint(tmp_path / "checkpoint_last.ckpt")
    assert about["progress"]["epochs_done"] == epoch
    assert names(tmp_path)[-1] == "checkpoint_trn-3_4.ckpt"  # the last epoch is saved in any case


def test_ranks_at_different_steps(start, tmp_path):
    trainer = make_trainer(tmp_path, ranks=TwoRanks(0, ahead=3), train_batch_size=1)
    with pytest.raises(InputError, match="checkpoint_last.ckpt: the ranks have checkpoints of different steps"):
        trainer.resume(start)


def test_two_ranks_resume_what_one_began(start, tmp_path):
    """With half the clips each; not with as many as the one had."""
    make_trainer(tmp_path, ranks=TwoRanks(0), train_batch_size=1).resume(start)
    with pytest.raises(InputError, match=r"clips_per_step 2 \(now 4\)"):
        make_trainer(tmp_path, ranks=TwoRanks(0), train_batch_size=2).resume(start)


def test_the_loss_is_the_mean_over_the_ranks(tmp_path):
    one, two = make_trainer(tmp_path / "one"), make_trainer(tmp_path / "two", ranks=TwoRanks(0, ahead=4))
    for trainer in (one, two):
        batch = next(batches(0))
        trainer.make_step(batch, SimpleNamespace(received=0))
    assert two.progress.loss_sum == pytest.approx(one.progress.loss_sum + 2)


def test_one_rank_that_is_stopped_stops_all(tmp_path):
    trainer = make_trainer(tmp_path, ranks=TwoRanks(0, ahead=1))
    assert trainer.make_step(next(batches(0)), SimpleNamespace(received=0))


def test_a_killed_run_is_resumed_from_its_last_save(whole, tmp_path):
    """Killed: nothing is saved at the moment; the steps since the last save are made again."""

    def killed(batches):
        for count, batch in enumerate(batches, 1):
            if count == 8:
                raise MemoryError
            yield batch

    folder = tmp_path / "killed"
    trainer = make_trainer(folder, ScriptedValidation(0.2), ckpt_save_steps=3)
    with pytest.raises(MemoryError):
        trainer.run(killed(batches(0)), Stop())
    (folder / ".checkpoint_last.99.partial.ckpt").write_bytes(b"half")
    resumed = make_trainer(folder, ScriptedValidation(0.6, 0.4), ckpt_save_steps=3)
    assert not (folder / ".checkpoint_last.99.partial.ckpt").exists()
    resumed.resume(find_checkpoint("auto", folder))
    assert (resumed.progress.epochs_done, resumed.progress.step) == (1, 3)
    assert run(resumed)
    assert last_file(folder) == last_file(whole)


def test_more_steps_or_epochs_than_before(whole, tmp_path):
    folder = tmp_path / "short"
    assert run(make_trainer(folder, ScriptedValidation(0.2, 0.3), max_steps=6))
    path = folder / "checkpoint_trn-2_2.ckpt"
    resumed = make_trainer(folder, ScriptedValidation(0.6, 0.4))
    resumed.resume(path)
    assert resumed.total_steps == 6
    assert run(resumed)
    parameters, _ = checkpoint.read_checkpoint(folder / f"checkpoint_trn-{EPOCHS}_{STEPS}.ckpt")
    expected, _ = checkpoint.read_checkpoint(whole / f"checkpoint_trn-{EPOCHS}_{STEPS}.ckpt")
    for name, value in expected.items():
        np.testing.assert_array_equal(parameters[name].asnumpy(), value.asnumpy())

    done = make_trainer(whole)
    done.resume(find_checkpoint("auto", whole))
    assert run(done)  # nothing left to do
    assert done.total_steps == EPOCHS * STEPS


def test_a_stop_in_the_validation_repeats_only_that(whole, tmp_path):
    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run(make_trainer(folder, ScriptedValidation(0.2)), Stop(validations=1))
    validate = ScriptedValidation(0.6, 0.4)
    resumed = make_trainer(folder, validate)
    resumed.resume(find_checkpoint("auto", folder))
    assert resumed.progress == Progress(1, STEPS, resumed.progress.loss_sum, (0.2, 1.0, 6), 0)
    assert run(resumed)
    assert last_file(folder) == last_file(whole)
    seconds = [line.rsplit(",", 1)[1] for line in (folder / "metrics.csv").read_text().splitlines()]
    assert [text == "" for text in seconds] == [False, False, True, False]  # the second's steps were made before


def test_patience(tmp_path, caplog):
    caplog.set_level(logging.INFO, "test")
    trainer = make_trainer(tmp_path, ScriptedValidation(0.5, 0.4, 0.9), patience=1)
    assert run(trainer)
    assert trainer.progress.epochs_done == 2
    assert (tmp_path / f"checkpoint_trn-2_{STEPS}.ckpt").is_file()
    assert checkpoint.read_checkpoint(tmp_path / "checkpoint_best.ckpt")[1]["epoch"] == 1
    assert "stopping: no better validation for 1 times" in "\n".join(caplog.messages)


@pytest.mark.slow
def test_a_training_that_does_not_learn_says_so_once(tmp_path, caplog):
    trainer = make_trainer(tmp_path, ScriptedValidation(*[0.3] * 8, one_answer=1), epochs_num=7)
    assert trainer.run(Stop().watch(itertools.chain.from_iterable(batches(0) for _ in range(7))), Stop())
    warnings = [record.getMessage() for record in caplog.records if "has not learnt" in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("after 5 epochs")


# Written out, with another value for each setting that must not change on resume.
CHANGED = {
    "consensus_type": "TRN",
    "num_segments": 4,
    "subsample_num": 1,
    "img_feature_dim": 9,
    "backbone": "resnet50",
    "width_mult": 0.5,
    "dropout": 0.6,
    "freeze_bn": False,
    "freeze_backbone": True,
    "image_size": 64,
    "smallest_crop": 0.75,
    "flip": "none",
    "mirror_pairs": "b = c",
    "sliding_windows": 0.5,
    "sliding_windows_start": 1,
    "sliding_windows_full": 2,
    "background_class": "Thumb Up",
    "lr": 0.1,
    "update_lr_epochs": 3,
    "momentum": 0.8,
    "weight_decay": 0.02,
    "clip_grad_norm": 9.0,
    "seed": 3,
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A checkpoint of a run that has made no step."""
    folder = tmp_path_factory.mktemp("start")
    make_trainer(folder).save("checkpoint_last.ckpt")
    return folder / "checkpoint_last.ckpt"


def test_every_fixed_key_is_tried():
    assert set(CHANGED) == set(keys_for(Use.FIXED))


@pytest.mark.parametrize("key", CHANGED)
def test_a_resumed_run_must_not_change(start, tmp_path, key):
    before, now = getattr(make_trainer(tmp_path).config, key), CHANGED[key]
    trainer = make_trainer(tmp_path, **{key: now})
    values = {parameter.name: parameter.asnumpy().copy() for parameter in trainer.network.get_parameters()}
    message = re.escape(f"{start}: a resumed training must not change: {key} {before} (now {now})")
    with pytest.raises(InputError, match=f"^{message}$"):
        trainer.resume(start)
    for parameter in trainer.network.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), values[parameter.name])


@pytest.mark.parametrize(
    ("changes", "clips", "message"),
    [
        ({"train_batch_size": 4}, 9, r"clips_per_step 2 \(now 4\)"),
        ({"seed": 3, "flip": "none"}, 9, r"flip label_aware \(now none\), seed 0 \(now 3\)"),
        ({}, 10, r"clips 9 \(now 10\)"),
    ],
)
def test_a_resumed_run_sees_the_same_batches(start, tmp_path, changes, clips, message):
    trainer = make_trainer(tmp_path, **changes)
    trainer.clips = trainer.clips._replace(num_clips=clips)
    with pytest.raises(InputError, match=f"must not change: {message}$"):
        trainer.resume(start)


def with_data(folder, clips=9, data=DATA, **changes):
    trainer = make_trainer(folder, **changes)
    trainer.clips = trainer.clips._replace(num_clips=clips, data=data)
    return trainer


def test_a_resumed_run_sees_the_same_data(start, tmp_path, caplog_trn):
    """Another list has the same number of clips."""
    other = {**DATA, "the training list": "4d", "frames of the training list": "5e"}
    message = "must not change: the training list and frames of the training list; --resume_other_data true if you want"
    with pytest.raises(InputError, match=message):
        with_data(tmp_path, data=other).resume(start)
    trainer = with_data(tmp_path, 10, other, resume_other_data=True)
    trainer.resume(start)
    said = f"{start}: resumed on other data: the training list and frames of the training list"
    assert said in caplog_trn
    assert trainer.description()["data"] == other


def test_other_data_may_not_have_other_classes(start, tmp_path):
    trainer = with_data(tmp_path, resume_other_data=True)
    trainer.clips = trainer.clips._replace(categories=CLASSES[::-1])
    with pytest.raises(InputError, match="must not change: other classes$"):
        trainer.resume(start)


@pytest.mark.parametrize("validated", [True, False])
def test_a_validation_that_only_one_of_the_runs_has(start, tmp_path, caplog_trn, validated):
    fewer = {key: digest for key, digest in DATA.items() if "validation" not in key}
    path = start
    if not validated:
        with_data(tmp_path, data=fewer).save("checkpoint_last.ckpt")
        path = tmp_path / "checkpoint_last.ckpt"
    with_data(tmp_path, data=fewer if validated else DATA).resume(path)
    assert caplog_trn == []


def test_a_checkpoint_that_is_older_than_the_fingerprint(start, tmp_path, caplog_trn):
    entries, about = checkpoint.read_all(start)
    del about["data"]
    path = checkpoint.save_checkpoint(tmp_path / "old.ckpt", entries, about)
    with_data(tmp_path, data={**DATA, "the training list": "4d"}).resume(path)
    said = "of an earlier version, which does not say on which clips it was trained: only their number is checked"
    assert caplog_trn == [f"{path}: {said}"]


def test_keys_that_may_change_on_resume(start, tmp_path):
    make_trainer(tmp_path, epochs_num=9, max_steps=7, eval_interval=2, keep_checkpoint_max=1, train_workers=3).resume(
        start
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": None}, "does not say consensus_type"),
        ({"recipe": None}, "does not say dropout"),
        ({"recipe": {}}, "does not say dropout"),
        ({"categories": None}, "other classes"),
        ({"progress": None}, "progress None"),
        ({"progress": {"colour": 1}}, "progress {.*'colour': 1"),
        ({"progress": {"step": 5}}, "has made 5 steps of an epoch of 4"),
    ],
)
def test_an_edited_description(start, tmp_path, change, message):
    entries, about = checkpoint.read_all(start)
    for part, value in change.items():
        whole = {**about[part], **value} if part == "progress" and value else value
        about = {**about, part: whole}
        if value is None:
            about.pop(part)
    checkpoint.save_checkpoint(tmp_path / "edited.ckpt", entries, about)
    with pytest.raises(InputError, match=f"edited.ckpt: .*{message}"):
        make_trainer(tmp_path).resume(tmp_path / "edited.ckpt")


def test_a_network_without_the_optimisers_state_is_no_run(tmp_path):
    trainer = make_trainer(tmp_path)
    checkpoint.save_checkpoint(tmp_path / "trn.ckpt", trainer.network.parameters_dict(), trainer.description())
    with pytest.raises(InputError, match="trn.ckpt: holds a network only"):
        trainer.resume(tmp_path / "trn.ckpt")


def test_a_loss_that_is_nan_ends_the_run(tmp_path):
    trainer = make_trainer(tmp_path, lr=0.05)
    trainer.network.consensus.fc_fusion_scales[0][3].bias.set_data(Tensor(np.full(3, np.nan, np.float32)))
    with pytest.raises(InputError, match="lr 0.05: the loss became nan in epoch: 1 step: 1"):
        run(trainer)
    assert not list(tmp_path.glob("checkpoint*"))
