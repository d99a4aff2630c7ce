"""Recognises what happens in one clip, a folder of frames or a video file, and prints the five likeliest classes."""

from __future__ import annotations

import argparse
import json

from model_utils.config import Config, load_config
from model_utils.util import run_main, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("Inference")
    options.add_argument("--source", required=True, help="folder of frames (00001.jpg, ...) or video file")
    options.add_argument(
        "--categories", default="", metavar="FILE", help="class names, one a line, by default the checkpoint's"
    )
    options.add_argument("--json", default="", metavar="FILE", help="write the result to this file as well")


def infer(config: Config) -> None:
    # MindSpore takes seconds to import, and --help and a misspelt key need none of it.
    import numpy as np

    from model_utils.device_adapter import start_device
    from src import sampling, tsn_dataset, video
    from src.checkpoint import load_network
    from src.metrics import softmax
    from src.scoring import ClipScorer
    from src.transforms import mirrored_classes, test_crops

    source = video.open_source(config.source)
    start_device(config)
    given = tsn_dataset.read_categories(config.categories) if config.categories else None
    network, categories = load_network(config, given)

    indices = sampling.test_segments(source.num_frames, config.num_segments)
    clip = test_crops(source.read(indices), config.image_size, config.test_crops)
    scorer = ClipScorer(
        network,
        test_crops=config.test_crops,
        mirrored=mirrored_classes(categories) if config.flip == "label_aware" else None,
        relations=config.relations,
        subsample_num=config.subsample_num,
        seed=config.seed,
    )
    logits = scorer(clip[None], np.zeros(1, np.int64))[0]
    probabilities = softmax(logits)
    best = np.argsort(-probabilities, kind="stable")[:5]
    top = [{"label": categories[i], "probability": float(probabilities[i])} for i in best]

    print(f"{config.source}: {source.num_frames} frames, {config.num_segments} of them looked at")
    for row in top:
        print(f"{row['probability']:8.2%}  {row['label']}")
    if config.json:
        result = {
            "source": config.source,
            "num_frames": source.num_frames,
            "frame_indices": indices.tolist(),
            "logits": logits.tolist(),
            "top": top,
        }
        write_text(config.json, json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def main() -> None:
    infer(load_config(description=__doc__, add_arguments=add_arguments))


if __name__ == "__main__":
    run_main(main)
