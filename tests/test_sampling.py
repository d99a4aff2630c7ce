"""Sampling: the distributions are right, and every draw depends on its arguments alone."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import comb, floor

import numpy as np
import pytest

from src import sampling


def draws(stream, count, function, seed=0):
    return [function(sampling.generator(seed, 0, index, stream)) for index in range(count)]


def test_generator_depends_on_every_argument():
    arguments = [(1, 2, 3, "frames"), (9, 2, 3, "frames"), (1, 9, 3, "frames"), (1, 2, 9, "frames"), (1, 2, 3, "crop")]
    values = [tuple(sampling.generator(*one).integers(2**32, size=4)) for one in arguments]
    assert len(set(values)) == len(arguments)
    assert values == [tuple(sampling.generator(*one).integers(2**32, size=4)) for one in arguments]


def test_generator_knows_its_purposes():
    first = [sampling.generator(0, 0, 0, purpose).integers(2**32) for purpose in sampling.PURPOSES]
    assert len(set(first)) == len(sampling.PURPOSES)
    with pytest.raises(ValueError, match="not in tuple"):
        sampling.generator(0, 0, 0, "colour")


# Computed once, with NumPy 2.4, and the same with NumPy 1.23: a run resumed under another NumPy must see the same data.
PINNED = [
    (lambda: sampling.epoch_order(10, 1, 2), [7, 9, 5, 1, 4, 0, 3, 8, 6, 2]),
    (lambda: sampling.train_segments(37, 8, sampling.generator(3, 1, 5, "frames")), [3, 7, 9, 14, 16, 23, 25, 30]),
    (lambda: sampling.training_crop(100, 176, 224, sampling.generator(1, 0, 0, "crop")), [19, 9, 100, 87]),
    (lambda: draws("flip", 8, sampling.mirror_clip, seed=1), [1, 0, 1, 0, 0, 1, 1, 0]),
    (
        lambda: sampling.sample_relations(8, 3, sampling.generator(1, 0, 0, "relations")),
        [[0, -1, -1], [2, 0, 6], [1, 14, 3], [5, 2, 43], [30, 36, 68], [2, 29, 5], [23, 20, 1]],
    ),
    (
        lambda: sampling.sliding_window(37, 8, sampling.generator(3, 1, 5, "window"), True)[0],
        [7, 11, 17, 23, 29, 34, 36, 36],
    ),
]


@pytest.mark.parametrize("case", range(len(PINNED)))
def test_same_draws_with_every_numpy(case):
    compute, expected = PINNED[case]
    assert np.asarray(compute()).tolist() == np.asarray(expected, np.asarray(compute()).dtype).tolist()


def test_epoch_order_is_a_new_permutation_each_epoch():
    orders = [sampling.epoch_order(50, 3, epoch) for epoch in range(5)]
    for order in orders:
        assert order.dtype == np.int64
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 5
    assert tuple(sampling.epoch_order(50, 4, 0)) != tuple(orders[0])


@pytest.mark.parametrize(("num_frames", "num_segments"), [(37, 8), (16, 8), (8, 8), (70, 8), (5, 2), (31, 3)])
def test_train_segments_draw_every_frame_of_each_segment(num_frames, num_segments):
    length = num_frames // num_segments
    seen = np.array(draws("frames", 400, lambda rng: sampling.train_segments(num_frames, num_segments, rng)))
    assert seen.dtype == np.int64
    for segment in range(num_segments):
        counts = Counter(seen[:, segment])
        assert set(counts) == set(range(segment * length, (segment + 1) * length))
        assert max(counts.values()) < 3 * 400 / length


@pytest.mark.parametrize("num_frames", range(1, 8))
def test_short_clips_repeat_frames_in_order(num_frames):
    indices = sampling.train_segments(num_frames, 8, sampling.generator(0, 0, 0, "frames"))
    assert indices.tolist() == [floor(Fraction(num_frames, 8) * i + Fraction(num_frames, 16)) for i in range(8)]
    assert np.all(np.diff(indices) >= 0)
    assert set(indices) == set(range(num_frames))


@pytest.mark.parametrize("num_segments", [1, 2, 3, 7, 8, 16])
def test_test_segments_take_the_middle_of_each_segment(num_segments):
    for num_frames in range(1, 120):
        segment = Fraction(num_frames, num_segments)
        expected = [floor(segment * i + segment / 2) for i in range(num_segments)]
        indices = sampling.test_segments(num_frames, num_segments)
        assert indices.dtype == np.int64
        assert indices.tolist() == expected


def test_training_crop_sizes_and_offsets():
    height, width = 100, 176
    crops = draws("crop", 4000, lambda rng: sampling.training_crop(height, width, 224, rng))
    sides = [100, 87, 75, 66]
    sizes = Counter((w, h) for _, _, w, h in crops)
    assert set(sizes) == {(w, h) for w in sides for h in sides if abs(sides.index(w) - sides.index(h)) <= 1}
    assert len(sizes) == 10
    assert all(300 < count < 500 for count in sizes.values())

    offsets = Counter((x, y) for x, y, w, h in crops if (w, h) == (75, 66))
    right, down = (176 - 75) // 4, (100 - 66) // 4
    quarters = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
    assert set(offsets) == {(right * i, down * j) for i, j in quarters}
    assert max(offsets.values()) < 3 * sum(offsets.values()) / 13


@pytest.mark.parametrize(
    ("smallest", "sides"),
    [(0.66, {100, 87, 75, 66}), (0.75, {100, 87, 75}), (0.8, {100, 87}), (0.875, {100, 87}), (1.0, {100})],
)
def test_training_crops_are_not_below_the_smallest(smallest, sides):
    crops = draws("crop", 300, lambda rng: sampling.training_crop(100, 176, 224, rng, smallest))
    assert {side for _, _, *both in crops for side in both} == sides


@pytest.mark.parametrize(
    ("base", "image_size", "expected"),
    [
        (100, 87, {100, 87, 75, 66}),
        (100, 85, {100, 85, 75, 66}),
        (100, 84, {100, 87, 75, 66}),
        (100, 77, {100, 87, 77, 66}),
        (226, 224, {224, 197, 169, 149}),
        (222, 224, {222, 194, 166, 146}),  # 224 does not fit into the frame
    ],
)
def test_training_crop_snaps_to_the_image_size(base, image_size, expected):
    crops = draws("crop", 300, lambda rng: sampling.training_crop(base, base + 50, image_size, rng))
    assert {side for _, _, *sides in crops for side in sides} == expected


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (100, 176), (176, 100), (223, 222), (225, 300)])
def test_training_crop_lies_in_the_frame(height, width):
    for x, y, crop_width, crop_height in draws(
        "crop", 200, lambda rng: sampling.training_crop(height, width, 224, rng)
    ):
        assert x >= 0
        assert y >= 0
        assert 1 <= crop_width <= width - x
        assert 1 <= crop_height <= height - y


def test_mirror_clip_is_a_fair_coin():
    assert 900 < sum(draws("flip", 2000, sampling.mirror_clip)) < 1100


def test_crop_offsets():
    # A 256 x 342 frame: a quarter of the free space is 8 pixels down and 29 across.
    corners_and_centre = [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]
    assert sampling.crop_offsets(256, 342, 224, 1) == [(58, 16, False)]
    assert sampling.crop_offsets(256, 342, 224, 5) == [(x, y, False) for x, y in corners_and_centre]
    assert sampling.crop_offsets(256, 342, 224, 10) == [
        (x, y, mirrored) for x, y in corners_and_centre for mirrored in (False, True)
    ]


@pytest.mark.parametrize(("num_segments", "subsample_num"), [(8, 3), (2, 3), (3, 1), (5, 10)])
def test_sample_relations(num_segments, subsample_num):
    samples = draws("relations", 600, lambda rng: sampling.sample_relations(num_segments, subsample_num, rng))
    for row, scale in enumerate(range(num_segments, 1, -1)):
        num_tuples = comb(num_segments, scale)
        used = min(subsample_num, num_tuples)
        seen = Counter()
        for relations in samples:
            assert relations.dtype == np.int32
            assert relations.shape == (num_segments - 1, subsample_num)
            assert len(set(relations[row, :used])) == used
            assert np.all(relations[row, used:] == -1)
            seen.update(relations[row, :used].tolist())
        assert set(seen) == set(range(num_tuples))
        assert max(seen.values()) < 3 * 600 * used / num_tuples


@pytest.mark.parametrize("dropout", [0.0, 0.5, 0.8])
def test_dropout_mask(dropout):
    masks = np.stack(draws("dropout", 200, lambda rng: sampling.dropout_mask(8, 64, dropout, rng)))
    assert (masks.dtype, masks.shape) == (np.float32, (200, 8, 64))
    assert set(np.unique(masks)) <= {np.float32(0), np.float32(1 / (1 - dropout))}
    assert np.mean(masks == 0) == pytest.approx(dropout, abs=0.01)
    assert np.all(np.ptp(masks, axis=0) > 0) == (dropout > 0)  # no feature is always kept or always dropped


def test_relations_for_heads_that_read_none():
    """Of 100 frames there are up to 1e29 tuples a scale."""
    relations = sampling.sample_relations(100, 3, sampling.generator(1, 0, 0, "relations"))
    assert relations.shape == (99, 3)
    assert relations[0].tolist() == [0, -1, -1]
    assert relations.max() < 2**31


# ---------------------------------------------------------------------------------------------------- sliding windows


class GivenWindows:
    """Instead of a random generator: windows of these (length, start), and ``within`` of each segment."""

    def __init__(self, *windows, within=0.0):
        self.numbers, self.within, self.bounds = [number for window in windows for number in window], within, []

    def uniform(self, low, high):
        self.bounds.append((low, high))
        return self.numbers.pop(0)

    def random(self, count):
        return np.full(count, self.within)


@pytest.mark.parametrize(
    ("length", "start", "within", "frames"),
    [
        (1.0, 0.0, 0.0, [0, 5, 10, 15, 20, 25, 30, 35]),
        (1.0, 0.0, 0.99, [4, 9, 14, 19, 24, 29, 34, 39]),
        (0.8, 0.1, 0.0, [4, 8, 12, 16, 20, 24, 28, 32]),
        (1.2, -0.1, 0.6, [0, 5, 11, 17, 23, 29, 35, 39]),  # -1 and 41 lie outside the clip
    ],
)
def test_sliding_window_frames(length, start, within, frames):
    """Of a clip of 40 frames, worked out by hand."""
    rng = GivenWindows((length, start), within=within)
    indices, whole = sampling.sliding_window(40, 8, rng, parts=True)
    assert (indices.tolist(), whole, indices.dtype) == (frames, True, np.int64)
    assert rng.bounds == [(0.75, 1.3), (-length, 1)]


@pytest.mark.parametrize(
    ("start", "whole"),
    [
        # A window of one clip length covers the gesture from 0.12 to 0.88 up to start + 1, that is a share of
        # (start + 0.88) / 0.76: 0.85 of it at start -0.234, 0.6 at -0.424; and the mirror image of that.
        (0.0, True),
        (-0.2339, True),
        (-0.2341, None),
        (-0.4239, None),
        (-0.4241, False),
        (-0.9, False),
        (0.2339, True),
        (0.2341, None),
        (0.4239, None),
        (0.4241, False),
        (0.99, False),
    ],
)
def test_sliding_window_shows_the_gesture_or_not_or_is_drawn_anew(start, whole):
    rng = GivenWindows((1.0, start), (1.0, 0.0))
    assert sampling.sliding_window(40, 8, rng, parts=True)[1] is (whole is not False)
    assert len(rng.numbers) == (0 if whole is None else 2)
    rng = GivenWindows((1.0, start), (1.0, 0.0))
    assert sampling.sliding_window(40, 8, rng, parts=False)[1] is True
    assert len(rng.numbers) == (2 if whole else 0)


@pytest.mark.parametrize("parts", [True, False])
def test_sliding_windows_are_whole_as_often_as_the_rule_says(parts):
    """The rule by counting: all windows of a fine grid, and in each the points of the gesture that it covers."""
    points = np.linspace(0.12, 0.88, 400)
    shares = []
    for length in np.linspace(0.75, 1.3, 56):
        starts = np.linspace(-length, 1, 301)[:, None]
        shares.append(np.mean((points >= starts) & (points <= starts + length), axis=1))
    shares = np.concatenate(shares)
    expected = np.mean(shares >= 0.85) / np.mean((shares >= 0.85) | (shares <= 0.6))
    seen = draws("window", 4000, lambda rng: sampling.sliding_window(40, 8, rng, parts))
    assert np.mean([whole for _, whole in seen]) == pytest.approx(expected if parts else 1.0, abs=0.02)
    assert 0.2 < expected < 0.4


def test_the_share_of_sliding_windows_grows_evenly():
    shares = [sampling.sliding_window_share(0.5, epoch, 2, 12) for epoch in range(14)]
    assert shares == pytest.approx([0, 0, 0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.5])
    assert [sampling.sliding_window_share(0.5, epoch, 0, 0) for epoch in range(3)] == [0.5] * 3
    assert [sampling.sliding_window_share(0.5, epoch, 2, 0) for epoch in range(4)] == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 9, 75])
def test_sliding_windows_of_clips_of_any_length(num_frames):
    seen = set()
    for indices, _ in draws("window", 1000, lambda rng: sampling.sliding_window(num_frames, 8, rng, True)):
        assert indices.shape == (8,)
        assert np.all(np.diff(indices) >= 0)
        seen |= set(indices.tolist())
    assert seen == set(range(num_frames))
