"""A network that is prepared for inference against itself before."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from src import sampling
from src.tsn import prepare_for_inference
from tests.helpers.networks import SIDE, seeing_network


@pytest.mark.parametrize(
    "changes", [{}, {"freeze_bn": False}, {"consensus_type": "TRN"}, {"consensus_type": "avg"}], ids=str
)
def test_a_prepared_network_scores_as_before(changes):
    check(changes)


def test_compiled(compiled):
    check({})


def check(changes):
    rng = np.random.default_rng(2)
    video = Tensor(rng.uniform(-100, 100, (4, 9, SIDE, SIDE)).astype(np.float32))
    relations = Tensor(np.stack([sampling.sample_relations(3, 2, rng) for _ in range(4)]))
    plain, prepared = seeing_network(**changes), seeing_network(**changes)
    prepare_for_inference(prepared)
    for inputs in ((video,), (video, relations)):
        expected = plain(*inputs).asnumpy()
        assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max()
        np.testing.assert_allclose(prepared(*inputs).asnumpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
