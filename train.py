"""Trains a Temporal Relation Network.

Logs, checkpoints, the resolved config and the curves of loss and validation go to train_output_dir. Ctrl-C, SIGTERM
and SIGHUP finish the step and save; --resume auto resumes from there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import Config, load_config
from model_utils.device_adapter import exit_directly
from model_utils.moxing_adapter import moxing_session
from model_utils.stop_signals import StopSignals
from model_utils.util import run_main

if TYPE_CHECKING:
    from src.data.frame_files import VideoRecord
    from src.evaluation.evaluator import Accuracy
    from src.ops.ranks import Ranks
    from src.training.trainer import Trainer, TrainingSet
    from src.tsn import TSN


def train(config: Config, stop: StopSignals) -> None:
    from model_utils.device_adapter import start_device
    from src import tsn_dataset
    from src.data.frame_files import dataset_frames
    from src.data.mirror_pairs import given_pairs
    from src.ops.ranks import Ranks
    from src.training.fingerprint import fingerprint
    from src.training.run_folder import open_run
    from src.training.trainer import TrainingSet

    ranks = Ranks(*start_device(config))
    with open_run(config.train_output_dir, config.resume, ranks) as checkpoint:
        categories = tsn_dataset.read_categories(Path(config.dataset_root, config.categories_list_file_name))
        config.mirror_pairs = given_pairs(config.dataset_root, categories, config.mirror_pairs)
        records = tsn_dataset.read_clips(config, config.train_list_file_name, len(categories))
        validated = []
        if config.eval_interval:
            validated = tsn_dataset.read_clips(config, config.eval_list_file_name, len(categories))
        frames = dataset_frames(config)
        steps = tsn_dataset.steps_per_epoch(len(records), config.train_batch_size, ranks.size)
        data = fingerprint("training", records, frames) | fingerprint("validation", validated, frames)
        clips = TrainingSet(categories, len(records), steps, data)
        trainer = build_trainer(config, clips, validated, ranks, checkpoint)
        with closing(load_batches(config, records, trainer)) as batches:
            finished = trainer.run(batches, stop)
        ranks.sum([0])  # waits until all have saved: after an error of one rank, mpirun ends the others
    if not finished:
        stop.end()


def build_trainer(
    config: Config, clips: TrainingSet, validated: list[VideoRecord], ranks: Ranks, checkpoint: Path | None
) -> Trainer:
    """Builds the network, with new or pre-trained weights, and its trainer; resumes from ``checkpoint``, if any.

    ``validated``: the clips to validate with, if any.
    """
    from model_utils.logging import get_logger, log_settings
    from src.backbones import check_image_size
    from src.train_cell import build_optimizer
    from src.training.frozen import freeze_backbone
    from src.training.learning_check import warning_at_start
    from src.training.start import load_start
    from src.training.trainer import Trainer
    from src.tsn import build_network

    network = build_network(config, len(clips.categories))
    check_image_size(config.backbone, network.base_model, config.image_size)
    logger = get_logger(config.train_output_dir, ranks.rank, "train.log")
    loaded = "" if checkpoint else load_start(network, config, clips.categories)
    if loaded:
        logger.info("%s", loaded)
    elif not checkpoint and (warning := warning_at_start(config)):
        logger.warning("%s", warning)
    if config.freeze_backbone:
        freeze_backbone(network, trained=bool(loaded or checkpoint))
    schedule = config.lr, config.update_lr_epochs, clips.steps_per_epoch
    optimizer = build_optimizer(network, *schedule, config.momentum, config.weight_decay)
    validate = build_validation(config, network, validated, len(clips.categories), ranks) if validated else None
    trainer = Trainer(network, optimizer, validate, config, clips, ranks, logger)
    if checkpoint:
        trainer.resume(checkpoint)
    elif config.resume:
        logger.info("resume %s: no checkpoint in %s, starting anew", config.resume, config.train_output_dir)
    log_settings(logger, config, config.train_output_dir, "train")
    logger.info(
        "%d clips, %d classes, %d steps an epoch", clips.num_clips, len(clips.categories), clips.steps_per_epoch
    )
    return trainer


def load_batches(config: Config, records: list[VideoRecord], trainer: Trainer) -> Any:
    """The batches of the run, from its start or from where it was stopped."""
    from model_utils.device_adapter import ranks_on_node
    from src import tsn_dataset
    from src.data.mirror_pairs import describe_mirroring
    from src.data.names import background_warning
    from src.training.frozen import feature_dataset, keep_features

    logger, features, done = trainer.logger, trainer.network.base_model.feature_channels, trainer.progress
    categories = trainer.clips.categories
    loader = tsn_dataset.training_loader(config, categories, features)
    for line in describe_mirroring(categories, loader.mirrored) if config.flip == "label_aware" else ():
        logger.info("%s", line)
    if loader.sliding_windows and loader.background < 0:
        logger.warning("%s; now all sliding windows are whole", background_warning(config.background_class))
    workers = tsn_dataset.usable_workers(config.train_workers, ranks_on_node(config))
    if workers < config.train_workers:
        logger.info("train_workers: %d asked for, %d used (CPU cores)", config.train_workers, workers)
    first = {"first_epoch": done.epochs_done, "first_step": done.step}
    options: dict[str, Any] = {"batch_size": config.train_batch_size, "ranks": trainer.ranks, **first}
    if config.freeze_backbone:
        kept = keep_features(trainer.network, loader, records, workers, logger)
        dataset = feature_dataset(kept, records, **options)
    else:
        dataset = tsn_dataset.training_dataset(loader, records, workers=workers, **options)
    return dataset.read(config.epochs_num - done.epochs_done)


def build_validation(
    config: Config, network: TSN, records: list[VideoRecord], num_classes: int, ranks: Ranks
) -> Callable[[], Accuracy]:
    """A function that validates on centre crops of the clips, in batches as in training, shared among the ranks."""
    from model_utils.device_adapter import ranks_on_node
    from src import tsn_dataset
    from src.evaluation.evaluator import Evaluator, validation_accuracy
    from src.evaluation.scoring import ClipScorer

    workers = tsn_dataset.usable_workers(config.eval_workers, ranks_on_node(config))
    scorer = ClipScorer(network, config, test_crops=1, batch_size=config.train_batch_size)
    loader = tsn_dataset.evaluation_loader(config, 1)
    evaluator = Evaluator(scorer, loader, records, workers=workers, on_error=config.on_error, ranks=ranks)
    return partial(validation_accuracy, evaluator, num_classes)


def main() -> None:
    config = load_config(description=__doc__)
    with moxing_session(config), StopSignals("stopped; the same command with --resume auto resumes") as stop:
        train(config, stop)
    exit_directly()


if __name__ == "__main__":
    run_main(main)
