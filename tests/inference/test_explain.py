"""Contributions against the definition of the head, one tuple after the other, in NumPy."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest
from mindspore import Tensor

from src.evaluation import report
from src.evaluation.scoring import ClipScorer
from src.inference import explain
from src.transforms import test_crops as crops_of
from src.trn import AverageConsensus, SingleScaleTRN
from tests.helpers.colours import NAMES, changing_frames, ordering_network
from tests.helpers.networks import SIDE, seeing_network
from tests.test_trn import CLASSES, FEATURES, make_head, relation_scores


def test_each_tuple_contributes_its_share_of_the_expected_score():
    head, weights = make_head(8)
    features = np.random.default_rng(6).normal(size=(8, FEATURES)).astype(np.float32)
    scales = explain.explain_features(head, features, np.zeros(FEATURES))
    assert [scale.size for scale in scales] == list(range(8, 1, -1))
    for row, (scale, single) in enumerate(zip(scales, relation_scores(weights, features, 8))):
        np.testing.assert_array_equal(scale.tuples, list(combinations(range(8), scale.size)))
        draws, bias = min(3, len(single)), weights[f"fc_fusion_scales.{row}.3.bias"]
        np.testing.assert_allclose(scale.bias, draws * bias, rtol=1e-6)
        np.testing.assert_allclose(scale.contributions, draws / len(single) * (single - bias), atol=1e-5)
        ranked = scale.contributions[scale.ranked(2), 2]
        assert np.all(np.diff(ranked) <= 0)
    expected = head(Tensor(features[None])).asnumpy()[0]
    np.testing.assert_allclose(explain.scores(scales), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_single_relation_is_one_tuple_of_all_frames():
    head = SingleScaleTRN(3, FEATURES, CLASSES, bottleneck=16)
    features = np.random.default_rng(7).normal(size=(3, FEATURES)).astype(np.float32)
    (scale,) = explain.explain_features(head, features, np.zeros(FEATURES))
    assert scale.tuples.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(scale.bias, head.classifier.cell_list[3].bias.asnumpy())
    np.testing.assert_allclose(explain.scores([scale]), head(Tensor(features[None])).asnumpy()[0], atol=1e-5)


def test_average_consensus_is_tuples_of_one_frame():
    rng = np.random.default_rng(8)
    scores, bias = rng.normal(size=(5, CLASSES)).astype(np.float32), rng.normal(size=CLASSES).astype(np.float32)
    (scale,) = explain.explain_features(AverageConsensus(), scores, bias)
    assert scale.tuples.tolist() == [[0], [1], [2], [3], [4]]
    np.testing.assert_allclose(scale.contributions, (scores - bias) / 5, atol=1e-6)
    np.testing.assert_allclose(explain.scores([scale]), scores.mean(0), atol=1e-6)


@pytest.mark.parametrize("consensus_type", ["TRNmultiscale", "TRN", "avg"])
def test_contributions_and_biases_add_up_to_the_scores_of_a_clip(consensus_type):
    network = ordering_network(consensus_type)
    frames = changing_frames(3)
    scales = explain.explain_frames(network, frames, SIDE)
    expected = ClipScorer(network, test_crops=1)(crops_of(frames, SIDE, 1)[None], np.zeros(1))[0]
    np.testing.assert_allclose(explain.scores(scales), expected, rtol=0, atol=1e-5)


def test_with_the_real_backbone():
    network = seeing_network()
    frames = list(np.random.default_rng(0).integers(256, size=(3, 40, 52, 3), dtype=np.uint8))
    expected = ClipScorer(network, test_crops=1)(crops_of(frames, SIDE, 1)[None], np.zeros(1))[0]
    np.testing.assert_allclose(explain.scores(explain.explain_frames(network, frames, SIDE)), expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1


def test_what_json_says():
    scales = explain.explain_frames(ordering_network(), changing_frames(3), SIDE)
    said = explain.describe(scales, 2, NAMES, np.array([4, 10, 17]))
    total = explain.scores(scales)
    assert (said["label"], said["score"]) == ("Red", pytest.approx(total[2]))
    assert said["probability"] == pytest.approx(np.exp(total[2]) / np.exp(total).sum())
    three, two = said["scales"]
    assert (three["frames"], three["tuples"], two["frames"], two["tuples"]) == (3, 1, 2, 3)
    assert three["most"][0]["frame_indices"] == [4, 10, 17]
    shares = {tuple(row["frame_indices"]): row["contribution"] for row in two["most"]}
    for pair, share in zip(((4, 10), (4, 17), (10, 17)), scales[1].contributions[:, 2]):
        assert shares[pair] == pytest.approx(share)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert two["contribution"] == pytest.approx(sum(shares.values()))


def test_the_picture_shows_the_frames_of_the_best_tuples():
    """Frames of one plain colour each: in the row of a scale those of its best tuple have their colour, others pale."""
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    frames = [np.full((60, 80, 3), colour, np.uint8) for colour in colours]
    tuples = [np.array([[0, 1, 2]]), np.array([[0, 1], [0, 2], [1, 2]])]
    contributions = [np.array([[2.0]]), np.array([[-1.0], [3.0], [0.5]])]
    scales = [explain.Scale(t, c, np.zeros(1)) for t, c in zip(tuples, contributions)]
    figure = explain.draw(scales, 0, ["Wave"], frames, np.array([3, 9, 15]), np.array([0.25, 0.75, 1.25]))
    image = cv2.imdecode(np.frombuffer(report.png_bytes(figure), np.uint8), cv2.IMREAD_COLOR)
    axes = figure.axes[0].get_position()
    height, width = image.shape[:2]
    shown = []
    for row in range(3):
        y = height * (1 - axes.y1 + axes.height * (row + 0.5) / 3)
        xs = [width * (axes.x0 + axes.width * (column + 0.5) / 3) for column in range(3)]
        shown.append([bool(image[int(y), int(x)].min() < 60) for x in xs])
    assert shown == [[True] * 3, [True, False, True], [True] * 3]  # clip, two frames, three frames
    said = [text.get_text() for part in (figure, figure.axes[1]) for text in part.texts]
    assert "Wave: 100.0%" in said
    assert "+2.50 of 3 tuples, the one shown +3.000" in said
