"""Joins held-out clips to streams with their ground truth.

    python src/own_gestures/join_streams.py DATASET_ROOT OUT_DIR [--background CLASS]
      ─► OUT_DIR/videos/00.mp4 ..., OUT_DIR/truth.json

With --videos and --annotations, held-out longer videos are used as they are, if there are two or more. Otherwise the
clips of the validation list are joined. Between two clips the last frame of one and the first of the next are repeated,
because hands rest there. Two more videos show no gesture: they play the beginning of each clip forwards and backwards.
Thresholds that are chosen on gestures alone would report gestures there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.util import run_main, write_json
from src.data.annotations import VideoClip, read_annotations
from src.data.frame_files import FrameFolders, VideoRecord
from src.data.lists import read_categories
from src.data.video import VideoFile
from src.data.video_list import read_video_list
from src.data.video_writer import VideoWriter
from src.own_gestures.own_lists import BEGUN, OWN_LISTS, REST_SHARE, frames_of, own_rows, to_and_fro

GESTURES_A_STREAM, PASSES, HELD_SECONDS = 4, 2, (0.75, 1.75)
JOINED_RATE = 12  # frames a second, as prepare_videos makes them


def join_streams(dataset: Path, background: str, folder: Path, seed: int) -> None:
    """Joins held-out clips to videos, with their first and last frames repeated in between.

    Writes ``videos/`` and ``truth.json`` into ``folder``. Every clip is in two videos, each time among others. Clips of
    the background class, and gestures that are only begun, make videos without gestures.
    """
    categories = read_categories(dataset / OWN_LISTS["categories"])
    clips = read_video_list(dataset / OWN_LISTS["validation"], len(categories), frames_of(dataset))
    gestures = [clip for clip in clips if categories[clip.label] != background]
    others = [clip for clip in clips if categories[clip.label] == background]
    if not gestures:
        raise InputError(f"{dataset / OWN_LISTS['validation']}: no gestures to validate with")
    rng = np.random.default_rng([seed, 71])
    groups = []
    for _ in range(PASSES):
        order = [gestures[index] for index in rng.permutation(len(gestures)).tolist()]
        groups += [order[begin : begin + GESTURES_A_STREAM] for begin in range(0, len(order), GESTURES_A_STREAM)]
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    truth: dict[str, list[dict[str, Any]]] = {}
    begun = [half for half in (gestures[::2], gestures[1::2]) if half]
    for number, group in enumerate([*groups, *([others] if others else []), *begun]):
        name = f"{number:02d}.mp4"
        halves = number >= len(groups) + bool(others)
        spans = _write_stream(frames_of(dataset), group, folder / "videos" / name, rng, halves)
        labels = [categories[clip.label] for clip in group]
        known = [dict(zip(("start", "end"), span), label=label) for span, label in zip(spans, labels)]
        truth[name] = known if number < len(groups) else []
    write_json(folder / "truth.json", truth)


def link_streams(dataset: Path, background: str, folder: Path, videos: Path, annotations: Path) -> bool:
    """Uses held-out longer videos, with all their annotations; returns False if there are fewer than two.

    Writes links in ``videos/``, and ``truth.json``, into ``folder``.
    """
    held_out = {row.rsplit(None, 2)[0] for row in own_rows(dataset, "validation")}
    of_video: dict[str, list[VideoClip]] = {}
    for clip in read_annotations(annotations, videos):
        of_video.setdefault(clip.video, []).append(clip)
    streams = {
        video: clips
        for video, clips in of_video.items()
        if all(clip.folder in held_out and clip.folder != video for clip in clips)
    }
    if len(streams) < 2:
        return False
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    truth: dict[str, list[dict[str, Any]]] = {}
    for number, (video, clips) in enumerate(sorted(streams.items())):
        name = f"{number:02d}{Path(video).suffix}"
        (folder / "videos" / name).symlink_to((videos / video).resolve())
        duration = VideoFile(videos / video).duration
        truth[name] = [
            {"start": clip.start, "end": duration if clip.end is None else clip.end, "label": clip.label}
            for clip in clips
            if clip.label != background
        ]
    write_json(folder / "truth.json", truth)
    return True


def _write_stream(
    folders: FrameFolders, clips: list[VideoRecord], path: Path, rng: np.random.Generator, begun: bool
) -> list[tuple[float, float]]:
    """Writes one video of the clips, or of their beginnings played forwards and backwards.

    Returns:
        (start, end) of each clip's gesture in seconds.
    """
    spans, count, shape = [], 0, None
    with VideoWriter(str(path), JOINED_RATE) as writer:
        for clip in clips:
            shown = to_and_fro(clip.num_frames, max(BEGUN)) if begun else np.arange(clip.num_frames)
            frames = folders.read(clip, shown)
            before, after = (round(JOINED_RATE * seconds) for seconds in rng.uniform(*HELD_SECONDS, 2))
            shape = shape or frames[0].shape[1::-1]
            for frame in [frames[0]] * before + frames + [frames[-1]] * after:
                writer.write(frame if frame.shape[1::-1] == shape else cv2.resize(frame, shape))
            edge = REST_SHARE * len(frames)
            start, end = count + before + edge, count + before + len(frames) - edge
            spans.append((round(start / JOINED_RATE, 3), round(end / JOINED_RATE, 3)))
            count += before + len(frames) + after
    return spans


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="join_streams", description="Join held-out clips to videos with their ground truth.")
    parser.add_argument("dataset_root", type=Path, help="folder with the clips and their lists")
    parser.add_argument("out_dir", type=Path, help="folder for videos/ and truth.json")
    parser.add_argument("--background", default="", metavar="CLASS", help="class that is no gesture")
    parser.add_number("--seed", "int [0, inf)", 0, "another seed draws other orders")
    parser.add_argument("--videos", type=Path, help="with --annotations: held-out videos of several clips are taken")
    parser.add_argument("--annotations", type=Path, help="the CSV that the dataset was made with")
    args = parser.parse_args(argv)
    if (args.videos is None) != (args.annotations is None):
        raise InputError("--videos and --annotations: one needs the other")
    given = args.dataset_root, args.background, args.out_dir
    if args.annotations and link_streams(*given, args.videos, args.annotations):
        print("streams: the held-out videos")
    else:
        join_streams(*given, args.seed)


if __name__ == "__main__":
    run_main(main)
