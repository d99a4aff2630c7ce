"""Why a clip got its score: the share that every frame tuple has in it, exactly.

The head's last layer is linear, so the score of class c for all relations is a sum over scales k and tuples t,

    score_c = sum_k n_k b_kc + sum_k sum_t  n_k / K_k  w_kc . a_kt

where a_kt is what the layers before make of the frames of tuple t, K_k the number of tuples of scale k and n_k how
many of them training draws. Each term of the second sum is a tuple's contribution, the first sum is the bias. Ranking
tuples by it gives the representative frames of a video (Zhou et al., ECCV 2018, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from mindspore import Tensor

from src.evaluation import report
from src.transforms import test_crops
from src.trn import AverageConsensus, MultiScaleTRN, SingleScaleTRN
from src.tsn import TSN, FrameFeatures
from src.utils import relation_tuples, softmax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TUPLES_LISTED = 5
THUMBNAIL = 90  # height in pixels


@dataclass(frozen=True)
class Scale:
    """The relations among k frames: ``tuples`` int64 [K, k] of segments 0 ... T-1, ``contributions`` float64 [K, C] to
    the scores, and ``bias`` float64 [C]. The sums over scales of both are the scores.
    """

    tuples: np.ndarray
    contributions: np.ndarray
    bias: np.ndarray

    @property
    def size(self) -> int:
        return self.tuples.shape[1]

    def ranked(self, label: int) -> np.ndarray:
        """Rows of ``tuples``, those that contribute most to a class first."""
        return np.argsort(-self.contributions[:, label], kind="stable")


def explain_frames(network: TSN, frames: list[np.ndarray], image_size: int) -> list[Scale]:
    """The scales of a clip, for the centre crops of its T frames, uint8 [height, width, 3] BGR each."""
    crops = test_crops(frames, image_size, 1)[0]  # [T, S, S, 3]
    features = FrameFeatures(network).set_train(False)(Tensor(crops))  # [T, D]
    return explain_features(network.consensus, features.asnumpy(), network.base_model.fc.bias.asnumpy())


def explain_features(head: Any, features: np.ndarray, feature_bias: np.ndarray) -> list[Scale]:
    """The scales of a clip from its features, float32 [T, D], the largest scale first.

    A single relation has one tuple, of all frames; average consensus has tuples of one frame, and its bias is the
    backbone's, ``feature_bias`` [D].
    """
    segments = len(features)
    if isinstance(head, MultiScaleTRN):
        activations = head.activations(Tensor(features[None])).asnumpy()  # [all K, 1, bottleneck]
        scales = []
        for one in head.fc_fusion_scales:
            own, activations = np.split(activations, [one.num_tuples])
            scales.append(_scale(relation_tuples(segments, one.scale), own, one.cell_list[3], one.num_draws))
        return scales
    if isinstance(head, SingleScaleTRN):
        activations = Tensor(features.reshape(1, -1))
        for layer in head.classifier.cell_list[:3]:
            activations = layer(activations)
        last = head.classifier.cell_list[3]
        return [_scale(relation_tuples(segments, segments), activations.asnumpy(), last, 1)]
    if isinstance(head, AverageConsensus):
        shares = (features - feature_bias).astype(np.float64) / segments
        return [Scale(relation_tuples(segments, 1), shares, feature_bias.astype(np.float64))]
    raise ValueError(f"{type(head).__name__}: expected one of the three heads")


def _scale(tuples: np.ndarray, activations: np.ndarray, last: Any, draws: int) -> Scale:
    values = activations.astype(np.float64).reshape(len(tuples), -1)  # [K, bottleneck]
    weight, bias = (parameter.asnumpy().astype(np.float64) for parameter in (last.weight, last.bias))
    return Scale(tuples, draws / len(tuples) * values @ weight.T, draws * bias)


def scores(scales: list[Scale]) -> np.ndarray:
    """What the contributions and biases add up to: the class scores, float64 [C]."""
    return sum(scale.contributions.sum(0) + scale.bias for scale in scales)


def describe(scales: list[Scale], label: int, categories: list[str], frame_indices: np.ndarray) -> dict[str, Any]:
    """The explanation of one class for JSON; the tuples that contributed most, by the numbers of their frames."""
    rows = []
    for scale in scales:
        shares = scale.contributions[:, label]
        best = [
            {"frame_indices": frame_indices[scale.tuples[row]].tolist(), "contribution": float(shares[row])}
            for row in scale.ranked(label)[:TUPLES_LISTED]
        ]
        share = {"contribution": float(shares.sum()), "bias": float(scale.bias[label])}
        rows.append({"frames": scale.size, "tuples": len(shares), **share, "most": best})
    total = scores(scales)
    return {
        "label": categories[label],
        "score": float(total[label]),
        "probability": float(softmax(total)[label]),
        "scales": rows,
    }


def draw(
    scales: list[Scale],
    label: int,
    categories: list[str],
    frames: list[np.ndarray],
    frame_indices: np.ndarray,
    frame_times: np.ndarray,
) -> Figure:
    """The representative frames of a clip: for each scale the tuple that contributes most to a class, its frames clear
    and the others pale, and beside it what all tuples of the scale contribute.

    ``frames`` are the T frames looked at, uint8 [height, width, 3] BGR, with their numbers and times in seconds.
    """
    # Not through pyplot, which keeps state and may look for a display. Imported here because it takes a second.
    from matplotlib.figure import Figure

    scales = sorted(scales, key=lambda scale: scale.size)
    best = [scale.tuples[scale.ranked(label)[0]] for scale in scales]
    grid = _grid(frames, [range(len(frames)), *best])
    # Places in inches: the bars are to stand beside the rows of pictures.
    left, across, gap, beside, above, below = 0.9, 8.0, 0.15, 3.0, 1.15, 0.1
    down = across * grid.shape[0] / grid.shape[1]
    width, height = left + across + gap + beside, above + down + below
    figure = Figure(figsize=(width, height))

    pictures = figure.add_axes((left / width, below / height, across / width, down / height))
    pictures.imshow(grid, aspect="auto", extent=(0, len(frames), 1 + len(scales), 0))
    names = ["clip", *("1 frame" if scale.size == 1 else f"{scale.size} frames" for scale in scales)]
    pictures.set_yticks(np.arange(len(names)) + 0.5, names)
    times = [f"frame {index}\n{seconds:.2f} s" for index, seconds in zip(frame_indices, frame_times)]
    pictures.set_xticks(np.arange(len(times)) + 0.5, times)
    pictures.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    pictures.spines[:].set_visible(False)

    bars = figure.add_axes(((left + across + gap) / width, below / height, beside / width, down / height))
    _draw_bars(bars, [scale.contributions[:, label] for scale in scales])

    total, bias = scores(scales)[label], sum(scale.bias[label] for scale in scales)
    top = 1 - 0.35 / height
    figure.text(left / width, top, f"{categories[label]}: {softmax(scores(scales))[label]:.1%}", fontsize=15)
    parts = f"score {total:.2f} = {total - bias:+.2f} of frame tuples {bias:+.2f} of biases"
    figure.text(1 - 0.1 / width, top, parts, fontsize=9, ha="right")
    return figure


def _draw_bars(axes: Any, shares: list[np.ndarray]) -> None:
    """The sum of each scale's contributions, beside the rows of pictures below the first."""
    sums = [share.sum() for share in shares]
    places = [i + 1.6 for i in range(len(shares))]
    axes.barh(places, sums, 0.4, color=[report.BLUE if share > 0 else report.ORANGE for share in sums])
    for place, share, total in zip(places, shares, sums):
        most = f" of {len(share)} tuples, the one shown {share.max():+.3f}" if len(share) > 1 else ""
        where = {"xycoords": ("axes fraction", "data"), "va": "bottom", "fontsize": 8}
        axes.annotate(f"{total:+.2f}{most}", (0, place - 0.24), **where)
    axes.axvline(0, color=report.GREY, linewidth=0.8)
    axes.set(ylim=(1 + len(shares), 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _grid(frames: list[np.ndarray], chosen: list[Any]) -> np.ndarray:
    """The frames in a row for each choice of them, the others pale: uint8 [height, width, 3] RGB."""
    height, width = frames[0].shape[:2]
    size = max(1, round(width * THUMBNAIL / height)), THUMBNAIL
    small = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA)[..., ::-1] for frame in frames]
    framed = [cv2.copyMakeBorder(image, *(2, 2, 2, 2), cv2.BORDER_CONSTANT, value=(255,) * 3) for image in small]
    pale = [(255 - 0.15 * (255.0 - image)).astype(np.uint8) for image in framed]
    rows = [np.hstack([framed[i] if i in row else pale[i] for i in range(len(frames))]) for row in chosen]
    return np.vstack(rows)
