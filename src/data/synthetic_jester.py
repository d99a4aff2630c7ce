"""Synthetic Jester: small drawn clips of the 27 gestures, packed in exactly the way 20BN packs the real ones.

The real data needs a login and 23 GB; this set needs a minute, and everything downstream treats it as the real thing.

    draw_clip -> JPEG frames -> one tar.gz -> parts with md5, each in a zip     and     a zip with the label lists

Two properties hold by construction, not by luck:

* *Time.* Of each pair of opposite gestures (left/right, up/down, in/out, away/in, clockwise/counterclockwise,
  forward/backward) one is drawn and the other is the same clip played backwards, so no single frame tells them apart.
* *Mirror.* Half of the clips are mirrored: the mirrored picture of "Swiping Right" is what "Swiping Left" looks like,
  and the same for the other left/right pairs and for the two turning gestures. Performers use either arm.

Directions are those seen in the picture: "Swiping Left" moves towards the left edge of the image, "Turning Hand
Clockwise" turns as the viewer's clock does. "Pushing" comes towards the camera, "Zooming In" opens the fingers, and
"Rolling Hand Forward" moves towards the camera at the top of its circle.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import math
import multiprocessing
import os
import signal
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NamedTuple

import cv2
import numpy as np

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.progress import progress
from src.data.names import IMAGES_DIR_NAME, LABELS_ARCHIVE

FRAME_HEIGHT = 100
MIN_WIDTH, MAX_WIDTH = 120, 180
MIN_FRAMES, MAX_FRAMES = 27, 45
SUPERSAMPLING = 2  # frames are drawn at this many times their size and then averaged down
FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws with


Columns = dict  # name of a pose column -> one value or one value per frame
Point = tuple[float, float]  # right and down, in pixels of the frame


# --- How a hand moves -------------------------------------------------------------------------------------------------
#
# A pose is what the drawing needs to know about one frame. Lengths are pixels of a 100-pixel-high frame, `x` and `y`
# count from the performer's breastbone (right and down in the image), angles are degrees clockwise from upright.

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


def _hold_up(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    return {
        "x": rng.uniform(-14, 6),
        "y": rng.uniform(-8, 4),
        "size": rng.uniform(1.05, 1.3),
        "angle": rng.uniform(-10, 10),
        "spread": 1.5,
        "thumb": 30.0,
    }


def _hold_thumb(phase: np.ndarray, rng: np.random.Generator) -> Columns:
    return {
        "x": rng.uniform(-14, 6),
        "y": rng.uniform(-6, 8),
        "size": rng.uniform(1.05, 1.3),
        "angle": 90 + rng.uniform(-14, 14),
        "spread": 0.0,
        "thumb": 88.0,
    }


def _stay_at_rest(phase: np.ndarray, rng: np.random.Generator) -> Columns:
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

    motion: Callable[[np.ndarray, np.random.Generator], Columns]
    fingers: Columns
    reverse: bool = False
    back_of_hand: bool = False


# Pairs first, so that a few gestures already make a set that only the order of the frames can tell apart.
GESTURES = {
    "Swiping Left": Gesture(_move_across, OPEN_HAND),
    "Swiping Right": Gesture(_move_across, OPEN_HAND, reverse=True),
    "Swiping Up": Gesture(_move_up, OPEN_HAND),
    "Swiping Down": Gesture(_move_up, OPEN_HAND, reverse=True),
    "Zooming In With Full Hand": Gesture(_zoom_full_hand, OPEN_HAND),
    "Zooming Out With Full Hand": Gesture(_zoom_full_hand, OPEN_HAND, reverse=True),
    "Thumb Up": Gesture(_hold_thumb, THUMB_ONLY, back_of_hand=True),
    "No gesture": Gesture(_stay_at_rest, OPEN_HAND),
    "Turning Hand Clockwise": Gesture(_turn, OPEN_HAND),
    "Turning Hand Counterclockwise": Gesture(_turn, OPEN_HAND, reverse=True),
    "Pushing Hand Away": Gesture(_push, OPEN_HAND),
    "Pulling Hand In": Gesture(_push, OPEN_HAND, reverse=True),
    "Thumb Down": Gesture(_hold_thumb, THUMB_ONLY),
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
    "Stop Sign": Gesture(_hold_up, OPEN_HAND),
    "Shaking Hand": Gesture(_shake, OPEN_HAND),
    "Drumming Fingers": Gesture(_drum, OPEN_HAND, back_of_hand=True),
    "Doing other things": Gesture(_something_else, OPEN_HAND),
}

MIRROR_TWINS = {
    "Swiping Left": "Swiping Right",
    "Swiping Right": "Swiping Left",
    "Sliding Two Fingers Left": "Sliding Two Fingers Right",
    "Sliding Two Fingers Right": "Sliding Two Fingers Left",
    "Turning Hand Clockwise": "Turning Hand Counterclockwise",
    "Turning Hand Counterclockwise": "Turning Hand Clockwise",
}


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


# --- What a clip looks like -------------------------------------------------------------------------------------------

SKIN_TONES = ((255, 224, 196), (241, 194, 155), (224, 172, 125), (198, 140, 95), (160, 105, 65), (120, 75, 48))  # RGB


@dataclass(frozen=True)
class Scene:
    """Everything about a clip that does not depend on its gesture. Lengths in pixels of the frame, colours BGR."""

    width: int
    num_frames: int
    mirrored: bool
    background: np.ndarray  # supersampled picture
    body_x: float
    head_y: float
    head_axes: tuple[float, float]
    shoulder_y: float
    half_shoulders: float
    palm_width: float
    skin: np.ndarray
    shirt: np.ndarray
    hair: np.ndarray
    long_sleeves: bool
    brightness: float
    noise: float
    jpeg_quality: int


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw the performer, the room and the camera of one clip."""
    width = int(rng.integers(MIN_WIDTH, MAX_WIDTH + 1))
    skin = np.array(SKIN_TONES[rng.integers(len(SKIN_TONES))], float)[::-1] + rng.uniform(-8, 8, 3)
    shirt = _cool_colour(rng)
    head_y, head_height = rng.uniform(22, 28), rng.uniform(14, 17)
    return Scene(
        width=width,
        num_frames=int(rng.integers(MIN_FRAMES, MAX_FRAMES + 1)),
        mirrored=bool(rng.random() < 0.5),
        background=_draw_room(width, rng),
        body_x=width / 2 + rng.uniform(-6, 6),
        head_y=head_y,
        head_axes=(head_height * rng.uniform(0.74, 0.84), head_height),
        shoulder_y=head_y + head_height + rng.uniform(7, 10),
        half_shoulders=rng.uniform(27, 34),
        palm_width=rng.uniform(17, 20.5),
        skin=np.clip(skin, 0, 255),
        shirt=shirt,
        hair=rng.uniform(10, 90) * np.array([0.5, 0.75, 1.0]),
        long_sleeves=bool(rng.random() < 0.5),
        brightness=rng.uniform(0.75, 1.1),
        noise=rng.uniform(2, 6),
        jpeg_quality=int(rng.integers(75, 93)),
    )


def _cool_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour between green and violet, BGR.

    Skin of every tone is warmer than that, so the hand can be found by its colour. With walls and shirts of all
    colours a few hundred clips do not teach a network where the hand is.
    """
    hue, saturation, value = rng.uniform(60, 140), rng.uniform(40, 150), rng.uniform(70, 230)
    pixel = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].astype(float)


def _draw_room(width: int, rng: np.random.Generator) -> np.ndarray:
    """A wall with a gradient and a few pieces of furniture, supersampled, uint8 [height, width, 3]."""
    wall = _cool_colour(rng)
    shape = (FRAME_HEIGHT * SUPERSAMPLING, width * SUPERSAMPLING)
    slope = np.add.outer(
        rng.uniform(-25, 25) * np.linspace(-1, 1, shape[0]), rng.uniform(-25, 25) * np.linspace(-1, 1, shape[1])
    )
    room = np.clip(wall + slope[..., None], 0, 255).astype(np.uint8)
    for _ in range(rng.integers(1, 6)):
        left, top = rng.uniform(0, width), rng.uniform(-20, 80)
        right, bottom = left + rng.uniform(8, 50), top + rng.uniform(8, 60)
        colour = np.clip(wall + rng.uniform(-50, 50), 0, 255)
        _polygon(room, [(left, top), (right, top), (right, bottom), (left, bottom)], colour)
        if rng.random() < 0.5:
            _line(room, (left, top), (right, top), rng.uniform(0.5, 2), colour * 0.6)
    return room


def draw_frame(scene: Scene, pose: np.ndarray, back_of_hand: bool) -> np.ndarray:
    """One frame before brightness and noise, uint8 BGR [100, width, 3]; the raised arm is the one at image left."""
    image = scene.background.copy()
    values = dict(zip(POSE, pose.tolist()))
    _draw_body(image, scene, values["lean"])
    _draw_arm_and_hand(image, scene, values, back_of_hand)
    return cv2.resize(image, (scene.width, FRAME_HEIGHT), interpolation=cv2.INTER_AREA)


def _draw_body(image: np.ndarray, scene: Scene, lean: float) -> None:
    x, y, half = scene.body_x, scene.shoulder_y, scene.half_shoulders
    top = x + lean * 0.7
    _line(image, (x + half + 1, y + 40), (top + half - 5, y + 6), 12, scene.shirt * 0.72)
    torso = [(top - 8, y - 3), (top + 8, y - 3), (top + half - 3, y + 3), (top + half, y + 12), (x + half * 0.85, 110)]
    torso += [(x - half * 0.85, 110), (top - half, y + 12), (top - half + 3, y + 3)]
    _polygon(image, torso, scene.shirt)
    head = (x + lean, scene.head_y)
    rx, ry = scene.head_axes
    _line(image, (top, y), head, 10, scene.skin * 0.85)
    _ellipse(image, (head[0], head[1] - 2), (rx + 1.5, ry + 1), scene.hair)
    _ellipse(image, (head[0], head[1] + 1.5), (rx, ry - 1), scene.skin * 0.93)
    for side in (-1, 1):
        _ellipse(image, (head[0] + side * rx * 0.42, head[1] - 1), (1.6, 1.2), scene.skin * 0.25)
    _line(image, (head[0] - 3.5, head[1] + ry * 0.55), (head[0] + 3.5, head[1] + ry * 0.55), 1.2, scene.skin * 0.5)


def _draw_arm_and_hand(image: np.ndarray, scene: Scene, pose: Columns, back_of_hand: bool) -> None:
    palm = scene.palm_width * pose["size"]
    centre_x, centre_y = scene.body_x + pose["lean"] * 0.5 + pose["x"], scene.shoulder_y + 10 + pose["y"]
    turn = math.radians(pose["angle"])
    cos, sin = palm * math.cos(turn), palm * math.sin(turn)
    thumb_side = -1 if back_of_hand else 1

    def place(x: float, y: float) -> Point:
        """From the hand's own axes (thumb side, towards the wrist; in palm widths) to the image."""
        x *= thumb_side
        return centre_x + cos * x - sin * y, centre_y + sin * x + cos * y

    shoulder = (scene.body_x + pose["lean"] * 0.7 - scene.half_shoulders + 5, scene.shoulder_y + 6)
    wrist = place(0, 0.55)
    elbow = _between(shoulder, wrist, 0.22)
    elbow = (elbow[0] - 5, elbow[1] + 30)
    sleeve = scene.shirt * 0.72
    _line(image, shoulder, elbow, 12, sleeve)
    forearm_width = 0.5 * palm + 2
    _line(image, elbow, wrist, forearm_width + 1.5, scene.skin * 0.45)
    _line(image, elbow, wrist, forearm_width, scene.skin)
    if scene.long_sleeves:
        _line(image, elbow, _between(elbow, wrist, 0.62), forearm_width + 2, sleeve)

    edge, width = scene.skin * 0.38, 0.24 * palm
    outline = max(1.0, 0.05 * palm)

    def finger(start: Point, end: Point, width: float, colour: np.ndarray) -> None:
        _line(image, start, end, width + 2 * outline, edge)
        _line(image, start, end, width, colour)

    palm_shape = [
        (-0.46, -0.4),
        (-0.2, -0.5),
        (0.2, -0.5),
        (0.46, -0.4),
        (0.46, 0.1),
        (0.3, 0.5),
        (-0.3, 0.5),
        (-0.46, 0.1),
    ]
    corners = [place(*corner) for corner in palm_shape]
    for start, end in zip(corners, corners[1:] + corners[:1]):
        _line(image, start, end, 2 * outline, edge)

    folded = []
    for i, (name, length) in enumerate(zip(FINGERS, (0.86, 0.98, 0.9, 0.68))):
        base = (0.36 - 0.24 * i, -0.42)  # the index finger is on the thumb's side
        stretch = 1 - pose[f"curl_{name}"]
        if stretch < 0.25:
            folded.append((place(base[0], -0.45), place(base[0], -0.08)))
            continue
        direction = math.radians((1.5 - i) * pose["spread"])
        tip = place(base[0] + length * stretch * math.sin(direction), base[1] - length * stretch * math.cos(direction))
        finger(place(*base), tip, width, scene.skin)
    if pose["curl_thumb"] < 0.75:
        stretch, direction = 0.8 * (1 - pose["curl_thumb"]), math.radians(pose["thumb"])
        tip = place(0.34 + stretch * math.sin(direction), 0.12 - stretch * math.cos(direction))
        finger(place(0.3, 0.15), tip, width * 1.12, scene.skin)
    _polygon(image, corners, scene.skin)
    for start, end in folded:
        finger(start, end, width * 0.9, scene.skin * 0.92)
    if pose["curl_thumb"] >= 0.75:
        finger(place(0.4, 0.2), place(-0.05, 0.1), width, scene.skin * 0.95)


def _between(start: Point, end: Point, share: float) -> Point:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _fixed_point(point: Point) -> tuple[int, int]:
    scale = SUPERSAMPLING << FRACTION_BITS
    return round(point[0] * scale), round(point[1] * scale)


def _line(image: np.ndarray, start: Point, end: Point, width: float, colour: np.ndarray) -> None:
    thickness = max(1, round(width * SUPERSAMPLING))
    cv2.line(image, _fixed_point(start), _fixed_point(end), colour.tolist(), thickness, cv2.LINE_AA, FRACTION_BITS)


def _polygon(image: np.ndarray, points: list[Point], colour: np.ndarray) -> None:
    corners = np.array([_fixed_point(point) for point in points], np.int32)
    cv2.fillPoly(image, [corners], colour.tolist(), cv2.LINE_AA, FRACTION_BITS)


def _ellipse(image: np.ndarray, centre: Point, axes: Point, colour: np.ndarray) -> None:
    cv2.ellipse(
        image, _fixed_point(centre), _fixed_point(axes), 0, 0, 360, colour.tolist(), -1, cv2.LINE_AA, FRACTION_BITS
    )


def draw_clip(label: str, seed: int, clip_id: int, mirrored: bool | None = None) -> tuple[list[np.ndarray], int]:
    """Draw one clip: (frames, JPEG quality), the frames uint8 BGR [100, 120..180, 3], 27 to 45 of them.

    A pure function of its arguments. The performer, the room and the path of the hand depend on `seed` and `clip_id`
    only, so opposite gestures of the same clip show the same pictures in opposite orders. `mirrored` overrides the
    draw of whether the performer uses the other arm.
    """
    scene = draw_scene(np.random.default_rng([seed, clip_id, 0]))
    mirrored = scene.mirrored if mirrored is None else mirrored
    gesture = GESTURES[MIRROR_TWINS.get(label, label) if mirrored else label]
    rng = np.random.default_rng([seed, clip_id, 1])
    poses = clip_poses(gesture, scene.num_frames, rng)
    flicker = scene.brightness * (
        1 + rng.uniform(0, 0.04) * np.sin(2 * np.pi * (np.arange(scene.num_frames) / rng.uniform(8, 40) + rng.random()))
    )
    grain = scene.noise * rng.standard_normal((FRAME_HEIGHT + 64, scene.width + 64, 3), dtype=np.float32)
    frames = []
    for pose, brightness in zip(poses, flicker):
        dy, dx = rng.integers(64, size=2)  # a cheap stand-in for fresh noise: another window of the same grain
        noise = grain[dy : dy + FRAME_HEIGHT, dx : dx + scene.width]
        frame = draw_frame(scene, pose, gesture.back_of_hand) * np.float32(brightness) + noise
        frame = np.clip(frame, 0, 255).astype(np.uint8)
        frames.append(cv2.flip(frame, 1) if mirrored else frame)
    return (frames[::-1] if gesture.reverse else frames), scene.jpeg_quality


def contact_sheet(labels: list[str], seed: int, clip_id: int = 1, columns: int = 6) -> np.ndarray:
    """One labelled row of `columns` frames per gesture, evenly spaced over the clip, uint8 BGR."""
    rows = []
    for offset, label in enumerate(labels):
        frames, _ = draw_clip(label, seed, clip_id + offset)
        picks = ((np.arange(columns) + 0.5) * len(frames) / columns).astype(int)
        strip = np.concatenate([frames[i] for i in picks], axis=1)
        row = np.full((FRAME_HEIGHT + 16, columns * MAX_WIDTH, 3), 255, np.uint8)
        row[16:, : strip.shape[1]] = strip
        cv2.putText(row, label, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        rows.append(row)
    return np.concatenate(rows)


# --- How 20BN packs it ------------------------------------------------------------------------------------------------


def plan_clips(labels: list[str], split_sizes: dict[str, int], seed: int) -> dict[str, list[tuple[int, str]]]:
    """Deal clip ids 1, 2, ... to the splits: {split: [(clip id, label), ...]}.

    Ids are dealt at random, and each split has equally many clips of every class (within one).
    """
    rng = np.random.default_rng([seed])
    ids = (rng.permutation(sum(split_sizes.values())) + 1).tolist()
    return {
        split: sorted((ids.pop(), labels[i % len(labels)]) for i in range(size)) for split, size in split_sizes.items()
    }


def make_archives(target: Path, labels: list[str], split_sizes: dict[str, int], seed: int, num_parts: int) -> None:
    """Draw all clips and write 20BN's archives into the folder `target`: all of them, or none if something fails.

    Raises `InputError` if `target` already holds such archives or is not a folder.
    """
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is not a folder")
    held = sorted(target.glob("20bn-jester*"))
    if held:
        raise InputError(f"{held[0]}: the target folder already holds Jester archives; give another or remove them")
    target.mkdir(parents=True, exist_ok=True)
    splits = plan_clips(labels, split_sizes, seed)
    with tempfile.TemporaryDirectory(prefix=".synthetic-jester-", dir=target) as work:
        packed = Path(work) / "frames.tar.gz"
        _write_frames(packed, sorted(clip for clips in splits.values() for clip in clips), seed)
        archives = _split_into_parts(packed, num_parts)
        archives.append(_write_labels(Path(work) / LABELS_ARCHIVE, labels, splits))
        for archive in archives:  # the labels come last: a target folder that has them is complete
            os.replace(archive, target / archive.name)


def _jpeg_clip(job: tuple[str, int, int]) -> tuple[int, list[bytes]]:
    label, seed, clip_id = job
    frames, quality = draw_clip(label, seed, clip_id)
    return clip_id, [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for frame in frames]


def _write_frames(path: Path, clips: list[tuple[int, str]], seed: int) -> None:
    jobs = [(label, seed, clip_id) for clip_id, label in clips]
    spawning = multiprocessing.get_context("spawn")  # whatever the caller has loaded need not survive a fork
    num_workers = min(os.cpu_count() or 1, 1 + len(jobs) // 32)
    # mtime 0 and level 1: the same seed gives the same bytes, and JPEGs hardly compress any further.
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        packed = stack.enter_context(gzip.GzipFile("", "wb", 1, file, mtime=0))
        tar = stack.enter_context(tarfile.open(fileobj=packed, mode="w|"))
        pool = stack.enter_context(spawning.Pool(num_workers, initializer=_start_worker))
        update = stack.enter_context(progress("Draw", len(jobs), "clip"))
        _add_folder(tar, IMAGES_DIR_NAME)
        for clip_id, frames in pool.imap(_jpeg_clip, jobs, chunksize=4):
            folder = f"{IMAGES_DIR_NAME}/{clip_id}"
            _add_folder(tar, folder)
            for number, frame in enumerate(frames, start=1):
                member = tarfile.TarInfo(f"{folder}/{number:05d}.jpg")
                member.size = len(frame)
                tar.addfile(member, io.BytesIO(frame))
            update(1)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # clips are drawn side by side instead
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started the workers


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(member)


def _split_into_parts(packed: Path, num_parts: int) -> list[Path]:
    """Cut a file into equal parts, each in a zip beside it together with its md5; the last part may be shorter."""
    part_size = -(-packed.stat().st_size // num_parts)
    archives = []
    with packed.open("rb") as source:
        for number in range(num_parts):
            name, content = f"{IMAGES_DIR_NAME}-{number:02d}", source.read(part_size)
            archives.append(packed.with_name(f"{name}.zip"))
            with zipfile.ZipFile(archives[-1], "w") as archive:
                archive.writestr(zipfile.ZipInfo(name), content)
                archive.writestr(zipfile.ZipInfo(f"{name}.md5"), f"{hashlib.md5(content).hexdigest()}  {name}\n")
    return archives


def _write_labels(path: Path, labels: list[str], splits: dict[str, list[tuple[int, str]]]) -> Path:
    rows = {split: [f"{clip_id};{label}" for clip_id, label in clips] for split, clips in splits.items()}
    files = {"labels": labels, "train": rows["train"], "validation": rows["validation"]}
    if splits["test"]:
        files["test"] = [str(clip_id) for clip_id, _ in splits["test"]]
        files["test-answers"] = rows["test"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in files.items():
            archive.writestr(zipfile.ZipInfo(f"labels/{name}.csv"), "".join(f"{line}\n" for line in lines))
    return path


def main(argv: list[str] | None = None) -> None:
    """Command line: write the archives, or a picture of what they would show, or both."""
    parser = Parser(
        prog="make_synthetic_jester", description="Draw a small Jester and pack it as 20BN packs the real one."
    )
    parser.add_argument("target", type=Path, nargs="?", help="folder for the archives; made if it is not there")
    parser.add_argument("--gestures", type=int, default=len(GESTURES), help="how many classes, 1 to 27 (default 27)")
    parser.add_argument("--train", type=int, default=1080, help="training clips, all classes together (default 1080)")
    parser.add_argument("--val", type=int, default=270, help="validation clips (default 270)")
    parser.add_argument("--test", type=int, default=54, help="test clips; 0 for no test list (default 54)")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws another set (default 1)")
    parser.add_argument("--parts", type=int, default=3, help="how many data archives (default 3)")
    parser.add_argument("--contact_sheet", type=Path, help="write a PNG with six frames of every gesture")
    args = parser.parse_args(argv)
    if not args.target and not args.contact_sheet:
        parser.error("give a target folder or --contact_sheet")
    for name, lowest, highest in (("gestures", 1, len(GESTURES)), ("parts", 1, 100)):
        if not lowest <= getattr(args, name) <= highest:
            raise InputError(f"--{name} {getattr(args, name)}: must be {lowest} to {highest}")
    for name, lowest in (("train", 1), ("val", 1), ("test", 0), ("seed", 0)):
        if getattr(args, name) < lowest:
            raise InputError(f"--{name} {getattr(args, name)}: must be {lowest} or more")

    labels = list(GESTURES)[: args.gestures]
    try:
        if args.contact_sheet:
            picture = cv2.imencode(".png", contact_sheet(labels, args.seed))[1]
            args.contact_sheet.write_bytes(picture.tobytes())
        if args.target:
            split_sizes = {"train": args.train, "validation": args.val, "test": args.test}
            make_archives(args.target, labels, split_sizes, args.seed, args.parts)
            print(f"{sum(split_sizes.values())} clips of {len(labels)} gestures are in {args.target}")
    except OSError as error:
        raise InputError(f"{error.filename or args.target}: cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    from model_utils.util import run_main

    run_main(main)
