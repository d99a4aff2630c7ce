"""Splits clips into training and validation: stratified by class, with all clips of a video on one side."""

from __future__ import annotations

from collections import Counter

import numpy as np

from model_utils.errors import InputError
from src.data.annotations import VideoClip

SIDES = ("training", "validation")


def split_clips(clips: list[VideoClip], share: float, seed: int) -> dict[str, list[VideoClip]]:
    """The clips of each split, in their order. Clips that name no split are drawn.

    The draw is iterative stratification: the class with the fewest videos left comes first. Each of its videos, in
    random order, goes to the side that lacks most clips of the class.

    Args:
        clips: either all or none of them name their split.
        share: of each class's clips, for validation; each side gets at least one clip of each class.
        seed: with the names of the videos, decides the draw.

    Raises:
        InputError: if a class has one video only, or a side would have none of its clips; for given splits, if there is
            nothing to train or to validate with.
    """
    if clips[0].split is not None:
        sides: dict[str, list[VideoClip]] = {}
        for clip in clips:
            sides.setdefault(str(clip.split), []).append(clip)
        for side in SIDES:
            if side not in sides:
                raise InputError(f"no clip has the split for {side}; expected some in train and some in val")
        return sides
    _require_two_videos(clips)
    side_of = _assign(clips, share, seed)
    sides = {side: [clip for clip in clips if side_of[clip.video] == side] for side in SIDES}
    for side, its_clips in sides.items():
        lacking = sorted({clip.label for clip in clips} - {clip.label for clip in its_clips})
        if lacking:
            raise InputError(
                f"class {lacking[0]!r}: no clip of it is left for {side}, as all segments of a video stay together;"
                " expected more videos of it, or a column split in the annotations"
            )
    return sides


def _require_two_videos(clips: list[VideoClip]) -> None:
    for label in sorted({clip.label for clip in clips}):
        videos = {clip.video for clip in clips if clip.label == label}
        if len(videos) < 2:
            raise InputError(
                f"class {label!r}: one video only, {videos.pop()}; expected at least two, to train and to validate with"
            )


def _assign(clips: list[VideoClip], share: float, seed: int) -> dict[str, str]:
    """{video: side}."""
    held: dict[str, Counter[str]] = {}  # {video: clips of each class}
    for clip in clips:
        held.setdefault(clip.video, Counter())[clip.label] += 1
    names = sorted(held)
    order = [names[index] for index in np.random.default_rng([seed]).permutation(len(names))]
    wanted: dict[str, dict[str, float]] = {side: {} for side in SIDES}
    for label, total in Counter(clip.label for clip in clips).items():
        wanted["validation"][label] = min(max(share * total, 1.0), total - 1.0)
        wanted["training"][label] = total - wanted["validation"][label]
    side_of: dict[str, str] = {}
    while len(side_of) < len(order):
        left = [video for video in order if video not in side_of]
        remaining = Counter(label for video in left for label in held[video])
        rarest = min(sorted(remaining), key=lambda label: remaining[label])
        for video in left:
            if rarest in held[video]:
                # On a tie the larger side, "training", comes first.
                side_of[video] = max(SIDES, key=lambda side: wanted[side][rarest])
                for label, count in held[video].items():
                    wanted[side_of[video]][label] -= count
    return side_of
