"""What one environment computes for another to compare with, in files: no torch is at hand for the legacy package.

    python -m tests.helpers.exchange FOLDER

writes `<MindSpore version>.ckpt`, a network with random weights, and what it answers; and, where torch is installed,
the folder `torch`: random weights converted for MindSpore, and what the paper's network in PyTorch makes of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.training.checkpoint import describe, save_checkpoint
from tests.helpers.networks import CLASSES, SIDE, seeing_network, settings

CONSENSUS_TYPES = ("TRNmultiscale", "TRN", "avg")

STEPS, LR_DROP, MOMENTUM = 20, 12, 0.9


class Training(NamedTuple):
    """A decay large enough to show where it is missing, and a limit that some steps' gradients exceed and some do not.

    With batch statistics of few frames a rounding error grows ten times a step, unless the steps are small.
    """

    freeze_bn: bool
    rate: float
    weight_decay: float
    clip_grad_norm: float


TRAININGS = {"frozen": Training(True, 1e-3, 0.2, 6.0), "unfrozen": Training(False, 3e-5, 2.0, 9.0)}


def draw_video(clips: int, segments: int, side: int, seed: int) -> np.ndarray:
    """Frames with clearly different colours, less the channel means: float32 [clips, T*3, side, side]."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(-40, 40, (clips, segments * 3, side, side))
    return (noise + rng.uniform(-80, 80, (clips, segments * 3, 1, 1))).astype(np.float32)


def write_scores(folder: Path) -> None:
    """This package's checkpoint and scores."""
    network = seeing_network()
    name = folder / ms.__version__
    save_checkpoint(f"{name}.ckpt", network.parameters_dict(), describe(settings(), CLASSES))
    video = draw_video(4, 3, SIDE, seed=2)
    relations = np.array([[[0, -1], [i % 3, (i + 1) % 3]] for i in range(4)], np.int32)
    scores = {"all": network(Tensor(video)), "sampled": network(Tensor(video), Tensor(relations))}
    arrays = {f"scores_{kind}": value.asnumpy() for kind, value in scores.items()}
    np.savez(f"{name}.npz", video=video, relations=relations, **arrays)


def write_reference(folder: Path) -> None:
    """What PyTorch makes of converted weights: scores of one batch, and 20 steps of training."""
    import torch

    folder.mkdir(exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small take ten times as long with several threads on a busy machine
    for consensus in CONSENSUS_TYPES:
        _write_reference_scores(folder, consensus)
    for case in TRAININGS:
        _write_reference_training(folder, case)
    torch.set_num_threads(threads)


def _write_reference_scores(folder: Path, consensus: str) -> None:
    import torch

    from benchmarks import torch_reference

    network = torch_reference.TSN(5, 5, consensus, 32, 0.125)
    torch_reference.randomise(network, seed=3).eval()
    network.new_fc.weight.data *= 0.01  # scores of a few units, as in training
    _convert(network, folder / f"{consensus}.ckpt", 0.125, 5)

    video, rng = draw_video(3, 5, 64, seed=4), np.random.default_rng(5)
    relations = np.stack([torch_reference.sample_relations(5, 3, rng) for _ in range(3)])
    x = torch.from_numpy(video)
    with torch.no_grad():
        numbers = {"features": network.base_model(x.reshape(-1, 3, 64, 64)), "all": network(x)}
        if consensus == "TRNmultiscale":
            numbers["sampled"] = network(x, torch.from_numpy(relations))
    arrays = {name: value.numpy() for name, value in numbers.items()}
    np.savez(folder / f"{consensus}.npz", video=video, relations=relations, **arrays)


def _write_reference_training(folder: Path, case: str) -> None:
    import torch

    from benchmarks import torch_reference

    class Given(torch.nn.Module):
        def forward(self, features):
            return features * self.mask

    training = TRAININGS[case]
    network = torch_reference.TSN(3, 3, "TRNmultiscale", 8, 0.0625, 0.0, training.freeze_bn)
    torch_reference.randomise(network, seed=6)
    network.new_fc.weight.data *= 0.01
    _convert(network, folder / f"{case}_start.ckpt", 0.0625, 3)

    rng = np.random.default_rng(7)
    clips = rng.integers(0, 256, (STEPS, 3, 3, 64, 64, 3), dtype=np.uint8)
    clips //= rng.integers(1, 6, (STEPS, 3, 3, 1, 1, 3), dtype=np.uint8)  # of different colours
    labels = rng.integers(0, 3, (STEPS, 3)).astype(np.int32)
    relations = np.stack([[torch_reference.sample_relations(3, 2, rng) for _ in range(3)] for _ in range(STEPS)])
    masks = 2.0 * rng.integers(0, 2, (STEPS, 3, 3, network.new_fc.in_features))  # half of the features dropped
    network.dropout = Given()

    means = np.float32(torch_reference.CHANNEL_MEANS_BGR)
    videos = (clips - means).astype(np.float64).transpose(0, 1, 2, 5, 3, 4).reshape(STEPS, 3, 9, 64, 64)
    network.double()  # in single precision its own rounding errors would grow to 2e-4 with batch statistics
    optimizer = torch_reference.make_optimizer(network.train(), training.rate, MOMENTUM, training.weight_decay)
    losses, norms = [], []
    for step in range(STEPS):
        torch_reference.set_epoch(optimizer, training.rate, step, update_lr_epochs=LR_DROP)
        network.dropout.mask = torch.from_numpy(masks[step]).flatten(0, 1)
        batch = [torch.from_numpy(np.ascontiguousarray(x[step])) for x in (videos, labels.astype(np.int64), relations)]
        loss, norm = torch_reference.train_step(network, optimizer, *batch, training.clip_grad_norm)
        losses.append(loss)
        norms.append(norm)
    _convert(network, folder / f"{case}_end.ckpt", 0.0625, 3)
    arrays = {"clips": clips, "labels": labels, "relations": relations, "masks": masks.astype(np.float32)}
    np.savez(folder / f"{case}.npz", **arrays, losses=losses, norms=norms)


def _convert(network, path: Path, width_mult: float, num_segments: int) -> None:
    import torch

    from src.convert_trn_pytorch import convert_trn_pytorch

    torch.save({"state_dict": network.state_dict()}, path.with_suffix(".pth.tar"))
    convert_trn_pytorch(path.with_suffix(".pth.tar"), path, width_mult, num_segments)


def main(folder: str) -> None:
    ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
    write_scores(Path(folder))
    try:
        import torch  # noqa: F401
    except ImportError:
        return
    write_reference(Path(folder) / "torch")


if __name__ == "__main__":
    main(sys.argv[1])
