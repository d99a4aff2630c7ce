"""Trains a Temporal Relation Network.

Logs, checkpoints, the resolved config and the curves of loss and validation go to train_output_dir. Ctrl-C and SIGTERM
finish the step and save; --resume auto goes on from there.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from model_utils.config import Config, load_config
from model_utils.device_adapter import leave
from model_utils.moxing_adapter import moxing_session
from model_utils.stop_signals import StopSignals
from model_utils.util import run_main

# MindSpore takes seconds to import, and --help and a misspelt key need none of it: functions import what they use.
if TYPE_CHECKING:
    from src.evaluation.evaluator import Validation
    from src.ops.ranks import Ranks
    from src.tsn import TSN


def train(config: Config, stop: StopSignals) -> None:
    from model_utils.device_adapter import start_device
    from model_utils.logging import get_logger
    from src import tsn_dataset
    from src.bn_inception import check_image_size
    from src.ops.ranks import Ranks
    from src.train_cell import build_optimizer
    from src.training.checkpoint import load_backbone
    from src.training.trainer import Trainer, find_checkpoint
    from src.transforms import mirrored_classes
    from src.tsn import build_network

    ranks = Ranks(*start_device(config))
    root = Path(config.dataset_root)
    check_image_size(config.image_size)
    categories = tsn_dataset.read_categories(root / config.categories_list_file_name)
    records = tsn_dataset.read_video_list(root / config.train_list_file_name, len(categories))
    steps_per_epoch = tsn_dataset.steps_per_epoch(len(records), config.train_batch_size, ranks.size)

    network = build_network(config, len(categories))
    resumed = find_checkpoint(config.resume, config.train_output_dir)
    if config.pre_trained_backbone and not resumed:
        load_backbone(network, config.pre_trained_backbone)
    optimizer = build_optimizer(
        network, config.lr, config.update_lr_epochs, steps_per_epoch, config.momentum, config.weight_decay
    )
    validate = build_validation(config, network, len(categories), ranks) if config.eval_interval else None
    logger = get_logger(config.train_output_dir, ranks.rank, "train.log")
    trainer = Trainer(
        network,
        optimizer,
        validate,
        config,
        categories,
        num_clips=len(records),
        steps_per_epoch=steps_per_epoch,
        ranks=ranks,
        logger=logger,
    )
    if resumed:
        trainer.resume(resumed)
    elif config.resume:
        logger.info("resume %s: no checkpoint in %s, starting anew", config.resume, config.train_output_dir)
    config.save(Path(config.train_output_dir) / "config.yaml")

    workers = tsn_dataset.usable_workers(config.train_workers)
    if workers < config.train_workers:
        logger.info("train_workers: %d asked for, %d used (CPU cores)", config.train_workers, workers)
    background = categories.index(config.background_class) if config.background_class in categories else -1
    if config.sliding_windows and background < 0:
        logger.info("background_class %s: no such class, all sliding windows are whole", config.background_class)
    logger.info("%d clips, %d classes, %d steps an epoch", len(records), len(categories), steps_per_epoch)
    batches = tsn_dataset.training_batches(
        records,
        root / config.images_dir_name,
        num_segments=config.num_segments,
        image_size=config.image_size,
        subsample_num=config.subsample_num,
        batch_size=config.train_batch_size,
        seed=config.seed,
        flip=config.flip,
        mirrored=mirrored_classes(categories),
        dropout=config.dropout,
        features=network.base_model.feature_channels,
        workers=workers,
        epochs=config.epochs_num,
        first_epoch=trainer.progress.epochs_done,
        first_step=trainer.progress.step,
        ranks=ranks,
        sliding_windows=config.sliding_windows,
        background=background,
    )
    with closing(batches):
        finished = trainer.run(batches, stop)
    ranks.sum([0])  # all have saved: when one leaves with an error, mpirun ends the others
    if not finished:
        stop.end()


def build_validation(config: Config, network: TSN, num_classes: int, ranks: Ranks) -> Validation:
    """The centre crops of the evaluation list, in batches like those of training, shared among the ranks."""
    from src import tsn_dataset
    from src.evaluation.evaluator import Evaluator, Validation

    root = Path(config.dataset_root)
    evaluator = Evaluator(
        network,
        tsn_dataset.read_video_list(root / config.eval_list_file_name, num_classes),
        root / config.images_dir_name,
        config,
        test_crops=1,
        batch_size=config.train_batch_size,
        ranks=ranks,
    )
    return Validation(evaluator)


def main() -> None:
    config = load_config(description=__doc__)
    with moxing_session(config), StopSignals("stopped; the same command with --resume auto goes on") as stop:
        train(config, stop)
    leave()


if __name__ == "__main__":
    run_main(main)
