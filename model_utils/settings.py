"""The type and the uses of each key of ``configs/jester_config.yaml``, one row a key.

    seed: Annotated[int, Use.FIXED, Use.PROTOCOL]

``keys_for`` gives the keys of one use; there is no other list of them. A new key needs a row here and its three lines
in the YAML. A type checker reads the rows as the attributes of a config, so that it finds a misspelt key.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from enum import Enum
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_type_hints

from model_utils.errors import InputError


class Use(Enum):
    """One use of a key. Each key is FIXED or FREE, and may have other uses."""

    NETWORK = "builds the network: a given value must be the checkpoint's"
    FOLLOWED = "does not build the network: evaluation takes the checkpoint's value unless one is given"
    EXPORTED = "stands in the JSON of an exported file; programs that run the file follow it"
    FIXED = "must not change when a training is resumed"
    FREE = "may change when a training is resumed"
    PROTOCOL = "scores depend on it: an evaluation records it"
    IN_DATA = "on ModelArts a relative path starts in data_path"
    IN_LOAD = "on ModelArts a relative path starts in load_path"
    IN_OUTPUT = "on ModelArts a relative path starts in output_path"


class IfMissing(NamedTuple):
    """The value to assume for a checkpoint that is older than the key."""

    value: Any


class Settings:
    """The keys of the YAML as typed attributes, in its order; ``given`` are the keys that the user set."""

    given: frozenset[str]

    # Model
    consensus_type: Annotated[str, Use.NETWORK, Use.FIXED, Use.PROTOCOL]
    num_segments: Annotated[int, Use.NETWORK, Use.EXPORTED, Use.FIXED, Use.PROTOCOL]
    subsample_num: Annotated[int, Use.NETWORK, Use.EXPORTED, Use.FIXED, Use.PROTOCOL]
    img_feature_dim: Annotated[int, Use.NETWORK, Use.FIXED]
    backbone: Annotated[str, Use.NETWORK, Use.FIXED, Use.PROTOCOL, IfMissing("bn_inception")]
    width_mult: Annotated[float, Use.NETWORK, Use.FIXED, Use.PROTOCOL]
    dropout: Annotated[float, Use.FIXED]
    freeze_bn: Annotated[bool, Use.FIXED]
    freeze_backbone: Annotated[bool, Use.FOLLOWED, Use.EXPORTED, Use.FIXED, IfMissing(False)]

    # Dataset
    dataset_root: Annotated[str, Use.FREE, Use.IN_DATA]
    images_dir_name: Annotated[str, Use.FREE]
    frame_name: Annotated[str, Use.FREE]
    categories_list_file_name: Annotated[str, Use.FREE]
    train_list_file_name: Annotated[str, Use.FREE]
    eval_list_file_name: Annotated[str, Use.FREE]
    image_size: Annotated[int, Use.FOLLOWED, Use.EXPORTED, Use.FIXED, Use.PROTOCOL]
    smallest_crop: Annotated[float, Use.FIXED, IfMissing(0.66)]
    flip: Annotated[str, Use.FOLLOWED, Use.EXPORTED, Use.FIXED, Use.PROTOCOL]
    mirror_pairs: Annotated[str, Use.FOLLOWED, Use.EXPORTED, Use.FIXED, Use.PROTOCOL, IfMissing("")]
    sliding_windows: Annotated[float, Use.FIXED, IfMissing(0.0)]
    sliding_windows_start: Annotated[int, Use.FIXED, IfMissing(0)]
    sliding_windows_full: Annotated[int, Use.FIXED, IfMissing(0)]
    background_class: Annotated[str, Use.FOLLOWED, Use.EXPORTED, Use.FIXED, IfMissing("No gesture")]

    # Training
    pre_trained_backbone: Annotated[str, Use.FREE, Use.IN_LOAD]
    pre_trained: Annotated[str, Use.FREE, Use.IN_LOAD]
    keep_last_layer: Annotated[bool, Use.FREE]
    lr: Annotated[float, Use.FIXED]
    update_lr_epochs: Annotated[int, Use.FIXED]
    epochs_num: Annotated[int, Use.FREE]
    max_steps: Annotated[int, Use.FREE]
    train_batch_size: Annotated[int, Use.FREE]  # its product with the number of ranks is fixed
    train_workers: Annotated[int, Use.FREE]
    momentum: Annotated[float, Use.FIXED]
    weight_decay: Annotated[float, Use.FIXED]
    clip_grad_norm: Annotated[float, Use.FIXED]
    train_output_dir: Annotated[str, Use.FREE, Use.IN_OUTPUT]
    log_interval: Annotated[int, Use.FREE]
    ckpt_save_interval: Annotated[int, Use.FREE]
    ckpt_save_steps: Annotated[int, Use.FREE]
    keep_checkpoint_max: Annotated[int, Use.FREE]
    ckpt_save_on_master_only: Annotated[bool, Use.FREE]
    resume: Annotated[str, Use.FREE, Use.IN_LOAD]
    resume_other_data: Annotated[bool, Use.FREE]
    eval_interval: Annotated[int, Use.FREE]
    patience: Annotated[int, Use.FREE]

    # Evaluation and export
    ckpt_file: Annotated[str, Use.FREE, Use.PROTOCOL, Use.IN_LOAD]
    split: Annotated[str, Use.FREE, Use.PROTOCOL]
    relations: Annotated[str, Use.EXPORTED, Use.FREE, Use.PROTOCOL]
    test_crops: Annotated[int, Use.FREE, Use.PROTOCOL]
    frame_order: Annotated[str, Use.FREE, Use.PROTOCOL]
    observe: Annotated[str, Use.FREE, Use.PROTOCOL]
    on_error: Annotated[str, Use.FREE, Use.PROTOCOL]
    eval_batch_size: Annotated[int, Use.FREE]
    eval_workers: Annotated[int, Use.FREE]
    eval_output_dir: Annotated[str, Use.FREE, Use.IN_OUTPUT]
    export_output_dir: Annotated[str, Use.FREE, Use.IN_OUTPUT]
    model_name: Annotated[str, Use.FREE]
    file_format: Annotated[str, Use.FREE]
    export_batch_size: Annotated[int, Use.FREE]
    export_interface: Annotated[str, Use.FREE]
    quantize: Annotated[str, Use.FREE]
    calibration_clips: Annotated[int, Use.FREE]
    streaming: Annotated[bool, Use.FREE]

    # Gestures in streams
    stream_window: Annotated[float, Use.FREE]  # these six stand in stream_metrics.json; eval.py does not depend on them
    event_on: Annotated[float, Use.FREE]
    event_off: Annotated[float, Use.FREE]
    event_share: Annotated[float, Use.FREE]
    event_least: Annotated[float, Use.FREE]
    event_early: Annotated[float, Use.FREE]

    # Device
    device_target: Annotated[str, Use.FREE, Use.PROTOCOL]
    device_id: Annotated[int, Use.FREE]
    is_train_distributed: Annotated[bool, Use.FREE]
    group_size: Annotated[int, Use.FREE]
    seed: Annotated[int, Use.FIXED, Use.PROTOCOL]

    # ModelArts
    enable_modelarts: Annotated[bool, Use.FREE]
    data_url: Annotated[str, Use.FREE]
    train_url: Annotated[str, Use.FREE]
    checkpoint_url: Annotated[str, Use.FREE]
    data_path: Annotated[str, Use.FREE]
    output_path: Annotated[str, Use.FREE]
    load_path: Annotated[str, Use.FREE]


AnySettings = TypeVar("AnySettings", bound=Settings)


@cache
def key_table() -> Mapping[str, tuple[type, frozenset[Any]]]:
    """The rows as {key: (type, uses and the value before)}, in the order of the YAML."""
    rows = {
        key: get_args(hint) for key, hint in get_type_hints(Settings, include_extras=True).items() if key != "given"
    }
    return {key: (kind, frozenset(facts)) for key, (kind, *facts) in rows.items()}


@cache
def values_if_missing() -> Mapping[str, Any]:
    """{key: value to assume for older checkpoints} of the keys that were added later."""
    return {key: fact.value for key, (_, facts) in key_table().items() for fact in facts if isinstance(fact, IfMissing)}


def keys_for(*uses: Use) -> tuple[str, ...]:
    """The keys that have one of these uses, in the order of the YAML."""
    return tuple(key for key, (_, its_uses) in key_table().items() if its_uses & set(uses))


def values_for(settings: Settings, *uses: Use) -> dict[str, Any]:
    """The present values of the keys that have one of these uses."""
    return {key: getattr(settings, key) for key in keys_for(*uses)}


def with_recorded(settings: AnySettings, recorded: Mapping[str, Any], bound: Collection[str], made: str) -> AnySettings:
    """A copy of ``settings`` in which a file's values replace all that were not given.

    Args:
        recorded: the file's values, by key.
        bound: the keys whose given value must equal the recorded one.
        made: begins the error message, such as "trn.ckpt: trained".

    Raises:
        InputError: for a given value that contradicts a bound one.
    """
    settings = copy.copy(settings)
    for key, value in recorded.items():
        if key not in settings.given:
            setattr(settings, key, value)
        elif key in bound and getattr(settings, key) != value:
            raise InputError(f"{made} with {key} {value}, but {key} {getattr(settings, key)} was asked for")
    return settings


def is_of_type(key: str, value: Any) -> bool:
    """Whether a value, read from a file, has the type of a key; an int counts as a float."""
    kind, _ = key_table()[key]
    return type(value) in ((int, float) if kind is float else (kind,))
