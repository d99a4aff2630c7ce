"""An evaluation of ten clips and three classes, small enough to work out by hand.

             Left Right Up   clips  recall  answers  precision  F1
    Left       3    1    0     4     3/4       6        1/2     6/10
    Right      3    1    0     4     1/4       2        1/2     2/6
    Up         0    0    2     2      1        2         1       1

Top-1: 6 of 10; on the reversible pair 4 of 8, 4 of 8 answered with the opposite.
"""

from __future__ import annotations

import numpy as np

from src.evaluation.metrics import summarise

LEFT, RIGHT, UP = NAMES = ["Swiping Left", "Swiping Right", "Thumb Up"]
CONFUSION = np.array([[3, 1, 0], [3, 1, 0], [0, 0, 2]])
# (class, probabilities of the three classes) of each clip
ROWS = [
    *((0, p) for p in [(0.9, 0.06, 0.04), (0.8, 0.15, 0.05), (0.7, 0.2, 0.1), (0.39, 0.6, 0.01)]),
    *((1, p) for p in [(0.5, 0.3, 0.2), (0.95, 0.03, 0.02), (0.75, 0.05, 0.2), (0.1, 0.88, 0.02)]),
    *((2, p) for p in [(0.1, 0.05, 0.85), (0.3, 0.25, 0.45)]),
]
LABELS = np.array([label for label, _ in ROWS])
SCORES = np.log([p for _, p in ROWS]).astype(np.float32)
CLIPS = [f"clip{row}" for row in range(len(ROWS))]
OBSERVED = [
    {"observe": 0.25, "clips": 10, "top1": 0.3, "top5": 0.7},
    {"observe": 1.0, "clips": 10, "top1": 0.6, "top5": 1.0},
]


def metrics_by_hand(**changes):
    protocol = {"ckpt_file": "logs/trn.ckpt", "split": "val", "test_crops": 10}
    about = {"protocol": protocol, "clips_listed": 11, "left_out": [], "observed": OBSERVED}
    return {**about, **summarise(SCORES, LABELS, NAMES), **changes}


def plain_frames(row):
    """Three frames of 40 x 56, blue, green and red in BGR; the third so much brighter as the clip's number."""
    return [np.full((40, 56, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 100 + 10 * row))]
