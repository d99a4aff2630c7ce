"""One training step: loss, gradients, reduction over ranks, clipping, update; and what is updated how fast."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from src.tsn import ClipInput


class ClipLoss(nn.Cell):
    """Mean softmax cross-entropy of a batch as ``src.tsn_dataset.training_batches`` yields it, float32 scalar."""

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.to_video = ClipInput()
        self.network = network

    def construct(self, clips: Tensor, labels: Tensor, relations: Tensor, dropout_mask: Tensor) -> Tensor:
        # nn.SoftmaxCrossEntropyWithLogits gives inf on CPUs once one logit leads by about 90.
        return ops.cross_entropy(self.network(self.to_video(clips), relations, dropout_mask), labels)


def parameter_groups(network: nn.Cell) -> dict[str, list[Parameter]]:
    """Sorts the trainable parameters into TSN's optimiser groups: ``weights``, ``biases`` and ``bn``.

    Raises:
        ValueError: if a trainable parameter belongs to no group.
    """
    groups: dict[str, list[Parameter]] = {"weights": [], "biases": [], "bn": []}
    for parameter in network.trainable_params():
        kind = parameter.name.rsplit(".", 1)[-1]
        if kind == "weight":
            groups["weights"].append(parameter)
        elif kind == "bias":
            groups["biases"].append(parameter)
        elif kind in ("gamma", "beta"):
            groups["bn"].append(parameter)
        else:
            raise ValueError(f"parameter {parameter.name} {parameter.shape} belongs to no optimiser group")
    return groups


# What is done to each of 170 parameters, in primitive operations: anything else has to be compiled for each of them.
_add, _multiply, _square, _reshape, _sum = ops.Add(), ops.Mul(), ops.Square(), ops.Reshape(), ops.ReduceSum()


def _momentum_update(apply, momentum, rate, decay, gradient, parameter, moment):
    if decay:
        gradient = _add(gradient, _multiply(parameter, decay))
    return apply(parameter, moment, rate, gradient, momentum)


class GroupMomentum(nn.Momentum):
    """``nn.Momentum`` group by group.

    The original evaluates a group's schedule once for every parameter in it, which about a third of the time that the
    training graph took to compile was spent on.

    Args:
        groups: dictionaries of ``params``, ``lr`` (a schedule) and ``weight_decay``.
        momentum: factor of the moving average.
    """

    def __init__(self, groups: list[dict], momentum: float) -> None:
        super().__init__(groups, learning_rate=0.0, momentum=momentum)
        self.ends = tuple(np.cumsum([len(group["params"]) for group in groups]).tolist())
        self.decays = tuple(group["weight_decay"] for group in groups)

    def construct(self, gradients: tuple[Tensor, ...]) -> tuple:
        done, begin = (), 0
        for end, decay in zip(self.ends, self.decays):
            rate = self.learning_rate[begin](self.global_step)
            update = ops.partial(_momentum_update, self.opt, self.momentum, rate, decay)
            done += self.hyper_map(update, gradients[begin:end], self.params[begin:end], self.moments[begin:end])
            begin = end
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        return done


def learning_rate(lr: float, update_lr_epochs: int, epoch: int) -> float:
    """What the rate of weights is in an epoch, counted from 1: ``build_optimizer``'s schedule as a number."""
    return lr * 0.1 ** ((epoch - 1) // update_lr_epochs)


def build_optimizer(
    network: nn.Cell, lr: float, update_lr_epochs: int, steps_per_epoch: int, momentum: float, weight_decay: float
) -> nn.Optimizer:
    """SGD with momentum; the learning rate falls to a tenth every ``update_lr_epochs`` epochs.

    Biases learn twice as fast as weights and, like normalisation's gamma and beta, do not decay.
    """
    rate_and_decay = {"weights": (lr, weight_decay), "biases": (2 * lr, 0.0), "bn": (lr, 0.0)}
    groups = []
    for name, parameters in parameter_groups(network).items():
        if not parameters:
            continue
        rate, decay = rate_and_decay[name]
        schedule = nn.ExponentialDecayLR(rate, 0.1, update_lr_epochs * steps_per_epoch, is_stair=True)
        groups.append({"params": parameters, "lr": schedule, "weight_decay": decay})
    # The same as nn.SGD, which in MindSpore 1.10 knows no weight decay of a group.
    return GroupMomentum(groups, momentum)


def _sums_of_squares(gradient: Tensor) -> Tensor:
    # Over several axes at once a CPU takes 10 times as long.
    return _sum(_reshape(_square(gradient), (gradient.shape[0], -1)), 1)


class ClipByGlobalNorm(nn.Cell):
    """Scales all gradients by one factor, so that the L2 norm of all together is at most ``clip_norm``."""

    def __init__(self, clip_norm: float) -> None:
        super().__init__()
        self.clip_norm = clip_norm
        self.for_each = ops.HyperMap()
        self.join = ops.Concat()

    def construct(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        norm = ops.sqrt(_sum(self.join(self.for_each(_sums_of_squares, gradients))))
        factor = self.clip_norm / ops.maximum(norm, self.clip_norm)
        return self.for_each(ops.partial(_multiply, factor), gradients)


class TrainStep(nn.Cell):
    """A batch (see ``ClipLoss``) -> loss before the update, float32 scalar.

    Gradients are averaged over ranks first and clipped to ``clip_grad_norm`` (global L2 norm) after, so that the step
    is the one that a single device would make with the whole batch.
    """

    def __init__(self, network: nn.Cell, optimizer: nn.Optimizer, clip_grad_norm: float) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.clip = ClipByGlobalNorm(clip_grad_norm)
        self.loss = ClipLoss(network)  # an attribute, so that set_train() reaches the network
        self.loss_and_grads = ops.value_and_grad(self.loss, None, optimizer.parameters)
        self.average = ops.identity
        mode = ms.get_auto_parallel_context("parallel_mode")
        if mode == ms.ParallelMode.DATA_PARALLEL:
            self.average = nn.DistributedGradReducer(optimizer.parameters, mean=True)

    def construct(self, clips: Tensor, labels: Tensor, relations: Tensor, dropout_mask: Tensor) -> Tensor:
        loss, grads = self.loss_and_grads(clips, labels, relations, dropout_mask)
        return ops.depend(loss, self.optimizer(self.clip(self.average(grads))))
