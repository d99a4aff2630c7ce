"""Every choice in a clip: its frames, its crop, whether it is mirrored, its relations and its dropped features.

Choices only, in NumPy: no pixels, no files. Every random draw comes from ``generator``, so it depends on the seed, the
epoch, the clip and the kind of draw alone: it is the same for any number of workers, ranks or restarts.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, comb

import numpy as np

# The position of a purpose is part of its seed: a new one goes to the end.
PURPOSES = ("order", "frames", "crop", "flip", "relations", "shuffle", "dropout", "window")

# Sliding windows. Lengths and places are fractions of the clip's length.
WINDOW_LENGTHS = (0.75, 1.3)
GESTURE = (0.12, 0.88)  # the hands move here and rest before and after
WHOLE, PART = 0.85, 0.6  # covered share of the gesture: at least WHOLE shows it, at most PART does not

CROP_SCALES = (1, 0.875, 0.75, 0.66)
# Offsets of crops (across, down) in quarters of the free space: 4 corners, centre, 4 edge centres, 4 quarter points.
CROP_POSITIONS = (
    ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)) + ((0, 2), (4, 2), (2, 4), (2, 0)) + ((1, 1), (3, 1), (1, 3), (3, 3))
)


def generator(seed: int, epoch: int, index: int, purpose: str) -> np.random.Generator:
    """The random generator for one of PURPOSES, for clip ``index`` in one epoch.

    All three integers are >= 0. Generators are independent: a draw from one never changes another.
    """
    return np.random.default_rng([PURPOSES.index(purpose), seed, epoch, index])


def epoch_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch visits the clips: int64 [num_clips], a permutation of 0 … num_clips - 1."""
    return generator(seed, epoch, 0, "order").permutation(num_clips)


def train_segments(num_frames: int, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """One random frame from each of T equally long segments: int64 [T], 0-based, increasing.

    The segments are ``num_frames // T`` frames long; frames after the last segment are never drawn, as in the authors'
    code. A clip shorter than T frames gives its ``test_segments``.
    """
    length = num_frames // num_segments
    if length == 0:
        return test_segments(num_frames, num_segments)
    return np.arange(num_segments) * length + rng.integers(length, size=num_segments)


def test_segments(num_frames: int, num_segments: int) -> np.ndarray:
    """The middle frame of each of T equal segments, floor(N/T · (i + ½)) for i = 0 … T-1: int64 [T], 0-based.

    A clip shorter than T frames repeats frames, in order.
    """
    return (2 * np.arange(num_segments) + 1) * num_frames // (2 * num_segments)


def evaluated_segments(
    num_frames: int, num_segments: int, frame_order: str, observe: float, rng: np.random.Generator
) -> np.ndarray:
    """The ``test_segments`` of the first ceil(``observe`` · N) frames: int64 [T], 0-based.

    Args:
        num_frames: N.
        num_segments: T.
        frame_order: "natural", "reversed" or "shuffled".
        observe: share of the clip, 0 < ``observe`` <= 1.
        rng: shuffles.
    """
    # The decimal that the user wrote: in binary 0.07 · 100 is more than 7, and ceil would give 8.
    observed = ceil(Fraction(str(observe)) * num_frames)
    segments = test_segments(observed, num_segments)
    if frame_order == "reversed":
        return segments[::-1]
    return rng.permutation(segments) if frame_order == "shuffled" else segments


def training_crop(
    height: int, width: int, image_size: int, rng: np.random.Generator, smallest: float = CROP_SCALES[-1]
) -> tuple[int, int, int, int]:
    """A random multi-scale crop of a frame: (x, y, width, height) in pixels, inside the frame.

    Each side is one of CROP_SCALES, not below ``smallest``, times the frame's shorter side; the two scales are at most
    one step of CROP_SCALES apart. A side less than 3 pixels from ``image_size`` becomes ``image_size``, if the frame is
    that large: a resize by a pixel or two would only blur.
    """
    base = min(height, width)
    sides = [max(1, int(base * scale)) for scale in CROP_SCALES if scale >= smallest]
    sides = [image_size if abs(side - image_size) < 3 and image_size <= base else side for side in sides]
    pairs = [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]
    crop_width, crop_height = pairs[rng.integers(len(pairs))]
    across, down = CROP_POSITIONS[rng.integers(len(CROP_POSITIONS))]
    return across * ((width - crop_width) // 4), down * ((height - crop_height) // 4), crop_width, crop_height


def mirror_clip(rng: np.random.Generator) -> bool:
    """Whether to mirror a training clip: one decision for all its frames, true half of the time."""
    return bool(rng.integers(2))


def crop_offsets(height: int, width: int, image_size: int, test_crops: int) -> list[tuple[int, int, bool]]:
    """The test crops of ``image_size``² pixels in a frame: a list of (x, y, mirrored).

    1 crop: the centre. 5: the four corners, then the centre. 10: each of the five, followed by its mirror image.
    """
    positions = CROP_POSITIONS[4:5] if test_crops == 1 else CROP_POSITIONS[:5]
    step_x, step_y = (width - image_size) // 4, (height - image_size) // 4
    mirrorings = (False, True) if test_crops == 10 else (False,)
    return [(across * step_x, down * step_y, mirrored) for across, down in positions for mirrored in mirrorings]


def sample_relations(num_segments: int, subsample_num: int, rng: np.random.Generator) -> np.ndarray:
    """The frame tuples of one clip in one training step: int32 [T - 1, subsample_num].

    Row i belongs to scale T - i: the first row to T frames, the last to 2. It holds row numbers of
    ``src.utils.relation_tuples(T, T - i)``, drawn without replacement, then -1 if the scale has fewer tuples.
    """
    relations = np.full((num_segments - 1, subsample_num), -1, np.int32)
    for row in range(num_segments - 1):
        # More tuples do not fit an int32. No head reads them: multi-scale TRN takes 16 frames at most.
        num_tuples = min(comb(num_segments, num_segments - row), 2**31 - 1)
        used = min(subsample_num, num_tuples)
        relations[row, :used] = rng.choice(num_tuples, used, replace=False)
    return relations


def dropout_mask(num_segments: int, features: int, dropout: float, rng: np.random.Generator) -> np.ndarray:
    """The factors of dropout for a clip's features in one training step: float32 [T, features].

    0 with probability ``dropout``, else 1 / (1 - ``dropout``), which leaves the expected feature unchanged.
    """
    kept = rng.random((num_segments, features), np.float32) >= dropout
    return kept * np.float32(1 / (1 - dropout))


def sliding_window_share(share: float, epoch: int, start: int, full: int) -> float:
    """The share of sliding windows in an epoch: 0 before ``start``, ``share`` from ``full`` on, linear between."""
    if epoch < start:
        return 0.0
    return share if epoch >= full else share * (epoch - start) / (full - start)


def sliding_window(
    num_frames: int, num_segments: int, rng: np.random.Generator, parts: bool
) -> tuple[np.ndarray, bool]:
    """The frames of a random window over the clip, like a window of a stream: (int64 [T] 0-based, whole).

    The window is 0.75 to 1.3 clips long and starts anywhere from its own length before the clip to the clip's end. It
    gives one random frame from each of its T equal segments. Before the clip it repeats the first frame, after it the
    last. The middle 76 % of the clip are the gesture. ``whole`` is True if the window covers at least 85 % of the
    gesture, False if at most 60 %. Any other window is drawn again; without ``parts``, so is one that is not whole.
    """
    while True:
        length = rng.uniform(*WINDOW_LENGTHS)
        start = rng.uniform(-length, 1)
        first, last = GESTURE
        covered = max(0.0, min(start + length, last) - max(start, first)) / (last - first)
        if covered >= WHOLE or (parts and covered <= PART):
            break
    segments = start + length * (np.arange(num_segments) + rng.random(num_segments)) / num_segments
    return np.clip(np.floor(num_frames * segments), 0, num_frames - 1).astype(np.int64), covered >= WHOLE
