import os

import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src import tsn_dataset
from src.data.clips import VideoRecord
from src.evaluation.scoring import ClipScorer, average_crops
from tests.helpers.clips import write_clip
from tests.helpers.networks import SIDE, seeing_network


def clips(count, crops, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, crops, 3, SIDE, SIDE, 3), dtype=np.uint8)


def network_scores(network, pixels):
    """The network's scores of each crop by itself, from float input made here."""
    video = pixels.reshape(-1, 3, SIDE, SIDE, 3).astype(np.float32) - np.float32([104, 117, 128])
    video = video.transpose(0, 1, 4, 2, 3).reshape(-1, 9, SIDE, SIDE)
    rows = [network(Tensor(one[None])).asnumpy()[0] for one in video]
    return np.array(rows).reshape(*pixels.shape[:2], -1)


@pytest.mark.parametrize("crops", [1, 5, 10])
def test_scores_are_the_mean_over_crops(crops):
    network = seeing_network()
    pixels = clips(2, crops)
    scores = ClipScorer(network, test_crops=crops, batch_size=2)(pixels, np.arange(2))
    np.testing.assert_allclose(scores, network_scores(network, pixels).mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("relations", ["all", "sampled"])
def test_scores_do_not_depend_on_the_batch(relations):
    network = seeing_network()
    pixels = clips(3, 5)
    options = {"test_crops": 5, "relations": relations, "subsample_num": 2, "seed": 3}
    together = ClipScorer(network, batch_size=4, **options)(pixels, np.array([5, 6, 7]))
    alone = ClipScorer(network, batch_size=1, **options)
    one_by_one = [alone(pixels[i : i + 1], np.array([5 + i]))[0] for i in range(3)]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("relations", ["all", "sampled"])
def test_two_evaluations_agree_to_the_last_digit(tmp_path, monkeypatch, relations):
    """For any number of workers, and whether a batch was full or had to be filled up."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    records = [VideoRecord(f"{i}", 5, 0) for i in range(8)]
    for i in range(8):
        write_clip(tmp_path / str(i), 5, 40, 50, seed=i)
    network = seeing_network()
    scorer = ClipScorer(network, test_crops=5, batch_size=4, relations=relations, subsample_num=2, seed=1)

    def evaluate(clips, workers):
        options = {"num_segments": 3, "image_size": SIDE, "test_crops": 5, "batch_size": 4, "workers": workers}
        batches = tsn_dataset.evaluation_batches(clips, tmp_path, **options)
        return np.concatenate([scorer(pixels, indices) for pixels, _, indices, _ in batches])

    expected = evaluate(records, workers=1)
    assert np.ptp(expected, axis=0).min() > 0.01 * np.abs(expected).max()
    for workers in (2, 3):
        np.testing.assert_array_equal(evaluate(records, workers), expected)
    np.testing.assert_array_equal(evaluate(records[:6], workers=2), expected[:6])


class ScoresAreBrightness(nn.Cell):
    """A network whose three scores are the mean values, in the first frame, of left third, right third and middle."""

    num_segments = 3

    def construct(self, video, relations=None):
        third = SIDE // 3
        frame = video[:, :3]
        left, right = frame[..., :third].mean((1, 2, 3)), frame[..., -third:].mean((1, 2, 3))
        middle = frame[..., third:-third].mean((1, 2, 3))
        return ops.stack((left, right, middle), -1)


def test_mirrored_crops_answer_for_the_mirrored_class():
    """For a network that looks at sides, label-aware averaging gives the same scores with mirrored crops as without."""
    plain = clips(1, 5)
    ten = np.stack([plain, plain[..., ::-1, :]], axis=2).reshape(1, 10, *plain.shape[2:])
    network = ScoresAreBrightness()
    expected = ClipScorer(network, test_crops=5)(plain, np.zeros(1))
    swapped = ClipScorer(network, test_crops=10, mirrored=np.array([1, 0, 2]))(ten, np.zeros(1))
    np.testing.assert_allclose(swapped, expected, rtol=1e-5, atol=1e-4)
    kept = ClipScorer(network, test_crops=10)(ten, np.zeros(1))
    assert kept[0, 0] == pytest.approx(kept[0, 1], abs=1e-3)
    assert abs(expected[0, 0] - expected[0, 1]) > 0.05


def test_a_class_without_a_mirror_class_keeps_the_score_of_the_plain_crop():
    logits = np.random.default_rng(0).normal(size=(2, 10, 3)).astype(np.float32)
    averaged = average_crops(logits, np.array([-1, 1, 2]))
    np.testing.assert_allclose(averaged[:, 0], logits[:, 0::2, 0].mean(1), rtol=1e-6)
    np.testing.assert_allclose(averaged[:, 1:], logits[:, :, 1:].mean(1), rtol=1e-5)
