"""Held-out clips joined to videos with their truth: streams that nothing was trained on.

    python src/own_gestures/join_streams.py DATASET_ROOT OUT_DIR [--background CLASS]
      ─► OUT_DIR/videos/00.mp4 ..., OUT_DIR/truth.json

The clips are those of the validation list. Between two clips the last frame of the one and the first of the other are
held: hands rest there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model_utils.command_line import Parser, number_in
from model_utils.errors import InputError
from model_utils.util import write_json
from src.data.frame_files import FrameFolders, VideoRecord
from src.data.lists import read_categories
from src.data.video_writer import VideoWriter
from src.own_gestures.material import OWN_LISTS, REST_SHARE, frames_of
from src.tsn_dataset import read_video_list

GESTURES_A_STREAM, ORDERS, PAUSE = 4, 2, (0.75, 1.75)
RATE = 12  # frames a second, as prepare_videos makes them


def join_streams(dataset: Path, background: str, folder: Path, seed: int) -> None:
    """Joins held-out clips to videos: each clip after the other, its first and last frame held in between.

    Writes ``videos/`` and ``truth.json`` into ``folder``. Every clip is in two videos, each time among others. Clips of
    the background class are joined to a video without gestures.
    """
    categories = read_categories(dataset / OWN_LISTS["categories"])
    clips = read_video_list(dataset / OWN_LISTS["validation"], len(categories), frames_of(dataset))
    gestures = [clip for clip in clips if categories[clip.label] != background]
    others = [clip for clip in clips if categories[clip.label] == background]
    if not gestures:
        raise InputError(f"{dataset / OWN_LISTS['validation']}: no gestures to validate with")
    rng = np.random.default_rng([seed, 71])
    groups = []
    for _ in range(ORDERS):
        order = [gestures[index] for index in rng.permutation(len(gestures)).tolist()]
        groups += [order[begin : begin + GESTURES_A_STREAM] for begin in range(0, len(order), GESTURES_A_STREAM)]
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    truth: dict[str, list[dict[str, Any]]] = {}
    for number, group in enumerate([*groups, *([others] if others else [])]):
        name = f"{number:02d}.mp4"
        spans = _join(frames_of(dataset), group, folder / "videos" / name, rng)
        labels = [categories[clip.label] for clip in group]
        known = [dict(zip(("start", "end"), span), label=label) for span, label in zip(spans, labels)]
        truth[name] = known if number < len(groups) else []
    write_json(folder / "truth.json", truth)


def _join(
    folders: FrameFolders, clips: list[VideoRecord], path: Path, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Writes one video; returns from when to when each clip's gesture is made."""
    spans, count, shape = [], 0, None
    with VideoWriter(str(path), RATE) as writer:
        for clip in clips:
            frames = folders.read(clip, np.arange(clip.num_frames))
            before, after = (round(RATE * seconds) for seconds in rng.uniform(*PAUSE, 2))
            shape = shape or frames[0].shape[1::-1]
            for frame in [frames[0]] * before + frames + [frames[-1]] * after:
                writer.write(frame if frame.shape[1::-1] == shape else cv2.resize(frame, shape))
            edge = REST_SHARE * len(frames)
            start, end = count + before + edge, count + before + len(frames) - edge
            spans.append((round(start / RATE, 3), round(end / RATE, 3)))
            count += before + len(frames) + after
    return spans


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="join_streams", description="Held-out clips joined to videos with their truth.")
    parser.add_argument("dataset_root", type=Path, help="folder with the clips and their lists")
    parser.add_argument("out_dir", type=Path, help="folder for videos/ and truth.json")
    parser.add_argument("--background", default="", metavar="CLASS", help="class that is no gesture")
    parser.add_argument(
        "--seed", type=number_in("int [0, inf)"), default=0, help="another seed draws other orders (default 0)"
    )
    args = parser.parse_args(argv)
    join_streams(args.dataset_root, args.background, args.out_dir, args.seed)


if __name__ == "__main__":
    from model_utils.util import run_main

    run_main(main)
