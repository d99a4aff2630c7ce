"""Sampled frames against tables worked out by hand, for clips of 1 to 75 frames cut into 3 and 8 segments."""

from __future__ import annotations

import numpy as np
import pytest

from src import sampling

# Frame in the middle of each segment, a row for each number of frames, from 1 on. With every 2 T frames more, the
# middle of segment i lies 2 i + 1 frames later, so 2 T rows are enough.
MIDDLES = {
    3: ["000", "011", "012", "023", "024", "135"],
    8: [
        *("00000000", "00001111", "00011222", "00112233", "00122344", "01123445", "01233456", "01234567"),
        *("01235678", "01345689", "0234678A", "0235689B", "024578AC", "024679BD", "02468ACE", "13579BDF"),
    ],
}
CASES = [(num_frames, num_segments) for num_segments in MIDDLES for num_frames in range(1, 76)]


def middles(num_frames, num_segments):
    whole, row = divmod(num_frames - 1, 2 * num_segments)
    return [int(digit, 16) + whole * (2 * i + 1) for i, digit in enumerate(MIDDLES[num_segments][row])]


class ExtremeDraws:
    """Instead of a random generator: always the smallest or always the largest number there is."""

    def __init__(self, largest):
        self.largest = largest

    def integers(self, high, size):
        return np.full(size, high - 1 if self.largest else 0)


@pytest.mark.parametrize(("num_frames", "num_segments"), CASES)
def test_frames_of_a_clip(num_frames, num_segments):
    assert sampling.test_segments(num_frames, num_segments).tolist() == middles(num_frames, num_segments)
    first, last = (
        sampling.train_segments(num_frames, num_segments, ExtremeDraws(largest)).tolist() for largest in (False, True)
    )
    if num_frames < num_segments:
        assert first == last == middles(num_frames, num_segments)
        return
    length = len(range(num_segments, num_frames + 1, num_segments))  # frames that each segment gets
    segments = [list(range(num_frames))[i * length :][:length] for i in range(num_segments)]
    assert first == [segment[0] for segment in segments]
    assert last == [segment[-1] for segment in segments]
