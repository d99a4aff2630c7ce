"""BNInception: one frame in, one feature vector out.

The "Inception with batch normalisation" network (Ioffe and Szegedy, arXiv:1502.03167) in the Caffe layout that
Temporal Segment Networks published: every convolution has a bias, pools round up, and the average pools inside the
blocks count their zero padding.

    frame 3 x S x S
      conv1 7x7/2 -> 64 | max 3x3/2 | conv2 1x1 -> 64 | conv2 3x3 -> 192 | max 3x3/2            192 x S/8
      3a 3b 3c/2                                                                                576 x S/16
      4a 4b 4c 4d 4e/2                                                                         1056 x S/32
      5a 5b | global average                                                                   1024
      dropout | fc                                                                             out_channels
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import HeUniform, Normal, Uniform, Zero

from model_utils.errors import InputError
from src.ops.batch_norm import batch_norm
from src.ops.compat import dropout_layer, max_pool_2d
from src.ops.pooling import CeilMaxPool, PaddedAvgPool


class Block(NamedTuple):
    """Channel counts of one block. A block of stride 2 has no 1x1 branch and no projection: both are 0."""

    name: str
    conv1x1: int
    conv3x3: tuple[int, int]  # reduce, 3x3
    double3x3: tuple[int, int, int]  # reduce, 3x3, 3x3
    pool: str  # "avg" or "max"
    projection: int


BLOCKS = (
    Block("3a", 64, (64, 64), (64, 96, 96), "avg", 32),
    Block("3b", 64, (64, 96), (64, 96, 96), "avg", 64),
    Block("3c", 0, (128, 160), (64, 96, 96), "max", 0),
    Block("4a", 224, (64, 96), (96, 128, 128), "avg", 128),
    Block("4b", 192, (96, 128), (96, 128, 128), "avg", 128),
    Block("4c", 160, (128, 160), (128, 160, 160), "avg", 128),
    Block("4d", 96, (128, 192), (160, 192, 192), "avg", 128),
    Block("4e", 0, (128, 192), (192, 256, 256), "max", 0),
    Block("5a", 352, (192, 320), (160, 224, 224), "avg", 128),
    Block("5b", 352, (192, 320), (192, 224, 224), "max", 128),
)


def scale_channels(channels: int, width_mult: float) -> int:
    """Channel count of a layer in a network ``width_mult`` times as wide, at least 4."""
    return max(4, int(channels * width_mult))


def check_side(image_size: int) -> None:
    """Refuses a frame side for which the branches of a stride-2 block give feature maps of different sizes.

    Convolutions of stride 2 round ``n / 2`` up, and the max pools beside them round ``(n - 1) / 2`` up, so both
    stride-2 blocks need an even side. Every multiple of 32 fits.

    Raises:
        InputError: naming the side and the nearest ones that work.
    """

    def fits(side: int) -> bool:
        after_conv1 = (side + 1) // 2
        return side >= 32 and (after_conv1 // 4) % 4 == 0

    if not fits(image_size):
        nearest = sorted((s for s in range(32, image_size + 64) if fits(s)), key=lambda s: abs(s - image_size))[:2]
        raise InputError(
            f"image_size {image_size}: BNInception cannot halve it five times; nearest that work: {nearest}"
        )


class ConvBN(nn.Cell):
    """Convolution with bias, batch normalisation (BN), ReLU: [N, in, H, W] -> [N, out, H/stride, W/stride].

    A ``frozen`` BN uses its stored statistics, so it is linear and folds into the convolution's weight and bias: one
    pass over the weights replaces one over the activations. Gradients reach the convolution through the fold; gamma
    and beta do not train.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, frozen: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            pad_mode="pad",
            padding=kernel_size // 2,
            has_bias=True,
            weight_init=HeUniform(negative_slope=math.sqrt(5)),
            bias_init=Uniform(1.0 / math.sqrt(in_channels * kernel_size**2)),  # ±1/√fan_in, as PyTorch starts it
        )
        self.frozen = frozen
        self.bn = batch_norm(out_channels, frozen)
        self.bn.gamma.requires_grad = self.bn.beta.requires_grad = not frozen
        self.relu = nn.ReLU()

    def construct(self, x: Tensor) -> Tensor:
        if self.frozen:
            return self.relu(self.convolve(x, *self.folded()))
        # Statistics of the batch take every constant away: this bias has no gradient.
        return self.relu(self.bn(self.convolve(x, self.conv.weight, ops.stop_gradient(self.conv.bias))))

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.conv.bias_add(self.conv.conv2d(x, weight), bias)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of one convolution that equals convolution and BN with stored statistics."""
        scale = self.bn.gamma / ops.sqrt(self.bn.moving_variance + self.bn.eps)
        shift = (self.conv.bias - self.bn.moving_mean) * scale + self.bn.beta
        return self.conv.weight * scale.reshape((-1, 1, 1, 1)), shift

    def fold(self) -> None:
        """Folds BN into the weights; inference only."""
        weight, bias = self.folded()
        self.conv.weight.set_data(Tensor(weight.asnumpy()))
        self.conv.bias.set_data(Tensor(bias.asnumpy()))
        del self.bn
        self.bn, self.frozen = ops.identity, False


class PooledConvBN(ConvBN):
    """3x3 average, then ``ConvBN`` with a 1x1 kernel: [N, in, H, W] -> [N, out, H, W].

    The two linear maps commute. The convolution comes first here, because it leaves fewer channels to average.
    """

    def __init__(self, in_channels: int, out_channels: int, *, frozen: bool) -> None:
        super().__init__(in_channels, out_channels, 1, frozen=frozen)
        self.pool = PaddedAvgPool(out_channels)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.conv.bias_add(self.pool(self.conv.conv2d(x, weight)), bias)


class InceptionBlock(nn.Cell):
    """Up to four branches over the same input, concatenated: 1x1, 3x3, double 3x3, pool."""

    def __init__(self, in_channels: int, block: Block, width_mult: float, frozen: bool) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> ConvBN:
            return ConvBN(inputs, outputs, kernel_size, stride, frozen=frozen)

        def scaled(*channels: int) -> list[int]:
            return [scale_channels(c, width_mult) for c in channels]

        self.halves = not block.conv1x1
        stride = 2 if self.halves else 1
        reduce3, conv3 = scaled(*block.conv3x3)
        double_reduce, double_1, double_2 = scaled(*block.double3x3)

        self.branch_3x3_reduce = conv(in_channels, reduce3, 1)
        self.branch_3x3 = conv(reduce3, conv3, 3, stride)
        self.branch_double_3x3_reduce = conv(in_channels, double_reduce, 1)
        self.branch_double_3x3_1 = conv(double_reduce, double_1, 3)
        self.branch_double_3x3_2 = conv(double_1, double_2, 3, stride)
        if self.halves:
            self.pool = CeilMaxPool()
            self.out_channels = conv3 + double_2 + in_channels
        else:
            conv1, projection = scaled(block.conv1x1, block.projection)
            self.branch_1x1 = conv(in_channels, conv1, 1)
            if block.pool == "avg":
                self.pool = ops.identity  # the projection pools itself
                self.branch_pool_proj = PooledConvBN(in_channels, projection, frozen=frozen)
            else:
                self.pool = max_pool_2d(3, 1, "same")
                self.branch_pool_proj = conv(in_channels, projection, 1)
            self.out_channels = conv1 + conv3 + double_2 + projection

    def construct(self, x: Tensor) -> Tensor:
        conv3 = self.branch_3x3(self.branch_3x3_reduce(x))
        double = self.branch_double_3x3_2(self.branch_double_3x3_1(self.branch_double_3x3_reduce(x)))
        if self.halves:
            return ops.concat((conv3, double, self.pool(x)), 1)
        return ops.concat((self.branch_1x1(x), conv3, double, self.branch_pool_proj(self.pool(x))), 1)


class BNInception(nn.Cell):
    """The backbone.

    Args:
        input_channels: 3, BGR.
        out_channels: size of the last layer's output (the frame feature, or class scores for average consensus).
        dropout: keep rate of a dropout layer before ``fc``, as in the model zoo; None for no layer. The training here
            passes ``dropout_mask`` instead.
        frozen_bn: TSN's *partial BN*: every normalisation but the first keeps its stored statistics, and its gamma and
            beta do not train.
        width_mult: scales every channel count.

    Inputs:
        frames: float32 [N, 3, S, S], BGR, channel means subtracted.
        dropout_mask: float32 [N, feature_channels], multiplied with the last layer's input while training (see
            ``src.sampling.dropout_mask``), or None.

    Outputs:
        float32 [N, out_channels].
    """

    def __init__(
        self,
        input_channels: int = 3,
        out_channels: int = 1000,
        dropout: float | None = None,
        frozen_bn: bool = False,
        *,
        width_mult: float = 1.0,
    ) -> None:
        super().__init__()
        stem, conv2 = scale_channels(64, width_mult), scale_channels(192, width_mult)
        self.conv1_7x7_s2 = ConvBN(input_channels, stem, 7, 2, frozen=False)
        self.conv2_3x3_reduce = ConvBN(stem, stem, 1, frozen=frozen_bn)
        self.conv2_3x3 = ConvBN(stem, conv2, 3, frozen=frozen_bn)
        self.pool = CeilMaxPool()

        channels = conv2
        for block in BLOCKS:
            cell = InceptionBlock(channels, block, width_mult, frozen_bn)
            setattr(self, f"inception_{block.name}", cell)
            channels = cell.out_channels
        self.feature_channels = channels
        self.dropout = None if dropout is None else dropout_layer(dropout)
        self.fc = nn.Dense(channels, out_channels, weight_init=Normal(0.001), bias_init=Zero())

    def features(self, frames: Tensor) -> Tensor:
        """[N, 3, S, S] -> [N, feature_channels]: everything before the last layer."""
        x = self.pool(self.conv1_7x7_s2(frames))  # [N, 64, S/4, S/4]
        x = self.pool(self.conv2_3x3(self.conv2_3x3_reduce(x)))  # [N, 192, S/8, S/8]
        x = self.inception_3c(self.inception_3b(self.inception_3a(x)))  # [N, 576, S/16, S/16]
        x = self.inception_4e(self.inception_4d(self.inception_4c(self.inception_4b(self.inception_4a(x)))))
        x = self.inception_5b(self.inception_5a(x))  # [N, 1024, S/32, S/32]
        return x.mean((2, 3))  # [N, 1024]

    def construct(self, frames: Tensor, dropout_mask: Tensor | None = None) -> Tensor:
        features = self.features(frames)
        if dropout_mask is not None:
            features = features * dropout_mask
        if self.dropout is not None:
            features = self.dropout(features)
        return self.fc(features)


def fold(backbone: nn.Cell) -> None:
    """Folds every BN of a trained backbone into the weights before it, in place; inference only."""
    for _, cell in list(backbone.cells_and_names()):
        if isinstance(cell, ConvBN):
            cell.fold()
