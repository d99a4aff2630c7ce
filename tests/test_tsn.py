"""The network as a whole: its input, its crops, and what preparation for inference leaves unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from src import sampling
from src.heads import HEADS, AverageConsensus
from src.ops.fast_relations import FastRelations
from src.trn import SingleScaleTRN
from src.tsn import ClipInput, ClipLogits, prepare_for_inference
from tests.helpers.networks import SIDE, seeing_network


@pytest.mark.parametrize("consensus_type", HEADS)
@pytest.mark.parametrize("freeze_bn", [True, False])
def test_a_prepared_network_scores_as_before(consensus_type, freeze_bn):
    check(small=True, consensus_type=consensus_type, freeze_bn=freeze_bn)


def test_with_the_whole_backbone():
    check()


@pytest.mark.slow
def test_compiled(compiled):
    check(small=True)


def check(**changes):
    rng = np.random.default_rng(2)
    video = Tensor(rng.uniform(-100, 100, (4, 9, SIDE, SIDE)).astype(np.float32))
    relations = Tensor(np.stack([sampling.sample_relations(3, 2, rng) for _ in range(4)]))
    plain, prepared = seeing_network(**changes), seeing_network(**changes)
    prepare_for_inference(prepared)
    assert not any("bn" in name for name, _ in prepared.cells_and_names())
    for inputs in ((video,), (video, relations)):
        expected = plain(*inputs).asnumpy()
        assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max()
        np.testing.assert_allclose(prepared(*inputs).asnumpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_only_the_multi_scale_head_is_replaced_and_training_ends():
    for consensus_type, head in (("TRNmultiscale", FastRelations), ("TRN", SingleScaleTRN), ("avg", AverageConsensus)):
        network = seeing_network(small=True, consensus_type=consensus_type).set_train()
        prepare_for_inference(network)
        assert type(network.consensus) is head
        assert not any(cell.training for _, cell in network.cells_and_names())


def test_frames_become_the_networks_input():
    """Blue, green, red of the first frame, then of the second, less 104, 117, 128."""
    clips = np.random.default_rng(3).integers(0, 256, (2, 4, 3, 5, 5, 3), dtype=np.uint8)  # [B, crops, T, S, S, 3]
    video = ClipInput()(Tensor(clips)).asnumpy()
    assert (video.dtype, video.shape) == (np.float32, (8, 9, 5, 5))
    for clip in range(2):
        for crop in range(4):
            for frame in range(3):
                for channel, mean in enumerate((104, 117, 128)):
                    expected = clips[clip, crop, frame, :, :, channel].astype(np.float32) - mean
                    np.testing.assert_array_equal(video[4 * clip + crop, 3 * frame + channel], expected)


def test_every_crop_of_a_clip_uses_the_clips_relations():
    network = seeing_network(small=True)
    rng = np.random.default_rng(4)
    clips = rng.integers(0, 256, (2, 3, 3, SIDE, SIDE, 3), dtype=np.uint8)
    relations = np.array([[[0, -1], [0, 1]], [[0, -1], [2, 1]]], np.int32)
    found = ClipLogits(network, 3)(Tensor(clips), Tensor(relations)).asnumpy()  # [2, 3, C]
    for clip, drawn, ours in zip(clips, relations, found):
        for crop, scores in zip(clip, ours):
            expected = network(ClipInput()(Tensor(crop)), Tensor(drawn[None])).asnumpy()[0]
            np.testing.assert_allclose(scores, expected, atol=1e-5)
    swapped = ClipLogits(network, 3)(Tensor(clips), Tensor(relations[::-1].copy())).asnumpy()
    assert np.abs(swapped - found).max() > 1e-3
