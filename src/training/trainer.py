"""The training loop: steps; after each epoch validation, curves and checkpoints.

A step draws from the seed, the epoch and the clip alone. So the network's parameters, the optimiser's state and
``Progress`` are all that a run needs to be resumed exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from logging import Logger
from pathlib import Path
from typing import Any, NamedTuple

from mindspore import Tensor, nn

from model_utils.errors import InputError
from model_utils.progress import with_bar
from model_utils.settings import Settings, Use, values_for
from src.evaluation import results
from src.evaluation.evaluator import Accuracy
from src.ops.ranks import Ranks
from src.train_cell import TrainStep, learning_rate
from src.training import checkpoint, run_folder, state
from src.training.frozen import FeatureLoss
from src.training.learning_check import learning_warning
from src.training.state import Progress
from src.tsn import TSN

REDRAWN = 10  # seconds after which a picture of the curves is drawn again
RESAVED = 5  # seconds after which the state is saved again in checkpoint_last.ckpt


class TrainingSet(NamedTuple):
    """The classes, the number of clips, the steps that an epoch of them gives each rank, and the ``fingerprint``s."""

    categories: list[str]
    num_clips: int
    steps_per_epoch: int
    data: dict[str, str]


class Trainer:
    """One run of one rank.

    Args:
        validate: validates after an epoch; None for no validation.
        logger: ``extra={"plain": True}`` asks for a line without a prefix, in the model zoo's form.
    """

    def __init__(
        self,
        network: TSN,
        optimizer: nn.Optimizer,
        validate: Callable[[], Accuracy] | None,
        config: Settings,
        clips: TrainingSet,
        ranks: Ranks,
        logger: Logger,
    ) -> None:
        self.network, self.optimizer, self.validate, self.config = network, optimizer, validate, config
        self.clips, self.steps_per_epoch = clips, clips.steps_per_epoch
        self.ranks, self.logger = ranks, logger
        self.writes, self.saves = ranks.rank == 0, ranks.rank == 0 or not config.ckpt_save_on_master_only
        loss = FeatureLoss(network) if config.freeze_backbone else None
        self.train_step = TrainStep(network, optimizer, config.clip_grad_norm, loss)
        self.output_dir = Path(config.train_output_dir)
        self.last_step = min(config.epochs_num * self.steps_per_epoch, config.max_steps or math.inf)
        self.progress = Progress()
        self.curves: list[dict[str, float | None]] = []
        self.drawn = self.saved = -math.inf
        self.warned = False
        if self.saves:
            run_folder.delete_partial(self.output_dir)

    # ------------------------------------------------------------------------------------------------------- state

    @property
    def total_steps(self) -> int:
        return self.progress.epochs_done * self.steps_per_epoch + self.progress.step

    def description(self) -> dict[str, Any]:
        """The description of a checkpoint saved now, with the recipe that must not change on resume."""
        config, clips = self.config, self.clips
        description = checkpoint.describe(config, clips.categories, data=clips.data, progress=asdict(self.progress))
        settings = description["settings"]
        recipe = {key: value for key, value in values_for(config, Use.FIXED).items() if key not in settings}
        recipe.update(clips=clips.num_clips, clips_per_step=config.train_batch_size * self.ranks.size)
        epoch = self.progress.epochs_done + (self.progress.step > 0)
        return {**description, "epoch": epoch, "recipe": recipe}

    def resume(self, path: Path) -> None:
        """Resumes from a checkpoint.

        Raises:
            InputError: if it cannot be read, belongs to a run with another recipe, or differs among the ranks.
        """
        config, present = self.config, self.description()
        self.progress = state.resume_training(path, self.network, self.optimizer, present, config.resume_other_data)
        if self.progress.step > self.steps_per_epoch:
            raise InputError(f"{path}: has made {self.progress.step} steps of an epoch of {self.steps_per_epoch}")
        if self.ranks.sum([self.total_steps])[0] != self.ranks.size * self.total_steps:
            raise InputError(f"{path}: the ranks have checkpoints of different steps, give all of them the same")
        self.progress.rewinds = run_folder.rewinds(self.output_dir, path)
        self.curves = results.read_training(self.output_dir, self.progress.epochs_done)
        done, step = self.progress.epochs_done, self.progress.step
        self.logger.info("resuming from %s: %d epochs and %d steps are done", path, done, step)

    def save(self, name: str) -> None:
        """Saves everything that a resumed run needs."""
        self.saved = time.monotonic()
        if self.saves:
            parameters = state.training_state(self.network, self.optimizer)
            path = checkpoint.save_checkpoint(self.output_dir / name, parameters, self.description())
            if name != run_folder.LAST_NAME:  # saved too often for a line in the log
                self.logger.info("saved %s", path)

    # --------------------------------------------------------------------------------------------------------- run

    def run(self, batches: Iterable[tuple[Tensor, ...]], stop: Any) -> bool:
        """Trains on ``batches`` (see ``TrainStep``) to the end; returns False if it was stopped, its state saved.

        ``stop.received`` is true if the run must end after the present step. A validation runs inside
        ``stop.at_once()``: the state is saved before it, so an exception may end it.
        """
        config, progress = self.config, self.progress
        self.start_clock()
        if progress.step == self.steps_per_epoch and not self.finish_epoch(stop):
            return True
        if self.total_steps >= self.last_step:
            self.logger.info("nothing to do: %d steps are done", self.total_steps)
            return True
        self.logger.info("compiling the training graph with the first step, which takes a while")
        self.start_clock()
        for batch in with_bar(batches, self.total_steps, self.last_step) if self.writes else batches:
            stopped = self.make_step(batch, stop)
            if progress.step == self.steps_per_epoch or self.total_steps == self.last_step:
                if not self.finish_epoch(stop):
                    return True
                self.start_clock()
            elif config.ckpt_save_steps and progress.step % config.ckpt_save_steps == 0 and not stopped:
                self.save(run_folder.LAST_NAME)
            if stopped:
                self.save(run_folder.LAST_NAME)
                return False
        return True

    def start_clock(self) -> None:
        self.began, self.first_step = time.monotonic(), self.progress.step

    def make_step(self, batch: tuple[Tensor, ...], stop: Any) -> bool:
        """Makes one step; returns whether any rank must stop."""
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
        """Validates, writes curves and saves after an epoch, or the part of it that ``max_steps`` allows.

        Returns:
            Whether there is another epoch.
        """
        config, progress = self.config, self.progress
        epoch = progress.epochs_done + 1
        name = run_folder.numbered_name(epoch, progress.step)
        seconds, steps = None, progress.step - self.first_step
        if steps:  # none after a resume at the epoch's end
            seconds = time.monotonic() - self.began
            self.log_plain(f"epoch time: {1000 * seconds:.3f} ms, per step time: {1000 * seconds / steps:.3f} ms")
        ends_run = self.total_steps == self.last_step
        accuracy = None
        if self.validate and (epoch % config.eval_interval == 0 or ends_run):
            self.save(run_folder.LAST_NAME)
            with stop.at_once():
                accuracy = self.check_accuracy(self.validate(), epoch)
        if 0 < config.patience <= progress.since_best:
            self.logger.info("stopping: no better validation for %d times", progress.since_best)
            ends_run = True
        self.write_curves(epoch, accuracy, seconds, ends_run)
        self.warn_if_not_learning(epoch, accuracy.one_answer if accuracy else None)
        if progress.step == self.steps_per_epoch:
            progress.epochs_done, progress.step, progress.loss_sum = epoch, 0, 0.0
        numbered = ends_run or epoch % config.ckpt_save_interval == 0
        # Saving takes a fifth of the time of an epoch behind a frozen backbone. All ranks save the same epochs.
        if numbered or self.ranks.sum([time.monotonic() - self.saved >= RESAVED])[0]:
            self.save(name if numbered else run_folder.LAST_NAME)
        if numbered and self.saves:
            run_folder.keep_newest(self.output_dir, config.keep_checkpoint_max, name)
        return not ends_run

    def check_accuracy(self, accuracy: Accuracy, epoch: int) -> Accuracy:
        """Logs the accuracy after an epoch, and saves the network if it is the best so far."""
        values = accuracy.top1, accuracy.top5, accuracy.clips
        self.logger.info("validation after epoch %d: top1: %f; top5: %f; %d clips", epoch, *values)
        if self.progress.count_validation(*values) and self.saves:
            path = self.output_dir / run_folder.BEST_NAME
            checkpoint.save_checkpoint(path, self.network.parameters_dict(), self.description())
            self.logger.info("saved %s", path)
        return accuracy

    def warn_if_not_learning(self, epoch: int, one_answer: int | None) -> None:
        """Warns once if the training does not learn."""
        loss = self.progress.loss_sum / self.progress.step
        warning = learning_warning(epoch, loss, self.clips.categories, one_answer, self.config)
        if warning and not self.warned:
            self.logger.warning("%s", warning)
            self.warned = True

    def write_curves(self, epoch: int, accuracy: Accuracy | None, seconds: float | None, ends_run: bool) -> None:
        row = {
            "epoch": epoch,
            "lr": learning_rate(self.config.lr, self.config.update_lr_epochs, epoch),
            "loss": self.progress.loss_sum / self.progress.step,
            "top1": accuracy.top1 if accuracy else None,
            "top5": accuracy.top5 if accuracy else None,
            "seconds": seconds,
        }
        self.curves.append(row)
        if self.writes:
            # Drawing takes longer than an epoch behind a frozen backbone.
            due = ends_run or accuracy is not None or time.monotonic() - self.drawn >= REDRAWN
            results.write_training(self.output_dir, self.curves, due)
            self.drawn = time.monotonic() if due else self.drawn

    def log_plain(self, line: str) -> None:
        self.logger.info(line, extra={"plain": True})
