"""The training loop: step after step, at the end of each epoch validation, curves and checkpoints.

How far a run has come is ``Progress``; with the network's parameters and the optimiser's state it is all that another
process needs to go on exactly, because what a step draws depends on the seed, the epoch and the clip alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from logging import Logger
from pathlib import Path
from typing import Any

from mindspore import Tensor, nn

from model_utils.errors import InputError
from src.evaluation import report
from src.evaluation.evaluator import Accuracy, Validation
from src.ops.ranks import Ranks
from src.train_cell import TrainStep, learning_rate
from src.training import checkpoint
from src.tsn import TSN

# What a run that goes on has in common with the run it continues, besides the network, the data and the classes.
RECIPE = ("seed", "lr", "update_lr_epochs", "momentum", "weight_decay", "clip_grad_norm", "dropout", "freeze_bn")
RECIPE += ("sliding_windows", "background_class")  # absent from older checkpoints: checkpoint.ADDED_RECIPE


@dataclass
class Progress:
    """Epochs that are done, validation included; of the one that is not, its steps and the sum of their losses."""

    epochs_done: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: tuple[float, float, int] | None = None  # top-1, top-5, clips
    since_best: int = 0


def find_checkpoint(resume: str, folder: str | Path) -> Path | None:
    """What ``resume`` means: nothing, a path, or with "auto" the newest checkpoint in ``folder``, if there is one."""
    if resume == "auto":
        return checkpoint.newest_checkpoint(folder)
    return Path(resume) if resume else None


class Trainer:
    """One run of one rank.

    Args:
        network, optimizer, validate: what is trained, how, and how it is validated (None: never).
        config: reads the keys of RECIPE and of ``checkpoint.describe``, ``epochs_num max_steps train_batch_size
            train_output_dir log_interval eval_interval patience ckpt_save_interval ckpt_save_steps
            ckpt_save_on_master_only keep_checkpoint_max``.
        num_clips, steps_per_epoch: of the training list, and what it gives each rank.
        logger: lines of the model zoo's own form have no prefix, which ``extra={"plain": True}`` asks of it.
    """

    def __init__(
        self,
        network: TSN,
        optimizer: nn.Optimizer,
        validate: Validation | None,
        config: Any,
        categories: list[str],
        *,
        num_clips: int,
        steps_per_epoch: int,
        ranks: Ranks,
        logger: Logger,
    ) -> None:
        self.network, self.optimizer, self.validate, self.config = network, optimizer, validate, config
        self.categories, self.num_clips, self.steps_per_epoch = categories, num_clips, steps_per_epoch
        self.ranks, self.logger = ranks, logger
        self.writes, self.saves = ranks.rank == 0, ranks.rank == 0 or not config.ckpt_save_on_master_only
        self.train_step = TrainStep(network, optimizer, config.clip_grad_norm)
        self.output_dir = Path(config.train_output_dir)
        self.last_step = min(config.epochs_num * steps_per_epoch, config.max_steps or math.inf)
        self.progress = Progress()
        self.curves: list[dict[str, float | None]] = []
        self.start_clock()
        if self.saves:
            checkpoint.delete_partial(self.output_dir)

    # ------------------------------------------------------------------------------------------------------- state

    @property
    def total_steps(self) -> int:
        return self.progress.epochs_done * self.steps_per_epoch + self.progress.step

    def description(self) -> dict[str, Any]:
        recipe = {key: getattr(self.config, key) for key in RECIPE}
        recipe.update(clips=self.num_clips, clips_per_step=self.config.train_batch_size * self.ranks.size)
        epoch = self.progress.epochs_done + (self.progress.step > 0)
        progress = asdict(self.progress)
        return checkpoint.describe(self.config, self.categories, epoch=epoch, recipe=recipe, progress=progress)

    def resume(self, path: Path) -> None:
        """Goes on from a checkpoint.

        Raises:
            InputError: if it cannot be read, belongs to a run with another recipe, or differs among the ranks.
        """
        about = checkpoint.resume_training(path, self.network, self.optimizer, self.description())
        self.progress = Progress(**about["progress"])
        if self.ranks.sum([self.total_steps])[0] != self.ranks.size * self.total_steps:
            raise InputError(f"{path}: the ranks have checkpoints of different steps, give all of them the same")
        if self.validate and self.progress.best:
            self.validate.best = Accuracy(*self.progress.best)
            self.validate.since_best = self.progress.since_best
        self.curves = report.read_training(self.output_dir, self.progress.epochs_done)
        done, step = self.progress.epochs_done, self.progress.step
        self.logger.info("resuming from %s: %d epochs and %d steps are done", path, done, step)

    def save(self, name: str) -> None:
        """Saves all that a run goes on from."""
        if self.saves:
            state = checkpoint.training_state(self.network, self.optimizer)
            path = checkpoint.save_checkpoint(self.output_dir / name, state, self.description())
            if name != checkpoint.LAST_NAME:  # too often to be told
                self.logger.info("saved %s", path)

    # --------------------------------------------------------------------------------------------------------- run

    def run(self, batches: Iterable[tuple[Tensor, ...]], stop: Any) -> bool:
        """Trains on batches (see ``TrainStep``) to the end; returns False if it was stopped before, its state saved.

        ``stop.received`` becomes true when the run is to end after the step; while it validates, inside
        ``with stop.at_once()``, its state is saved already, and it may be ended by an exception.
        """
        config, progress = self.config, self.progress
        if progress.step == self.steps_per_epoch and not self.finish_epoch(stop):
            return True
        if self.total_steps >= self.last_step:
            self.logger.info("nothing to do: %d steps are done", self.total_steps)
            return True
        self.logger.info("compiling the training graph with the first step, which takes a while")
        self.start_clock()
        for batch in batches:
            stopped = self.make_step(batch, stop)
            if progress.step == self.steps_per_epoch or self.total_steps == self.last_step:
                if not self.finish_epoch(stop):
                    return True
                self.start_clock()
            elif config.ckpt_save_steps and progress.step % config.ckpt_save_steps == 0 and not stopped:
                self.save(checkpoint.LAST_NAME)
            if stopped:
                self.save(checkpoint.LAST_NAME)
                return False
        return True

    def start_clock(self) -> None:
        self.began, self.first_step = time.monotonic(), self.progress.step

    def make_step(self, batch: tuple[Tensor, ...], stop: Any) -> bool:
        """One step; returns whether any rank is to stop."""
        self.train_step.set_train()
        own_loss = float(self.train_step(*batch).asnumpy())
        loss_sum, stops = self.ranks.sum([own_loss, bool(stop.received)])
        loss = float(loss_sum) / self.ranks.size
        progress = self.progress
        progress.step += 1
        progress.loss_sum += loss
        place = f"epoch: {progress.epochs_done + 1} step: {progress.step}"
        if not math.isfinite(loss):
            raise InputError(f"lr {self.config.lr}: the loss became {loss} in {place}, try a smaller lr")
        last = progress.step == self.steps_per_epoch or self.total_steps == self.last_step
        if progress.step % self.config.log_interval == 0 or last:
            self.log_plain(f"{place}, loss is {loss:.7g}")
        return bool(stops)

    def finish_epoch(self, stop: Any) -> bool:
        """Validation, curves and checkpoints after an epoch, or after what ``max_steps`` leaves of it; returns whether
        training goes on."""
        config, progress = self.config, self.progress
        epoch, name = progress.epochs_done + 1, f"checkpoint_trn-{progress.epochs_done + 1}_{progress.step}.ckpt"
        seconds = time.monotonic() - self.began
        steps = progress.step - self.first_step
        if steps:
            self.log_plain(f"epoch time: {1000 * seconds:.3f} ms, per step time: {1000 * seconds / steps:.3f} ms")
        ends_run = self.total_steps == self.last_step
        accuracy = None
        if self.validate and (epoch % config.eval_interval == 0 or ends_run):
            self.save(checkpoint.LAST_NAME)
            with stop.at_once():
                accuracy = self.check_validation(epoch)
        if 0 < config.patience <= progress.since_best:
            self.logger.info("stopping: no better validation for %d times", progress.since_best)
            ends_run = True
        self.write_curves(epoch, accuracy, seconds)
        if progress.step == self.steps_per_epoch:
            progress.epochs_done, progress.step, progress.loss_sum = epoch, 0, 0.0
        numbered = ends_run or epoch % config.ckpt_save_interval == 0
        self.save(name if numbered else checkpoint.LAST_NAME)
        if numbered and self.saves:
            checkpoint.keep_newest(self.output_dir, config.keep_checkpoint_max)
        return not ends_run

    def check_validation(self, epoch: int) -> Accuracy:
        accuracy = self.validate()
        self.progress.best, self.progress.since_best = astuple(self.validate.best), self.validate.since_best
        top1, top5, clips = astuple(accuracy)
        self.logger.info("validation after epoch %d: top1: %f; top5: %f; %d clips", epoch, top1, top5, clips)
        if self.validate.since_best == 0 and self.saves:
            path = self.output_dir / "checkpoint_best.ckpt"
            checkpoint.save_checkpoint(path, self.network.parameters_dict(), self.description())
            self.logger.info("saved %s", path)
        return accuracy

    def write_curves(self, epoch: int, accuracy: Accuracy | None, seconds: float) -> None:
        row = {
            "epoch": epoch,
            "lr": learning_rate(self.config.lr, self.config.update_lr_epochs, epoch),
            "loss": self.progress.loss_sum / self.progress.step,
            "top1": accuracy and accuracy.top1,
            "top5": accuracy and accuracy.top5,
            "seconds": seconds,
        }
        self.curves.append(row)
        if self.writes:
            report.write_training(self.output_dir, self.curves)

    def log_plain(self, line: str) -> None:
        self.logger.info(line, extra={"plain": True})
