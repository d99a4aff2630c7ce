"""The whole network: each frame of a clip passes the backbone, and the consensus turns their features into scores.

clips uint8 [B, T, S, S, 3] --ClipInput--> video float32 [B, T*3, S, S]
--backbone--> features [B, T, D] --consensus--> logits [B, C]
"""

from __future__ import annotations

from mindspore import Tensor, dtype, nn, ops

from model_utils.settings import Settings
from src.backbones import BACKBONES, Backbone, backbone_named
from src.heads import HEADS, Head, head_named
from src.transforms import CAFFE_PIXELS, Pixels


class ClipInput(nn.Cell):
    """uint8 frames [..., T, S, S, 3], BGR -> the network's input float32 [N, T*3, S, S], as ``pixels`` says.

    Pixels stay 8-bit until they reach the device: a quarter of the bytes to batch and to copy.
    """

    def __init__(self, pixels: Pixels = CAFFE_PIXELS) -> None:
        super().__init__()
        self.means = Tensor(pixels.means, dtype.float32)
        self.scales = None if pixels.unscaled else Tensor(pixels.scales, dtype.float32)
        self.order = Tensor([2, 1, 0], dtype.int32) if pixels.order == "RGB" else None

    def construct(self, clips: Tensor) -> Tensor:
        segments, side = clips.shape[-4], clips.shape[-2]
        frames = clips.reshape((-1, side, side, 3)).astype(dtype.float32)
        if self.order is not None:
            frames = ops.gather(frames, self.order, 3)
        frames = frames - self.means
        if self.scales is not None:
            frames = frames * self.scales
        return frames.transpose((0, 3, 1, 2)).reshape((-1, segments * 3, side, side))


class TSN(nn.Cell):
    """Backbone and consensus.

    Args:
        num_segments: T, frames of a clip; 0 takes ``consensus_network.num_segments``.

    Inputs:
        video: float32 [B, T*3, S, S]: the channels of frame 1, then of frame 2, and so on (see ``ClipInput``). The
            model zoo's form, all crops of a clip in one row [1, B*T*3, S, S], works too.
        relations: int32 [B, T-1, subsample_num], the tuples to use at each scale, or [1, B, T-1, subsample_num]; or
            None for all tuples.
        dropout_mask: float32 [B, T, feature_channels] for the backbone's last layer in training, or None.

    Outputs:
        logits, float32 [B, C].
    """

    def __init__(
        self,
        base_network: nn.Cell,
        consensus_network: nn.Cell,
        num_segments: int = 0,
        backbone: Backbone = BACKBONES["bn_inception"],
        head: Head = HEADS["TRNmultiscale"],
    ) -> None:
        super().__init__()
        self.base_model = base_network
        self.consensus = consensus_network
        self.num_segments = num_segments or consensus_network.num_segments
        self.backbone, self.head = backbone, head

    def construct(self, video: Tensor, relations: Tensor | None = None, dropout_mask: Tensor | None = None) -> Tensor:
        side = video.shape[-1]
        if dropout_mask is not None:
            dropout_mask = dropout_mask.reshape((-1, dropout_mask.shape[-1]))  # [B*T, feature_channels]
        features = self.base_model(video.reshape((-1, 3, side, side)), dropout_mask)  # [B*T, D]
        features = features.reshape((-1, self.num_segments, features.shape[-1]))  # [B, T, D]
        if relations is not None and relations.ndim == 4:
            relations = relations.reshape((-1, relations.shape[2], relations.shape[3]))
        return self.consensus(features, relations)


class ClipLogits(nn.Cell):
    """Scores every crop of a clip.

    Inputs:
        clips: uint8 [B, crops, T, S, S, 3].
        relations: int32 [B, T-1, subsample_num], the same for every crop of a clip, or None.

    Outputs:
        float32 [B, crops, C].
    """

    def __init__(self, network: nn.Cell, crops: int) -> None:
        super().__init__(auto_prefix=False)
        self.to_video = ClipInput(network.backbone.pixels)
        self.network = network
        self.crops = crops

    def construct(self, clips: Tensor, relations: Tensor | None = None) -> Tensor:
        if relations is not None:
            relations = ops.repeat_elements(relations, self.crops, 0)  # [B*crops, T-1, n]
        logits = self.network(self.to_video(clips), relations)  # [B*crops, C]
        return logits.reshape((-1, self.crops, logits.shape[-1]))


class ScoredClips(nn.Cell):
    """For ``mindspore.train.Model.eval``: the scores of a batch of ``tsn_dataset.evaluation_dataset``, and its labels.

    Inputs:
        clips: uint8 [B, crops, T, S, S, 3].
        labels, indices: int32 [B].

    Outputs:
        float32 [B, C], the mean over crops, and the labels.
    """

    def __init__(self, network: nn.Cell, crops: int) -> None:
        super().__init__(auto_prefix=False)
        self.logits = ClipLogits(network, crops)

    def construct(self, clips: Tensor, labels: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return self.logits(clips).mean(1), labels


class FrameFeatures(nn.Cell):
    """Features of single frames: uint8 [N, S, S, 3] BGR -> float32 [N, D], the consensus's input.

    With ``last_layer`` False: the input of the backbone's last layer instead, float32 [N, feature_channels].
    """

    def __init__(self, network: TSN, last_layer: bool = True) -> None:
        super().__init__(auto_prefix=False)
        self.to_video = ClipInput(network.backbone.pixels)
        self.base_model = network.base_model
        self.last_layer = last_layer

    def construct(self, frames: Tensor) -> Tensor:
        side = frames.shape[1]
        video = self.to_video(frames.reshape((-1, 1, side, side, 3)))  # [N, 3, S, S]
        return self.base_model(video) if self.last_layer else self.base_model.features(video)


def build_network(settings: Settings, num_classes: int) -> TSN:
    """Builds the network that ``settings`` (a config or a checkpoint's description) describes.

    Reads ``consensus_type img_feature_dim backbone width_mult freeze_bn`` and the keys that the head reads. The
    backbone's last layer gives ``img_feature_dim`` features, or class scores if the head has no layers.
    """
    head, backbone = head_named(settings.consensus_type), backbone_named(settings.backbone)
    features = num_classes if head.takes_scores else settings.img_feature_dim
    consensus = head.build(settings, features, num_classes)
    base_model = backbone.build(features, settings.width_mult, settings.freeze_bn)
    return TSN(base_model, consensus, settings.num_segments, backbone, head)


def prepare_for_inference(network: TSN) -> None:
    """Changes a trained network, in place, to compute the same scores faster.

    Call it once, before the network is first used. Afterwards the network cannot be trained or saved as a checkpoint.
    """
    if network.backbone.prepare:
        network.backbone.prepare(network.base_model)
    if network.head.prepare:
        network.consensus = network.head.prepare(network.consensus)
    network.set_train(False)
