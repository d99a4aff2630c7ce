"""Clipping and momentum for hundreds of parameters, in graphs that compile fast.

A training graph holds these operations once for each of 170 parameters. Primitive operations are taken as they are;
composite ones would be compiled anew for each parameter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

_add, _multiply, _square, _reshape, _sum = ops.Add(), ops.Mul(), ops.Square(), ops.Reshape(), ops.ReduceSum()


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


def _sums_of_squares(gradient: Tensor) -> Tensor:
    # A sum over several axes at once takes 10 times as long on a CPU.
    return _sum(_reshape(_square(gradient), (gradient.shape[0], -1)), 1)


class GroupMomentum(nn.Momentum):
    """``nn.Momentum``, one group of parameters after the other.

    ``nn.Momentum`` evaluates a group's schedule once for each parameter, which takes a third of the time in which the
    training graph compiles. ``nn.SGD`` of MindSpore 1.10 has no weight decay by group.

    Args:
        groups: dictionaries of ``params``, ``lr`` (a schedule) and ``weight_decay``.
        momentum: factor of the moving sum of gradients.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float) -> None:
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


def _momentum_update(
    apply: ops.Primitive,
    momentum: Tensor,
    rate: Tensor,
    decay: float,
    gradient: Tensor,
    parameter: Parameter,
    moment: Parameter,
) -> Tensor:
    if decay:
        gradient = _add(gradient, _multiply(parameter, decay))
    return apply(parameter, moment, rate, gradient, momentum)
