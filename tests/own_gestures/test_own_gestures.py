"""The parts of ``my_gestures.sh``: what is made of clips, which steps are done anew, what is said at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from model_utils.config import load_config
from model_utils.errors import InputError
from src.data.annotations import VideoClip, read_annotations
from src.data.stream_truth import read_truth
from src.data.video import VideoFile
from src.own_gestures import join_streams, main, network, own_lists, programs, summary
from src.own_gestures.programs import Programs
from src.training.checkpoint import describe, save_checkpoint
from tests.helpers.colours import coloured, write_video
from tests.helpers.networks import CLASSES, settings, tiny_network


@pytest.fixture
def dataset(tmp_path):
    """Two classes of clips of 25 frames, each frame of another grey, as prepare_videos leaves them."""
    (tmp_path / "categories.txt").write_text("clap\nwave\n")
    for listed, numbers in (("train", range(6)), ("val", range(6, 9))):
        rows = [f"{n} 25 {n % 2}\n" for n in numbers]
        (tmp_path / f"{listed}_videofolder.txt").write_text("".join(rows))
    for number in range(9):
        folder = tmp_path / "20bn-jester-v1" / str(number)
        folder.mkdir(parents=True)
        for frame in range(25):
            cv2.imwrite(str(folder / f"{frame + 1:05d}.jpg"), np.full((40, 48, 3), 10 * frame, np.uint8))
    return tmp_path


# ------------------------------------------------------------------------------------------------------- background


def test_rest_becomes_the_background(dataset):
    said = own_lists.write_own_lists(dataset, "", "No gesture")
    assert said.startswith("background: No gesture, rest from both ends")
    assert (dataset / "own_categories.txt").read_text() == "clap\nwave\nNo gesture\n"
    rows = (dataset / "own_train.txt").read_text().splitlines()
    assert rows[:6] == [f"{n} 25 {n % 2}" for n in range(6)]
    # As many as of a gesture; 12 % of 25 frames, at the beginning and at the end by turns.
    assert rows[6:9] == ["0 1 3 2", "2 23 3 2", "5 1 3 2"]
    # Of every second clip the first 30, 20 or 25 % and back.
    assert rows[9:] == [".begun/0 16 2", ".begun/2 10 2", ".begun/4 12 2"]
    begun = dataset / "20bn-jester-v1/.begun/2"
    levels = [cv2.imread(str(begun / f"{number:05d}.jpg")).mean() / 10 for number in range(1, 11)]
    assert levels == pytest.approx([*range(5), *range(4, -1, -1)], abs=0.3)
    assert (dataset / "own_val.txt").read_text() == (dataset / "val_videofolder.txt").read_text()
    assert (dataset / "train_videofolder.txt").read_text().count("\n") == 6


def test_names_that_hold_a_line_separator(dataset):
    """Other text readers take U+2028 for the end of a line."""
    (dataset / "20bn-jester-v1/0").rename(dataset / "20bn-jester-v1/a\u2028b")
    (dataset / "train_videofolder.txt").write_text("a\u2028b 25 0\n", encoding="utf-8")
    own_lists.write_own_lists(dataset, "clap", "clap")
    assert (dataset / "own_train.txt").read_text(encoding="utf-8") == "a\u2028b 25 0\n"
    assert own_lists.own_rows(dataset, "training") == ["a\u2028b 25 0"]


def test_own_clips_of_rest_are_the_background(dataset):
    (dataset / "categories.txt").write_text("clap\nRest\n")
    assert own_lists.background_among(["clap", "Rest"]) == "Rest"
    said = own_lists.write_own_lists(dataset, "Rest", "Rest")
    assert said == "background: your own clips of Rest"
    assert (dataset / "own_categories.txt").read_text() == "clap\nRest\n"
    assert (dataset / "own_train.txt").read_text().splitlines()[6:] == [".begun/0 16 1", ".begun/4 10 1"]


@pytest.mark.parametrize(
    ("name", "is_rest"), [("No gesture", True), ("no_gesture", True), ("BACKGROUND", True), ("restless", False)]
)
def test_names_of_rest(name, is_rest):
    assert bool(own_lists.background_among(["wave", name])) == is_rest


def test_what_no_annotation_covers(tmp_path):
    """A video of 15 s: 0 to 3, 5 to 5.5 and 7 to 15 s are free; half a second is too short."""
    write_video(tmp_path / "a.mp4", coloured("Red", 180), 12)
    rows = [("wave", 3.0, 5.0), ("clap", 5.5, 7.0)]
    clips = [VideoClip("", "a.mp4", *row, "validation") for row in rows]
    found = own_lists.with_stretches_between(clips, tmp_path, "No gesture")
    between = [(clip.start, clip.end) for clip in found[2:]]
    assert between == [(0.0, 2.75), (7.25, 11.0), (11.0, 14.75)]
    assert {(clip.label, clip.split) for clip in found[2:]} == {("No gesture", "validation")}
    own_lists.write_annotations(tmp_path / "a.csv", found)
    again = read_annotations(tmp_path / "a.csv", tmp_path)
    assert [(clip.label, clip.start, clip.end, clip.split) for clip in again] == [
        (clip.label, clip.start, clip.end, clip.split) for clip in found
    ]
    whole = [VideoClip("", "a.mp4", "wave")]
    assert own_lists.with_stretches_between(whole, tmp_path, "No gesture") == whole


# ---------------------------------------------------------------------------------------------------------- streams


def test_joined_streams(dataset, tmp_path):
    own_lists.write_own_lists(dataset, "", "No gesture")
    out = tmp_path / "streams"
    join_streams.main([str(dataset), str(out), "--background", "No gesture"])
    names = sorted(path.name for path in (out / "videos").iterdir())
    truth = read_truth(out / "truth.json", ["clap", "wave", "No gesture"], names)
    assert sorted(len(spans) for spans in truth.values()) == [0, 0, 3, 3]  # every clip twice
    labels = [span.label for spans in truth.values() for span in spans]
    assert sorted(labels) == ["clap"] * 4 + ["wave"] * 2
    for name, spans in truth.items():
        capture, levels = cv2.VideoCapture(str(out / "videos" / name)), []
        while capture.grab():
            levels.append(capture.retrieve()[1].mean() / 10)
        if not spans:  # the first 30 % of clips, to and fro
            assert max(levels) == pytest.approx(7, abs=0.7)
            assert (levels[0], levels[-1]) == pytest.approx((0, 0), abs=0.7)
        for span in spans:
            # 76 % of 25 frames at 12 a second; it begins in the clip's 4th frame, whose level is 3.
            assert span.ended_at - span.start == pytest.approx(0.76 * 25 / 12, abs=0.002)
            assert levels[round(12 * span.start)] == pytest.approx(3, abs=0.7)
            assert levels[round(12 * span.start) - 4] == pytest.approx(0, abs=0.7)  # the first frame, held
            assert levels[round(12 * span.ended_at) + 4] == pytest.approx(24, abs=0.7)


def test_clips_of_the_background_are_shown_whole(dataset, tmp_path):
    own_lists.write_own_lists(dataset, "wave", "wave")
    join_streams.main([str(dataset), str(tmp_path / "out"), "--background", "wave"])
    names = sorted(path.name for path in (tmp_path / "out/videos").iterdir())
    truth = read_truth(tmp_path / "out/truth.json", ["clap"], names)
    still = [VideoFile(tmp_path / "out/videos" / name) for name in names if not truth[name]]
    highest = [max(frame.mean() for _, frame in video.frames()) / 10 for video in still]
    assert highest == pytest.approx([24, 7, 7], abs=0.7)  # the whole clip, and the first 30 % of two gestures


def test_longer_videos_that_are_held_out_are_streams_themselves(dataset, tmp_path):
    videos, rows = tmp_path / "long", ["video,label,start,end"]
    videos.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_video(videos / name, coloured("Red", 120), 12)
        rows += [f"{name},wave,1,3", f"{name},No gesture,4,6", f"{name},clap,7,"]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    folders = [f"{name}@{span}" for name in ("a.mp4", "c.mp4") for span in ("1.000-3.000", "4.000-6.000", "7.000-end")]
    (dataset / "own_val.txt").write_text("".join(f"{folder} 24 0\n" for folder in folders))
    given = ["--background", "No gesture", "--videos", str(videos), "--annotations", str(tmp_path / "a.csv")]
    join_streams.main([str(dataset), str(tmp_path / "out"), *given])
    truth = read_truth(tmp_path / "out/truth.json", ["wave", "clap"], ["00.mp4", "01.mp4"])
    spans = [(span.start, round(span.ended_at, 3), span.label) for span in truth["01.mp4"]]
    assert spans == [(1.0, 3.0, "wave"), (7.0, 10.0, "clap")]
    assert (tmp_path / "out/videos/01.mp4").resolve() == (videos / "c.mp4").resolve()
    (dataset / "own_val.txt").write_text("".join(f"{folder} 24 0\n" for folder in folders[:3]))
    assert not join_streams.link_streams(dataset, "", tmp_path / "none", videos, tmp_path / "a.csv")


# ------------------------------------------------------------------------------------------------------------ steps


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Programs that append their arguments to a file; one fails."""
    (tmp_path / "repo/src").mkdir(parents=True)
    (tmp_path / "repo/shared.py").write_text("")  # programs in folders import from the repository, too
    note = "import shared, sys\nopen(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + '\\n')\n"
    (tmp_path / "repo/src/note.py").write_text(note)
    (tmp_path / "repo/fail.py").write_text("print('much more')\nraise SystemExit('error: no such thing')\n")
    monkeypatch.setattr(programs, "REPO", tmp_path / "repo")
    return tmp_path


def test_only_what_has_changed_is_done_anew(repository):
    noted, output = repository / "noted", repository / "out"

    def run(first, second, fact="x"):
        steps = Programs(repository)  # as in another process
        steps.run("one", ["src/note.py", str(noted), first], [fact], output)
        steps.run("two", ["src/note.py", str(noted), second], ["one"])
        return noted.read_text().split()

    assert run("a", "b") == ["a", "b"]
    assert run("a", "b") == ["a", "b"]
    assert run("a", "c") == ["a", "b", "c"]
    output.mkdir()
    (output / "old").write_text("")
    assert run("d", "c") == ["a", "b", "c", "d", "c"]  # what depends on it too
    assert not output.exists()
    assert run("d", "c", "y") == ["a", "b", "c", "d", "c", "d", "c"]


def test_a_step_that_failed_is_done_again_with_what_it_left(repository):
    """As a training that was stopped: its folder stays, and it resumes there."""
    output = repository / "out"
    for _ in range(2):
        with pytest.raises(InputError, match=r"^step: no such thing \(all of it: .*logs/step.log\)"):
            Programs(repository).run("step", ["fail.py"], [], output)
        output.mkdir(exist_ok=True)
        (output / "checkpoint").write_text("")
    assert (output / "checkpoint").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_step_ends_with_the_command(tmp_path, number):
    """After it has saved, as a training does. Ctrl-C comes to both from the terminal."""
    (tmp_path / "step.py").write_text(
        "import pathlib, signal, sys, time\n"
        "def save(*_):\n    time.sleep(1)\n    pathlib.Path(sys.argv[1]).touch()\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save)\nsignal.signal(signal.SIGINT, save)\n"
        "print('begun', flush=True)\ntime.sleep(60)\n"
    )
    call = (
        f"Programs(Path({str(tmp_path)!r})).run('step', [{str(tmp_path / 'step.py')!r}, {str(tmp_path / 'saved')!r}])"
    )
    code = (
        "from pathlib import Path; from model_utils.stop_signals import raise_on_sigterm;"
        f" from src.own_gestures.programs import Programs; raise_on_sigterm(); {call}"
    )
    program = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL)
    log = tmp_path / "logs" / "step.log"
    while not (log.exists() and log.read_text()):
        assert program.poll() is None
        time.sleep(0.05)
    (os.killpg if number == signal.SIGINT else os.kill)(program.pid, number)
    assert program.wait(30) != 0
    assert (tmp_path / "saved").exists()


# ---------------------------------------------------------------------------------------------------------- network


def test_the_network_is_that_of_the_checkpoint(tmp_path):
    save_checkpoint(tmp_path / "trn.ckpt", tiny_network().parameters_dict(), describe(settings(), CLASSES))
    found, whole = network.start_of(tmp_path / "trn.ckpt")
    assert whole
    expected = {"width_mult": 0.0625, "image_size": settings().image_size, "num_segments": 3, "img_feature_dim": 8}
    assert {key: found[key] for key in expected} == expected
    assert network.start_of(None) == ({"width_mult": 0.25, "image_size": 64}, False)


@pytest.mark.parametrize(
    ("name", "converter"),
    [
        ("trn.ckpt", None),
        ("TRN_jester_RGB_BNInception_TRNmultiscale_segment8_best.pth.tar", "src/convert_trn_pytorch.py"),
        ("bn_inception-9f5701afb96c8044.pth", "src/convert_bn_inception.py"),
    ],
)
def test_files_of_pytorch_are_converted_first(tmp_path, monkeypatch, name, converter):
    commands = []
    monkeypatch.setattr(Programs, "run", lambda self, step, command, after: commands.append(command))
    start = tmp_path / name
    start.write_bytes(b"weights")
    args = SimpleNamespace(start=start, out_dir=tmp_path / "out", minutes=10.0)
    taken = main.Run(args).convert_start()
    if converter is None:
        assert (taken, commands) == (start, [])
    else:
        assert taken == tmp_path / "out/start.ckpt"
        assert commands == [[converter, str(start), str(taken)]]


@pytest.mark.parametrize(
    ("start", "train", "seconds", "epochs", "top1", "trained", "taken"),
    [
        (True, "both", 60, 50, {"frozen": 0.8, "whole": 0.9}, ["frozen", "whole"], "whole"),
        (True, "both", 60, 50, {"frozen": 0.9, "whole": 0.9}, ["frozen", "whole"], "frozen"),
        (True, "both", 60, 50, {"frozen": 1.0}, ["frozen"], "frozen"),  # nothing is better
        (True, "both", 600, 50, {"frozen": 0.8}, ["frozen"], "frozen"),  # no time is left
        (True, "both", 60, 20, {"frozen": 0.8}, ["frozen"], "frozen"),  # for the fewest epochs only
        (True, "frozen", 60, 50, {"frozen": 0.8}, ["frozen"], "frozen"),
        (True, "whole", 60, 50, {"whole": 0.8}, ["whole"], "whole"),
        (False, "both", 60, 20, {"whole": 0.8}, ["whole"], "whole"),
    ],
)
def test_which_trainings_are_made_and_which_is_taken(
    dataset, monkeypatch, start, train, seconds, epochs, top1, trained, taken
):
    made = {}

    def epochs_that_fit(keys, left):
        assert left == 600 - (seconds if made else 0)
        return epochs

    run = main.Run(SimpleNamespace(out_dir=dataset, minutes=10.0, start=None, train=train, seed=0))
    run.dataset = dataset
    own_lists.write_own_lists(dataset, "", "No gesture")
    monkeypatch.setattr(network, "start_of", lambda path: ({}, True))
    monkeypatch.setattr(network, "last_checkpoint", lambda folder: folder)
    monkeypatch.setattr(run.programs, "seconds", lambda step: seconds)
    monkeypatch.setattr(run, "epochs_that_fit", epochs_that_fit)

    def train_one(step, keys):
        way = step.removeprefix("train-")
        made[way] = keys
        return {"top1": top1[way]}

    monkeypatch.setattr(run, "train_one", train_one)
    path = dataset / "start.ckpt" if start else None
    assert run.train(path, "No gesture") == run.out / f"train-{taken}"
    assert list(made) == trained
    for way, keys in made.items():
        given = {key: keys[key] for key in ("pre_trained", "pre_trained_backbone", "freeze_backbone") if key in keys}
        kinds = {"frozen": {"pre_trained_backbone": str(path), "freeze_backbone": True}}
        assert given == (kinds.get(way, {"pre_trained": str(path)}) if start else {})


def test_a_config_that_the_user_edited_stays(tmp_path):
    path = tmp_path / "whole.yaml"
    keys = network.for_epochs(network.recipe({"width_mult": 0.25}, tmp_path, "rest", 30, 0), 40)

    def written(mark):
        network.write_config(path, mark, keys)
        return load_config(["--config_path", str(path)])  # every key is one

    config = written("# mark")
    assert {key: getattr(config, key) for key in keys} == keys
    assert (config.epochs_num, config.update_lr_epochs, config.sliding_windows) == (40, 32, 0.5)
    assert (config.background_class, config.freeze_bn, config.dropout) == ("rest", False, 0.0)
    path.write_text(path.read_text().replace("epochs_num: 40", "epochs_num: 9"))
    assert written("# mark").epochs_num == 9
    assert written("# another").epochs_num == 40  # --minutes or --from is another


@pytest.mark.parametrize(("seconds", "an_epoch", "expected"), [(600, 6, 100), (1, 6, 20), (-5, 6, 20), (600, 0.1, 400)])
def test_epochs_in_the_time(seconds, an_epoch, expected):
    assert network.epochs_in(seconds, an_epoch) == expected


@pytest.mark.parametrize(
    ("lengths", "expected"), [([12, 36, 24], [1.5, 2.0, 2.5]), ([48], [3.0, 4.0, 5.0]), ([6, 6], [0.5, 0.62])]
)
def test_windows_are_about_as_long_as_the_usual_clip(tmp_path, lengths, expected):
    """In seconds, of clips of 12 frames a second."""
    run = main.Run(SimpleNamespace(out_dir=tmp_path, minutes=10.0, start=None))
    run.dataset.mkdir()
    (run.dataset / "own_val.txt").write_text("".join(f"{number} {n} 0\n" for number, n in enumerate(lengths)))
    assert run.windows() == expected


# ---------------------------------------------------------------------------------------------------------- summary


@pytest.mark.parametrize(
    ("count", "low", "high"), [(0, 0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (100, 81.36, 121.63)]
)
def test_the_interval_of_a_count(count, low, high):
    """Against the tables of Garwood's exact interval."""
    assert summary.poisson_interval(count) == pytest.approx((low, high), abs=0.01)


def test_three_lines():
    metrics = {"top1": 0.9, "top1_interval_95": [0.6, 0.98], "clips": 10}
    found = {"recall": 0.75, "gestures": 20, "events": 17, "matched": 15}
    line = summary.held_out_expectation(metrics, {"on_other_videos": found, "minutes": 2.0})
    assert line.startswith(
        "Expect: 90 % of clips right (60 to 98), 75 % of gestures found in streams (53 to 89), 1.0 false"
    )
    assert "1.0 false alarms a minute (0.1 to 3.6)" in line
    classes = [
        {"class": "wave", "support": "4", "recall": "1.0", "most_confused_with": ""},
        {"class": "clap", "support": "4", "recall": "0.5", "most_confused_with": "wave"},
        {"class": "rest", "support": "4", "recall": "0.0", "most_confused_with": "wave"},
        {"class": "nobody", "support": "0", "recall": "0.0", "most_confused_with": ""},
    ]
    said = summary.weakest(classes, "rest")
    assert said.startswith(
        "Weakest class: clap, 2 of 4 clips right, taken for wave; record ten more clips of clap and of wave"
    )
    assert summary.weakest(classes[:1], "rest").startswith("Weakest class: none")


# --------------------------------------------------------------------------------------------------- the whole of it


def test_wrong_arguments(tmp_path):
    (tmp_path / "videos/wave").mkdir(parents=True)
    for number in range(3):
        write_video(tmp_path / f"videos/wave/{number}.mp4", coloured("Red", 4))
    with pytest.raises(InputError, match="too few clips: wave 3; expected 4 of each class"):
        main.main([str(tmp_path / "videos"), str(tmp_path / "out")])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    with pytest.raises(InputError, match="is not empty, and my_gestures.sh did not make it"):
        main.main([str(tmp_path / "videos"), str(tmp_path / "full")])
    (tmp_path / "a.txt").write_text("")
    for options, message in (
        (["--from", str(tmp_path / "none.ckpt")], "none.ckpt: no such file"),
        (["--from", str(tmp_path / "a.txt")], "expected a name that ends in .ckpt, .pth.tar or .pth"),
    ):
        with pytest.raises(InputError, match=message):
            main.main([str(tmp_path / "videos"), str(tmp_path / "out"), *options])
