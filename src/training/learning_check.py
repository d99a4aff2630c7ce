"""Warnings about a training that does not learn, with the usual causes."""

from __future__ import annotations

import math

from model_utils.settings import Settings

FIRST_EPOCH = 5  # a training that learns may give all clips one class until then
STILL = 0.95  # of ln(C), the loss of a network that knows nothing


def learning_warning(epoch: int, loss: float, categories: list[str], one_answer: int | None, config: Settings) -> str:
    """The warning after an epoch of a training that does not learn, otherwise "".

    Args:
        epoch: from 1.
        one_answer: the class that all clips of this epoch's validation got, if all got the same.
        config: reads ``pre_trained_backbone pre_trained freeze_bn dropout lr epochs_num train_list_file_name
            categories_list_file_name``.
    """
    untrained = math.log(len(categories))
    if epoch < FIRST_EPOCH or len(categories) < 2:
        return ""
    if one_answer is not None:
        sign = f"every clip of the validation is answered {categories[one_answer]}"
    elif loss >= STILL * untrained:
        sign = f"the loss, {loss:.3f}, is still as high as for guessing, ln({len(categories)}) = {untrained:.3f}"
    else:
        return ""
    causes = [
        *_causes_in_weights(config),
        f"steps too small, too large or too few: lr (now {config.lr:g}), epochs_num (now {config.epochs_num})",
        f"lists that do not belong together: {config.train_list_file_name} (train_list_file_name) and"
        f" {config.categories_list_file_name} (categories_list_file_name)",
    ]
    numbered = "; ".join(f"({number}) {cause}" for number, cause in enumerate(causes, 1))
    return f"after {epoch} epochs the network has not learnt: {sign}. Usual causes: {numbered}"


def _causes_in_weights(config: Settings) -> list[str]:
    """The likely causes in the start weights, given the settings."""
    dropout = f"dropout 0 (now {config.dropout:g})" if config.dropout else ""
    if config.pre_trained_backbone or config.pre_trained:
        return [f"features that are dropped: {dropout}"] if dropout else []
    freeze_bn = "freeze_bn false (now true)" if config.freeze_bn else ""
    instead = " and ".join(filter(None, [freeze_bn, dropout]))
    if not instead:
        return ["random weights: give pre_trained_backbone or pre_trained, or more clips or epochs"]
    return [f"random weights with settings for trained ones: give pre_trained_backbone or pre_trained, or {instead}"]


def warning_at_start(config: Settings) -> str:
    """The warning before a training from random weights that cannot learn, otherwise ""."""
    if not config.freeze_bn:
        return ""
    return (
        f"random weights with settings for trained ones: freeze_bn true keeps their normalisation as it is, and dropout"
        f" is {config.dropout:g}. Give pre_trained_backbone or pre_trained, or settings that learn, as in"
        " configs/synthetic_config.yaml: freeze_bn false, dropout 0, lr 0.002"
    )
