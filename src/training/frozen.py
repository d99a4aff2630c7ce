"""Training behind a frozen backbone: features are computed once and kept in memory, so that an epoch takes seconds.

Keeps the features of the centre crop of every frame of every training clip and, if clips are mirrored, of its mirror
image: 4 * D bytes each, 300 MB for 1000 clips of 36 frames with D = 1024, both ways. ``TrainingLoader`` draws frames,
mirroring, relations and dropout as in any training; only its random crops are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from logging import Logger

import numpy as np
from mindspore import Tensor, nn, ops

from model_utils.errors import InputError
from src import tsn_dataset
from src.data.clips import FrameLoader, TrainingLoader
from src.data.frame_files import VideoRecord, require_size
from src.ops.batch_dataset import BatchDataset, Batches
from src.ops.ranks import ALONE, Ranks
from src.tsn import TSN, FrameFeatures
from src.utils import pad_batch

FRAMES_AT_ONCE = 32  # in a batch of the backbone; their mirror images come on top


def freeze_backbone(network: TSN, trained: bool) -> None:
    """Trains nothing of the backbone but its last layer, which depends on the task.

    Raises:
        InputError: unless the backbone is ``trained``.
    """
    if not trained:
        raise InputError(
            "freeze_backbone true: its random weights would never learn; give pre_trained_backbone or pre_trained"
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


@dataclass(frozen=True)
class KeptFeatures:
    """Loads clips as ``TrainingLoader`` does, with kept features instead of frames.

    Attributes:
        loader: draws.
        features: of each clip, float32 [2 or 1 (as filmed, mirrored), N, D].
    """

    loader: TrainingLoader
    features: list[np.ndarray]

    @property
    def columns(self) -> np.dtype:
        """The columns of a row: those of ``TrainingLoader``, but features in place of the clip."""
        features = ("features", np.float32, (self.loader.num_segments, self.loader.features))
        return np.dtype([features, *self.loader.columns.descr[1:]])

    def __call__(self, record: VideoRecord, index: int, epoch: int) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
        """Features [T, D], label, relations and dropout mask of a clip in an epoch."""
        indices, mirror, label, relations, mask = self.loader.draw(record, index, epoch)
        return self.features[index][int(mirror), indices], label, relations, mask


def keep_features(
    network: TSN, loader: TrainingLoader, records: list[VideoRecord], workers: int, logger: Logger
) -> KeptFeatures:
    """Computes the features of all clips, whose frames ``workers`` processes load.

    Raises:
        InputError: for a clip that cannot be read.
    """
    backbone = FrameFeatures(network, last_layer=False).set_train(False)
    single = FrameLoader(loader.frames, loader.image_size)
    dataset = tsn_dataset.frame_dataset(single, records, batch_size=FRAMES_AT_ONCE, workers=workers)
    kept: list[np.ndarray] = []
    with closing(dataset.read(output_numpy=True)) as batches:
        mirror = loader.flip != "none"
        rows = (row for frames, sizes in batches for row in _features(backbone, frames, sizes, mirror))
        for number, record in enumerate(records, 1):
            features, sizes = zip(*islice(rows, record.num_frames))
            for index, size in enumerate(sizes):
                require_size(loader.frames.path(record, index), size, sizes[0])
            kept.append(np.stack(features, axis=1))
            if number % 50 == 0 or number == len(records):
                logger.info("features of %d of %d clips", number, len(records))
    return KeptFeatures(loader, kept)


def _features(
    backbone: nn.Cell, frames: np.ndarray, sizes: np.ndarray, mirror: bool
) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """The features of each of these frames, float32 [2 or 1 (as filmed, mirrored), D], and its height and width."""
    # All batches have the same number of frames, so that one graph is compiled.
    whole = pad_batch(frames, FRAMES_AT_ONCE)
    ways = [whole, whole[:, :, ::-1]] if mirror else [whole]
    rows = backbone(Tensor(np.concatenate(ways))).asnumpy().reshape((len(ways), FRAMES_AT_ONCE, -1))
    return zip(rows.transpose((1, 0, 2)), map(tuple, sizes.tolist()))


def feature_dataset(
    kept: KeptFeatures,
    records: list[VideoRecord],
    *,
    batch_size: int,
    first_epoch: int = 0,
    first_step: int = 0,
    ranks: Ranks = ALONE,
) -> BatchDataset:
    """``tsn_dataset.training_dataset`` with kept features, float32 [B, T, D], instead of clips."""

    def start() -> Batches:
        tasks = tsn_dataset.training_tasks(records, kept.loader.seed, batch_size, (first_epoch, first_step), ranks)
        while True:
            rows = np.array([kept(*task) for task in islice(tasks, batch_size)], kept.columns)
            yield tuple(np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ())

    steps = tsn_dataset.steps_per_epoch(len(records), batch_size, ranks.size)
    return BatchDataset(start, kept.columns, batch_size, steps, first_step)
