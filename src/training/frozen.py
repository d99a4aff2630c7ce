"""Training behind a frozen backbone: features are computed once and kept in memory, so that an epoch takes seconds.

Kept are the features of the centre crop of every frame of every training clip and, where clips are mirrored, of its
mirror image: 4 * D bytes each, 300 MB for 1000 clips of 36 frames with D = 1024, both ways. All other draws of an epoch
(frames, mirroring, relations, dropout) are those of ``TrainingLoader``; only its random crops are not made.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from logging import Logger
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn, ops

from model_utils.errors import InputError
from src import sampling, tsn_dataset
from src.data.clips import TrainingLoader, VideoRecord, decode_frames
from src.ops.ranks import ALONE, Ranks
from src.transforms import cut_crops
from src.tsn import TSN, ClipInput, pixels_of
from src.utils import pad_batch

FRAMES = 32  # a batch of the backbone


def freeze_backbone(network: TSN, trained: bool) -> None:
    """Trains nothing of the backbone but its last layer, which depends on the task.

    Raises:
        InputError: unless the backbone is ``trained``.
    """
    if not trained:
        raise InputError(
            "freeze_backbone true: random weights would stay; expected pre_trained_backbone or pre_trained with it"
        )
    for parameter in network.base_model.get_parameters():
        parameter.requires_grad = False
    for parameter in network.base_model.fc.get_parameters():
        parameter.requires_grad = True


class FeatureLoss(nn.Cell):
    """``ClipLoss`` of features float32 [B, T, D] instead of clips."""

    def __init__(self, network: TSN) -> None:
        super().__init__(auto_prefix=False)
        self.last_layer, self.consensus = network.base_model.fc, network.consensus

    def construct(self, features: Tensor, labels: Tensor, relations: Tensor, dropout_mask: Tensor) -> Tensor:
        batch, segments, length = features.shape
        frames = self.last_layer((features * dropout_mask).reshape((-1, length)))
        scores = self.consensus(frames.reshape((batch, segments, -1)), relations)
        return ops.cross_entropy(scores, labels)


class BackboneFeatures(nn.Cell):
    """What the backbone's last layer gets: uint8 frames [N, S, S, 3] BGR -> float32 [N, D]."""

    def __init__(self, network: TSN) -> None:
        super().__init__(auto_prefix=False)
        self.to_video = ClipInput(pixels_of(network))
        self.backbone = network.base_model

    def construct(self, frames: Tensor) -> Tensor:
        side = frames.shape[1]
        return self.backbone.features(self.to_video(frames.reshape((-1, 1, side, side, 3))))


@dataclass(frozen=True)
class KeptFeatures:
    """Loads clips as ``TrainingLoader`` does, with kept features instead of frames.

    Attributes:
        loader: draws.
        features: of each clip, float32 [2 or 1 (as filmed, mirrored), N, D].
    """

    loader: TrainingLoader
    features: list[np.ndarray]

    def __call__(self, record: VideoRecord, index: int, epoch: int) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
        """Features [T, D], label, relations and dropout mask of a clip in an epoch."""
        rng = partial(sampling.generator, self.loader.seed, epoch, index)
        indices, label, mirror = self.loader.draw(record, epoch, rng)
        return self.features[index][int(mirror), indices], label, *self.loader.draw_masks(rng)


def keep_features(network: TSN, loader: TrainingLoader, records: list[VideoRecord], logger: Logger) -> KeptFeatures:
    """Computes the features of all clips.

    Raises:
        InputError: for a clip that cannot be read.
    """
    compute = BackboneFeatures(network).set_train(False)
    kept = []
    for number, record in enumerate(records, 1):
        frames = decode_frames(Path(loader.images_root) / record.folder, np.arange(record.num_frames))
        crops = cut_crops(frames, loader.image_size, 1)[0]  # [N, S, S, 3]
        ways = [crops] if loader.flip == "none" else [crops, crops[:, :, ::-1]]
        kept.append(np.stack([_in_batches(compute, way) for way in ways]))
        if number % 50 == 0 or number == len(records):
            logger.info("features of %d of %d clips", number, len(records))
    return KeptFeatures(loader, kept)


def _in_batches(compute: nn.Cell, frames: np.ndarray) -> np.ndarray:
    parts = [frames[begin : begin + FRAMES] for begin in range(0, len(frames), FRAMES)]
    # Each batch has as many frames, so that one graph is compiled.
    return np.concatenate([compute(Tensor(pad_batch(part, FRAMES))).asnumpy()[: len(part)] for part in parts])


def feature_batches(
    kept: KeptFeatures,
    records: list[VideoRecord],
    *,
    batch_size: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    ranks: Ranks = ALONE,
) -> Generator[tuple[Tensor, ...], None, None]:
    """``tsn_dataset.training_batches`` with kept features instead of clips."""
    first = first_epoch, first_step
    tasks = tsn_dataset.training_tasks(records, kept.loader.seed, batch_size, epochs, first, ranks)
    rows = []
    for task in tasks:
        rows.append(kept(*task))
        if len(rows) == batch_size:
            features, labels, relations, masks = zip(*rows)
            columns = np.stack(features), np.array(labels, np.int32), np.stack(relations), np.stack(masks)
            yield tuple(map(Tensor, columns))
            rows = []
