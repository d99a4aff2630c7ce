"""The evaluation of streams as a whole, with a network that knows nothing but colours."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest

import eval_streams
import infer
from benchmarks import event_rules
from model_utils.config import load_config
from model_utils.errors import InputError
from model_utils.version import VERSION
from src.inference.streaming import EventRules
from src.training.checkpoint import describe, save_checkpoint
from tests.helpers.colours import NAMES, colour_network, colour_settings, coloured, write_video
from tests.helpers.networks import SIDE


def write_stream(path, *stretches):
    """A video of (colour, seconds)."""
    return write_video(path, [frame for name, seconds in stretches for frame in coloured(name, 12 * seconds)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "colours.ckpt"
    save_checkpoint(path, colour_network().parameters_dict(), describe(colour_settings(consensus_type="avg"), NAMES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
        patch.setattr("src.training.checkpoint.build_network", lambda config, _: colour_network())
        yield path


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    rest = ("No gesture", 4)
    write_stream(folder / "1.mp4", rest, ("Red", 4), rest, ("Red", 4), rest, ("Blue", 4), rest)
    write_stream(folder / "2.mp4", ("No gesture", 15), ("Blue", 3), ("No gesture", 12))
    return folder


def run(videos, truth, model, output, *options):
    arguments = ["--videos", str(videos), "--truth", str(truth), "--ckpt_file", str(model), *options]
    config = load_config([*arguments, "--eval_output_dir", str(output)], add_arguments=eval_streams.add_arguments)
    eval_streams.evaluate_streams(config)


def write_truth(path, one, two):
    rows = {"1.mp4": one, "2.mp4": two}
    truth = {name: [dict(zip(("start", "end", "label"), row)) for row in gestures] for name, gestures in rows.items()}
    path.write_text(json.dumps(truth))
    return path


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, model, videos):
    """The folder of an evaluation."""
    folder = tmp_path_factory.mktemp("evaluated")
    one = [(4, 8, "Red"), (12, 16, "Red"), (20, 24, "Green")]  # it looks blue
    run(videos, write_truth(folder / "truth.json", one, []), model, folder / "out", "--window", "1.5")
    return folder / "out"


@pytest.mark.slow
def test_events_of_two_videos(evaluated, model):
    metrics = json.loads((evaluated / "stream_metrics.json").read_text())
    counts = {key: metrics[key] for key in ("videos", "gestures", "events", "matched")}
    assert counts == {"videos": 2, "gestures": 3, "events": 4, "matched": 2}
    assert (metrics["precision"], metrics["recall"]) == (2 / 4, 2 / 3)
    assert metrics["levenshtein_accuracy"] == pytest.approx(1 - 2 / 3)
    assert metrics["false_alarms_per_minute"] == pytest.approx(1 / 0.5)
    assert metrics["confused"] == [["Green", "Blue", 1]]
    protocol = metrics["protocol"]  # the network's own numbers, not the defaults of the config
    assert (protocol["window"], protocol["num_segments"], protocol["image_size"]) == (1.5, 3, SIDE)
    assert protocol["ckpt_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (protocol["backbone"], protocol["trn_version"]) == ("bn_inception", VERSION)
    assert {"mindspore_version", "numpy_version", "device_target", "flip", "background_class"} <= protocol.keys()
    first, second = metrics["per_video"]
    assert first["matched"] == [[0, 0], [1, 1]]
    # Two of three frames, half a second apart, are of the new colour half a second after the change.
    assert [event["start"] for event in first["events"]] == pytest.approx([4.5, 12.5, 20.5], abs=0.1)
    assert [event["end"] for event in first["events"]] == pytest.approx([8.5, 16.5, 24.5], abs=0.1)
    assert all(event["start"] < event["decided"] < event["end"] for event in first["events"])
    assert all(event["probability"] > 0.9 for event in first["events"])
    assert second["events"][0]["label"] == "Blue"
    assert metrics["median_start_delay"] == pytest.approx(0.5, abs=0.1)

    log = (evaluated / "stream_eval.log").read_text()
    assert ":INFO:1.mp4: 3 gestures, 3 events, 2 right\n" in log
    assert ":INFO:precision: 0.5000\n" in log
    assert ":INFO:gestures: 3\n" in log
    assert ":INFO:Green: 0 of 1 found, 0 wrong events\n" in log
    assert ":INFO:Green taken for Blue: 1\n" in log
    assert load_config(["--config_path", str(evaluated / "config.yaml")]).ckpt_file == str(model)


@pytest.mark.slow
def test_scores_are_stored(evaluated):
    with np.load(evaluated / "stream_scores.npz") as scores:
        assert scores["categories"].tolist() == NAMES
        times, logits = scores["2.mp4/times"], scores["2.mp4/logits"]
    np.testing.assert_allclose(times[:3], [1.0, 1.5, 2.0])
    assert logits.shape == (len(times), 4)
    blue = times[logits.argmax(1) == NAMES.index("Blue")]
    assert (blue.min(), blue.max()) == pytest.approx((15.5, 18.0), abs=0.6)


@pytest.mark.slow
def test_the_page_shows_every_video(evaluated):
    page = (evaluated / "stream_report.html").read_text(encoding="utf-8")
    assert page.count("<svg ") == 2
    assert "<title>Red, 4.00 to 8.00 s</title>" in page
    assert page.count('class="wrong"') == 3  # the missed green, the blue in its place, a false alarm
    assert page.count("<polyline ") == 2 * 4
    assert "2.mp4 <span>0 gestures, 1 events, 0 right</span>" in page


@pytest.mark.slow
def test_thresholds_of_the_config(tmp_path, model, videos):
    truth = write_truth(tmp_path / "truth.json", [], [])
    run(videos, truth, model, tmp_path / "out", "--window", "1.5", "--event_least", "3.5", "--event_early", "9")
    metrics = json.loads((tmp_path / "out" / "stream_metrics.json").read_text())
    assert [len(video["events"]) for video in metrics["per_video"]] == [3, 0]
    assert metrics["protocol"]["least"] == 3.5


@pytest.mark.parametrize(
    ("gesture", "message"),
    [
        ((28.5, 28.9), "1.mp4: Red from 28.5 s to 28.9 s in the truth, but the video ends at 28 s; are these seconds?"),
        ((20.0, 28500), "1.mp4: Red from 20 s to 28500 s in the truth, but the video ends at 28 s; are these seconds?"),
        ((20.0, 29.1), "1.mp4: Red from 20 s to 29.1 s in the truth, but the video ends at 28 s; are these seconds?"),
        ((20.0, 28.9), ""),
    ],
)
def test_a_gesture_after_the_end_of_the_video(tmp_path, model, videos, monkeypatch, gesture, message):
    """No video is watched then, also none before it."""
    monkeypatch.setattr("src.inference.stream_eval.scored_frames", lambda *_: pytest.fail("watched"))
    truth = write_truth(tmp_path / "truth.json", [(*gesture, "Red")], [])
    if message:
        with pytest.raises(InputError, match=re.escape(message)):
            run(videos, truth, model, tmp_path / "out")
    else:
        with pytest.raises(pytest.fail.Exception, match="watched"):
            run(videos, truth, model, tmp_path / "out")


def test_folders_without_videos(tmp_path, model):
    truth = write_truth(tmp_path / "truth.json", [], [])
    (tmp_path / "empty").mkdir()
    for name, message in (("empty", "no videos in this folder"), ("none", "no such folder of videos")):
        with pytest.raises(InputError, match=message):
            run(tmp_path / name, truth, model, tmp_path / "out")


@pytest.mark.slow
def test_the_stored_scores_give_the_same_events(evaluated):
    metrics = json.loads((evaluated / "stream_metrics.json").read_text())
    replayed = event_rules.replay(evaluated, EventRules())
    assert {key: metrics[key] for key in replayed} == json.loads(json.dumps(replayed))
    assert event_rules.replay(evaluated, EventRules(least=3.5, early=9.0))["events"] == 3


@pytest.mark.slow
def test_a_network_without_background(tmp_path, model, videos, capsys):
    """Its scores make no sense in a stream; evaluation, page and ``--stream`` say so and what to do."""
    names, model = [*NAMES[:3], "Rest"], tmp_path / "rest.ckpt"
    about = describe(colour_settings(consensus_type="avg"), names)
    save_checkpoint(model, colour_network().parameters_dict(), about)
    truth = write_truth(tmp_path / "truth.json", [(4, 8, "Red")], [])
    run(videos, truth, model, tmp_path / "out")
    told = "there is no background class (background_class is 'No gesture')"
    log, page = ((tmp_path / "out" / name).read_text() for name in ("stream_eval.log", "stream_report.html"))
    assert f"WARNING:{told}" in log
    assert "Record clips without gestures" in page
    options = ["--ckpt_file", str(model), "--source", str(videos / "2.mp4"), "--stream"]
    infer.infer(load_config(options, add_arguments=infer.add_arguments))
    assert capsys.readouterr().err.startswith(f"warning: {told}")

    about = describe(colour_settings(consensus_type="avg", background_class="Rest"), names)
    save_checkpoint(model, colour_network().parameters_dict(), about)
    run(videos, truth, model, tmp_path / "followed")
    metrics = json.loads((tmp_path / "followed/stream_metrics.json").read_text())
    assert metrics["protocol"]["background"] == ["Rest"]  # of the checkpoint, not of the config
    assert "Rest" not in {event["label"] for video in metrics["per_video"] for event in video["events"]}
    page = (tmp_path / "followed/stream_report.html").read_text()
    assert "<dd>Rest</dd>" in page
    assert "Record clips" not in page
    with pytest.raises(InputError, match="label 'Rest' is no gesture"):
        run(videos, write_truth(truth, [(4, 8, "Rest")], []), model, tmp_path / "other")
