"""Ten steps of training and an evaluation give the same numbers, to the last bit, from folders and from the tar."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from src.data.clips import EvaluationLoader, TrainingLoader
from src.data.frame_files import FrameFolders
from src.data.pack_frames import pack_folders
from src.data.video_list import read_video_list
from src.evaluation import tables
from src.evaluation.evaluator import Evaluator
from src.evaluation.scoring import ClipScorer
from src.train_cell import TrainStep, build_optimizer
from src.tsn_dataset import training_dataset
from tests.helpers.clips import write_clip
from tests.helpers.networks import CLASSES, SIDE, seeing_network


def numbers(root, list_file):
    """The losses, and the content of ``predictions.csv``."""
    ms.set_seed(3)
    frames = FrameFolders(root, "{:05d}.jpg")
    records = read_video_list(list_file, len(CLASSES), frames)
    network = seeing_network(small=True)
    optimizer = build_optimizer(network, 0.01, 5, 10, 0.9, 5e-4)
    step = TrainStep(network, optimizer, 20.0).set_train()
    mirrored = np.array([1, 0, 2], np.int32)
    features = network.base_model.fc.in_channels
    loader = TrainingLoader(frames, 3, SIDE, 2, 5, "label_aware", mirrored, 0.5, features, 0.5, background=2)
    batches = training_dataset(loader, records, batch_size=2, workers=1).read(2)
    losses = [step(*batch).asnumpy().tobytes() for batch in batches]
    scorer = ClipScorer(network, test_crops=10, batch_size=2, mirrored=mirrored)
    scored = Evaluator(scorer, EvaluationLoader(frames, 3, SIDE, 10), records)()
    names = [record.name for record in records]
    evaluation = tables.Evaluation({"protocol": {"split": "val"}}, CLASSES, names, scored.scores, scored.labels)
    return losses, scored.scores.tobytes(), tables.number_files(evaluation)[tables.PREDICTIONS_FILE]


@pytest.mark.slow
def test_the_same_losses_and_predictions(tmp_path):
    root = tmp_path / "frames"
    for clip in range(10):
        write_clip(root / str(clip), 9, 40, 52, seed=clip)
    (tmp_path / "list.txt").write_text("".join(f"{clip} 9 {clip % 3}\n" for clip in range(10)))
    from_folders = numbers(root, tmp_path / "list.txt")
    pack_folders(root)
    assert not root.exists()
    from_tar = numbers(root, tmp_path / "list.txt")
    assert len(from_folders[0]) == len(set(from_folders[0])) == 10
    assert from_folders[2].count(b"\n") == 11
    assert from_tar == from_folders
