import math

import pytest

from model_utils.config import load_config
from src.evaluation.evaluator import validation_accuracy
from src.training.learning_check import learning_warning, warning_at_start
from tests.evaluation.test_evaluator import FakeEvaluator
from tests.helpers.networks import settings

NAMES = ["Left", "Right", "Thumb"]
CONFIG = settings(
    dropout=0.8,
    lr=0.001,
    epochs_num=8,
    train_list_file_name="train.txt",
    categories_list_file_name="classes.txt",
)


@pytest.mark.parametrize(
    ("epoch", "loss", "one_answer", "said"),
    [
        (5, math.log(3), None, "after 5 epochs the network has not learnt: the loss, 1.099, is still"),
        (5, 0.96 * math.log(3), None, "is still as high as for guessing, ln(3) = 1.099"),
        (5, 0.94 * math.log(3), None, ""),
        (4, math.log(3), 1, ""),
        (7, 0.1, 1, "every clip of the validation is answered Right"),
    ],
)
def test_when_it_complains(epoch, loss, one_answer, said):
    found = learning_warning(epoch, loss, NAMES, one_answer, CONFIG)
    assert said in found
    assert bool(found) == bool(said)


def test_it_names_the_keys_and_their_values():
    found = learning_warning(9, 2.0, NAMES, None, CONFIG)
    for part in (
        "pre_trained_backbone or pre_trained, or ",
        "freeze_bn false (now true)",
        "dropout 0 (now 0.8)",
        "lr (now 0.001)",
        "epochs_num (now 8)",
        "train.txt (train_list_file_name)",
        "classes.txt (categories_list_file_name)",
    ):
        assert part in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "pre_trained freeze_bn dropout"),
        ({"pre_trained": "trn.ckpt"}, "dropout"),
        ({"pre_trained_backbone": "bn.ckpt", "dropout": 0.0}, ""),
        ({"freeze_bn": False}, "pre_trained dropout"),
        ({"dropout": 0.0}, "pre_trained freeze_bn"),
        ({"freeze_bn": False, "dropout": 0.0}, "pre_trained"),
    ],
)
def test_no_cause_is_named_that_the_settings_rule_out(changes, named):
    found = learning_warning(9, 2.0, NAMES, None, settings(**{**vars(CONFIG), **changes}))
    assert [key for key in ("pre_trained", "freeze_bn", "dropout") if key in found] == named.split()
    causes = 2 + bool(named)
    assert [f" ({number}) " in found for number in range(1, 5)] == [number <= causes for number in range(1, 5)]


def test_one_class_cannot_be_learnt():
    assert learning_warning(9, 0.0, ["Only"], 0, CONFIG) == ""


def test_a_validation_knows_whether_it_got_one_answer(monkeypatch):
    """Class 0 is the likeliest for every clip of the stand-in."""
    evaluator = FakeEvaluator([0, 1, 7], [0, 1, 7])
    assert validation_accuracy(evaluator, 10).one_answer == 0
    scored = evaluator()
    scored.scores[1, 3] = 99
    monkeypatch.setattr(FakeEvaluator, "__call__", lambda self: scored)
    assert validation_accuracy(evaluator, 10).one_answer is None


@pytest.mark.parametrize(("argv", "warns"), [([], True), (["--freeze_bn", "false", "--dropout", "0"], False)])
def test_random_weights_with_the_published_recipe(argv, warns):
    """Said at the start, with the settings that learn; those of the quickstart are named as they are."""
    warning = warning_at_start(load_config(argv))
    assert bool(warning) == warns
    learns = load_config(["--config_path", "configs/synthetic_config.yaml"])
    assert warning_at_start(learns) == ""
    if warns:
        assert f"freeze_bn {str(learns.freeze_bn).lower()}, dropout {learns.dropout:g}, lr {learns.lr:g}" in warning
        assert "dropout is 0.8" in warning
