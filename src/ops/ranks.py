"""The ranks of a distributed run, and sums over them outside the training step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from mindspore import Tensor, ops


class Ranks(NamedTuple):
    """This process is number ``rank`` of ``size`` processes that train together; a single process is rank 0 of 1."""

    rank: int = 0
    size: int = 1

    def sum(self, values: list[float]) -> np.ndarray:
        """The sum of each value over all ranks, float32 [len(values)]; every rank must call it at the same moment."""
        own = np.array(values, np.float32)
        return ops.AllReduce()(Tensor(own)).asnumpy() if self.size > 1 else own


ALONE = Ranks()
