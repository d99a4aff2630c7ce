"""The paper's model, training and input pipeline in plain PyTorch and Pillow, with the authors' parameter names.

Tests compare the project's network, head, training step and input with this file, and the benchmarks race against it.
It shares no code with `src/`: tables and rules are written out again, so a slip on one side shows as a difference.
Shape letters: B clips, T segments, S image side, D features of a frame, C classes, N = B * T frames.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

# block: (1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool projection); 0 where the branch has no such layer
INCEPTION_BLOCKS = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}
STRIDE_2_BLOCKS = ("3c", "4e")
MAX_POOL_BLOCKS = ("3c", "4e", "5b")
CHANNEL_MEANS_BGR = (104.0, 117.0, 128.0)
CROP_SCALES = (1.0, 0.875, 0.75, 0.66)


class BNInception(nn.Module):
    """One frame to one feature vector: float32 [N, 3, S, S] -> [N, 1024] (the last block's scaled width)."""

    def __init__(self, width_mult: float = 1.0):
        super().__init__()
        self.width_mult = width_mult
        self._conv("conv1_7x7_s2", 3, self._scale(64), 7, stride=2, padding=3)
        self._conv("conv2_3x3_reduce", self._scale(64), self._scale(64), 1)
        self._conv("conv2_3x3", self._scale(64), self._scale(192), 3, padding=1)
        channels = self._scale(192)
        for block, widths in INCEPTION_BLOCKS.items():
            channels = self._block(block, channels, *(self._scale(width) for width in widths))
        self.num_features = channels

    def _scale(self, channels: int) -> int:
        return max(4, int(channels * self.width_mult)) if channels else 0

    def _conv(self, name: str, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        self.add_module(name, nn.Conv2d(inputs, outputs, kernel, stride, padding))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.1))

    def _block(self, block, inputs, one, reduce, three, double_reduce, double, pool) -> int:
        stride = 2 if block in STRIDE_2_BLOCKS else 1
        name = f"inception_{block}_"
        if one:
            self._conv(name + "1x1", inputs, one, 1)
        self._conv(name + "3x3_reduce", inputs, reduce, 1)
        self._conv(name + "3x3", reduce, three, 3, stride, padding=1)
        self._conv(name + "double_3x3_reduce", inputs, double_reduce, 1)
        self._conv(name + "double_3x3_1", double_reduce, double, 3, padding=1)
        self._conv(name + "double_3x3_2", double, double, 3, stride, padding=1)
        if pool:
            self._conv(name + "pool_proj", inputs, pool, 1)
        return one + three + double + (pool or inputs)

    def _run(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(getattr(self, f"{name}_bn")(getattr(self, name)(x)))

    def _run_block(self, block: str, x: torch.Tensor) -> torch.Tensor:
        name = f"inception_{block}_"
        branches = []
        if hasattr(self, name + "1x1"):
            branches.append(self._run(name + "1x1", x))
        branches.append(self._run(name + "3x3", self._run(name + "3x3_reduce", x)))
        double = self._run(name + "double_3x3_1", self._run(name + "double_3x3_reduce", x))
        branches.append(self._run(name + "double_3x3_2", double))

        if block in STRIDE_2_BLOCKS:
            pooled = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        elif block in MAX_POOL_BLOCKS:
            pooled = functional.max_pool2d(x, 3, 1, padding=1)
        else:
            pooled = functional.avg_pool2d(x, 3, 1, padding=1, count_include_pad=True)
        if hasattr(self, name + "pool_proj"):
            pooled = self._run(name + "pool_proj", pooled)
        branches.append(pooled)
        return torch.cat(branches, dim=1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        x = self._run("conv1_7x7_s2", frames)  # [N, 64, S/2, S/2]
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)  # [N, 64, S/4, S/4]
        x = self._run("conv2_3x3", self._run("conv2_3x3_reduce", x))  # [N, 192, S/4, S/4]
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)  # [N, 192, S/8, S/8]
        for block in INCEPTION_BLOCKS:
            x = self._run_block(block, x)
        return x.mean(dim=(2, 3))  # [N, 1024]


def relation_head(inputs: int, bottleneck: int, num_classes: int) -> nn.Sequential:
    """ReLU, linear, ReLU, linear: the linear layers are numbers 1 and 3, as in the authors' checkpoints."""
    return nn.Sequential(nn.ReLU(), nn.Linear(inputs, bottleneck), nn.ReLU(), nn.Linear(bottleneck, num_classes))


class MultiScaleRelation(nn.Module):
    """Multi-scale TRN: frame features float32 [B, T, D] -> class scores [B, C], summed over the scales T ... 2."""

    def __init__(self, img_feature_dim: int, num_segments: int, num_classes: int, bottleneck: int = 256):
        super().__init__()
        self.scales = list(range(num_segments, 1, -1))
        self.tuples = [list(combinations(range(num_segments), scale)) for scale in self.scales]
        self.fc_fusion_scales = nn.ModuleList(
            relation_head(scale * img_feature_dim, bottleneck, num_classes) for scale in self.scales
        )

    def forward(self, features: torch.Tensor, relations: torch.Tensor) -> torch.Tensor:
        """Sum over sampled tuples; relations int [B, T-1, subsample_num].

        Row i belongs to scale T - i and holds row numbers into that scale's tuples in `itertools.combinations` order;
        only its first min(subsample_num, number of tuples) entries count, the rest is padding.
        """
        clips = torch.arange(features.shape[0])[:, None]
        scores = 0
        for row, (tuples, head) in enumerate(zip(self.tuples, self.fc_fusion_scales)):
            table = torch.tensor(tuples)  # [K, scale]
            for draw in range(min(relations.shape[2], len(tuples))):
                frames = table[relations[:, row, draw].long()]  # [B, scale]
                scores = scores + head(features[clips, frames].flatten(1))  # [B, C]
        return scores

    def all_relations(self, features: torch.Tensor, subsample_num: int = 3) -> torch.Tensor:
        """The exact expectation of `forward` over random tuples, one tuple at a time: [B, T, D] -> [B, C]."""
        scores = 0
        for tuples, head in zip(self.tuples, self.fc_fusion_scales):
            over_tuples = torch.stack([head(features[:, list(frames)].flatten(1)) for frames in tuples])  # [K, B, C]
            scores = scores + over_tuples.mean(dim=0) * min(subsample_num, len(tuples))
        return scores


class SingleScaleRelation(nn.Module):
    """One relation over all T frames: float32 [B, T, D] -> [B, C]."""

    def __init__(self, img_feature_dim: int, num_segments: int, num_classes: int, bottleneck: int = 512):
        super().__init__()
        self.classifier = relation_head(num_segments * img_feature_dim, bottleneck, num_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.classifier(features.flatten(1))


class TSN(nn.Module):
    """Clip to class scores: float32 [B, T*3, S, S] -> [B, C].

    Args:
        consensus_type: `TRNmultiscale`, `TRN` or `avg` (mean of the frames' own class scores).
        dropout: probability of dropping a backbone feature.
        freeze_bn: every batch norm but the first uses its stored statistics and does not train.
    """

    def __init__(
        self,
        num_classes: int,
        num_segments: int = 8,
        consensus_type: str = "TRNmultiscale",
        img_feature_dim: int = 256,
        width_mult: float = 1.0,
        dropout: float = 0.8,
        freeze_bn: bool = True,
    ):
        super().__init__()
        self.num_segments = num_segments
        self.freeze_bn = freeze_bn
        self.base_model = BNInception(width_mult)
        self.dropout = nn.Dropout(p=dropout)
        outputs = num_classes if consensus_type == "avg" else img_feature_dim
        self.new_fc = nn.Linear(self.base_model.num_features, outputs)
        nn.init.normal_(self.new_fc.weight, 0, 0.001)
        nn.init.zeros_(self.new_fc.bias)
        if consensus_type == "TRNmultiscale":
            self.consensus = MultiScaleRelation(img_feature_dim, num_segments, num_classes)
        elif consensus_type == "TRN":
            self.consensus = SingleScaleRelation(img_feature_dim, num_segments, num_classes)
        else:
            self.consensus = None
        if freeze_bn:
            for norm in self._frozen_norms():
                norm.requires_grad_(False)

    def _frozen_norms(self) -> list[nn.BatchNorm2d]:
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)][1:]

    def train(self, mode: bool = True) -> TSN:
        super().train(mode)
        if self.freeze_bn:
            for norm in self._frozen_norms():
                norm.eval()
        return self

    def features(self, video: torch.Tensor) -> torch.Tensor:
        """[B, T*3, S, S] -> [B, T, D] ([B, T, C] for `avg`)."""
        frames = video.reshape(-1, 3, *video.shape[2:])  # [B*T, 3, S, S]
        features = self.new_fc(self.dropout(self.base_model(frames)))  # [B*T, D]
        return features.reshape(-1, self.num_segments, features.shape[1])

    def forward(self, video: torch.Tensor, relations: torch.Tensor | None = None) -> torch.Tensor:
        """Class scores [B, C]; a multi-scale TRN without `relations` (int [B, T-1, subsample_num]) uses them all."""
        features = self.features(video)
        if isinstance(self.consensus, SingleScaleRelation):
            return self.consensus(features)
        if isinstance(self.consensus, MultiScaleRelation):
            return self.consensus.all_relations(features) if relations is None else self.consensus(features, relations)
        return features.mean(dim=1)


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Give every weight, bias and stored statistic a random value, so that a swapped or skipped one changes the output.

    Activations keep about their size from layer to layer, at any width. Returns the same model.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        tensor.data.uniform_(low, high, generator=generator)

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            uniform(module.bias, -0.2, 0.2)
        elif isinstance(module, nn.BatchNorm2d):
            uniform(module.weight, 0.8, 1.2)
            uniform(module.bias, -0.2, 0.2)
            uniform(module.running_mean, -0.2, 0.2)
            uniform(module.running_var, 0.7, 1.3)
    return model


# --- training ---------------------------------------------------------------------------------------------------------


def make_optimizer(model: TSN, lr: float = 0.001, momentum: float = 0.9, weight_decay: float = 5e-4):
    """SGD in three groups: weights (lr, decay), biases (2 lr, no decay), trainable batch norms (lr, no decay)."""
    weights, biases, norms = [], [], []
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weights.append(module.weight)
            biases.append(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            norms += [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": weights, "lr_mult": 1, "weight_decay": weight_decay},
        {"params": biases, "lr_mult": 2, "weight_decay": 0.0},
        {"params": norms, "lr_mult": 1, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum)
    set_epoch(optimizer, lr, 0)
    return optimizer


def set_epoch(optimizer: torch.optim.Optimizer, lr: float, epoch: int, update_lr_epochs: int = 50) -> None:
    """Set each group's learning rate for an epoch (from 0): x 0.1 every `update_lr_epochs`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * 0.1 ** (epoch // update_lr_epochs) * group["lr_mult"]


def train_step(model, optimizer, video, labels, relations=None, clip_grad_norm: float = 20.0) -> tuple[float, float]:
    """One update from video [B, T*3, S, S] and labels [B]; returns the loss and the gradient's norm before clipping."""
    loss = functional.cross_entropy(model(video, relations), labels)
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], clip_grad_norm)
    optimizer.step()
    return loss.item(), norm.item()


# --- sampling ---------------------------------------------------------------------------------------------------------


def train_segments(num_frames: int, num_segments: int, rng: np.random.Generator) -> np.ndarray:
    """One random frame in each of T equal stretches of the clip; 0-based, [T]."""
    duration = num_frames // num_segments
    if duration == 0:
        return test_segments(num_frames, num_segments)
    return np.arange(num_segments) * duration + rng.integers(duration, size=num_segments)


def test_segments(num_frames: int, num_segments: int) -> np.ndarray:
    """The middle frame of each of T equal stretches; 0-based, [T]; frames repeat where there are fewer than T."""
    return np.array([int(num_frames / num_segments * (segment + 0.5)) for segment in range(num_segments)])


def sample_relations(num_segments: int, subsample_num: int, rng: np.random.Generator) -> np.ndarray:
    """Random tuples for one clip: int32 [T-1, subsample_num], padded with -1 (see `MultiScaleRelation.forward`)."""
    rows = np.full((num_segments - 1, subsample_num), -1, np.int32)
    for row, scale in enumerate(range(num_segments, 1, -1)):
        count = len(list(combinations(range(num_segments), scale)))
        drawn = rng.choice(count, size=min(subsample_num, count), replace=False)
        rows[row, : len(drawn)] = drawn
    return rows


# --- transforms: lists of Pillow images in, lists of Pillow images out ------------------------------------------------


def multi_scale_crop(images: list[Image.Image], image_size: int, rng: np.random.Generator) -> list[Image.Image]:
    """Cut the same random box out of every frame (four sizes, 13 places) and resize it to S x S."""
    width, height = images[0].size
    sizes = [int(min(width, height) * scale) for scale in CROP_SCALES]
    sizes = [image_size if abs(size - image_size) < 3 else size for size in sizes]
    pairs = [(w, h) for i, w in enumerate(sizes) for j, h in enumerate(sizes) if abs(i - j) <= 1]
    crop_width, crop_height = pairs[rng.integers(len(pairs))]
    # in quarters of the free space: corners and centre, middles of the edges, middles of the four quarters
    places = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
    across, down = places[rng.integers(len(places))]
    x = across * ((width - crop_width) // 4)
    y = down * ((height - crop_height) // 4)
    box = (x, y, x + crop_width, y + crop_height)
    return [image.crop(box).resize((image_size, image_size), Image.BILINEAR) for image in images]


def flip(images: list[Image.Image]) -> list[Image.Image]:
    return [image.transpose(Image.FLIP_LEFT_RIGHT) for image in images]


def scale_shorter_side(images: list[Image.Image], image_size: int) -> list[Image.Image]:
    """Resize so that the shorter side is image_size * 256 // 224."""
    side = image_size * 256 // 224
    width, height = images[0].size
    size = (side, int(side * height / width)) if width < height else (int(side * width / height), side)
    return [image.resize(size, Image.BILINEAR) for image in images]


def crops_for_test(images: list[Image.Image], image_size: int, test_crops: int) -> list[list[Image.Image]]:
    """1 (centre), 5 (corners, centre) or 10 (each of the 5 followed by its mirror image) clips of S x S frames."""
    width, height = images[0].size
    across, down = (width - image_size) // 4, (height - image_size) // 4
    places = [(2, 2)] if test_crops == 1 else [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
    clips = []
    for column, row in places:
        x, y = column * across, row * down
        clips.append([image.crop((x, y, x + image_size, y + image_size)) for image in images])
        if test_crops == 10:
            clips.append(flip(clips[-1]))
    return clips


def to_tensor(images: list[Image.Image]) -> torch.Tensor:
    """T RGB images -> float32 [T*3, S, S]: BGR, channel means taken off, no scaling."""
    stacked = np.concatenate([np.array(image)[:, :, ::-1] for image in images], axis=2)  # [S, S, T*3]
    tensor = torch.from_numpy(stacked).permute(2, 0, 1).contiguous().float()
    return tensor.sub_(torch.tensor(CHANNEL_MEANS_BGR * len(images))[:, None, None])


class VideoDataset(torch.utils.data.Dataset):
    """Frame folders for a `torch.utils.data.DataLoader`.

    An item is (video float32 [T*3, S, S] for training or [crops, T*3, S, S] for testing, class index).

    Args:
        list_file: `<folder> <num_frames> <class index>` a line.
        images_dir: the folder that holds the clips' folders.
        test_crops: 1, 5 or 10; 0 is for training: random frames, multi-scale crop, random flip.
    """

    def __init__(self, list_file, images_dir, num_segments=8, image_size=224, test_crops=0):
        rows = [line.split() for line in Path(list_file).read_text(encoding="utf-8").splitlines()]
        self.records = [(Path(images_dir) / folder, int(num_frames), int(label)) for folder, num_frames, label in rows]
        self.num_segments = num_segments
        self.image_size = image_size
        self.test_crops = test_crops

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        folder, num_frames, label = self.records[index]
        rng = np.random.default_rng(index)
        if self.test_crops:
            segments = test_segments(num_frames, self.num_segments)
        else:
            segments = train_segments(num_frames, self.num_segments, rng)
        images = [Image.open(folder / f"{segment + 1:05d}.jpg").convert("RGB") for segment in segments]

        if self.test_crops:
            images = scale_shorter_side(images, self.image_size)
            clips = crops_for_test(images, self.image_size, self.test_crops)
            return torch.stack([to_tensor(clip) for clip in clips]), label
        images = multi_scale_crop(images, self.image_size, rng)
        if rng.random() < 0.5:
            images = flip(images)
        return to_tensor(images), label
