"""The training loop: what it saves and when, and that a run stopped anywhere goes on as if it had not been."""

import json
import logging
import os
from contextlib import contextmanager
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from model_utils.errors import InputError
from src.evaluation.evaluator import Accuracy
from src.ops.ranks import ALONE
from src.train_cell import build_optimizer
from src.training import checkpoint
from src.training.trainer import Progress, Trainer, find_checkpoint
from src.trn import MultiScaleTRN
from tests.helpers.networks import CLASSES, settings

EPOCHS, STEPS = 3, 4


class SmallNetwork(nn.Cell):
    """One layer before a real head: compiled in two seconds."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Dense(3, 8)
        self.consensus = MultiScaleTRN(num_segments=3, feature_dim=8, num_classes=3, subsample_num=2)

    def construct(self, video, relations=None, dropout_mask=None):
        colours = video.reshape((-1, 3, 3, 16)).mean(3) / 64  # [B, T, 3]
        return self.consensus(self.fc(colours * dropout_mask), relations)


class ScriptedValidation:
    """Gives the accuracies it was told to, one a call, and keeps the best like the real one."""

    def __init__(self, *top1):
        self.coming, self.best, self.since_best = list(top1), None, 0

    def __call__(self):
        accuracy = Accuracy(self.coming.pop(0), 1.0, 6)
        better = self.best is None or accuracy.top1 > self.best.top1
        self.best, self.since_best = (accuracy, 0) if better else (self.best, self.since_best + 1)
        return accuracy


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


def make_trainer(folder, validate=None, **changes):
    """A run with new, always equal initial weights."""
    ms.set_seed(7)
    network = SmallNetwork()
    config = settings(
        seed=0,
        lr=0.05,
        update_lr_epochs=2,
        momentum=0.9,
        weight_decay=0.01,
        clip_grad_norm=20.0,
        sliding_windows=0.0,
        background_class="No gesture",
        dropout=0.5,
        epochs_num=EPOCHS,
        max_steps=0,
        train_batch_size=2,
        train_output_dir=str(folder),
        log_interval=1,
        eval_interval=1,
        patience=0,
        ckpt_save_interval=1,
        ckpt_save_steps=0,
        ckpt_save_on_master_only=True,
        keep_checkpoint_max=10,
    )
    config = SimpleNamespace(**{**vars(config), **changes})
    optimizer = build_optimizer(network, config.lr, config.update_lr_epochs, STEPS, 0.9, config.weight_decay)
    return Trainer(
        network,
        optimizer,
        validate,
        config,
        CLASSES,
        num_clips=9,
        steps_per_epoch=STEPS,
        ranks=ALONE,
        logger=logging.getLogger("test"),
    )


def run(trainer, stop=None):
    stop = stop or Stop()
    return trainer.run(stop.watch(batches(trainer.total_steps)), stop)


def last_file(folder):
    return (folder / f"checkpoint_trn-{EPOCHS}_{STEPS}.ckpt").read_bytes()


@pytest.fixture
def whole(tmp_path, compiled):
    """Folder of a run that nothing stopped."""
    assert run(make_trainer(tmp_path / "whole", ScriptedValidation(0.2, 0.6, 0.4)))
    return tmp_path / "whole"


def test_a_run_leaves_checkpoints_and_curves(whole):
    names = {path.name for path in whole.iterdir()}
    numbered = {f"checkpoint_trn-{epoch}_{STEPS}.ckpt" for epoch in (1, 2, 3)}
    assert names == numbered | {"checkpoint_last.ckpt", "checkpoint_best.ckpt", "metrics.csv", "curves.png"}
    header, *rows = (line.split(",") for line in (whole / "metrics.csv").read_text().splitlines())
    assert [row[header.index("top1")] for row in rows] == ["0.2", "0.6", "0.4"]
    assert [float(row[header.index("lr")]) for row in rows] == pytest.approx([0.05, 0.05, 0.005])
    _, about = checkpoint.read_checkpoint(whole / f"checkpoint_trn-{EPOCHS}_{STEPS}.ckpt")
    assert about["progress"] == {"epochs_done": 3, "step": 0, "loss_sum": 0.0, "best": [0.6, 1.0, 6], "since_best": 1}
    assert about["recipe"]["clips_per_step"] == 2
    assert about["categories"] == CLASSES
    _, best = checkpoint.read_checkpoint(whole / "checkpoint_best.ckpt")
    assert best["progress"]["best"] == [0.6, 1.0, 6]


@pytest.mark.parametrize("after", [1, 4, 6])
def test_a_stopped_run_goes_on_bit_by_bit(whole, tmp_path, after):
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
    for column in range(5):  # all but the seconds
        values = [
            [line.split(",")[column] for line in (path / "metrics.csv").read_text().splitlines()]
            for path in (whole, folder)
        ]
        assert values[0] == values[1]


def test_a_killed_run_goes_on_from_its_last_save(whole, tmp_path):
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
    assert resumed.progress == Progress(1, STEPS, resumed.progress.loss_sum, [0.2, 1.0, 6], 0)
    assert run(resumed)
    assert last_file(folder) == last_file(whole)


def test_patience(tmp_path, compiled):
    trainer = make_trainer(tmp_path, ScriptedValidation(0.5, 0.4, 0.9), patience=1)
    assert run(trainer)
    assert trainer.progress.epochs_done == 2
    assert (tmp_path / f"checkpoint_trn-2_{STEPS}.ckpt").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.1}, r"lr 0.05 \(now 0.1\)"),
        ({"train_batch_size": 4}, r"clips_per_step 2 \(now 4\)"),
        ({"seed": 3, "flip": "none"}, r"flip label_aware \(now none\), seed 0 \(now 3\)"),
    ],
)
def test_a_run_goes_on_as_it_began(tmp_path, changes, message):
    make_trainer(tmp_path).save("checkpoint_last.ckpt")
    with pytest.raises(InputError, match=message):
        make_trainer(tmp_path, **changes).resume(tmp_path / "checkpoint_last.ckpt")


def test_a_run_does_not_go_on_with_other_classes(tmp_path):
    make_trainer(tmp_path).save("checkpoint_last.ckpt")
    trainer = make_trainer(tmp_path)
    trainer.categories = CLASSES[::-1]
    with pytest.raises(InputError, match="checkpoint_last.ckpt: cannot go on otherwise than it began: other classes"):
        trainer.resume(tmp_path / "checkpoint_last.ckpt")


def test_a_network_without_the_optimisers_state_is_no_run(tmp_path):
    trainer = make_trainer(tmp_path)
    checkpoint.save_checkpoint(tmp_path / "trn.ckpt", trainer.network.parameters_dict(), trainer.description())
    with pytest.raises(InputError, match="trn.ckpt: holds a network only"):
        trainer.resume(tmp_path / "trn.ckpt")


def test_find_checkpoint(tmp_path):
    assert find_checkpoint("", tmp_path) is None
    assert find_checkpoint("auto", tmp_path / "not there") is None
    assert find_checkpoint(str(tmp_path / "some.ckpt"), tmp_path) == tmp_path / "some.ckpt"
    for name in ("checkpoint_best.ckpt", "checkpoint_last.ckpt", "checkpoint_trn-10_4.ckpt"):
        (tmp_path / name).touch()
    os.utime(tmp_path / "checkpoint_last.ckpt", (5, 5))
    assert find_checkpoint("auto", tmp_path).name == "checkpoint_trn-10_4.ckpt"
    os.utime(tmp_path / "checkpoint_trn-10_4.ckpt", (4, 4))
    assert find_checkpoint("auto", tmp_path).name == "checkpoint_last.ckpt"


def test_a_loss_that_is_no_number_ends_the_run(tmp_path, compiled):
    trainer = make_trainer(tmp_path, lr=0.05)
    trainer.network.consensus.fc_fusion_scales[0][3].bias.set_data(Tensor(np.full(3, np.nan, np.float32)))
    with pytest.raises(InputError, match="lr 0.05: the loss became nan in epoch: 1 step: 1"):
        run(trainer)
    assert not list(tmp_path.glob("checkpoint*"))


def test_the_description_is_json(tmp_path):
    assert json.loads(json.dumps(make_trainer(tmp_path).description()))["progress"]["step"] == 0
