"""Transforms: pixel values against Pillow, geometry against plain slicing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from src import transforms


def random_frames(num_frames, height, width, seed=0, blur=1.5):
    rng = np.random.default_rng(seed)
    noise = [Image.fromarray(rng.integers(256, size=(height, width, 3), dtype=np.uint8)) for _ in range(num_frames)]
    return [np.array(image.filter(ImageFilter.GaussianBlur(blur))) for image in noise]


def pillow_resize(frame, height, width):
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.BILINEAR))


def largest_difference(ours, reference):
    assert ours.dtype == np.uint8
    assert ours.shape == reference.shape
    return np.abs(ours.astype(int) - reference.astype(int)).max()


def cropped(frames, crop, image_size, mirror):
    clip = np.empty((len(frames), image_size, image_size, 3), np.uint8)
    transforms.crop_and_resize(frames, crop, mirror, clip)
    return clip


@pytest.mark.parametrize(
    ("crop", "image_size", "tolerance"),
    [
        ((0, 0, 100, 100), 224, 1),  # enlarging
        ((13, 7, 87, 75), 224, 1),
        ((5, 0, 66, 75), 75, 1),  # one axis enlarged, the other kept
        ((31, 9, 87, 87), 64, 2),  # shrinking
        ((0, 0, 66, 100), 80, 2),  # one axis enlarged, the other shrunk
        ((76, 1, 100, 99), 31, 2),
    ],
)
@pytest.mark.parametrize("blur", [0, 2])
def test_crop_and_resize_is_what_pillow_computes(crop, image_size, tolerance, blur):
    frames = random_frames(3, 100, 176, blur=blur)
    x, y, width, height = crop
    clip = cropped(frames, crop, image_size, mirror=False)
    assert clip.shape == (3, image_size, image_size, 3)
    for frame, ours in zip(frames, clip):
        reference = Image.fromarray(frame).crop((x, y, x + width, y + height))
        reference = np.asarray(reference.resize((image_size, image_size), Image.BILINEAR))
        assert largest_difference(ours, reference) <= tolerance


def test_crop_of_the_right_size_is_not_touched():
    frames = random_frames(2, 40, 50, blur=0)
    clip = cropped(frames, (7, 3, 32, 32), 32, mirror=False)
    for frame, ours in zip(frames, clip):
        np.testing.assert_array_equal(ours, frame[3:35, 7:39])


@pytest.mark.parametrize("image_size", [24, 32, 48])
def test_mirroring_reverses_the_columns(image_size):
    frames = random_frames(2, 40, 50)
    straight = cropped(frames, (7, 3, 32, 30), image_size, mirror=False)
    mirrored = cropped(frames, (7, 3, 32, 30), image_size, mirror=True)
    np.testing.assert_array_equal(mirrored, straight[:, :, ::-1])
    assert np.any(mirrored != straight)


def test_frames_are_left_alone():
    frames = random_frames(2, 40, 50)
    before = [frame.copy() for frame in frames]
    cropped(frames, (7, 3, 32, 32), 32, mirror=True)
    transforms.cut_crops(frames, 32, 10)
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize(
    ("size", "image_size", "expected"),
    [
        ((100, 176), 224, (256, 450)),  # int(256 · 176 / 100) = int(450.56)
        ((176, 100), 224, (450, 256)),
        ((100, 100), 224, (256, 256)),
        ((100, 132), 224, (256, 337)),
        ((100, 176), 64, (73, 128)),  # 64 · 256 // 224 = 73, int(73 · 1.76) = int(128.48)
        ((256, 300), 224, (256, 300)),
    ],
)
def test_scale_shorter_side(size, image_size, expected):
    frames = random_frames(2, *size)
    scaled = np.stack([transforms.scale_shorter_side(frame, image_size) for frame in frames])
    assert scaled.shape == (2, *expected, 3)
    enlarging = expected[0] >= size[0]
    for frame, ours in zip(frames, scaled):
        assert largest_difference(ours, pillow_resize(frame, *expected)) <= (1 if enlarging else 2)


@pytest.mark.parametrize("num_crops", [1, 5, 10])
@pytest.mark.parametrize("image_size", [56, 64])
def test_test_crops(num_crops, image_size):
    frames = random_frames(3, 70, 110)
    target = image_size * 256 // 224
    height, width = target, target * 110 // 70
    down, right = (height - image_size) // 4, (width - image_size) // 4
    centre = [(2, 2)]
    positions = centre if num_crops == 1 else [(0, 0), (4, 0), (0, 4), (4, 4), *centre]

    scaled = np.stack([transforms.scale_shorter_side(frame, image_size) for frame in frames])
    expected = []
    for i, j in positions:
        crop = scaled[:, j * down : j * down + image_size, i * right : i * right + image_size]
        expected += [crop, crop[:, :, ::-1]] if num_crops == 10 else [crop]
    crops = transforms.cut_crops(frames, image_size, num_crops)
    assert crops.dtype == np.uint8
    assert crops.shape == (num_crops, 3, image_size, image_size, 3)
    np.testing.assert_array_equal(crops, expected)
