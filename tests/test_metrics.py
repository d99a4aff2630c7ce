import numpy as np
import pytest

from src.metrics import softmax, topk_accuracy, true_class_rank


def test_topk_accuracy_against_a_stable_sort():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (200, 9)).astype(np.float32)  # many ties
    labels = rng.integers(0, 9, 200)
    for k in (1, 2, 5, 9):
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        expected = np.mean([label in row for label, row in zip(labels, best)])
        assert topk_accuracy(scores, labels, k) == pytest.approx(expected)


def test_a_network_that_always_answers_the_same_is_right_for_the_first_class_only():
    labels = np.arange(4)
    assert topk_accuracy(np.zeros((4, 4), np.float32), labels, 1) == 0.25
    assert true_class_rank(np.zeros((4, 4), np.float32), labels).tolist() == [0, 1, 2, 3]


def test_fewer_classes_than_k():
    assert topk_accuracy(np.array([[0.1, 0.9], [0.9, 0.1]]), np.array([0, 0]), 5) == 1.0


def test_softmax_of_large_logits():
    assert softmax(np.array([1000.0, 1000.0, -1000.0])) == pytest.approx([0.5, 0.5, 0.0])
