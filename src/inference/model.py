"""A trained model of any kind, a checkpoint or an exported file, asked what a clip or a stretch of a video shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from model_utils.errors import InputError
from model_utils.settings import Use, keys_for
from src import sampling
from src.data.video import Source, Span, frames_of_one_size, read_frames, record
from src.evaluation.scoring import ClipScorer, average_crops, drawn_relations
from src.inference import export
from src.training.checkpoint import load_network
from src.transforms import CHANNEL_MEANS_BGR, mirrored_classes, scale_shorter_side, test_crops
from src.tsn import TSN, prepare_for_inference
from src.utils import pad_batch, softmax

MODEL_SUFFIXES = (".ckpt", ".mindir", ".onnx")
TOP = 5


@dataclass(frozen=True)
class Model:
    """``score`` maps clips uint8 [B, crops, T, S, S, 3] and their indices [B] to logits float32 [B, C].

    ``network`` is there for a checkpoint only: an exported file cannot be looked into.
    """

    path: Path
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    categories: list[str]
    num_segments: int
    image_size: int
    test_crops: int
    network: TSN | None = None

    def clip_logits(self, frames: list[np.ndarray]) -> np.ndarray:
        """The scores of a clip from its T frames, uint8 [height, width, 3] BGR each: float32 [C].

        Raises:
            InputError: if they are no numbers, which no other score would be greater than.
        """
        clip = test_crops(frames, self.image_size, self.test_crops)
        logits = self.score(clip[None], np.zeros(1, np.int64))[0]
        if not np.isfinite(logits).all():
            raise InputError(f"{self.path}: its scores are no finite numbers")
        return logits

    def inner_network(self, option: str) -> TSN:
        """The network, for ``option``, which looks inside. Raises InputError for an exported file."""
        if self.network is None:
            raise InputError(f"{option}: needs a checkpoint (.ckpt), an exported network cannot be looked into")
        return self.network

    def top(self, logits: np.ndarray, count: int = TOP) -> list[dict[str, Any]]:
        """The likeliest classes for logits [C], as {"label", "probability"}."""
        probabilities = softmax(logits)
        best = np.argsort(-probabilities, kind="stable")[:count]
        return [{"label": self.categories[i], "probability": float(probabilities[i])} for i in best]


def load_model(config: Any, categories: list[str] | None = None) -> Model:
    """The model in ``config.ckpt_file``: a checkpoint, or an exported .mindir or .onnx with its JSON beside it.

    Settings that the file records replace those of ``config`` that nobody gave explicitly. Reads besides
    ``test_crops relations flip seed``.

    Raises:
        InputError: if the file cannot be used, contradicts a setting that was given, or has other classes than
            ``categories``.
    """
    path = Path(config.ckpt_file)
    if not config.ckpt_file:
        raise InputError(f"--model: no model given, expected a file that ends in {', '.join(MODEL_SUFFIXES)}")
    if path.suffix not in MODEL_SUFFIXES:
        raise InputError(f"{path}: expected a model, a file whose name ends in {', '.join(MODEL_SUFFIXES)}")
    network = None
    if path.suffix == ".ckpt":
        network, names, config = load_network(config, categories)
        prepare_for_inference(network)
        score = ClipScorer(
            network,
            test_crops=config.test_crops,
            mirrored=_mirrored(config, names),
            relations=config.relations,
            subsample_num=config.subsample_num,
            seed=config.seed,
        )
    else:
        about = export.read_usage(path)
        _follow(config, about, path)
        names = _agreed(about["categories"], categories, path)
        score = ExportedScorer(path, about, mirrored=_mirrored(config, names), seed=config.seed)
    return Model(path, score, names, config.num_segments, config.image_size, config.test_crops, network)


def _mirrored(config: Any, categories: list[str]) -> np.ndarray | None:
    return mirrored_classes(categories) if config.flip == "label_aware" else None


def _follow(config: Any, about: dict[str, Any], path: Path) -> None:
    for key in keys_for(Use.EXPORTED):
        if key not in config.given:
            setattr(config, key, about[key])
        elif key != "flip" and getattr(config, key) != about[key]:
            raise InputError(f"{path}: exported with {key} {about[key]}, but {getattr(config, key)} was asked for")


def _agreed(theirs: list[str], ours: list[str] | None, path: Path) -> list[str]:
    if ours is not None and ours != theirs:
        raise InputError(f"{path}: exported for the classes {', '.join(theirs)}; the list given is another")
    return theirs


class ExportedScorer:
    """``ClipScorer`` for an exported file, fed in batches of the size that it was exported for."""

    def __init__(self, path: Path, about: dict[str, Any], *, mirrored: np.ndarray | None, seed: int) -> None:
        self.path, self.about, self.mirrored, self.seed = path, about, mirrored, seed
        self.run = export.load_exported(path)
        batch = about["input"]["shape"][0]
        self.batch = batch if isinstance(batch, int) else None

    def __call__(self, clips: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """uint8 clips [B, crops, T, S, S, 3] and their indices [B] -> float32 [B, C].

        Raises:
            InputError: if the file gives another number of scores than its JSON names classes.
        """
        count, crops, segments, side = clips.shape[:4]
        video = clips.reshape(-1, segments, side, side, 3).astype(np.float32) - np.float32(CHANNEL_MEANS_BGR)
        inputs = [video.transpose(0, 1, 4, 2, 3).reshape(-1, segments * 3, side, side)]
        if self.about["relations"] == "sampled":
            drawn = drawn_relations(segments, self.about["subsample_num"], self.seed, indices)
            inputs.append(np.repeat(drawn, crops, axis=0))
        size = self.batch or len(video)
        parts = [[array[i : i + size] for array in inputs] for i in range(0, len(video), size)]
        logits = np.concatenate([self._run(part) for part in parts])
        if logits.shape[1] != len(self.about["categories"]):
            named = f"{len(self.about['categories'])} classes are named in {self.path.with_suffix('.json').name}"
            raise InputError(f"{self.path}: gives {logits.shape[1]} scores, but {named}")
        return average_crops(logits.reshape(count, crops, -1), self.mirrored)

    def _run(self, inputs: list[np.ndarray]) -> np.ndarray:
        count = len(inputs[0])
        return self.run([pad_batch(array, self.batch or count) for array in inputs])[:count]


# ------------------------------------------------------------------------------------------------- clips and windows


@dataclass(frozen=True)
class Look:
    """What is looked at in a source as a whole: T of its ``num_frames`` frames, uint8 [height, width, 3] BGR each."""

    num_frames: int
    indices: np.ndarray
    frames: list[np.ndarray]


def look(source: Source, num_segments: int, seconds: float) -> Look:
    """The middle frame of each of T equal parts of a source, or of so many seconds of a camera."""
    if source.num_frames is None:
        return Look(*record(source, seconds, num_segments))
    indices = sampling.test_segments(source.num_frames, num_segments)
    return Look(source.num_frames, indices, read_frames(source, indices))


def timeline(model: Model, source: Source, windows: list[tuple[int, int]]) -> Iterator[Span]:
    """What each of the windows shows, see ``windows``."""
    for (first, end), frames in zip(windows, _window_frames(source, windows, model)):
        (best,) = model.top(model.clip_logits(frames), 1)
        yield Span(first / source.rate, end / source.rate, **best)


def windows(num_frames: int, rate: float, window: float, stride: float) -> list[tuple[int, int]]:
    """The windows over a video as (first frame, frame after the last).

    They are a whole number of frames long and apart, at least one. The last one ends with the video, so it may follow
    sooner; a video shorter than a window is one window.
    """
    length, step = max(1, round(window * rate)), max(1, round(stride * rate))
    last = max(num_frames - length, 0)
    starts = [*range(0, last, step), last]
    return [(start, min(start + length, num_frames)) for start in starts]


def _window_frames(source: Source, windows: list[tuple[int, int]], model: Model) -> Iterator[list[np.ndarray]]:
    """The T frames of each window, already scaled; read once each and kept no longer than a window needs them."""
    waiting = deque(
        (first + sampling.test_segments(end - first, model.num_segments)).tolist() for first, end in windows
    )
    kept: dict[int, np.ndarray] = {}
    for index, frame in frames_of_one_size(source, {index for indices in waiting for index in indices}):
        (kept[index],) = scale_shorter_side([frame], model.image_size)
        while waiting and waiting[0][-1] == index:
            yield [kept[i] for i in waiting.popleft()]
            for old in [i for i in kept if waiting and i < waiting[0][0]]:
                del kept[old]
