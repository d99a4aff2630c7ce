"""Draws the clips of the synthetic Jester: a performer in a room, frame by frame.

Half of the clips are mirrored: a mirrored "Swiping Right" looks like a "Swiping Left", and so do the other left/right
pairs and the two turning gestures. Performers use either arm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Callable

import cv2
import numpy as np

from src.synthetic.gestures import FINGERS, GESTURES, MIRROR_TWINS, POSE, Columns, clip_poses

FRAME_HEIGHT = 100
MIN_WIDTH, MAX_WIDTH = 120, 180
MIN_FRAMES, MAX_FRAMES = 27, 45
SUPERSAMPLING = 2  # frames are drawn at this many times their size and then averaged down
GRAIN_MARGIN = 64  # pixels of grain around a frame
FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws with
PALM_CORNERS = (  # in the hand's own axes: thumb side, towards the wrist; in palm widths
    (-0.46, -0.4),
    (-0.2, -0.5),
    (0.2, -0.5),
    (0.46, -0.4),
    (0.46, 0.1),
    (0.3, 0.5),
    (-0.3, 0.5),
    (-0.46, 0.1),
)

Point = tuple[float, float]  # right and down, in pixels of the frame

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
    _draw_arm(image, scene, shoulder, place(0, 0.55), palm)
    _draw_hand(image, scene.skin, pose, palm, place)


def _draw_arm(image: np.ndarray, scene: Scene, shoulder: Point, wrist: Point, palm: float) -> None:
    elbow = _between(shoulder, wrist, 0.22)
    elbow = (elbow[0] - 5, elbow[1] + 30)
    sleeve = scene.shirt * 0.72
    _line(image, shoulder, elbow, 12, sleeve)
    forearm_width = 0.5 * palm + 2
    _line(image, elbow, wrist, forearm_width + 1.5, scene.skin * 0.45)
    _line(image, elbow, wrist, forearm_width, scene.skin)
    if scene.long_sleeves:
        _line(image, elbow, _between(elbow, wrist, 0.62), forearm_width + 2, sleeve)


def _draw_hand(
    image: np.ndarray, skin: np.ndarray, pose: Columns, palm: float, place: Callable[[float, float], Point]
) -> None:
    """The palm, its outline and the fingers; ``place`` turns the hand's own axes into points of the image."""
    edge, width = skin * 0.38, 0.24 * palm
    outline = max(1.0, 0.05 * palm)

    def finger(start: Point, end: Point, width: float, colour: np.ndarray) -> None:
        _line(image, start, end, width + 2 * outline, edge)
        _line(image, start, end, width, colour)

    corners = [place(*corner) for corner in PALM_CORNERS]
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
        finger(place(*base), tip, width, skin)
    if pose["curl_thumb"] < 0.75:
        stretch, direction = 0.8 * (1 - pose["curl_thumb"]), math.radians(pose["thumb"])
        tip = place(0.34 + stretch * math.sin(direction), 0.12 - stretch * math.cos(direction))
        finger(place(0.3, 0.15), tip, width * 1.12, skin)
    _polygon(image, corners, skin)
    for start, end in folded:
        finger(start, end, width * 0.9, skin * 0.92)
    if pose["curl_thumb"] >= 0.75:
        finger(place(0.4, 0.2), place(-0.05, 0.1), width, skin * 0.95)


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
    gesture = GESTURES[MIRROR_TWINS[label] if mirrored else label]
    rng = np.random.default_rng([seed, clip_id, 1])
    poses = clip_poses(gesture, scene.num_frames, rng)
    frames = draw_poses(scene, poses, [gesture.back_of_hand] * len(poses), mirrored, rng)
    return (frames[::-1] if gesture.reverse else frames), scene.jpeg_quality


def draw_poses(
    scene: Scene, poses: np.ndarray, back_of_hand: Iterable[bool], mirrored: bool, rng: np.random.Generator
) -> list[np.ndarray]:
    """A frame for each pose, with flicker and grain over the whole clip."""
    flicker = scene.brightness * (
        1 + rng.uniform(0, 0.04) * np.sin(2 * np.pi * (np.arange(len(poses)) / rng.uniform(8, 40) + rng.random()))
    )
    shape = (FRAME_HEIGHT + GRAIN_MARGIN, scene.width + GRAIN_MARGIN, 3)
    grain = scene.noise * rng.standard_normal(shape, dtype=np.float32)
    frames = []
    for pose, back, brightness in zip(poses, back_of_hand, flicker):
        down, right = rng.integers(
            GRAIN_MARGIN, size=2
        )  # a cheap stand-in for fresh noise: another window of the same grain
        noise = grain[down : down + FRAME_HEIGHT, right : right + scene.width]
        frame = draw_frame(scene, pose, bool(back)) * np.float32(brightness) + noise
        frame = np.clip(frame, 0, 255).astype(np.uint8)
        frames.append(cv2.flip(frame, 1) if mirrored else frame)
    return frames


def jpeg_clip(job: tuple[str, int, int]) -> tuple[int, list[bytes]]:
    """The number of a clip and its frames as JPEG files, from its label, seed and number."""
    label, seed, clip_id = job
    frames, quality = draw_clip(label, seed, clip_id)
    return clip_id, [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for frame in frames]


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
