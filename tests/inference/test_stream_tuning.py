"""The choice of window and thresholds: scores whose best thresholds are known by construction."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tune_stream
from model_utils.config import load_config
from model_utils.errors import InputError
from src.data.video import Span
from src.inference.stream_eval import ScoredVideo
from src.inference.stream_tuning import choose_rules, edits, on_other_videos, watched
from src.inference.streaming import EventDetector, EventRules
from src.training.checkpoint import describe, save_checkpoint
from tests.helpers.colours import NAMES, colour_network, colour_settings, coloured, write_video

CLASSES = ["wave", "clap", "No gesture"]


def recording(name, *stretches):
    """A video of stretches (class, probability, seconds, whether it is a gesture), scored four times a second."""
    scores, gestures, now = [], [], 0.0
    for label, probability, seconds, is_gesture in stretches:
        row = np.full(3, (1 - probability) / 2)
        row[CLASSES.index(label)] = probability
        scores += [row] * round(4 * seconds)
        if is_gesture:
            gestures.append(Span(now, now + seconds, label, 1.0))
        now += seconds
    with np.errstate(divide="ignore"):  # a probability of 0
        return ScoredVideo(name, now, gestures, np.arange(len(scores)) / 4, np.log(scores))


REST = ("No gesture", 0.96, 3, False)
# Gestures that this network is half sure of, and something between that it is less sure of.
UNSURE = recording(
    "unsure", REST, ("wave", 0.45, 3, True), REST, ("clap", 0.45, 3, True), REST, ("wave", 0.34, 3, False), REST
)
SURE = recording("sure", REST, ("wave", 0.9, 3, True), REST, ("clap", 0.6, 3, False), REST)


def test_gestures_that_the_defaults_miss_are_found():
    detector = EventDetector(CLASSES)
    assert edits(watched([UNSURE], detector, EventRules())) == 2
    rules, fewest = choose_rules([UNSURE], detector)
    assert fewest == edits(watched([UNSURE], detector, rules)) == 0
    assert 0.34 < rules.share < 0.45
    assert 0 < rules.off <= rules.on < 1


def test_thresholds_that_change_nothing_stay():
    perfect = recording("perfect", REST, ("wave", 1.0, 3, True), REST)
    rules, fewest = choose_rules([perfect], EventDetector(CLASSES))
    assert fewest == 0
    assert rules.early == EventRules().early


def test_a_video_is_judged_with_what_the_others_choose():
    """The thresholds for one are wrong for the other, so both have mistakes, though each alone could have none."""
    detector = EventDetector(CLASSES)
    assert [choose_rules([one], detector)[1] for one in (UNSURE, SURE)] == [0, 0]
    found = on_other_videos([UNSURE, SURE], detector)
    expected = [
        edits(watched([one], detector, choose_rules([other], detector)[0]))
        for one, other in ((UNSURE, SURE), (SURE, UNSURE))
    ]
    assert [edits([video]) for video in found] == expected
    assert sum(expected) > 0


@pytest.mark.slow
def test_a_config_is_written_that_finds_the_gestures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
    monkeypatch.setattr("src.training.checkpoint.build_network", lambda config, _: colour_network())
    model = tmp_path / "colours.ckpt"
    save_checkpoint(model, colour_network().parameters_dict(), describe(colour_settings(consensus_type="avg"), NAMES))
    (tmp_path / "videos").mkdir()
    for name in ("1.mp4", "2.mp4"):  # gestures of 1.5 s: a window of 6 s is never filled with one
        stretches = [("No gesture", 4), ("Red", 1.5), ("No gesture", 4), ("Blue", 1.5), ("No gesture", 4)]
        frames = [frame for label, seconds in stretches for frame in coloured(label, round(12 * seconds))]
        write_video(tmp_path / "videos" / name, frames)
    gestures = [{"start": 4, "end": 5.5, "label": "Red"}, {"start": 9.5, "end": 11, "label": "Blue"}]
    (tmp_path / "truth.json").write_text(json.dumps({"1.mp4": gestures, "2.mp4": gestures}))
    output = tmp_path / "stream.yaml"

    def tune(*more):
        paths = ["--ckpt_file", model, "--videos", tmp_path / "videos", "--truth", tmp_path / "truth.json"]
        arguments = [*map(str, paths), "--windows", "6,1.4,1.5", "--output", str(output), *more]
        tune_stream.tune(load_config(arguments, add_arguments=tune_stream.add_arguments))

    tune()
    said = capsys.readouterr().out
    assert "window 1.4 s: 0 edits" in said
    assert "window 1.5 s: 0 edits" in said
    assert "window 6 s: 4 edits" in said
    expected = "each video with the thresholds that the others choose: precision 1.00, recall 1.00"
    assert f"{expected}, levenshtein_accuracy 1.00" in said
    config = load_config(["--config_path", str(output)])
    assert config.stream_window == 1.5  # of two that are as good the one nearer to the middle
    assert json.loads(output.with_suffix(".json").read_text())["minutes"] == pytest.approx(0.5, abs=0.01)
    tune()  # its own file may be replaced
    output.write_text("lr: 0.1\n")
    with pytest.raises(InputError, match="would be written over"):
        tune()
