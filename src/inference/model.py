"""A trained model of any kind, a checkpoint or an exported file, that scores clips."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_utils.errors import InputError
from model_utils.files import digest
from model_utils.settings import Settings, Use, keys_for, values_if_missing, with_recorded
from model_utils.version import VERSION
from src.data.mirror_pairs import mirrored_classes
from src.evaluation.protocol import Scorer, default_test_crops
from src.inference.scorers import ExportedScorer
from src.shipping.exported import EXPORTED_SUFFIXES, pair_paths, read_usage
from src.shipping.parts import Parts, network_parts
from src.transforms import cut_crops
from src.utils import softmax

if TYPE_CHECKING:
    from src.tsn import TSN

MODEL_SUFFIXES = (".ckpt", *EXPORTED_SUFFIXES)
TOP = 5


@dataclass(frozen=True)
class Model:
    """A trained model, from any kind of file."""

    path: Path  # the first one of the two files for streams
    score: Scorer
    categories: list[str]
    settings: Settings  # the config's; the file's settings replace all that were not given
    network: TSN | None = None  # of a checkpoint
    usage: dict[str, Any] = field(default_factory=dict)  # the JSON of an exported file
    pair: Parts | None = None  # the two files for streams

    @property
    def num_segments(self) -> int:
        return self.settings.num_segments

    @property
    def image_size(self) -> int:
        return self.settings.image_size

    def clip_logits(self, frames: list[np.ndarray]) -> np.ndarray:
        """The scores of a clip from its T frames, uint8 [height, width, 3] BGR each: float32 [C].

        Raises:
            InputError: if a score is NaN or infinite.
        """
        clip = cut_crops(frames, self.image_size, self.settings.test_crops)  # [crops, T, S, S, 3]
        logits = self.score(clip[None], np.zeros(1, np.int64))[0]
        if not np.isfinite(logits).all():
            raise InputError(f"{self.path}: its scores are NaN or infinite")
        return logits

    def provenance(self) -> dict[str, Any]:
        """The file and the runtime behind the scores, for the protocol of an evaluation."""
        versions = {"trn_version": VERSION, "numpy_version": np.__version__}
        if "mindspore" in sys.modules:  # which an ONNX file does not need
            versions["mindspore_version"] = sys.modules["mindspore"].__version__
        provenance: dict[str, Any] = {"ckpt_sha256": digest(self.path), **versions}
        provenance.update((key, self.usage[key]) for key in ("file_format", "quantize", "other") if key in self.usage)
        if self.path.suffix == ".onnx":
            import onnxruntime

            provenance.update(device_target="CPU", onnxruntime_version=onnxruntime.__version__)
        return provenance

    def parts(self, option: str) -> Parts:
        """The two parts that a stream runs, for ``option``. Raises InputError for a file that scores whole clips."""
        if self.network is not None:
            return network_parts(self.network)
        if self.pair is None:
            frame, _ = pair_paths(self.path)
            raise InputError(
                f"{option}: needs a checkpoint (.ckpt), or the two files of export.py --streaming true, such as"
                f" {frame.name}; {self.path.name} takes whole clips"
            )
        return self.pair

    def explained_network(self, option: str) -> TSN:
        """The network, for ``option``, which explains scores.

        Raises:
            InputError: for an exported file, and for a head whose scores are not sums over frame tuples.
        """
        if self.network is None:
            raise InputError(f"{option}: needs a checkpoint (.ckpt), an exported file gives scores only")
        if self.network.head.scales is None:
            name = self.settings.consensus_type
            raise InputError(f"{option}: not with consensus_type {name}, whose scores are not sums over frame tuples")
        return self.network

    def top(self, logits: np.ndarray, count: int = TOP) -> list[dict[str, Any]]:
        """The likeliest classes for logits [C], as {"label", "probability"}."""
        probabilities = softmax(logits)
        best = np.argsort(-probabilities, kind="stable")[:count]
        return [{"label": self.categories[i], "probability": float(probabilities[i])} for i in best]


def load_model(config: Settings, categories: list[str] | None = None, batch_size: int = 1) -> Model:
    """The model in ``config.ckpt_file``: a checkpoint, or an exported .mindir or .onnx with its JSON beside it.

    Settings that the file records replace those of ``config`` that were not given explicitly. Also reads
    ``test_crops relations flip seed``. ``score`` takes ``batch_size`` clips at once.

    Raises:
        InputError: if the file cannot be used, contradicts a given setting, or has other classes than ``categories``.
    """
    path = Path(config.ckpt_file)
    if not config.ckpt_file:
        raise InputError(f"ckpt_file: no model given, expected a file that ends in {', '.join(MODEL_SUFFIXES)}")
    if path.suffix not in MODEL_SUFFIXES:
        raise InputError(f"{path}: expected a model, a file whose name ends in {', '.join(MODEL_SUFFIXES)}")
    load = _load_checkpoint if path.suffix == ".ckpt" else _load_exported
    return load(config, categories, batch_size)


def _load_checkpoint(config: Settings, categories: list[str] | None, batch_size: int) -> Model:
    from src.evaluation.scoring import ClipScorer
    from src.training.checkpoint import load_network
    from src.tsn import prepare_for_inference

    network, names, config = load_network(config, categories)
    prepare_for_inference(network)
    crops, mirrored = config.test_crops, _mirrored(config, names)
    score = ClipScorer(network, config, test_crops=crops, batch_size=batch_size, mirrored=mirrored)
    return Model(Path(config.ckpt_file), score, names, config, network)


def _load_exported(config: Settings, categories: list[str] | None, batch_size: int) -> Model:
    path = Path(config.ckpt_file)
    usage = read_usage(path)
    names = usage["categories"]
    if categories is not None and categories != names:
        raise InputError(f"{path}: exported for the classes {', '.join(names)}; the given list differs")
    config = _with_usage(config, usage)
    mirrored = _mirrored(config, names)
    if usage.get("part") == "head":
        raise InputError(f"{path}: takes features; give the other file of the pair, {usage['other']['file']}")
    score = ExportedScorer(path, usage, mirrored=mirrored, seed=config.seed, batch_size=batch_size)
    return Model(path, score, names, config, usage=usage, pair=score.parts)


def _mirrored(config: Settings, categories: list[str]) -> np.ndarray | None:
    return mirrored_classes(categories, config.mirror_pairs) if config.flip == "label_aware" else None


def _with_usage(config: Settings, usage: dict[str, Any]) -> Settings:
    """A copy of ``config`` with the settings of an exported file. Given values win only where they shape no input.

    A file with the model zoo's interface fixes the number of crops, and swaps the classes of mirrored crops itself.
    """
    keys, free = keys_for(Use.EXPORTED, Use.NETWORK), {"flip", "mirror_pairs", "background_class", "freeze_backbone"}
    if "interface" in usage:
        keys, free = (*keys, "test_crops"), {"background_class", "freeze_backbone"}
    recorded = {key: usage.get(key, values_if_missing().get(key)) for key in keys}  # None: older exports say less
    bound = recorded.keys() & usage.keys() - free
    config = with_recorded(config, recorded, bound, f"{config.ckpt_file}: exported")
    if "interface" not in usage:
        config.test_crops = default_test_crops(config)
    return config
