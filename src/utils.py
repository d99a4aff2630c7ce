"""Small pieces that several parts share, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from model_utils.errors import InputError

VARIANCES = ("moving_variance", "running_var")  # the last part of their names, here and in PyTorch


def get_frames_combinations(num_frames: int, scale: int) -> list[tuple[int, ...]]:
    """All ordered tuples of ``scale`` out of ``num_frames`` frames, in lexicographic order."""
    return list(combinations(range(num_frames), scale))


def relation_tuples(num_segments: int, scale: int) -> np.ndarray:
    """``get_frames_combinations`` as an array: int64 [K, scale], K = C(T, scale)."""
    return np.array(get_frames_combinations(num_segments, scale), np.int64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def pad_batch(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """``rows`` [B, ...], padded with zeros to ``batch_size`` rows."""
    missing = batch_size - len(rows)
    return np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1)) if missing else rows


def require_usable_weights(weights: Mapping[str, np.ndarray], source: object) -> None:
    """Refuses NaN and infinite weights and negative variances: on a CPU, ReLU turns NaN into confident scores.

    Raises:
        InputError: naming ``source`` and the first wrong weight.
    """
    floats = {name: values for name, values in weights.items() if values.dtype.kind == "f"}
    wrong = sorted(name for name, values in floats.items() if not np.isfinite(values).all())
    if wrong:
        raise InputError(
            f"{source}: {len(wrong)} of its {len(weights)} tensors hold NaN or infinite values ({wrong[0]})"
        )
    wrong = sorted(name for name, values in floats.items() if name.endswith(VARIANCES) and (values < 0).any())
    if wrong:
        raise InputError(f"{source}: {len(wrong)} of its variances are below 0 ({wrong[0]})")
