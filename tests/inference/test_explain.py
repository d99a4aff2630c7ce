"""Contributions against the definition of the head, one tuple after the other, in NumPy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from mindspore import Tensor

from src.evaluation import plots
from src.evaluation.scoring import ClipScorer
from src.heads import HEADS, AverageConsensus
from src.inference import explain, explanation_picture
from src.transforms import cut_crops
from src.trn import SingleScaleTRN
from src.tsn import prepare_for_inference
from tests.evaluation.test_plots import cell_middles, image_of
from tests.helpers.colours import NAMES, changing_frames, ordering_network
from tests.helpers.networks import SIDE, seeing_network
from tests.test_trn import CLASSES, FEATURES, make_head, relation_scores

TIMES = np.array([0.25, 0.75, 1.25])


def test_each_tuple_contributes_its_share_of_the_expected_score():
    head, weights = make_head(8)
    features = np.random.default_rng(6).normal(size=(8, FEATURES)).astype(np.float32)
    scales = HEADS["TRNmultiscale"].scales(head, features, np.zeros(FEATURES))
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
    (scale,) = HEADS["TRN"].scales(head, features, np.zeros(FEATURES))
    assert scale.tuples.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(scale.bias, head.classifier.cell_list[3].bias.asnumpy())
    np.testing.assert_allclose(explain.scores([scale]), head(Tensor(features[None])).asnumpy()[0], atol=1e-5)


def test_average_consensus_is_tuples_of_one_frame():
    rng = np.random.default_rng(8)
    scores, bias = rng.normal(size=(5, CLASSES)).astype(np.float32), rng.normal(size=CLASSES).astype(np.float32)
    (scale,) = HEADS["avg"].scales(AverageConsensus(), scores, bias)
    assert scale.tuples.tolist() == [[0], [1], [2], [3], [4]]
    np.testing.assert_allclose(scale.contributions, (scores - bias) / 5, atol=1e-6)
    np.testing.assert_allclose(explain.scores([scale]), scores.mean(0), atol=1e-6)


@pytest.mark.parametrize("consensus_type", [name for name, head in HEADS.items() if head.scales])
def test_contributions_and_biases_add_up_to_the_scores_of_a_clip(consensus_type):
    network = ordering_network(consensus_type)
    frames = changing_frames(3)
    scales = explain.explain_frames(network, frames, SIDE)
    expected = ClipScorer(network, test_crops=1)(cut_crops(frames, SIDE, 1)[None], np.zeros(1))[0]
    np.testing.assert_allclose(explain.scores(scales), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_network_prepared_for_inference_is_explained_alike():
    network, features = seeing_network(small=True), np.random.default_rng(9).normal(size=(3, 8)).astype(np.float32)
    plain = network.head.scales(network.consensus, features, np.zeros(8))
    prepare_for_inference(network)
    prepared = network.head.scales(network.consensus, features, np.zeros(8))
    expected = network.consensus(Tensor(features[None])).asnumpy()[0]
    np.testing.assert_allclose(explain.scores(prepared), expected, atol=1e-5)
    for ours, theirs in zip(prepared, plain):
        np.testing.assert_array_equal(ours.contributions, theirs.contributions)


def test_what_json_says():
    scales = explain.explain_frames(ordering_network(), changing_frames(3), SIDE)
    said = explain.explain_class(scales, 2, NAMES, np.array([4, 10, 17]))
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
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]  # blue, green, red
    frames = [np.full((60, 80, 3), colour, np.uint8) for colour in colours]
    tuples = [np.array([[0, 1, 2]]), np.array([[0, 1], [0, 2], [1, 2]])]
    contributions = [np.array([[2.0]]), np.array([[-1.0], [3.0], [0.5]])]
    scales = [explain.Scale(t, c, np.zeros(1)) for t, c in zip(tuples, contributions)]
    figure = explanation_picture.draw_explanation(
        scales, 0, ["Wave"], frames, np.array([3, 9, 15]), np.array([0.25, 0.75, 1.25])
    )
    shown = cell_middles(image_of(figure).convert("RGB"), figure.axes[0], 3)
    clear = np.array(colours)
    pale = 255 - 0.15 * (255 - clear)
    rows = [clear, [clear[0], pale[1], clear[2]], clear]  # clip, two frames, three frames
    np.testing.assert_allclose(shown[..., ::-1], np.array(rows), atol=2)


def test_the_picture_says_what_each_scale_contributes():
    tuples = [np.array([[0, 1, 2]]), np.array([[0, 1], [0, 2], [1, 2]])]
    contributions = [np.array([[9.0, -2.0]]), np.array([[9.0, -1.0], [9.0, 3.0], [9.0, 0.5]])]
    biases = [np.array([0.0, 0.25]), np.array([0.0, 0.5])]
    scales = [explain.Scale(*scale) for scale in zip(tuples, contributions, biases)]
    frames = [np.zeros((60, 80, 3), np.uint8)] * 3
    figure = explanation_picture.draw_explanation(
        scales, 1, ["Wave", "Say $x_{$"], frames, np.array([3, 9, 15]), np.array([0.25, 0.75, 1.25])
    )
    pictures, bars = figure.axes
    # Class 1 has -2 + 0.25 + (-1 + 3 + 0.5) + 0.5 = 1.25, class 0 has 9 + 27.
    said = {text.get_text() for text in figure.texts}
    assert said == {"Say $x_{$: 0.0%", "score 1.25 = +0.50 of frame tuples +0.75 of biases"}
    assert [label.get_text() for label in pictures.get_yticklabels()] == ["clip", "2 frames", "3 frames"]
    times = ["frame 3\n0.25 s", "frame 9\n0.75 s", "frame 15\n1.25 s"]
    assert [label.get_text() for label in pictures.get_xticklabels()] == times
    assert [(text.get_text(), text.xy[1]) for text in bars.texts] == [
        ("+2.50 of 3 tuples, the one shown +3.000", pytest.approx(1.36)),
        ("-2.00", pytest.approx(2.36)),
    ]
    drawn = [(bar.get_width(), bar.get_y() + bar.get_height() / 2, bar.get_facecolor()) for bar in bars.patches]
    assert drawn == [
        (2.5, pytest.approx(1.6), to_rgba(plots.BLUE)),  # the row of two frames lies from 1 to 2
        (-2.0, pytest.approx(2.6), to_rgba(plots.ORANGE)),
    ]
    assert bars.get_ylim() == pictures.get_ylim() == (3, 0)
    assert len(plots.png_bytes(figure)) > 1000


def test_a_picture_of_wide_frames_is_bounded():
    frames = [np.zeros((10, 4000, 3), np.uint8)] * 3
    assert explanation_picture._grid(frames, [range(3)]).shape == (94, 3 * 364, 3)
