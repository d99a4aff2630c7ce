"""The relation head against its definition, one tuple after the other, in NumPy."""

from __future__ import annotations

from itertools import combinations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from model_utils.errors import InputError
from src import sampling
from src.trn import MultiScaleTRN, SingleScaleTRN

FEATURES, CLASSES = 6, 4


def make_head(num_segments, subsample_num=3):
    """A head with random weights, and these by name."""
    head = MultiScaleTRN(num_segments, FEATURES, CLASSES, subsample_num, bottleneck=16)
    rng = np.random.default_rng(1)
    weights = {p.name: rng.normal(scale=0.3, size=p.shape).astype(np.float32) for p in head.get_parameters()}
    for parameter in head.get_parameters():
        parameter.set_data(Tensor(weights[parameter.name]))
    return head, weights


def relation_scores(weights, features, num_segments):
    """Scores of every single tuple, a list over the scales T ... 2 of float64 [K, C], for features [T, D]."""
    scores = []
    for row, scale in enumerate(range(num_segments, 1, -1)):
        first, first_bias, last, last_bias = (
            weights[f"fc_fusion_scales.{row}.{layer}.{kind}"].astype(np.float64)
            for layer in (1, 3)
            for kind in ("weight", "bias")
        )
        tuples = list(combinations(range(num_segments), scale))
        inputs = [np.concatenate([features[i] for i in frames]).clip(0) for frames in tuples]
        scores.append(np.array([last @ (first @ x + first_bias).clip(0) + last_bias for x in inputs]))
    return scores


def check_scores(head, weights, num_segments, subsample_num):
    """Of three clips, by all tuples and by drawn ones."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(3, num_segments, FEATURES)).astype(np.float32)
    relations = np.stack([sampling.sample_relations(num_segments, subsample_num, rng) for _ in features])
    every, drawn = [], []
    for clip, rows in zip(features, relations):
        scores = relation_scores(weights, clip, num_segments)
        assert sum(map(len, scores)) == 2**num_segments - 1 - num_segments
        every.append(sum(min(subsample_num, len(one)) * one.mean(0) for one in scores))
        drawn.append(sum(one[row[row >= 0]].sum(0) for one, row in zip(scores, rows)))
    for inputs, expected in (((features,), every), ((features, relations), drawn)):
        found = head(*map(Tensor, inputs)).asnumpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("subsample_num", [1, 3])
def test_scores_of_all_247_tuples_and_of_drawn_ones(subsample_num):
    check_scores(*make_head(8, subsample_num), 8, subsample_num)


def test_the_mean_of_draws_approaches_all_relations_like_a_mean():
    """The error of a mean of n draws falls like 1 / sqrt(n), and that of 2000 is what chance allows."""
    head, _ = make_head(8)
    features = np.random.default_rng(4).normal(size=(1, 8, FEATURES)).astype(np.float32)
    exact = head(Tensor(features)).asnumpy()[0]
    drawn = [sampling.sample_relations(8, 3, sampling.generator(7, 0, i, "relations")) for i in range(2000)]
    scores = head(Tensor(np.repeat(features, 2000, axis=0)), Tensor(np.stack(drawn))).asnumpy()  # [2000, C]
    spread = scores.std(axis=0)
    assert spread.min() > 0.05 * np.abs(exact).max()
    assert np.all(np.abs(scores.mean(axis=0) - exact) < 4 * spread / np.sqrt(2000))
    for count in (10, 100):
        errors = scores.reshape(-1, count, CLASSES).mean(axis=1) - exact  # means of disjoint draws
        ratio = np.sqrt((errors**2).mean(axis=0)) / (spread / np.sqrt(count))
        assert np.all((ratio > 0.6) & (ratio < 1.5)), count


@pytest.mark.parametrize(
    ("head", "fan_ins"),
    [
        (lambda: MultiScaleTRN(4, 64, 50), [(4 * 64, 256), (3 * 64, 256), (2 * 64, 256)]),
        (lambda: SingleScaleTRN(4, 64, 50), [(4 * 64, 512)]),
    ],
)
def test_first_weights_are_uniform_within_one_over_the_root_of_the_inputs(head, fan_ins):
    """As PyTorch starts its Linear layers, so all the published heads."""
    ms.set_seed(4)
    parameters = iter(head().get_parameters())
    for of_relation in fan_ins:
        for fan_in, bounds in zip(of_relation, (of_relation[0] ** -0.5, of_relation[1] ** -0.5)):
            weight, bias = next(parameters).asnumpy(), next(parameters).asnumpy()
            assert weight.shape[1] == fan_in
            assert 0.99 * bounds < np.abs(weight).max() <= bounds
            assert weight.std() == pytest.approx(bounds / np.sqrt(3), rel=0.02)
            assert weight.mean() == pytest.approx(0, abs=0.02 * bounds)
            assert 0.9 * bounds < np.abs(bias).max() <= bounds
    assert next(parameters, None) is None


def test_three_tuples_a_scale_where_there_are_so_many():
    relations = MultiScaleTRN(4, 2, 2).fc_fusion_scales
    assert [(one.scale, one.num_tuples, one.num_draws) for one in relations] == [(4, 1, 1), (3, 4, 3), (2, 6, 3)]


def test_at_most_16_segments():
    head = MultiScaleTRN(16, 2, 2, bottleneck=1)
    assert sum(relation.num_tuples for relation in head.fc_fusion_scales) == 2**16 - 1 - 16
    with pytest.raises(InputError, match="num_segments 17: expected at most 16 for TRNmultiscale"):
        MultiScaleTRN(17, 2, 2, bottleneck=1)
