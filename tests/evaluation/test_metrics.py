import tracemalloc

import numpy as np
import pytest

from src.evaluation.metrics import (
    confused_pairs,
    confusion_matrix,
    interval,
    order_metrics,
    per_class,
    reversed_classes,
    summarise,
    topk_accuracy,
    true_class_rank,
)
from tests.data.test_mirror_pairs import JESTER_CLASSES


def test_a_network_that_always_answers_the_same_is_right_for_the_first_class_only():
    labels = np.arange(4)
    assert topk_accuracy(np.zeros((4, 4), np.float32), labels, 1) == 0.25
    assert true_class_rank(np.zeros((4, 4), np.float32), labels).tolist() == [0, 1, 2, 3]


def scores_with_ties(seed, clips, classes, absent=()):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (clips, classes)).astype(np.float32)
    return scores, rng.choice(np.setdiff1d(np.arange(classes), absent), clips)


@pytest.mark.parametrize(("classes", "absent"), [(27, [3, 4]), (8, []), (4, [0]), (5, [])])
def test_everything_against_scikit_learn(classes, absent):
    sklearn = pytest.importorskip("sklearn.metrics")
    for seed in range(5):
        scores, labels = scores_with_ties(seed, 300, classes, absent)
        predicted = scores.argmax(1)
        summary = summarise(scores, labels, [f"class {i}" for i in range(classes)])
        assert summary["clips"] == 300
        assert summary["top1"] == pytest.approx(sklearn.accuracy_score(labels, predicted))
        for k in (1, 2, 3):
            # Of equal scores scikit-learn takes the later class and argmax the first: count the classes backwards.
            backwards = classes - 1 - np.arange(classes)
            expected = sklearn.top_k_accuracy_score(backwards[labels], scores[:, ::-1], k=k, labels=np.arange(classes))
            assert topk_accuracy(scores, labels, k) == pytest.approx(expected)

        confusion = confusion_matrix(labels, predicted, classes)
        assert np.array_equal(confusion, sklearn.confusion_matrix(labels, predicted, labels=np.arange(classes)))
        options = {"labels": np.arange(classes), "zero_division": 0}
        expected = sklearn.precision_recall_fscore_support(labels, predicted, **options)
        for key, values in zip(("precision", "recall", "f1", "support"), expected):
            np.testing.assert_allclose(per_class(confusion)[key], values, rtol=1e-12)
        options["labels"] = np.unique(labels)
        means = sklearn.precision_recall_fscore_support(labels, predicted, **options, average="macro")
        for key, value in zip(("precision", "recall", "f1"), means):
            assert summary["class_mean"][key] == pytest.approx(value)
        assert summary["classes_without_clips"] == [f"class {i}" for i in absent]


@pytest.mark.parametrize("classes", [2, 5, 6])
def test_top5_of_few_classes_is_defined_and_says_so(classes):
    scores, labels = scores_with_ties(0, 200, classes)
    summary = summarise(scores, labels, [str(i) for i in range(classes)])
    if classes <= 5:
        assert summary["top5"] == 1.0
        assert f"{classes} classes" in summary["top5_note"]
    else:
        assert summary["top5"] < 1.0
        assert "top5_note" not in summary


def test_what_is_confused_with_what():
    confusion = np.array([[5, 1, 2], [0, 4, 0], [3, 0, 1]])
    assert per_class(confusion)["confused_with"].tolist() == [2, -1, 0]
    assert confused_pairs(confusion) == [(2, 0, 3), (0, 2, 2), (0, 1, 1)]


def test_interval_holds_the_truth_95_times_in_100():
    rng = np.random.default_rng(0)
    for truth in (0.5, 0.9):
        bounds = np.array([interval(hits / 120, 120) for hits in rng.binomial(120, truth, 4000)])
        assert 0.93 < np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])) < 0.97
    assert interval(1.0, 10)[1] == 1.0
    assert interval(0.0, 10)[0] == 0.0


def test_reversed_classes_of_jester():
    opposite = reversed_classes(JESTER_CLASSES)
    pairs = {(JESTER_CLASSES[i], JESTER_CLASSES[j]) for i, j in enumerate(opposite) if j >= 0}
    assert len(pairs) == 20
    assert all((second, first) in pairs for first, second in pairs)
    assert ("Pulling Two Fingers In", "Pushing Two Fingers Away") in pairs
    assert ("Zooming Out With Full Hand", "Zooming In With Full Hand") in pairs
    alone = {name for name, j in zip(JESTER_CLASSES, opposite) if j < 0}
    assert alone == {
        *("Doing other things", "Drumming Fingers", "No gesture", "Shaking Hand", "Stop Sign", "Thumb Down", "Thumb Up")
    }
    assert reversed_classes(["Swiping Left", "Swiping Up", "Swiping Down"]).tolist() == [-1, 2, 1]


def test_accuracy_on_pairs_and_on_the_rest():
    """Each number is another one, and would be another one with true and predicted classes exchanged."""
    categories = ["Swiping Left", "Swiping Right", "Stop Sign", "Zooming In With Full Hand"]
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3])  # Zooming In has no opposite here
    predicted = np.array([0, 1, 2, 1, 2, 1, 2, 0, 0, 0, 3])
    expected = {
        "pair_clips": 6,  # predicted are 7
        "pair_top1": 3 / 6,
        "pair_answered_opposite": 1 / 6,
        "rest_clips": 5,
        "rest_top1": 2 / 5,
    }
    assert reversed_classes(categories).tolist() == [1, 0, -1, -1]
    assert summarise(np.eye(4)[predicted], labels, categories)["order"] == pytest.approx(expected)
    assert order_metrics(labels[:6], predicted[:6], np.array([1, 0, -1, -1]))["rest_top1"] is None
    assert order_metrics(labels[6:], predicted[6:], np.array([1, 0, -1, -1]))["pair_top1"] is None
    # Only the true class's opposite counts: 2 for the class 0, none for the class 2.
    one_way = order_metrics(np.array([0, 0, 2, 2]), np.array([2, 1, 0, 0]), np.array([2, -1, -1]))
    assert (one_way["pair_clips"], one_way["pair_answered_opposite"], one_way["rest_clips"]) == (2, 0.5, 2)
    assert "order" not in summarise(np.eye(4)[predicted], labels, ["a", "b", "c", "d"])


def test_many_classes_in_little_memory():
    """The validation list of a data set with 1,700 classes: numbers of the size of the scores, not of their square."""
    rng = np.random.default_rng(0)
    scores, labels = rng.random((5000, 1700), np.float32), rng.integers(0, 1700, 5000)
    scores[np.arange(0, 5000, 2), labels[::2]] = 2
    tracemalloc.start()
    summary = summarise(scores, labels, [f"class {i}" for i in range(1700)])
    assert tracemalloc.get_traced_memory()[1] < 4 * 1700**2 * 8
    tracemalloc.stop()
    assert summary["top1"] == pytest.approx(0.5, abs=0.01)
