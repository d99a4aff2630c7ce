"""Evaluates a trained Temporal Relation Network: top-1 and top-5 accuracy.

The log and the resolved config go to ``eval_output_dir``. Settings of the network come from the checkpoint.
"""

from __future__ import annotations

import time
from pathlib import Path

from model_utils.config import Config, load_config
from model_utils.moxing_adapter import moxing_session
from model_utils.util import run_main
from src.errors import InputError


def evaluate(config: Config) -> None:
    # MindSpore takes seconds to import, and --help and a misspelt key need none of it.
    import numpy as np

    from model_utils.device_adapter import start_device
    from model_utils.logging import get_logger, log_plain
    from src import tsn_dataset
    from src.checkpoint import load_network
    from src.metrics import topk_accuracy
    from src.scoring import ClipScorer
    from src.transforms import mirrored_classes

    start_device(config)
    root = Path(config.dataset_root)
    categories = tsn_dataset.read_categories(root / config.categories_list_file_name)
    records = tsn_dataset.read_video_list(root / config.eval_list_file_name, len(categories))
    network, _ = load_network(config, categories)

    output_dir = Path(config.eval_output_dir)
    logger = get_logger(output_dir, file_name="eval.log")
    config.save(output_dir / "config.yaml")
    scorer = ClipScorer(
        network,
        test_crops=config.test_crops,
        batch_size=config.eval_batch_size,
        mirrored=mirrored_classes(categories) if config.flip == "label_aware" else None,
        relations=config.relations,
        subsample_num=config.subsample_num,
        seed=config.seed,
    )
    batches = tsn_dataset.evaluation_batches(
        records,
        root / config.images_dir_name,
        num_segments=config.num_segments,
        image_size=config.image_size,
        test_crops=config.test_crops,
        batch_size=config.eval_batch_size,
        workers=config.eval_workers,
    )

    logger.info("start evaluation of %s", config.ckpt_file)
    logger.info(
        "%d clips, %d crops, relations: %s, flip: %s", len(records), config.test_crops, config.relations, config.flip
    )
    began = time.monotonic()
    scores, labels = [], []
    for clips, clip_labels, indices, problems in batches:
        for problem in filter(None, problems):
            raise InputError(problem)
        scores.extend(scorer(clips, indices))
        labels.extend(clip_labels)
        if len(scores) // config.log_interval > (len(scores) - len(clips)) // config.log_interval:
            top1, top5 = (topk_accuracy(np.array(scores), np.array(labels), k) for k in (1, 5))
            logger.info("Steps: %d; top1: %f; top5: %f", len(scores), top1, top5)
    elapsed = (time.monotonic() - began) * 1000
    logger.info("evaluation finished")
    log_plain(logger, f"epoch time: {elapsed:.3f} ms, per step time: {elapsed / len(scores):.3f} ms")
    for k in (1, 5):
        logger.info("Top%d: %.2f%%", k, 100 * topk_accuracy(np.array(scores), np.array(labels), k))


def main() -> None:
    config = load_config(description=__doc__)
    with moxing_session(config):
        evaluate(config)


if __name__ == "__main__":
    run_main(main)
