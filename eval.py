"""Evaluates a trained Temporal Relation Network: its accuracy, its mistakes, its use of the order of frames.

The log, the resolved config, numbers and pictures go to eval_output_dir; report.html shows them all. Settings of the
network come from the file that is evaluated: a checkpoint (.ckpt), or an exported network (.mindir, .onnx).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import Config, load_config
from model_utils.errors import InputError
from model_utils.moxing_adapter import moxing_session
from model_utils.settings import Use, values_for
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import exclusive_folder, run_main

if TYPE_CHECKING:
    from src.inference.model import Model


def evaluate(config: Config) -> None:
    fractions = observed_fractions(config.observe)
    from model_utils.device_adapter import start_device
    from model_utils.logging import get_logger, log_plain, log_settings
    from src import tsn_dataset
    from src.evaluation.evaluator import Evaluator, log_accuracy, score_fractions
    from src.evaluation.results import write_results
    from src.evaluation.tables import Evaluation
    from src.inference.model import load_model

    if not config.ckpt_file.endswith(".onnx"):  # which runs without MindSpore
        start_device(config)
    root = Path(config.dataset_root)
    list_name = list_file_name(config)
    categories = tsn_dataset.read_categories(root / config.categories_list_file_name)
    records = tsn_dataset.read_clips(config, list_name, len(categories), unknown=config.split == "test")
    output_dir = Path(config.eval_output_dir)
    logger = get_logger(output_dir, file_name="eval.log")
    model = load_model(config, categories, config.eval_batch_size)
    config, measured = cast("Config", model.settings), protocol(model, root / list_name)
    workers = tsn_dataset.usable_workers(config.eval_workers)
    loader = tsn_dataset.evaluation_loader(config, config.test_crops)
    evaluator = Evaluator(model.score, loader, records, workers=workers, on_error=config.on_error)

    log_settings(logger, config, output_dir, "eval")
    if evaluator.workers < config.eval_workers:
        logger.info("eval_workers: %d asked for, %d used (CPU cores)", config.eval_workers, evaluator.workers)
    logger.info("start evaluation of %s, sha256 %s", config.ckpt_file, measured["ckpt_sha256"])
    settings = (config.test_crops, config.relations, config.flip)
    logger.info("%d clips, %d crops, relations: %s, flip: %s", len(records), *settings)
    logger.info("split: %s, frame order: %s, observe: %s", config.split, config.frame_order, config.observe)
    began = time.monotonic()
    scored, results = score_fractions(evaluator, fractions, categories, logger, config.log_interval)
    elapsed = (time.monotonic() - began) * 1000
    log_plain(logger, f"epoch time: {elapsed:.3f} ms, per step time: {elapsed / len(records) / len(fractions):.3f} ms")

    metrics = {"protocol": measured, "clips_listed": len(records), **results}
    names = [records[index].name for index in scored.indices]
    evaluation = Evaluation(metrics, categories, names, scored.scores, scored.labels)
    write_results(output_dir, evaluation, lambda row: evaluator.frames(int(scored.indices[row]), fractions[-1]))
    logger.info("results: %s", output_dir)
    log_accuracy(logger, results, len(records))


def observed_fractions(text: str) -> list[float]:
    """The fractions in the text of ``observe``, such as "0.25,0.5,1.0", in increasing order."""
    try:
        fractions = sorted({float(part) for part in text.split(",")})
    except ValueError:
        fractions = []
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise InputError(f"observe: {text!r} is not allowed, expected fractions in (0, 1], separated by commas")
    return fractions


def list_file_name(config: Config) -> str:
    """The list file of ``split``."""
    from src.data.names import LIST_FILES

    names = {"train": config.train_list_file_name, "val": config.eval_list_file_name, "test": LIST_FILES["test"]}
    return names[config.split]


def protocol(model: Model, list_file: Path) -> dict[str, Any]:
    """Everything that the scores depend on."""
    return {**values_for(model.settings, Use.PROTOCOL), **model.provenance(), "list_file": str(list_file)}


def main() -> None:
    config = load_config(description=__doc__)
    with moxing_session(config), ctrl_c_at_once(), exclusive_folder(config.eval_output_dir, "eval.lock"):
        evaluate(config)


if __name__ == "__main__":
    run_main(main)
