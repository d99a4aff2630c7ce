"""How the hand of the synthetic Jester moves in each of the 27 gestures.

Two opposite gestures share one motion: one plays it forwards, the other backwards. Directions are as seen in the
picture: "Swiping Left" moves towards the left edge of the image, "Turning Hand Clockwise" turns as the viewer's clock
does. "Pushing" comes towards the camera, "Zooming In" opens the fingers, and "Rolling Hand Forward" moves towards the
camera at the top of its circle.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np

from src.data.mirror_pairs import mirrored_classes

Columns = dict[str, Any]  # name of a pose column -> one value or one value per frame
Motion = Callable[[np.ndarray, np.random.Generator], Columns]  # of phases from 0 to 1


# A pose describes the hand in one frame. Lengths are pixels of a 100-pixel-high frame, `x` and `y` count from the
# performer's breastbone (right and down in the image), angles are degrees clockwise from upright.

POSE = (
    "x",  # palm centre
    "y",
    "size",  # palm width as a multiple of the performer's
    "angle",  # where the fingers point
    "spread",  # angle between neighbouring fingers
    "thumb",  # angle of the thumb away from the fingers
    "curl_thumb",  # 0 stretched out ... 1 folded in
    "curl_index",
    "curl_middle",
    "curl_ring",
    "curl_little",
    "lean",  # sideways shift of head and shoulders
)
FINGERS = ("index", "middle", "ring", "little")
RESTING_HAND = {"x": -26.0, "y": 78.0, "size": 1.0, "angle": -10.0, "spread": 4.0, "thumb": 35.0, "lean": 0.0}


def _curls(thumb: float, index: float, middle: float, ring: float, little: float) -> Columns:
    return dict(zip((f"curl_{name}" for name in ("thumb", *FINGERS)), (thumb, index, middle, ring, little)))


OPEN_HAND = _curls(0, 0, 0, 0, 0)
TWO_FINGERS = _curls(1, 0, 0, 1, 1)
PINCH = _curls(0, 0, 1, 1, 1)
FIST = _curls(1, 1, 1, 1, 1)
THUMB_ONLY = _curls(0, 1, 1, 1, 1)


def _move_across(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    """From right to left."""
    reach, bow = rng.uniform(24, 33), rng.uniform(-5, 5)
    along = 1 - 2 * phase
    return {"x": reach * along, "y": bow * (1 - along**2), "angle": rng.uniform(12, 28) * along, "spread": 5.0}


def _move_up(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    reach, bow = rng.uniform(20, 27), rng.uniform(-5, 5)
    along = 1 - 2 * phase
    return {
        "x": rng.uniform(-10, 2) + bow * (1 - along**2),
        "y": reach * along - 6,
        "angle": rng.uniform(55, 80) + rng.uniform(8, 18) * along,
        "spread": 5.0,
    }


def _push(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    far, near = rng.uniform(0.6, 0.72), rng.uniform(1.35, 1.6)
    return {
        "x": rng.uniform(-10, 6),
        "y": rng.uniform(-4, 4) + rng.uniform(0, 6) * (1 - phase),
        "size": far * (near / far) ** phase,
        "angle": rng.uniform(-10, 10),
        "spread": 7.0,
    }


def _zoom_full_hand(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    closed, opened = rng.uniform(0.8, 0.95), rng.uniform(19, 24)
    return {
        "x": rng.uniform(-12, 6),
        "y": rng.uniform(-4, 6),
        "size": rng.uniform(0.95, 1.15) + 0.15 * (phase - 0.5),
        "angle": rng.uniform(-12, 12),
        "spread": opened * phase,
        "thumb": 15 + 55 * phase,
        **{f"curl_{name}": closed * (1 - phase) for name in ("thumb", *FINGERS)},
    }


def _zoom_two_fingers(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    widest = rng.uniform(80, 105)
    opening = 6 + (widest - 6) * phase
    return {
        "x": rng.uniform(-12, 6),
        "y": rng.uniform(-4, 6),
        "size": rng.uniform(1.05, 1.25),
        "angle": rng.uniform(-8, 8) + opening * 0.2,
        "thumb": opening * 0.8,
        "spread": 0.0,
        "curl_index": 0.15 * (1 - phase),
    }


def _turn(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    """Clockwise."""
    return {
        "x": rng.uniform(-10, 8),
        "y": rng.uniform(-6, 6),
        "angle": rng.uniform(70, 95) * (2 * phase - 1) + rng.uniform(-8, 8),
        "size": rng.uniform(1.0, 1.15),
        "spread": rng.uniform(9, 15),
        "thumb": 50.0,
    }


def _roll(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    """Forward: towards the camera at the top of the circle."""
    turn = 2 * np.pi * (rng.uniform(1.2, 1.7) * phase + rng.random())
    return {
        "x": rng.uniform(-8, 4),
        "y": rng.uniform(-2, 4) - rng.uniform(17, 22) * np.cos(turn),
        "size": 1.0 + rng.uniform(0.32, 0.4) * np.sin(turn),
        "angle": rng.uniform(80, 95) + 8 * np.sin(turn),
        "spread": 2.0,
    }


def _shake(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    swing = np.sin(2 * np.pi * (rng.uniform(3, 5) * phase + rng.random()))
    return {
        "x": rng.uniform(-12, 6) + rng.uniform(4, 7) * swing,
        "y": rng.uniform(-6, 6),
        "angle": rng.uniform(28, 40) * swing,
        "spread": rng.uniform(8, 14),
        "thumb": 50.0,
    }


def _drum(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    turn = 2 * np.pi * (rng.uniform(3, 5) * phase + rng.random())
    lag = rng.uniform(1.1, 1.5)
    return {
        "x": rng.uniform(-12, 0),
        "y": rng.uniform(-8, 4),
        "size": rng.uniform(1.05, 1.2),
        "angle": rng.uniform(110, 150),
        "spread": rng.uniform(9, 14),
        "thumb": 40.0,
        **{f"curl_{name}": 0.36 + 0.36 * np.sin(turn - lag * i) for i, name in enumerate(FINGERS)},
    }


def _hold(low: float, high: float, angle: float, tilt: float, **hand: float) -> Motion:
    """The hand is held still, between ``low`` and ``high``, at ``angle``, give or take ``tilt``."""

    def motion(_phase: np.ndarray, rng: np.random.Generator) -> Columns:
        x, y, size = rng.uniform(-14, 6), rng.uniform(low, high), rng.uniform(1.05, 1.3)
        return {"x": x, "y": y, "size": size, "angle": angle + rng.uniform(-tilt, tilt), **hand}

    return motion


def _stay_at_rest(_phase: np.ndarray, _rng: np.random.Generator) -> Columns:
    return dict(RESTING_HAND)


def _something_else(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    """Scratch the head, rub the chin, or lean aside and back."""
    kind = rng.integers(3)
    if kind == 2:
        return {**RESTING_HAND, "lean": rng.choice([-1, 1]) * rng.uniform(14, 24) * np.sin(np.pi * phase)}
    rub = rng.uniform(2.5, 4.5) * np.sin(2 * np.pi * (rng.uniform(2, 3.5) * phase + rng.random()))
    if kind == 0:
        place = {"x": rng.uniform(-20, -14) + rub, "y": rng.uniform(-49, -42), "angle": rng.uniform(40, 65)}
    else:
        place = {"x": rng.uniform(-8, -2) + rub, "y": rng.uniform(-14, -8), "angle": rng.uniform(5, 35), **FIST}
    return {**place, "size": 0.85, "spread": 4.0, "lean": rng.uniform(-4, 4)}


class Gesture(NamedTuple):
    """How a label is drawn: `motion` of a hand with these `fingers`, played backwards if `reverse`."""

    motion: Motion
    fingers: Columns
    reverse: bool = False
    back_of_hand: bool = False


_HOLD_THUMB = _hold(-6, 8, 90, 14, spread=0.0, thumb=88.0)

# Pairs first, so that a few gestures already make a set that only the order of the frames can tell apart.
GESTURES = {
    "Swiping Left": Gesture(_move_across, OPEN_HAND),
    "Swiping Right": Gesture(_move_across, OPEN_HAND, reverse=True),
    "Swiping Up": Gesture(_move_up, OPEN_HAND),
    "Swiping Down": Gesture(_move_up, OPEN_HAND, reverse=True),
    "Zooming In With Full Hand": Gesture(_zoom_full_hand, OPEN_HAND),
    "Zooming Out With Full Hand": Gesture(_zoom_full_hand, OPEN_HAND, reverse=True),
    "Thumb Up": Gesture(_HOLD_THUMB, THUMB_ONLY, back_of_hand=True),
    "No gesture": Gesture(_stay_at_rest, OPEN_HAND),
    "Turning Hand Clockwise": Gesture(_turn, OPEN_HAND),
    "Turning Hand Counterclockwise": Gesture(_turn, OPEN_HAND, reverse=True),
    "Pushing Hand Away": Gesture(_push, OPEN_HAND),
    "Pulling Hand In": Gesture(_push, OPEN_HAND, reverse=True),
    "Thumb Down": Gesture(_HOLD_THUMB, THUMB_ONLY),
    "Sliding Two Fingers Left": Gesture(_move_across, TWO_FINGERS),
    "Sliding Two Fingers Right": Gesture(_move_across, TWO_FINGERS, reverse=True),
    "Sliding Two Fingers Up": Gesture(_move_up, TWO_FINGERS),
    "Sliding Two Fingers Down": Gesture(_move_up, TWO_FINGERS, reverse=True),
    "Pushing Two Fingers Away": Gesture(_push, TWO_FINGERS),
    "Pulling Two Fingers In": Gesture(_push, TWO_FINGERS, reverse=True),
    "Zooming In With Two Fingers": Gesture(_zoom_two_fingers, PINCH),
    "Zooming Out With Two Fingers": Gesture(_zoom_two_fingers, PINCH, reverse=True),
    "Rolling Hand Forward": Gesture(_roll, OPEN_HAND),
    "Rolling Hand Backward": Gesture(_roll, OPEN_HAND, reverse=True),
    "Stop Sign": Gesture(_hold(-8, 4, 0, 10, spread=1.5, thumb=30.0), OPEN_HAND),
    "Shaking Hand": Gesture(_shake, OPEN_HAND),
    "Drumming Fingers": Gesture(_drum, OPEN_HAND, back_of_hand=True),
    "Doing other things": Gesture(_something_else, OPEN_HAND),
}

# The gesture to draw for a label if the picture is mirrored afterwards.
MIRROR_TWINS = {label: list(GESTURES)[twin] for label, twin in zip(GESTURES, mirrored_classes(list(GESTURES)))}


def clip_poses(gesture: Gesture, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Poses of a whole clip, [num_frames, len(POSE)]: rest, raise the hand, make the gesture, lower it, rest.

    How long each takes is drawn in the same way for both ends of the clip. `gesture.reverse` is not applied here.
    """
    raised, lowered = rng.uniform(0.07, 0.15, 2)
    moving = rng.uniform(0.05, 0.1, 2)  # share of the clip that raising and lowering the hand take
    time = np.linspace(0, 1, num_frames)
    up = _ease(np.clip((time - raised + moving[0]) / moving[0], 0, 1))
    up *= _ease(np.clip((1 - time - lowered + moving[1]) / moving[1], 0, 1))

    phase = np.clip((time - raised) / (1 - raised - lowered), 0, 1)
    suddenness = rng.uniform(0.2, 1)
    phase = suddenness * _ease(phase) + (1 - suddenness) * phase

    rest = {**RESTING_HAND, **_curls(0.3, 0.3, 0.3, 0.3, 0.3)}
    made = {**rest, **gesture.fingers, **gesture.motion(phase, rng)}
    poses = np.empty((num_frames, len(POSE)))
    for column, name in enumerate(POSE):
        poses[:, column] = rest[name] + up * (made[name] - rest[name])

    unsteady = rng.uniform(0, 1.2, 2) * np.sin(2 * np.pi * (np.outer(time, rng.uniform(1, 3, 2)) + rng.random(2)))
    poses[:, :2] += unsteady
    poses[:, POSE.index("lean")] += rng.uniform(0, 1.5) * np.sin(
        2 * np.pi * (time * rng.uniform(0.5, 1.5) + rng.random())
    )
    return poses


def _ease(share: np.ndarray) -> np.ndarray:
    return share * share * (3 - 2 * share)
