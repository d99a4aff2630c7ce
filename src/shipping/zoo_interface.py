"""The interface of the model zoo's MINDIR: all test crops of one clip, with combinations drawn for each."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, dtype, nn, ops

from model_utils.errors import InputError
from model_utils.settings import Settings
from src.data.mirror_pairs import mirrored_classes
from src.heads import HEADS


class ZooInterface(nn.Cell):
    """A TRN with the inputs of the model zoo's.

    Args:
        mirrored: if given, every second crop is the mirror image of the one before. Its classes are swapped back as in
            ``average_crops``, so that the mean over rows is the clip's score.

    Inputs:
        video: float32 [1, crops*T*3, S, S].
        combinations: int32 [1, crops, T-1, subsample_num], the ``relations`` of each crop.

    Outputs:
        logits, float32 [crops, C].
    """

    def __init__(self, network: nn.Cell, mirrored: np.ndarray | None = None) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.swaps = mirrored is not None
        if mirrored is not None:
            self.partners = Tensor(np.maximum(mirrored, 0), dtype.int32)
            self.has_partner = Tensor((mirrored >= 0).astype(np.float32))  # [C]

    def construct(self, video: Tensor, combinations: Tensor) -> Tensor:
        logits = self.network(video, combinations)  # [crops, C]
        if not self.swaps:
            return logits
        pairs = logits.reshape((-1, 2, logits.shape[-1]))
        plain, flipped = pairs[:, 0:1], pairs[:, 1:2]
        swapped = ops.gather(flipped, self.partners, 2) * self.has_partner + plain * (1.0 - self.has_partner)
        return ops.concat((plain, swapped), 1).reshape(logits.shape)


def has_zoo_interface(config: Settings) -> bool:
    return config.export_interface == "zoo"


def with_zoo_interface(network: nn.Cell, config: Settings, categories: list[str]) -> ZooInterface:
    """The network of an export with ``export_interface`` zoo."""
    swaps = config.flip == "label_aware" and config.test_crops == 10
    return ZooInterface(network, mirrored_classes(categories, config.mirror_pairs) if swaps else None)


def check_zoo_interface(config: Settings) -> None:
    """Raises InputError for keys of an export that do not go with ``export_interface`` zoo."""
    if not has_zoo_interface(config):
        return
    if config.streaming:
        raise InputError("export_interface zoo: the files for a stream take frames and features, give streaming false")
    drawing = tuple(name for name, head in HEADS.items() if head.draws_relations)
    wanted: dict[str, tuple] = {"file_format": ("MINDIR", "AIR"), "consensus_type": drawing}
    if "relations" in config.given:
        wanted["relations"] = ("sampled",)
    if "export_batch_size" in config.given:
        wanted["export_batch_size"] = (1,)
    for key, values in wanted.items():
        value = getattr(config, key)
        if value not in values:
            raise InputError(f"export_interface zoo: needs {key} {' or '.join(map(str, values))}, but it is {value}")
