"""Synthetic streams: videos in which a drawn performer makes gestures one after the other, with their ground truth.

Performer, room and gestures are as in ``jester``. Every third video shows no gesture, only rest and fidgeting. The
others show five gestures with pauses of 1 to 3 seconds, some of them twice in a row. The hand moves without a cut: in a
pause it goes from the last pose of one gesture to the first of the next, both at rest.

``truth.json`` is {video: [{"start", "end", "label"}, ...]} in seconds; a gesture lasts from the first to the last frame
in which the hand is raised.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.progress import progress
from model_utils.util import exclusive_folder, run_main, write_json
from src.data.names import BACKGROUND, LOCK_NAME
from src.data.video import FOLDER_RATE
from src.data.video_writer import VideoWriter
from src.synthetic.clips import MAX_FRAMES, MIN_FRAMES, draw_poses, draw_scene
from src.synthetic.gestures import GESTURES, MIRROR_TWINS, POSE, RESTING_HAND, clip_poses

TRUTH_FILE = "truth.json"
STREAM_RATE = FOLDER_RATE  # frames a second
GESTURES_PER_VIDEO = 5
FIDGETS_PER_VIDEO = 4
FIDGET = "Doing other things"
PAUSE = (1.0, 3.0)  # seconds
REPEATED = 0.25  # share of gestures that repeat the one before
RAISED = 3.0  # pixels that a hand is above its place at rest
EASE = 4  # frames, from the end of a clip to rest
REST = np.array([RESTING_HAND.get(column, 0.3) for column in POSE])  # fingers are a little curled

Truth = list[dict[str, Any]]


def stream_labels(gestures: list[str], seed: int, number: int) -> list[str]:
    """The gestures of video ``number`` in their order; none in every third video."""
    if number % 3 == 0:
        return []
    rng = np.random.default_rng([seed, number, 10])
    labels: list[str] = []
    for _ in range(GESTURES_PER_VIDEO):
        repeat = labels and rng.random() < REPEATED
        labels.append(labels[-1] if repeat else gestures[rng.integers(len(gestures))])
    return labels


def draw_stream(labels: list[str], seed: int, number: int) -> tuple[list[np.ndarray], Truth]:
    """Draws a video of these gestures, or one of fidgeting if there are none.

    A pure function of its arguments.

    Returns:
        Frames uint8 BGR [100, 120..180, 3], STREAM_RATE a second, and {"start", "end", "label"} of each gesture.
    """
    scene = draw_scene(np.random.default_rng([seed, number, 11]))
    poses, back_of_hand, spans = stream_poses(labels, scene.mirrored, np.random.default_rng([seed, number, 12]))
    truth = [
        {"start": round(first / STREAM_RATE, 3), "end": round(end / STREAM_RATE, 3), "label": label}
        for label, (first, end) in zip(labels, spans)
    ]
    rng = np.random.default_rng([seed, number, 13])
    return draw_poses(scene, poses, back_of_hand, scene.mirrored, rng), truth


def stream_poses(
    labels: list[str], mirrored: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Poses [N, len(POSE)], whether each shows the back of the hand [N], and (first frame, end) of each gesture."""
    parts: list[np.ndarray] = [np.array([REST])]
    backs, spans = [False], []
    for label in labels or [FIDGET] * FIDGETS_PER_VIDEO:
        gesture = GESTURES[MIRROR_TWINS[label] if mirrored else label]
        poses = clip_poses(gesture, int(rng.integers(MIN_FRAMES, MAX_FRAMES + 1)), rng)
        poses = poses[::-1] if gesture.reverse else poses
        # Nobody sees the hand turn: at rest it is below the picture.
        parts += [_pause(parts[-1][-1], poses[0], rng), poses]
        spans.append((len(backs) + len(parts[-2]), len(backs) + len(parts[-2]) + len(poses)))
        backs += [gesture.back_of_hand] * (len(parts[-2]) + len(poses))
    parts.append(_pause(parts[-1][-1], REST, rng))
    backs += backs[-1:] * len(parts[-1])
    poses = np.concatenate(parts)
    return poses, np.array(backs), [_raised(poses, *span) for span in spans] if labels else []


def _raised(poses: np.ndarray, first: int, end: int) -> tuple[int, int]:
    """First frame and end of the raised hand in a gesture's clip, or on the way from the rest before and after it."""
    first -= EASE
    heights = RESTING_HAND["y"] - poses[first : end + EASE, POSE.index("y")]
    raised = first + np.flatnonzero(heights > RAISED)
    return int(raised[0]), int(raised[-1]) + 1


def _pause(before: np.ndarray, after: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poses [N, len(POSE)] on the way from one pose to rest and from there to another, EASE frames each."""
    length = round(rng.uniform(*PAUSE) * STREAM_RATE)
    keys = [0, EASE, length + 1 - EASE, length + 1]
    columns = zip(before, REST, REST, after)
    return np.stack([np.interp(np.arange(1, length + 1), keys, values) for values in columns], axis=1)


def make_streams(target: Path, gestures: list[str], num_videos: int, seed: int) -> int:
    """Writes the videos and ``truth.json`` into the folder ``target``; returns the number of gestures.

    The truth is written last: a folder that has it is complete.

    Raises:
        InputError: if the folder already holds a truth, or a file cannot be written.
    """
    truth = {}
    with exclusive_folder(target, LOCK_NAME), progress("Draw", num_videos, "video") as advance:
        if (target / TRUTH_FILE).exists():
            raise InputError(f"{target / TRUTH_FILE}: exists; give another folder or remove it")
        for number in range(1, num_videos + 1):
            name = f"{number:03d}.mp4"
            frames, truth[name] = draw_stream(stream_labels(gestures, seed, number), seed, number)
            with VideoWriter(str(target / name), STREAM_RATE) as video:
                for frame in frames:
                    video.write(frame)
            advance(1)
        write_json(target / TRUTH_FILE, truth)
    return sum(map(len, truth.values()))


def main(argv: list[str] | None = None) -> None:
    """Command line: TARGET [--videos N --gestures N --seed N]."""
    parser = Parser(prog="make_synthetic_streams", description="Draw videos of gestures, with the truth about them.")
    parser.add_argument("target", type=Path, help="folder for the videos and truth.json; made if it is not there")
    parser.add_number("--videos", "int [1, 999]", 30, "how many videos; every third has no gesture")
    parser.add_number("--gestures", f"int [1, {len(GESTURES)}]", 8, "classes of make_synthetic_jester, 1 to 27")
    parser.add_number("--seed", "int [0, 4294967295]", 1, "another seed draws other videos")
    args = parser.parse_args(argv)
    gestures = [label for label in list(GESTURES)[: args.gestures] if label not in BACKGROUND]
    count = make_streams(args.target, gestures, args.videos, args.seed)
    print(f"{args.videos} videos with {count} gestures of {len(gestures)} classes are in {args.target}")


if __name__ == "__main__":
    run_main(main)
