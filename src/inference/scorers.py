"""Scores clips with exported files: a whole network, or the two files for streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_utils.errors import InputError
from src.evaluation.protocol import average_crops, drawn_relations
from src.shipping import exported
from src.shipping.exported import EXPORT_AGAIN
from src.shipping.parts import Parts
from src.utils import pad_batch


class ExportedFile:
    """Runs an exported file on any number of rows, in batches of the size that it was exported for.

    Args:
        path: the file, .mindir or .onnx.
        usage: its JSON, see ``exported.read_usage``.
    """

    def __init__(self, path: Path, usage: dict[str, Any]) -> None:
        self.path, self.usage = path, usage
        # A head takes less than 1 ms; its idle threads would take cores from the backbone.
        is_head = usage.get("part") == "head"
        self.run = exported.load_exported(path, threads=1) if is_head else exported.load_exported(path)
        batch = usage["input"]["shape"][0]
        self.batch = 0 if batch == "batch" else batch  # 0: any

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Arrays of N rows -> N rows. Raises InputError if the file does not take them."""
        size = self.batch or len(inputs[0])
        parts = [[array[i : i + size] for array in inputs] for i in range(0, len(inputs[0]), size)]
        return np.concatenate([self._run_whole_batch(part) for part in parts])

    def _run_whole_batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        count = len(inputs[0])
        return self.run([pad_batch(array, self.batch or count) for array in inputs])[:count]

    def pixels(self, frames: np.ndarray) -> np.ndarray:
        """The file's input for uint8 frames [N, S, S, 3] BGR: float32 [N, 3, S, S]."""
        return exported.described_input(self.usage["input"]).prepare(frames)

    def scores(self, *inputs: np.ndarray) -> np.ndarray:
        """``__call__`` of a file that gives scores; also raises as ``require_classes`` does."""
        logits = self(*inputs)
        self.require_classes(logits)
        return logits

    def require_classes(self, logits: np.ndarray) -> None:
        """Raises InputError if the number of classes in scores [N, C] differs from the JSON's."""
        if logits.shape[1:] != (len(self.usage["categories"]),):
            named = f"{len(self.usage['categories'])} classes are named in its JSON"
            raise InputError(f"{self.path}: gives {logits.shape[-1]} scores, but {named}; {EXPORT_AGAIN}")


class ExportedScorer:
    """``protocol.Scorer`` for an exported file of a whole network, or for the two files for streams.

    ``parts`` runs the two files; None for a whole network.

    Args:
        path, usage: see ``ExportedFile``; for streams the file that makes features.
        mirrored: see ``average_crops``.
        seed: of the relations, if the file takes drawn ones.
        batch_size: clips that an evaluation gives at once.
    """

    def __init__(
        self, path: Path, usage: dict[str, Any], *, mirrored: np.ndarray | None, seed: int, batch_size: int = 1
    ) -> None:
        self.file = ExportedFile(path, usage)
        self.mirrored, self.seed, self.batch_size = mirrored, seed, batch_size
        self.parts = _parts(self.file) if "part" in usage else None

    def __call__(self, clips: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """uint8 clips [B, crops, T, S, S, 3] and their indices [B] -> float32 [B, C].

        Raises:
            InputError: if the file does not take these clips, or if its JSON names another number of classes.
        """
        count, crops, segments, side = clips.shape[:4]
        frames = clips.reshape(-1, side, side, 3)
        if self.parts:
            features = self.parts.frame_features(frames)
            logits = self.parts.head(features.reshape(count * crops, segments, -1))
            return average_crops(logits.reshape(count, crops, -1), self.mirrored)
        inputs = [self.file.pixels(frames).reshape(-1, segments * 3, side, side)]
        usage = self.file.usage
        if usage["relations"] == "sampled":
            drawn = drawn_relations(segments, usage["subsample_num"], self.seed, indices)
            inputs.append(np.repeat(drawn, crops, axis=0))
        if "interface" in usage:
            return self._zoo_scores(count, crops, *inputs)
        logits = self.file.scores(*inputs)  # [B*crops, C]
        return average_crops(logits.reshape(count, crops, -1), self.mirrored)

    def _zoo_scores(self, count: int, crops: int, video: np.ndarray, relations: np.ndarray) -> np.ndarray:
        """Clip by clip; the file itself swaps the classes of mirrored crops back."""
        side = video.shape[-1]
        videos = video.reshape(count, 1, -1, side, side)
        combinations = relations.reshape(count, 1, crops, *relations.shape[1:])
        logits = np.stack([self.file.run([videos[i], combinations[i]]) for i in range(count)])  # [B, crops, C]
        self.file.require_classes(logits[:, 0])
        return logits.mean(1)


def _parts(frame: ExportedFile) -> Parts:
    """Both files for streams; ``frame`` makes features, and its JSON names the other file."""
    other = exported.other_path(frame.path, frame.usage)
    head = ExportedFile(other, exported.read_usage(other))
    return Parts(frame.usage["num_segments"], lambda frames: frame(frame.pixels(frames)), head.scores)
