from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor, nn

from src import sampling, tsn_dataset
from src.data.clips import EvaluationLoader
from src.data.frame_files import VideoRecord
from src.evaluation.scoring import ClipScorer, average_crops, drawn_relations
from tests.helpers.clips import folders, write_clip
from tests.helpers.networks import SIDE, behind


class PatchBackbone(nn.Cell):
    """Means of 4 x 4 patches and one layer: quick, and sensitive to what lies where."""

    def __init__(self, channels):
        super().__init__()
        self.fc = nn.Dense(3 * 16, channels)

    def construct(self, frames, dropout_mask=None):
        patches = frames.reshape((-1, 3, 4, SIDE // 4, 4, SIDE // 4)).mean((3, 5))
        return self.fc(patches.reshape((-1, 3 * 16)) / 8)


def small_network():
    """A TRN whose scores depend on every part of three frames and on their order."""
    network = behind(PatchBackbone(8))
    rng = np.random.default_rng(1)
    for parameter in network.get_parameters():
        scale = np.sqrt(2 / np.prod(parameter.shape[1:]))  # keeps the size of what passes through
        parameter.set_data(Tensor(rng.normal(scale=scale, size=parameter.shape).astype(np.float32)))
    return network.set_train(False)


def clips(count, crops, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, crops, 3, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("relations", ["all", "sampled"])
def test_scores_do_not_depend_on_the_batch(relations):
    network = small_network()
    pixels = clips(3, 5)
    settings = SimpleNamespace(relations=relations, subsample_num=2, seed=3)
    together = ClipScorer(network, settings, test_crops=5, batch_size=4)(pixels, np.array([5, 6, 7]))
    alone = ClipScorer(network, settings, test_crops=5, batch_size=1)
    one_by_one = [alone(pixels[i : i + 1], np.array([5 + i]))[0] for i in range(3)]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("relations", ["all", "sampled"])
def test_two_evaluations_agree_to_the_last_digit(tmp_path, relations):
    """For any number of workers, and whether a batch was full or had to be padded."""
    records = [VideoRecord(f"{i}", 5, 0) for i in range(8)]
    for i in range(8):
        write_clip(tmp_path / str(i), 5, 40, 50, seed=i)
    network = small_network()
    settings = SimpleNamespace(relations=relations, subsample_num=2, seed=1)
    scorer = ClipScorer(network, settings, test_crops=5, batch_size=4)

    def evaluate(clips, workers):
        loader = EvaluationLoader(folders(tmp_path), 3, SIDE, test_crops=5)
        dataset = tsn_dataset.evaluation_dataset(loader, clips, batch_size=4, workers=workers)
        return np.concatenate([scorer(pixels, indices) for pixels, _, indices in dataset.read(output_numpy=True)])

    expected = evaluate(records, workers=1)
    assert np.ptp(expected, axis=0).min() > 0.01 * np.abs(expected).max()
    for workers in (2, 3):
        np.testing.assert_array_equal(evaluate(records, workers), expected)
    np.testing.assert_array_equal(evaluate(records[:6], workers=2), expected[:6])


def test_a_class_without_a_mirror_class_keeps_the_score_of_the_plain_crop():
    logits = np.random.default_rng(0).normal(size=(2, 10, 3)).astype(np.float32)
    averaged = average_crops(logits, np.array([-1, 1, 2]))
    np.testing.assert_allclose(averaged[:, 0], logits[:, 0::2, 0].mean(1), rtol=1e-6)
    np.testing.assert_allclose(averaged[:, 1:], logits[:, :, 1:].mean(1), rtol=1e-5)


def test_sampled_relations_depend_on_seed_and_clip_alone():
    indices = np.array([3, 4, 3])
    drawn = drawn_relations(8, 3, 0, indices)
    for index, relations in zip(indices, drawn):
        rng = sampling.generator(0, 0, int(index), "relations")
        np.testing.assert_array_equal(relations, sampling.sample_relations(8, 3, rng))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn, drawn_relations(8, 3, 1, indices))
