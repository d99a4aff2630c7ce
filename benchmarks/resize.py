"""How far scores change because OpenCV, and not Pillow, enlarges frames: deviation 10 of docs/deviations.md.

    python -m benchmarks.resize DATASET_ROOT CKPT

Scores the centre crops of 64 clips of the training list at 224 px twice.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

from model_utils.config import load_config
from model_utils.device_adapter import start_device
from src import transforms
from src.inference.model import load_model
from src.shipping.samples import read_samples

OPTIONS = ("--image_size", "224", "--test_crops", "1", "--device_target", "CPU")


def with_pillow(image: np.ndarray, out: np.ndarray) -> None:
    height, width = out.shape[:2]
    out[:] = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BILINEAR)


def main() -> None:
    dataset_root, checkpoint = sys.argv[1:]
    config = load_config(["--dataset_root", dataset_root, "--ckpt_file", checkpoint, *OPTIONS])
    start_device(config)
    model = load_model(config)
    clips = []
    for resize in (transforms._resize, with_pillow):
        transforms._resize = resize
        clips.append(read_samples(model.settings, len(model.categories)).calibration)
    levels = np.abs(clips[0].astype(int) - clips[1])
    scores = [np.stack([model.score(clip[None, None], np.zeros(1, int))[0] for clip in side]) for side in clips]
    largest = np.abs(scores[0] - scores[1]).max(axis=1)
    print(f"pixels differ by at most {levels.max()} level, {100 * (levels > 0).mean():.1f} % of them differ")
    print(
        f"{len(largest)} clips, largest difference of a clip's logits: median {np.median(largest):.4f},"
        f" at most {largest.max():.4f}; standard deviation of the logits {scores[1].std():.2f}"
    )


if __name__ == "__main__":
    main()
