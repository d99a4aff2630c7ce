"""Trains a Temporal Relation Network.

Logs, checkpoints, the resolved config and the curves of loss and validation go to ``train_output_dir``.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING

from model_utils.config import Config, load_config
from model_utils.moxing_adapter import moxing_session
from model_utils.util import run_main
from src.errors import InputError

if TYPE_CHECKING:
    from src.evaluation import Validation
    from src.tsn import TSN


def train(config: Config) -> None:
    # MindSpore takes seconds to import, and --help and a misspelt key need none of it.
    from model_utils.device_adapter import start_device
    from model_utils.logging import get_logger, log_plain
    from src import report, tsn_dataset
    from src.bn_inception import check_image_size
    from src.checkpoint import describe, keep_newest, load_backbone, save_checkpoint
    from src.train_cell import TrainStep, build_optimizer
    from src.transforms import mirrored_classes
    from src.tsn import build_network

    rank, world_size = start_device(config)
    output_dir = Path(config.train_output_dir)
    root = Path(config.dataset_root)
    check_image_size(config.image_size)
    categories = tsn_dataset.read_categories(root / config.categories_list_file_name)
    records = tsn_dataset.read_video_list(root / config.train_list_file_name, len(categories))
    steps_per_epoch = tsn_dataset.steps_per_epoch(len(records), config.train_batch_size, world_size)

    network = build_network(config, len(categories))
    if config.pre_trained_backbone:
        load_backbone(network, config.pre_trained_backbone)
    optimizer = build_optimizer(
        network, config.lr, config.update_lr_epochs, steps_per_epoch, config.momentum, config.weight_decay
    )
    train_step = TrainStep(network, optimizer, config.clip_grad_norm)
    validate = build_validation(config, network, len(categories), rank, world_size) if config.eval_interval else None
    train_step.set_train()

    logger = get_logger(output_dir, rank, "train.log")
    config.save(output_dir / "config.yaml")
    workers = tsn_dataset.usable_workers(config.train_workers)
    if workers < config.train_workers:
        logger.info("train_workers: %d asked for, %d used (CPU cores)", config.train_workers, workers)
    logger.info("%d clips, %d classes, %d steps an epoch", len(records), len(categories), steps_per_epoch)
    logger.info("compiling the training graph with the first step, which takes a while")

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
        workers=workers,
        epochs=config.epochs_num,
        rank=rank,
        world_size=world_size,
    )
    last_step = min(config.epochs_num * steps_per_epoch, config.max_steps or math.inf)
    epochs, losses, epoch_began = [], [], time.monotonic()
    for total, batch in enumerate(batches, start=1):
        epoch, step = divmod(total - 1, steps_per_epoch)
        epoch, step = epoch + 1, step + 1
        ends_epoch, ends_run = step == steps_per_epoch, total == last_step

        loss = float(train_step(*batch).asnumpy())
        if not math.isfinite(loss):
            raise InputError(f"lr {config.lr}: the loss became {loss} in epoch {epoch} step {step}, try a smaller lr")
        losses.append(loss)
        if step % config.log_interval == 0 or ends_epoch or ends_run:
            log_plain(logger, f"epoch: {epoch} step: {step}, loss is {loss:.7g}")
        if not (ends_epoch or ends_run):
            continue

        seconds = time.monotonic() - epoch_began
        log_plain(logger, f"epoch time: {1000 * seconds:.3f} ms, per step time: {1000 * seconds / step:.3f} ms")
        about = describe(config, categories, epoch=epoch, step=step)
        saves = rank == 0 or not config.ckpt_save_on_master_only
        accuracy = None
        if validate and (epoch % config.eval_interval == 0 or ends_run):
            accuracy = validate()
            train_step.set_train()
            top1, top5, clips = astuple(accuracy)
            logger.info("validation after epoch %d: top1: %f; top5: %f; %d clips", epoch, top1, top5, clips)
            if validate.since_best == 0 and saves:
                path = output_dir / "checkpoint_best.ckpt"
                save_checkpoint(path, network.parameters_dict(), {**about, "validation": asdict(accuracy)})
                logger.info("saved %s", path)
            if 0 < config.patience <= validate.since_best:
                logger.info("stopping: no better validation for %d times", validate.since_best)
                ends_run = True
        if rank == 0:
            epochs.append(
                {
                    "epoch": epoch,
                    "lr": config.lr * 0.1 ** ((epoch - 1) // config.update_lr_epochs),
                    "loss": sum(losses) / len(losses),
                    "top1": accuracy and accuracy.top1,
                    "top5": accuracy and accuracy.top5,
                    "seconds": seconds,
                }
            )
            report.write_training(output_dir, epochs)
        if saves and (ends_run or epoch % config.ckpt_save_interval == 0):
            path = output_dir / f"checkpoint_trn-{epoch}_{step}.ckpt"
            save_checkpoint(path, network.parameters_dict(), about)
            keep_newest(output_dir, config.keep_checkpoint_max)
            logger.info("saved %s", path)
        if ends_run:
            break
        losses, epoch_began = [], time.monotonic()
    batches.close()


def build_validation(config: Config, network: TSN, num_classes: int, rank: int, world_size: int) -> Validation:
    """The centre crops of the evaluation list, in batches like those of training, shared among the ranks."""
    from src import tsn_dataset
    from src.evaluation import Evaluator, Validation

    root = Path(config.dataset_root)
    evaluator = Evaluator(
        network,
        tsn_dataset.read_video_list(root / config.eval_list_file_name, num_classes),
        root / config.images_dir_name,
        config,
        test_crops=1,
        batch_size=config.train_batch_size,
        rank=rank,
        world_size=world_size,
    )
    return Validation(evaluator)


def main() -> None:
    config = load_config(description=__doc__)
    with moxing_session(config):
        train(config)


if __name__ == "__main__":
    run_main(main)
