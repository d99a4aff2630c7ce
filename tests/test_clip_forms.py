"""Whatever form clips have on the disk, all that reads them sees the frames that an independent reading gives.

Each frame has one colour of its own, which says which frame of which clip it is, whatever its crop, size or mirroring.
"""

from __future__ import annotations

import logging

import numpy as np
import pytest
from mindspore import nn
from PIL import Image

from model_utils.settings import Settings
from src import sampling, tsn_dataset
from src.data.names import FRAME_NAME
from src.data.pack_frames import pack_folders
from src.data.packed import open_packed
from src.data.video import open_source
from src.evaluation.evaluator import Evaluator
from src.inference import timeline
from src.ops.ranks import Ranks
from src.shipping.samples import read_samples
from src.training import frozen
from tests.helpers.networks import settings

LENGTHS = (9, 4, 13, 6)  # the second is shorter than T
T, SIDE, SEED, CLASSES, BACKGROUND = 5, 32, 3, 4, 3
FIRST_OF_LONG = 7  # the number of the first frame of the long folder
# The form's name: names of the frames, number of a folder's first frame, one long folder or a folder for each clip.
FORMS = {
    "plain": (FRAME_NAME, 1, "clip{}"),
    "other name from 0": ("img_{}.jpeg", 0, "clip{}"),
    "spaces in names": (FRAME_NAME, 1, "my clip {} 2"),
    "stretch, other name": ("frame_{:06d}.png", 0, "all"),
    "packed, other name from 0": ("img_{}.jpeg", 0, "clip{}"),
    "packed, stretch": (FRAME_NAME, FIRST_OF_LONG, "all together"),
}


def colour(clip, index):
    return 20 + 60 * clip, 15 + 15 * index, 128


def shown(frames):
    """Which frames these are, uint8 [N, S, S, 3] BGR: (clip, index) of each."""
    frames = np.asarray(frames)
    values = frames.reshape(len(frames), -1, 3)
    assert np.ptp(values, axis=1).max() <= 4  # one colour
    red, green = values[:, :, 2].mean(1), values[:, :, 1].mean(1)
    return [(round((r - 20) / 60), round((g - 15) / 15)) for r, g in zip(red, green)]


@pytest.fixture(params=FORMS)
def dataset(request, tmp_path, clips_here):
    """A dataset in one of the forms: its settings."""
    frame_name, first, folder = FORMS[request.param]
    rows, number = [], first
    for clip, length in enumerate(LENGTHS):
        path = tmp_path / "frames" / folder.format(clip)
        path.mkdir(parents=True, exist_ok=True)
        if "{}" in folder:
            number = first
            rows.append(f"{path.name} {length} {clip}\n")
        else:
            rows.append(f"{path.name} {number} {length} {clip}\n")
        for index in range(length):
            image = Image.new("RGB", (48, 40), colour(clip, index))
            image.save(path / frame_name.format(number + index), quality=95)
        number += length
    (tmp_path / "list.txt").write_text("".join(rows))
    if "packed" in request.param:
        pack_folders(tmp_path / "frames", frame_name)
        assert not (tmp_path / "frames").exists()
    names = {"dataset_root": str(tmp_path), "images_dir_name": "frames", "frame_name": frame_name}
    lists = {"train_list_file_name": "list.txt", "eval_list_file_name": "list.txt", "calibration_clips": 2}
    draws = {"seed": SEED, "flip": "plain", "dropout": 0.0, "background_class": ""}
    return settings(**names, **lists, **draws, num_segments=T, image_size=SIDE)


def records_of(config: Settings):
    return tsn_dataset.read_clips(config, "list.txt", CLASSES)


def test_training(dataset):
    """Whole clips and sliding windows, one rank and two, from the beginning and resumed."""
    dataset.background_class = "3"
    for share in (0.0, 1.0):
        dataset.sliding_windows = share
        loader = tsn_dataset.training_loader(dataset, [str(number) for number in range(CLASSES)], features=2)
        seen = set()
        for rank, size, first in ((0, 1, (0, 0)), (0, 1, (1, 1)), (0, 2, (0, 0)), (1, 2, (2, 0))):
            first_epoch, first_step = first
            options = {"batch_size": 2, "first_epoch": first_epoch, "first_step": first_step}
            batches = tsn_dataset.training_dataset(loader, records_of(dataset), ranks=Ranks(rank, size), **options)
            steps = [step for step in range(first_epoch * 2 // size, 3 * 2 // size)][first_step:]
            found = list(batches.read(3 - first_epoch))
            assert len(found) == len(steps)
            for step, (clips, *_) in zip(steps, found):
                epoch, within = divmod(step, 2 // size)
                order = sampling.epoch_order(len(LENGTHS), SEED, epoch)
                for clip, index in zip(clips.asnumpy(), order[within * 2 * size + rank :: size]):
                    expected = drawn(share, epoch, index)
                    assert shown(clip) == [(index, frame) for frame in expected]
                    seen.add((epoch, int(index)))
        assert len(seen) == 3 * len(LENGTHS)


def drawn(share, epoch, index):
    window = sampling.generator(SEED, epoch, index, "window")
    if share and window.random() < share:
        return sampling.sliding_window(LENGTHS[index], T, window, True)[0].tolist()
    return sampling.train_segments(LENGTHS[index], T, sampling.generator(SEED, epoch, index, "frames")).tolist()


class Colours(nn.Cell):
    """Stands for a backbone: the colour of a frame is its feature."""

    def __init__(self, network, last_layer):
        super().__init__()
        assert not last_layer

    def construct(self, frames):
        return frames.astype("float32").mean((1, 2))


def test_frozen_backbone(dataset, monkeypatch):
    monkeypatch.setattr(frozen, "FrameFeatures", Colours)
    loader = tsn_dataset.training_loader(dataset, [str(number) for number in range(CLASSES)], features=3)
    records = records_of(dataset)
    kept = frozen.keep_features(None, loader, records, 1, logging.getLogger("test"))
    for clip, features in enumerate(kept.features):
        assert features.shape == (2, LENGTHS[clip], 3)
        for way in features:
            assert shown(way[:, None, None]) == [(clip, index) for index in range(LENGTHS[clip])]
    for features, *_ in frozen.feature_dataset(kept, records, batch_size=4, first_epoch=1).read(1):
        for row, index in zip(features.asnumpy(), sampling.epoch_order(len(LENGTHS), SEED, 1)):
            assert shown(row[:, None, None]) == [(index, frame) for frame in drawn(0.0, 1, index)]


def evaluated(length):
    return [int(length / T * (i + 0.5)) for i in range(T)]


@pytest.mark.parametrize("crops", [1, 10])
def test_evaluation_and_report(dataset, crops):
    seen = []

    class Scorer:
        batch_size = 3

        def __call__(self, clips, indices):
            for clip, index in zip(clips, indices):
                seen.append(int(index))
                for crop in clip:
                    assert shown(crop) == [(index, frame) for frame in evaluated(LENGTHS[index])]
            return np.zeros((len(clips), CLASSES), np.float32)

    evaluator = Evaluator(Scorer(), tsn_dataset.evaluation_loader(dataset, crops), records_of(dataset))
    assert evaluator().labels.tolist() == [0, 1, 2, 3]
    assert seen == [0, 1, 2, 3]
    for index, length in enumerate(LENGTHS):  # the strips of the report
        assert shown(evaluator.frames(index, 1.0)) == [(index, frame) for frame in evaluated(length)]


def test_calibration(dataset):
    samples = read_samples(dataset, CLASSES)
    order = sampling.epoch_order(len(LENGTHS), SEED, 0).tolist()
    for clips in (samples.calibration, samples.compared):
        for clip, index in zip(clips, order):
            assert shown(clip) == [(index, frame) for frame in evaluated(LENGTHS[index])]
    assert (len(samples.calibration), len(samples.compared)) == (2, len(LENGTHS))


def test_infer_on_the_folder(dataset):
    """A folder is one clip to it, so a long folder is left out."""
    records = records_of(dataset)
    if records[0].is_stretch:
        pytest.skip("a stretch is no folder")
    for index, record in enumerate(records):
        source = open_source(str(tsn_dataset.evaluation_loader(dataset, 1).frames.root / record.folder))
        clip = timeline.read_clip(source, T, 3.0)
        assert shown(clip.frames) == [(index, frame) for frame in evaluated(LENGTHS[index])]


def test_a_clip_that_is_skipped_is_the_one_that_cannot_be_read(dataset):
    records = records_of(dataset)
    loader = tsn_dataset.evaluation_loader(dataset, 1)
    broken = loader.frames.path(records[2], evaluated(LENGTHS[2])[1])
    packed, problem = open_packed(loader.frames.root), "frame is empty"
    if packed:
        frame = packed.frame_bytes(records[2].folder, records[2].first + int(evaluated(LENGTHS[2])[1]))
        packed.tar.write_bytes(packed.tar.read_bytes().replace(frame, bytes(len(frame))))
        problem = "is not the frame that was packed"
    else:
        open(broken, "wb").close()

    class Scorer:
        batch_size = 3

        def __call__(self, clips, indices):
            return np.tile(np.arange(CLASSES, dtype=np.float32), (len(clips), 1))

    scored = Evaluator(Scorer(), loader, records, on_error="skip")()
    assert scored.indices.tolist() == [0, 1, 3]
    assert list(scored.left_out) == [2]
    assert scored.left_out[2].startswith(f"{broken}: {problem}")
