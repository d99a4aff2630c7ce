"""Digests of the clips of a run, so that it is not resumed on other clips by mistake."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress

import numpy as np

from model_utils.errors import InputError
from src.data.frame_files import FrameFolders, VideoRecord

CLIPS_SEEN = 32  # evenly spread over the list, one frame of each


def fingerprint(name: str, records: list[VideoRecord], frames: FrameFolders) -> dict[str, str]:
    """SHA-256 digests of the clips of a list, wherever they lie.

    Returns:
        "the NAME list": digest of folder, first frame, number of frames and class of every clip, in order.
        "frames of the NAME list": digest of the middle frames of CLIPS_SEEN clips. A frame that cannot be read counts
        as empty here; training will name it. An empty list has no digests.
    """
    if not records:
        return {}
    rows = [[record.folder, record.first, record.num_frames, record.label] for record in records]
    seen = hashlib.sha256()
    for index in sorted(set(np.linspace(0, len(records) - 1, CLIPS_SEEN).astype(int).tolist())):
        record = records[index]
        content = b""
        with suppress(OSError, InputError):
            content = frames.files.frame_bytes(record.folder, record.first + record.num_frames // 2)
        seen.update(hashlib.sha256(content).digest())
    of_rows = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return {f"the {name} list": of_rows, f"frames of the {name} list": seen.hexdigest()}
