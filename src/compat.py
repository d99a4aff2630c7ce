"""What differs between the two supported MindSpore packages, and nothing else.

``mindspore`` 2.x is the current package; ``mindspore-gpu`` 1.10 is the last release under that name.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import nn

LEGACY = int(ms.__version__.split(".")[0]) < 2


def dropout(drop_probability: float) -> nn.Cell:
    """Dropout that zeroes a fraction ``drop_probability`` of its input while training.

    MindSpore's first positional argument is the probability to *keep*, and 1.x knows only that one.
    """
    return nn.Dropout(keep_prob=1.0 - drop_probability) if LEGACY else nn.Dropout(p=drop_probability)
