"""Evaluates a trained Temporal Relation Network: how accurate it is, where it fails, what the order of frames does.

The log, the resolved config, numbers and pictures go to eval_output_dir; report.html shows them all. Settings of the
network come from the checkpoint.
"""

from __future__ import annotations

import hashlib
import sys
import time
from logging import Logger
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import Config, load_config
from model_utils.errors import InputError
from model_utils.moxing_adapter import moxing_session
from model_utils.settings import Use, values_for
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import run_main

# MindSpore takes seconds to import, and --help and a misspelt key need none of it: functions import what they use.
if TYPE_CHECKING:
    from src.evaluation.evaluator import Evaluator, ScoredClips


def evaluate(config: Config) -> None:
    fractions = observed_fractions(config.observe)
    from model_utils.device_adapter import start_device
    from model_utils.logging import get_logger, log_plain
    from src import tsn_dataset
    from src.data.clips import EvaluationLoader
    from src.evaluation import report
    from src.evaluation.evaluator import Evaluator
    from src.training.checkpoint import load_network
    from src.transforms import mirrored_classes
    from src.tsn import prepare_for_inference

    start_device(config)
    root = Path(config.dataset_root)
    images_root, list_file = root / config.images_dir_name, root / list_file_name(config)
    categories = tsn_dataset.read_categories(root / config.categories_list_file_name)
    records = tsn_dataset.read_video_list(list_file, len(categories), unknown=config.split == "test")
    output_dir = Path(config.eval_output_dir)
    logger = get_logger(output_dir, file_name="eval.log")
    network, _, config = load_network(config, categories)
    prepare_for_inference(network)

    config.save(output_dir / "config.yaml")
    evaluator = Evaluator(
        network,
        records,
        images_root,
        config,
        test_crops=config.test_crops,
        batch_size=config.eval_batch_size,
        mirrored=mirrored_classes(categories) if config.flip == "label_aware" else None,
    )

    workers = tsn_dataset.usable_workers(config.eval_workers)
    if workers < config.eval_workers:
        logger.info("eval_workers: %d asked for, %d used (CPU cores)", config.eval_workers, workers)
    logger.info("start evaluation of %s", config.ckpt_file)
    logger.info(
        "%d clips, %d crops, relations: %s, flip: %s", len(records), config.test_crops, config.relations, config.flip
    )
    logger.info("split: %s, frame order: %s, observe: %s", config.split, config.frame_order, config.observe)
    began = time.monotonic()
    scored, results = score(evaluator, fractions, categories, logger, config.log_interval)
    elapsed = (time.monotonic() - began) * 1000
    logger.info("evaluation finished")
    log_plain(logger, f"epoch time: {elapsed:.3f} ms, per step time: {elapsed / len(records) / len(fractions):.3f} ms")

    loader = EvaluationLoader(images_root, config.num_segments, config.frame_order, fractions[-1], config.seed)

    def frames_of(row: int) -> list:
        index = int(scored.indices[row])
        return loader.frames(records[index], index)

    report.write_results(
        output_dir,
        {"protocol": protocol(config, list_file), "clips_listed": len(records), **results},
        categories,
        [records[index].folder for index in scored.indices],
        scored.scores,
        scored.labels,
        frames_of,
    )
    logger.info("results: %s", output_dir)
    if results["left_out"]:
        logger.warning("%d of %d clips left out", len(results["left_out"]), len(records))
    if "top1" not in results:
        logger.info("no class of these clips is known, so there is no accuracy")
        return
    if results["clips"] < len(records):
        logger.info("accuracy over %d of %d clips", results["clips"], len(records))
    if "top5_note" in results:
        logger.info(results["top5_note"])
    logger.info("Top1: %.2f%%", 100 * results["top1"])
    logger.info("Top5: %.2f%%", 100 * results["top5"])


def observed_fractions(text: str) -> list[float]:
    """The fractions in the text of `observe`, such as "0.25,0.5,1.0", in increasing order."""
    try:
        fractions = sorted({float(part) for part in text.split(",")})
    except ValueError:
        fractions = []
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise InputError(f"observe: {text!r} is not allowed, expected fractions in (0, 1], separated by commas")
    return fractions


def list_file_name(config: Config) -> str:
    """The list file of `split`."""
    from src.data.names import LIST_FILES

    names = {"train": config.train_list_file_name, "val": config.eval_list_file_name, "test": LIST_FILES["test"]}
    return names[config.split]


def score(
    evaluator: Evaluator, fractions: list[float], categories: list[str], logger: Logger, log_interval: int
) -> tuple[ScoredClips, dict[str, Any]]:
    """Scores the clips once for each fraction of them that the network may see.

    Returns the scores at the largest fraction, and what is to be said about all of them.
    """
    import numpy as np

    from src.evaluation.metrics import summarise, topk_accuracy

    def log_progress(scores: list, labels: list) -> None:
        nonlocal logged
        if len(scores) // log_interval > logged // log_interval:
            known = np.array(labels) >= 0
            known_scores, known_labels = np.array(scores)[known], np.array(labels)[known]
            if known.any():
                top1, top5 = (topk_accuracy(known_scores, known_labels, k) for k in (1, 5))
                logger.info("Steps: %d; top1: %f; top5: %f", len(scores), top1, top5)
            else:
                logger.info("Steps: %d", len(scores))
        logged = len(scores)

    records = evaluator.records
    summary, left_out, curve = {}, {}, []
    for fraction in fractions:
        logged = 0
        scored = evaluator(fraction, log_progress)
        for index in sorted(scored.left_out.keys() - left_out.keys()):
            logger.warning("left out %s: %s", records[index].folder, scored.left_out[index])
        left_out = {**scored.left_out, **left_out}
        if not len(scored.labels):
            raise InputError(f"{evaluator.images_root}: none of the {len(records)} clips can be read")
        known = scored.labels >= 0
        summary = {"clips": len(known)}
        if known.any():
            summary = summarise(scored.scores[known], scored.labels[known], categories)
            curve.append({"observe": fraction, **{key: summary[key] for key in ("clips", "top1", "top5")}})
            if len(fractions) > 1:
                logger.info("observed %g: top1: %f; top5: %f", fraction, summary["top1"], summary["top5"])
    listed = [{"clip": records[index].folder, "problem": left_out[index]} for index in sorted(left_out)]
    return scored, {**summary, "left_out": listed, "observed": curve}


def protocol(config: Config, list_file: Path) -> dict[str, Any]:
    """All that the scores depend on."""
    import mindspore
    import numpy as np

    return {
        **values_for(config, Use.PROTOCOL),
        "ckpt_sha256": hashlib.sha256(Path(config.ckpt_file).read_bytes()).hexdigest(),
        "list_file": str(list_file),
        "mindspore_version": mindspore.__version__,
        "numpy_version": np.__version__,
    }


def main() -> None:
    config = load_config(description=__doc__)
    with moxing_session(config), ctrl_c_at_once():
        evaluate(config)


if __name__ == "__main__":
    run_main(main)
