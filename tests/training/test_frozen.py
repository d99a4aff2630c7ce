"""Training behind a frozen backbone: the kept features are those of the frames, and the rest draws as ever."""

import logging

import numpy as np
import pytest
from mindspore import Tensor

from src import tsn_dataset
from src.data.clips import TrainingLoader
from src.data.frame_files import VideoRecord
from src.sampling import dropout_mask
from src.train_cell import ClipLoss, TrainStep, build_optimizer
from src.training.frozen import FeatureLoss, feature_dataset, freeze_backbone, keep_features
from src.transforms import cut_crops
from src.tsn import ClipInput
from tests.helpers.clips import folders, read_frames, write_clip
from tests.helpers.networks import SIDE, seeing_network

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_backbone", "clips_here")]

RECORDS = [VideoRecord("a", 9, 0), VideoRecord("b", 40, 1), VideoRecord("c", 11, 2)]  # 40: more than one batch


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for number, record in enumerate(RECORDS):
        write_clip(root / record.folder, record.num_frames, 40, 44, seed=number)
    return root


def make_loader(images, features, flip="label_aware"):
    return TrainingLoader(
        folders(images), 3, SIDE, 2, seed=5, flip=flip, mirrored=np.array([1, 0, 2]), dropout=0.5, features=features
    )


def kept_of(images, network, flip="label_aware"):
    loader = make_loader(images, network.base_model.feature_channels, flip)
    return keep_features(network, loader, RECORDS, 2, logging.getLogger("test"))


def test_features_are_those_of_the_centre_crops_and_their_mirror_images(images):
    network = seeing_network()
    kept = kept_of(images, network)
    for record, features in zip(RECORDS, kept.features):
        crops = cut_crops(read_frames(images / record.folder, range(record.num_frames)), SIDE, 1)[0]
        for way, shown in zip(features, (crops, crops[:, :, ::-1])):
            video = ClipInput()(Tensor(np.ascontiguousarray(shown[:, None])))
            expected = network.base_model.features(video).asnumpy()
            np.testing.assert_allclose(way, expected, rtol=1e-5, atol=1e-6)
            assert np.ptp(expected, axis=0).max() > 1e-3
    assert [f.shape[0] for f in kept_of(images, network, "none").features] == [1, 1, 1]


def test_batches_draw_like_those_of_clips(images):
    """Label, relations and dropout of a clip are those of ``training_dataset``; so is the order."""
    network = seeing_network()
    kept = kept_of(images, network)
    options = {"batch_size": 1, "first_epoch": 1, "first_step": 1}
    theirs = list(tsn_dataset.training_dataset(kept.loader, RECORDS, **options).read(2))
    ours = list(feature_dataset(kept, RECORDS, **options).read(2))
    assert len(ours) == len(theirs) == 5
    for (features, *rest), (_, *expected) in zip(ours, theirs):
        assert features.shape == (1, 3, network.base_model.feature_channels)
        for found, wanted in zip(rest, expected):
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found.asnumpy(), wanted.asnumpy())


def test_a_mirrored_clip_gives_mirrored_features(images):
    kept = kept_of(images, seeing_network())
    seen = set()
    for epoch in range(8):
        features, label, _, _ = kept(RECORDS[0], 0, epoch)
        mirrored = int(label == 1)
        assert all(any(np.array_equal(row, frame) for frame in kept.features[0][mirrored]) for row in features)
        seen.add(mirrored)
    assert seen == {0, 1}


def test_the_loss_is_that_of_the_frames(images):
    network = seeing_network().set_train(False)
    rng = np.random.default_rng(0)
    clips = Tensor(rng.integers(0, 256, (2, 3, SIDE, SIDE, 3), dtype=np.uint8))
    channels = network.base_model.feature_channels
    mask = Tensor(np.stack([dropout_mask(3, channels, 0.5, rng) for _ in range(2)]))
    rest = Tensor(np.array([2, 0], np.int32)), Tensor(np.tile(np.array([[0, -1], [0, 2]], np.int32), (2, 1, 1))), mask
    features = network.base_model.features(ClipInput()(clips).reshape((-1, 3, SIDE, SIDE))).reshape((2, 3, -1))
    ours, theirs = FeatureLoss(network)(features, *rest), ClipLoss(network)(clips, *rest)
    assert float(ours.asnumpy()) == pytest.approx(float(theirs.asnumpy()), rel=1e-5)


def test_only_what_is_behind_the_backbone_learns(images):
    network = seeing_network(freeze_bn=False)
    kept = kept_of(images, network)
    freeze_backbone(network, trained=True)
    before = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    optimizer = build_optimizer(network, 0.1, 9, 9, 0.9, 0.0)
    step = TrainStep(network, optimizer, 20.0, FeatureLoss(network)).set_train()
    for batch in feature_dataset(kept, RECORDS, batch_size=3).read(2):
        step(*batch)
    after = {p.name: p.asnumpy() for p in network.get_parameters()}
    changed = {name for name, value in before.items() if not np.array_equal(after[name], value)}
    behind = {name for name in before if name.startswith(("base_model.fc.", "consensus."))}
    assert changed <= behind
    assert {"base_model.fc.weight", "consensus.fc_fusion_scales.0.3.weight"} <= changed
