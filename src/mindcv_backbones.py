"""Image classifiers of the package mindcv as backbones (see ``src.backbones``), without their last layer."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from model_utils.errors import InputError
from src.ops import compat
from src.ops.batch_norm import batch_norm
from src.trn import dense

MARKED_CLASSES = 7919  # classes of a new mindcv model: no other layer has as many outputs, so this finds the last one


def build(name: str, out_channels: int, width_mult: float, freeze_bn: bool, others: tuple[str, ...]) -> MindcvBackbone:
    """The model ``name`` as a backbone with random weights; ``others``: backbones that are not mindcv's.

    Raises:
        InputError: for a name that mindcv does not know, with the nearest ones; if mindcv is missing or the model
            cannot be a backbone; for a width that it does not come in.
    """
    model = _create(name, others)
    if width_mult != 1.0:
        raise InputError(f"width_mult {width_mult}: backbone {name} comes in one width; expected 1.0")
    return MindcvBackbone(name, model, out_channels, freeze_bn)


class MindcvBackbone(nn.Cell):
    """A classifier of mindcv up to its last layer, and a new last layer.

    mindcv's dropout and stochastic depth are removed: their draws depend on the run so far, so a resumed run would not
    be exact. Dropout before the last layer comes as a mask, as in ``BNInception``.

    Args:
        model: mindcv's model with MARKED_CLASSES classes.
        freeze_bn: partial BN: all ``nn.BatchNorm2d`` but the first keep their stored statistics, gamma and beta.
    """

    def __init__(self, name: str, model: nn.Cell, out_channels: int, freeze_bn: bool) -> None:
        super().__init__()
        self.last_layer, self.feature_channels = _remove_last_layer(name, model)
        _remove_random_layers(model)
        _replace_batch_norms(model, freeze_bn)
        self.model = model
        # A ReLU follows. With initial weights as small as BNInception's, the outputs would soon be negative for all
        # frames and stay so: these models' features are large, and similar for all frames.
        self.fc = dense(self.feature_channels, out_channels)

    def features(self, frames: Tensor) -> Tensor:
        """[N, 3, S, S] -> [N, feature_channels]: the input of mindcv's own last layer."""
        return self.model(frames)

    def construct(self, frames: Tensor, dropout_mask: Tensor | None = None) -> Tensor:
        features = self.features(frames)
        if dropout_mask is not None:
            features = features * dropout_mask
        return self.fc(features)


class HSwish(nn.Cell):
    """x * relu6(x + 3) / 6, in operators that ONNX has."""

    def construct(self, x: Tensor) -> Tensor:
        return x * ops.clip_by_value(x + 3.0, 0.0, 6.0) / 6.0


class HSigmoid(nn.Cell):
    """relu6(x + 3) / 6, in operators that ONNX has."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.clip_by_value(x + 3.0, 0.0, 6.0) / 6.0


def use_onnx_operators(network: nn.Cell) -> None:
    """Replaces layers that MindSpore cannot export to ONNX by equal ones, in place."""
    for kind, replacement in ((nn.HSwish, HSwish), (nn.HSigmoid, HSigmoid)):
        for parent, name, _ in list(_cells_of_kind(network, kind)):
            _put(parent, name, replacement())


def mindcv_weights(name: str, others: tuple[str, ...]) -> Path:
    """The checkpoint of ImageNet weights that mindcv offers for a model; mindcv downloads it if needed.

    Raises:
        InputError: if mindcv has none, or cannot fetch it.
    """
    _mindcv_models(name, others)
    from mindcv.models.helpers import get_checkpoint_download_root
    from mindcv.models.registry import get_pretrained_cfg_value
    from mindcv.utils.download import DownLoad

    url = get_pretrained_cfg_value(name, "url")
    if not url:
        raise InputError(f"pre_trained_backbone pretrained: mindcv has no weights for {name}; give a checkpoint")
    folder = Path(get_checkpoint_download_root())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        DownLoad().download_url(url, path=str(folder))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"pre_trained_backbone pretrained: mindcv cannot fetch {url}: {error}") from error
    return folder / Path(url).name


# ------------------------------------------------------------------------------------------------------------ mindcv


def _mindcv_models(name: str, others: tuple[str, ...]) -> Any:
    """The module ``mindcv.models``."""
    if importlib.util.find_spec("mindcv") is None:
        raise InputError(
            f"backbone {name}: expected {' or '.join(others)}, or a model of the package mindcv, which is not"
            " installed; requirements-backbones.txt installs it"
        )
    try:
        import mindcv.models
    except Exception as error:  # made for other versions of MindSpore it may raise anything
        raise InputError(
            f"backbone {name}: mindcv cannot be imported with MindSpore {ms.__version__}: {error}"
        ) from error
    return mindcv.models


def _create(name: str, others: tuple[str, ...]) -> nn.Cell:
    """The model ``name`` of mindcv, with MARKED_CLASSES classes and random weights."""
    models = _mindcv_models(name, others)
    if not models.is_model(name):
        near = difflib.get_close_matches(name, [*others, *models.list_models()], n=4, cutoff=0.3)
        raise InputError(f"backbone {name!r}: no such backbone; nearest: {', '.join(near or others)}")
    compat.add_out_of_place()
    try:
        model = models.create_model(name, num_classes=MARKED_CLASSES)
    except (ValueError, RuntimeError, TypeError) as error:
        raise InputError(f"backbone {name}: mindcv cannot make it: {error}") from error
    if getattr(model, "aux_logits", False):
        raise InputError(f"backbone {name}: has auxiliary classifiers, which are not supported")
    return model


class _Same(nn.Cell):
    def construct(self, x: Tensor) -> Tensor:
        return x


def _remove_last_layer(name: str, model: nn.Cell) -> tuple[str, int]:
    """Removes the layer with MARKED_CLASSES outputs; returns its name in a checkpoint and the length of its input."""
    last = [found for found in _cells_of_kind(model, nn.Dense) if found[2].out_channels == MARKED_CLASSES]
    if len(last) != 1:
        raise InputError(f"backbone {name}: expected one dense layer that gives its class scores, found {len(last)}")
    parent, place, dense = last[0]
    path = next(path for path, cell in model.cells_and_names() if cell is dense)
    _put(parent, place, _Same())
    return path, dense.in_channels


def _remove_random_layers(model: nn.Cell) -> None:
    for parent, place, cell in list(_cells_of_kind(model, nn.Cell)):
        if isinstance(cell, nn.Dropout) or type(cell).__name__ == "DropPath":
            _put(parent, place, _Same())


def _replace_batch_norms(model: nn.Cell, freeze_bn: bool) -> None:
    """Replaces mindcv's batch normalisation by this project's, which shares statistics among devices."""
    for number, (parent, place, old) in enumerate(list(_cells_of_kind(model, nn.BatchNorm2d))):
        frozen = freeze_bn and number > 0
        new = batch_norm(old.num_features, frozen, eps=old.eps, momentum=1.0 - old.momentum)
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            getattr(new, name).set_data(getattr(old, name))
        new.gamma.requires_grad = new.beta.requires_grad = not frozen
        _put(parent, place, new)


def _cells_of_kind(root: nn.Cell, kind: type) -> Iterator[tuple[nn.Cell, str, nn.Cell]]:
    """(parent, name in it, cell) of all cells of a kind below ``root``, in the order of their definition."""
    for name, cell in root.name_cells().items():
        if isinstance(cell, kind):
            yield root, name, cell
        yield from _cells_of_kind(cell, kind)


def _put(parent: nn.Cell, name: str, cell: nn.Cell) -> None:
    if isinstance(parent, (nn.SequentialCell, nn.CellList)):
        parent[list(parent.name_cells()).index(name)] = cell
    else:
        setattr(parent, name, cell)
