"""One training step: loss, gradients, average over ranks, clipping, update; and the learning rate of each parameter."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from model_utils.util import get_param_groups
from src.ops.gradients import ClipByGlobalNorm, GroupMomentum
from src.tsn import ClipInput


class ClipLoss(nn.Cell):
    """Mean softmax cross-entropy of a batch as ``src.tsn_dataset.training_dataset`` gives it: float32 scalar."""

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.to_video = ClipInput(network.backbone.pixels)
        self.network = network

    def construct(self, clips: Tensor, labels: Tensor, relations: Tensor, dropout_mask: Tensor) -> Tensor:
        # nn.SoftmaxCrossEntropyWithLogits gives inf on CPUs once one logit leads by about 90.
        return ops.cross_entropy(self.network(self.to_video(clips), relations, dropout_mask), labels)


class TrainStep(nn.Cell):
    """Updates the network with a batch (see ``ClipLoss``) and returns the loss before the update, float32 scalar.

    Gradients are averaged over ranks, then clipped to the global L2 norm ``clip_grad_norm``, so that W devices make the
    same step as one device with all their clips. ``loss`` replaces ``ClipLoss``, for batches of another kind.
    """

    def __init__(
        self, network: nn.Cell, optimizer: nn.Optimizer, clip_grad_norm: float, loss: nn.Cell | None = None
    ) -> None:
        super().__init__(auto_prefix=False)
        self.loss = loss or ClipLoss(network)  # an attribute, so that set_train() reaches the network
        self.loss_and_gradients = ops.value_and_grad(self.loss, None, optimizer.parameters)
        self.average = ops.identity
        if ms.get_auto_parallel_context("parallel_mode") == ms.ParallelMode.DATA_PARALLEL:
            self.average = nn.DistributedGradReducer(optimizer.parameters, mean=True)
        self.clip = ClipByGlobalNorm(clip_grad_norm)
        self.optimizer = optimizer

    def construct(self, *batch: Tensor) -> Tensor:
        loss, gradients = self.loss_and_gradients(*batch)
        return ops.depend(loss, self.optimizer(self.clip(self.average(gradients))))


class CustomWithLossCell(nn.Cell):
    """The model zoo's cell: the loss of images, combinations (of frames, the relations drawn) and labels."""

    def __init__(self, network: nn.Cell, loss: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.loss = network, loss

    def construct(self, images: Tensor, combinations: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.network(images, combinations), labels)


class CustomTrainOneStepCell(TrainStep):
    """``TrainStep`` by the model zoo's name and arguments; ``network`` is a ``CustomWithLossCell``."""

    def __init__(self, network: nn.Cell, optimizer: nn.Optimizer, max_grad_norm: float) -> None:
        super().__init__(network, optimizer, max_grad_norm, loss=network)


def build_optimizer(
    network: nn.Cell, lr: float, update_lr_epochs: int, steps_per_epoch: int, momentum: float, weight_decay: float
) -> nn.Optimizer:
    """SGD with momentum; the learning rate falls to a tenth every ``update_lr_epochs`` epochs.

    Biases learn twice as fast as weights. Neither biases nor gamma and beta of batch normalisation decay.
    """
    rate_and_decay = {"weights": (lr, weight_decay), "biases": (2 * lr, 0.0), "bn": (lr, 0.0)}
    groups = []
    for name, parameters in parameter_groups(network).items():
        if not parameters:
            continue
        rate, decay = rate_and_decay[name]
        schedule = nn.ExponentialDecayLR(rate, 0.1, update_lr_epochs * steps_per_epoch, is_stair=True)
        groups.append({"params": parameters, "lr": schedule, "weight_decay": decay})
    return GroupMomentum(groups, momentum)


def learning_rate(lr: float, update_lr_epochs: int, epoch: int) -> float:
    """The learning rate of weights in an epoch, counted from 1: the schedule of ``build_optimizer`` as a number."""
    return lr * 0.1 ** ((epoch - 1) // update_lr_epochs)


def parameter_groups(network: nn.Cell) -> dict[str, list[Parameter]]:
    """The trainable parameters in TSN's optimiser groups: ``weights``, ``biases`` and ``bn``.

    Parameters of other kinds, which some backbones have, are in ``bn``: they do not decay.

    Raises:
        ValueError: if a trainable parameter belongs to no group.
    """
    parameters = network.trainable_params()
    first_weights, first_biases, bn, weights, biases = get_param_groups(parameters, network.backbone.other_kinds)
    return {"weights": first_weights + weights, "biases": first_biases + biases, "bn": bn}
