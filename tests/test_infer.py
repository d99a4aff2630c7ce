"""infer.py as a whole, in the ways it looks at a source, with networks that know nothing but colours."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re

import cv2
import numpy as np
import pytest
from mindspore import Tensor

import infer as program
from model_utils.config import load_config
from model_utils.errors import InputError
from src.data import video
from src.data.clips import EvaluationLoader
from src.data.frame_files import VideoRecord
from src.evaluation.evaluator import Evaluator
from src.evaluation.scoring import ClipScorer
from src.inference import timeline
from src.ops import compat
from src.shipping import export, exported
from src.training.checkpoint import describe, save_checkpoint
from src.transforms import CAFFE_PIXELS
from tests.helpers.clips import folders
from tests.helpers.colours import (
    NAMES,
    changing_frames,
    colour_network,
    colour_settings,
    coloured,
    ordering_network,
    write_folder,
    write_video,
)
from tests.helpers.containers import damage, rotate, set_intervals
from tests.helpers.networks import SIDE
from tests.helpers.refusals import refusal


@pytest.fixture
def models(tmp_path_factory, monkeypatch):
    """Checkpoints of the two networks, and what to call infer.py needs: no device, and these networks for theirs."""
    networks = {"colours": colour_network, "orders": ordering_network}
    heads = {"colours": "avg", "orders": "TRNmultiscale"}
    folder = tmp_path_factory.mktemp("models")
    for name, build in networks.items():
        about = describe(colour_settings(consensus_type=heads[name]), NAMES, epoch=1, step=1)
        save_checkpoint(folder / f"{name}.ckpt", build().parameters_dict(), about)
    by_head = {heads[name]: build for name, build in networks.items()}
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
    monkeypatch.setattr("src.training.checkpoint.build_network", lambda config, _: by_head[config.consensus_type]())
    return folder


def run(model, *sources, options=(), result=None):
    arguments = ["--model", str(model), "--source", *map(str, sources), *map(str, options)]
    config = load_config(
        [*arguments, *(["--json", str(result)] if result else [])], add_arguments=program.add_arguments
    )
    program.infer(config)
    return json.loads(result.read_text()) if result else None


def write_exported(path, content, config, names):
    """Any content as an exported network, with the JSON that belongs to it."""
    path.write_text(content)
    about = export.usage(config, names, path.name, hashlib.sha256(content.encode()).hexdigest(), CAFFE_PIXELS)
    path.with_name(f"{path.name}.json").write_text(json.dumps(about))


# ------------------------------------------------------------------------------------------------- the whole at once


def test_a_clip_is_the_same_in_a_folder_and_in_every_kind_of_video(models, tmp_path, capsys):
    frames = changing_frames(29)
    sources = [write_folder(tmp_path / "clip", frames, ".png")]
    sources += [write_video(tmp_path / f"clip{suffix}", frames) for suffix in (".mp4", ".avi", ".webm")]
    folder, *videos = run(models / "orders.ckpt", *sources, options=["--test_crops", 5], result=tmp_path / "r.json")
    assert [row["source"] for row in (folder, *videos)] == [str(source) for source in sources]
    assert folder["num_frames"] == 29
    assert folder["frame_indices"] == [int(29 / 3 * (i + 0.5)) for i in range(3)]
    probabilities = np.exp(folder["logits"]) / np.exp(folder["logits"]).sum()
    assert [row["probability"] for row in folder["top"]] == pytest.approx(sorted(probabilities)[::-1], rel=1e-5)
    assert folder["top"][0]["label"] == NAMES[int(np.argmax(folder["logits"]))]
    for other in videos:
        assert {key: other[key] for key in ("num_frames", "frame_indices")} == {
            key: folder[key] for key in ("num_frames", "frame_indices")
        }
        assert other["top"][0]["label"] == folder["top"][0]["label"]
        np.testing.assert_allclose(other["logits"], folder["logits"], atol=0.3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"[1/4] {sources[0]}: 29 frames, 3 of them looked at"
    assert lines[1] == f"{folder['top'][0]['probability']:8.2%}  {folder['top'][0]['label']}"


@pytest.mark.parametrize(("crops", "flip"), [(1, "none"), (10, "label_aware")])
def test_scores_of_a_folder_are_those_of_the_evaluation(models, tmp_path, crops, flip):
    write_folder(tmp_path / "clip", changing_frames(17))
    result = run(
        models / "orders.ckpt",
        tmp_path / "clip",
        options=["--test_crops", crops, "--flip", flip],
        result=tmp_path / "r.json",
    )
    mirrored = np.arange(4) if flip == "label_aware" else None
    scorer = ClipScorer(ordering_network(), test_crops=crops, mirrored=mirrored)
    evaluate = Evaluator(scorer, EvaluationLoader(folders(tmp_path), 3, SIDE, crops), [VideoRecord("clip", 17, 0)])
    np.testing.assert_allclose(result["logits"], evaluate().scores[0], rtol=0, atol=1e-5)


def test_a_folder_of_videos_and_one_that_is_broken(models, tmp_path, capsys):
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "2.mp4", coloured("Red", 5))
    (folder / "10.mp4").write_text("not a video")
    write_video(folder / "11.avi", coloured("Blue", 5))
    with pytest.raises(InputError, match="10.mp4: not a video"):
        run(models / "colours.ckpt", folder)
    red, broken, blue = run(models / "colours.ckpt", folder, options=["--on_error", "skip"], result=tmp_path / "r.json")
    assert (red["top"][0]["label"], blue["top"][0]["label"]) == ("Red", "Blue")
    assert broken["error"].startswith(str(folder / "10.mp4"))
    assert "[2/3] left out: " in capsys.readouterr().out


@pytest.mark.parametrize(("count", "height", "width"), [(1, 40, 52), (5, 1, 1), (5, 200, 90), (2, 2160, 3840)])
def test_any_length_and_any_size(models, tmp_path, count, height, width):
    write_folder(tmp_path / "clip", coloured("Green", count, height, width), ".png")
    result = run(models / "colours.ckpt", tmp_path / "clip", result=tmp_path / "r.json")
    assert result["top"][0]["label"] == "Green"
    assert result["top"][0]["probability"] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("file_format", "batch", "relations"), [("MINDIR", 2, "sampled"), ("ONNX", 0, "all")])
def test_an_exported_network_gives_the_checkpoints_scores(
    models, compiled, tmp_path, monkeypatch, file_format, batch, relations
):
    if not compat.EXPORTS_ANY_BATCH and file_format == "ONNX":
        pytest.skip("not with this package")
    started = []
    monkeypatch.setattr("model_utils.device_adapter.start_device", started.append)
    config = colour_settings(relations=relations, file_format=file_format, export_batch_size=batch)
    path = tmp_path / f"trn.{file_format.lower()}"
    network = ordering_network()
    export.export_network(network, config, NAMES, path)
    write_folder(tmp_path / "clip", changing_frames(17))
    options = ["--test_crops", 5]
    found = run(path, tmp_path / "clip", options=options, result=tmp_path / "r.json")
    assert len(started) == (file_format == "MINDIR")  # ONNX needs no MindSpore device
    options += ["--relations", relations]
    expected = run(models / "orders.ckpt", tmp_path / "clip", options=options, result=tmp_path / "r.json")
    assert found["top"][0]["label"] == expected["top"][0]["label"]
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=0, atol=1e-4)


# --------------------------------------------------------------------------------------------------- parts of a video

GESTURES = ["Red", "Blue"]


@pytest.fixture
def two_gestures(tmp_path):
    """A video at 10 frames a second: two colours of 2 s each with 2 s of grey before each, and at the end."""
    frames = [frame for name in GESTURES for frame in coloured("No gesture", 20) + coloured(name, 20)]
    return write_video(tmp_path / "two.mp4", frames + coloured("No gesture", 20), rate=10)


def test_a_timeline(models, tmp_path, two_gestures, capsys):
    options = ["--window", 1, "--stride", 0.5]
    result = run(models / "colours.ckpt", two_gestures, options=options, result=tmp_path / "r.json")
    assert {key: result[key] for key in ("num_frames", "rate", "window", "stride")} == {
        "num_frames": 100,
        "rate": pytest.approx(10),
        "window": 1,
        "stride": 0.5,
    }
    timeline = result["timeline"]
    assert [row["start"] for row in timeline] == pytest.approx(np.arange(0, 9.1, 0.5))
    assert [row["end"] for row in timeline] == pytest.approx(np.arange(1, 10.1, 0.5))
    for row in timeline:
        gesture, within = divmod(row["start"], 4)
        if within <= 1 or 2 <= within <= 3:  # the others are of two colours
            assert row["label"] == ("No gesture" if within <= 1 else GESTURES[int(gesture)])
            assert row["probability"] > 0.99
    shown = f"{2:8.2f} s {3:8.2f} s {timeline[4]['probability']:8.2%}  Red"
    assert shown in capsys.readouterr().out.splitlines()


def test_gestures_start_and_end_in_a_stream(models, tmp_path, two_gestures, capsys):
    options = ["--stream", "--window", 0.6]
    result = run(models / "colours.ckpt", two_gestures, options=options, result=tmp_path / "r.json")
    assert (result["num_frames"], result["window"]) == (100, pytest.approx(0.6))
    assert [event["label"] for event in result["events"]] == GESTURES
    for number, event in enumerate(result["events"]):
        # Noticed once the colour fills most of the 0.6 s, and no longer after as long.
        assert event["start"] == pytest.approx(4 * number + 2.4, abs=0.4)
        assert event["end"] == pytest.approx(4 * number + 4.4, abs=0.5)
        assert event["probability"] > 0.9
    said = [line.split()[2:4] for line in capsys.readouterr().out.splitlines() if " s  " in line]
    assert said == [[what, name] for name in GESTURES for what in ("starts", "ends")]


@pytest.mark.parametrize(
    ("options", "size"),
    [([], (1, 1)), (["--window", "1"], (40, 1)), (["--stream", "--window", "0.6"], (4, 20_000))],
)
def test_a_video_that_cannot_be_written_is_known_before_the_work(models, tmp_path, options, size, capsys):
    frame = np.zeros((*size, 3), np.uint8)
    source, output = write_folder(tmp_path / "clip", [frame] * 3), tmp_path / "out.mp4"
    said = re.escape(f"{output}: cannot write a video of {size[1]}x{size[0]} pixels")
    with pytest.raises(InputError, match=f"^{said}$"):
        run(models / "orders.ckpt", source, options=[*options, "--output", output], result=tmp_path / "r.json")
    assert capsys.readouterr().out == ""
    assert os.listdir(tmp_path) == ["clip"]


def test_ctrl_c_ends_a_stream_and_keeps_what_was_seen(models, tmp_path, two_gestures, monkeypatch):
    frames = video.VideoFile.frames

    def interrupted(self, wanted=None):
        for index, frame in frames(self, wanted):
            if index == 35:
                raise KeyboardInterrupt
            yield index, frame

    monkeypatch.setattr(video.VideoFile, "frames", interrupted)
    options = ["--stream", "--window", 0.6, "--output", tmp_path / "out.mp4"]
    result = run(models / "colours.ckpt", two_gestures, options=options, result=tmp_path / "r.json")
    assert [(event["label"], event["end"]) for event in result["events"]] == [("Red", pytest.approx(3.4))]
    monkeypatch.undo()
    assert video.open_source(str(tmp_path / "out.mp4")).num_frames == 35


@pytest.mark.parametrize("options", [[], ["--window", "1"], ["--stream", "--window", "0.6"]])
def test_the_video_that_is_written(models, tmp_path, two_gestures, options):
    """At the source's size and rate, with the label's colour at the lower edge and the picture as it was in between."""
    output = tmp_path / "new" / "out.mp4"
    run(models / "colours.ckpt", two_gestures, options=[*options, "--output", output])
    source, written = (video.open_source(str(path)) for path in (two_gestures, output))
    assert (written.num_frames, written.rate) == (source.num_frames, pytest.approx(source.rate))
    for (index, before), (_, after) in zip(source.frames(), written.frames()):
        assert before.shape == after.shape
        np.testing.assert_allclose(after[18:30].mean((0, 1)), before[18:30].mean((0, 1)), atol=12, err_msg=str(index))
        assert after[:4].mean() < before[:4].mean()


@pytest.mark.parametrize(
    ("options", "degrees"), [([], 90), (["--window", "1"], 180), (["--stream", "--window", "0.6"], 270)]
)
def test_a_video_with_a_rotation_is_written_upright(models, tmp_path, options, degrees):
    """Blue at the left of the picture that is stored; a frame of 40x52 pixels becomes one of 52x40."""
    frame = np.full((40, 52, 3), 60, np.uint8)
    frame[:, :26, 0] = 220
    path = rotate(write_video(tmp_path / "phone.mp4", [frame] * 24), degrees)
    run(models / "colours.ckpt", path, options=[*options, "--output", tmp_path / "out.mp4"])
    expected = np.rot90(frame, -degrees // 90)
    written = [frame for _, frame in video.open_source(str(tmp_path / "out.mp4")).frames()]
    assert {frame.shape for frame in written} == {expected.shape}
    height, width = expected.shape[:2]
    for y, x in ((height // 2 + down, side) for down in (-4, 4) for side in (8, width - 8)):
        assert int(written[12][y, x, 0]) == pytest.approx(int(expected[y, x, 0]), abs=30)


def test_an_uneven_video(models, tmp_path, capsys):
    """Red for 30 s, blue 30, green 90, red 30, green 30: as a whole, on a timeline and in a stream."""
    frames = [coloured(name, 1)[0] for name in ("Red", "Blue", "Green", "Red", "Green")]
    path = set_intervals(write_video(tmp_path / "v.mp4", frames), [30.0, 30.0, 90.0, 30.0, 30.0])
    whole = run(models / "colours.ckpt", path, result=tmp_path / "r.json")
    assert whole["frame_indices"] == [1, 2, 3]  # at 35, 105 and 175 s of 210
    assert "210 s in one answer" in capsys.readouterr().out
    options = ["--window", 15, "--stride", 45, "--output", tmp_path / "out.mp4"]
    result = run(models / "colours.ckpt", path, options=options, result=tmp_path / "r.json")
    assert [row["label"] for row in result["timeline"]] == ["Red", "Blue", "Green", "Green", "Green", "Green"]
    assert [row["start"] for row in result["timeline"]] == pytest.approx([0, 45, 90, 135, 180, 195])
    assert f"{path}: 5 frames, 210.0 s" in capsys.readouterr().out
    assert video.open_source(str(tmp_path / "out.mp4")).num_frames == 5
    followed = run(models / "colours.ckpt", path, options=["--stream"], result=tmp_path / "r.json")
    assert followed["seconds"] == pytest.approx(180)


def test_a_damaged_video_is_warned_of(models, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(256, size=(60, 48, 96, 3), dtype=np.uint8)
    path = damage(write_video(tmp_path / "v.mp4", list(noise)), 0.4, 0.6)
    for options in ([], ["--window", "1"], ["--stream"]):
        result = run(models / "colours.ckpt", path, options=options, result=tmp_path / "r.json")
        said = capsys.readouterr().err
        assert said.count("frames could be decoded") == 1
        assert f"warning: {result['warning']}\n" in said
    whole = write_video(tmp_path / "whole.mp4", list(noise))
    assert "warning" not in run(models / "colours.ckpt", whole, result=tmp_path / "r.json")
    assert "warning" not in capsys.readouterr().err


def test_names_that_are_not_utf8(models, tmp_path, foreign, capsys):
    """Read, written, printed on a terminal that takes UTF-8 only, and in the JSON; several, and one that is broken."""
    write_video(tmp_path / "v.mp4", coloured("Red", 24)).rename(foreign / "v.mp4")
    for options in ([], ["--window", "1"], ["--stream"]):
        options = [*options, "--output", foreign / f"{foreign.name}.mp4"]
        result = run(models / "colours.ckpt", foreign / "v.mp4", options=options, result=foreign / "r.json")
        assert result["source"] == str(foreign / "v.mp4")
        assert video.open_source(str(foreign / f"{foreign.name}.mp4")).num_frames == 24
        (foreign / f"{foreign.name}.mp4").unlink()
    (foreign / "r.json").unlink()
    (foreign / "broken.mp4").touch()
    _, good = run(models / "colours.ckpt", foreign, options=["--on_error", "skip"], result=tmp_path / "r.json")
    assert good["top"][0]["label"] == "Red"
    capsys.readouterr().out.encode()


def test_an_output_that_exists_and_a_camera(models, tmp_path):
    (tmp_path / "out.mp4").write_text("old")
    with pytest.raises(InputError, match="camera 97: cannot be opened"):
        run(models / "colours.ckpt", "97", options=["--stream", "--output", tmp_path / "out.mp4"])
    assert (tmp_path / "out.mp4").read_text() == "old"


# ------------------------------------------------------------------------------------------------------ what is kept


@pytest.fixture
def red_bad_blue(tmp_path):
    """Three sources, of which the second cannot be read."""
    (tmp_path / "2.mp4").write_text("not a video")
    red, blue = (write_video(tmp_path / f"{n}.mp4", coloured(name, 5)) for n, name in ((1, "Red"), (3, "Blue")))
    return [red, tmp_path / "2.mp4", blue]


def labels(path):
    return [row["top"][0]["label"] if "top" in row else row.get("error", "") for row in json.loads(path.read_text())]


@pytest.mark.parametrize("error", [InputError("2.mp4: not a video"), KeyboardInterrupt()])
def test_what_ends_the_run_keeps_what_was_recognised_before(models, tmp_path, red_bad_blue, monkeypatch, error):
    opened = video.open_source

    def ends(path):
        if path.endswith("2.mp4"):
            raise error
        return opened(path)

    monkeypatch.setattr("src.inference.recognise.open_source", ends)
    with pytest.raises(type(error)):
        run(models / "colours.ckpt", *red_bad_blue, result=tmp_path / "r.json")
    assert labels(tmp_path / "r.json") == ["Red", str(error)]


@pytest.mark.parametrize("on_error", ["skip", "stop"])
def test_nothing_that_was_recognised_is_an_error_and_no_json(models, tmp_path, on_error):
    sources = [tmp_path / "1.mp4", tmp_path / "2.mp4"]
    for path in sources:
        path.write_text("not a video")
    said = {"skip": "nothing was recognised: all 2 sources were left out", "stop": "1.mp4: not a video"}[on_error]
    with pytest.raises(InputError, match=said):
        run(models / "colours.ckpt", *sources, options=["--on_error", on_error], result=tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists()


def test_ctrl_c_on_a_timeline_keeps_its_windows(models, tmp_path, monkeypatch):
    write_folder(tmp_path / "clip", coloured("Red", 48))
    whole = timeline.recognise_windows

    def interrupted(*arguments):
        for number, span in enumerate(whole(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield span

    monkeypatch.setattr("src.inference.timeline.recognise_windows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(models / "colours.ckpt", tmp_path / "clip", options=["--window", "1"], result=tmp_path / "r.json")
    assert [row["label"] for row in json.loads((tmp_path / "r.json").read_text())["timeline"]] == ["Red", "Red"]


@pytest.mark.parametrize("option", ["--json", "--explain"])
def test_a_full_disk(models, tmp_path, monkeypatch, option):
    """One line that names the file, the old file as it was, and the answers in the JSON if it can be written."""
    source = write_folder(tmp_path / "clip", coloured("Red", 3))
    files = {"--json": tmp_path / "out" / "r.json", "--explain": tmp_path / "out" / "e.png"}
    (tmp_path / "out").mkdir()
    files[option].write_text("old")
    options = [part for name, path in files.items() for part in (name, path)]
    fsync = os.fsync

    def full(file):
        if os.readlink(f"/proc/self/fd/{file}").endswith(f".partial{files[option].suffix}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    said = re.escape(f"{files[option]}: cannot write the file: No space left on device")
    with pytest.raises(InputError, match=f"^{said}$"):
        run(models / "orders.ckpt", source, options=options)
    assert files[option].read_text() == "old"
    assert sorted(os.listdir(tmp_path / "out")) == ["e.png", "r.json"]
    if option == "--explain":
        found = json.loads(files["--json"].read_text())
        assert found["error"] == f"{files[option]}: cannot write the file: No space left on device"
        assert (len(found["logits"]), found["explanation"]["label"]) == (4, found["top"][0]["label"])


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("options", [[], ["--window", "1"], ["--stream", "--window", "1"]])
def test_scores_that_are_no_numbers(models, tmp_path, monkeypatch, options):
    """Weights that are finite, and sums of them that are not."""
    network = ordering_network()
    for scale in network.consensus.fc_fusion_scales:
        last = scale.cell_list[3]
        last.bias.set_data(Tensor(np.full(4, 3e38, np.float32)))
    about = describe(colour_settings(), NAMES, epoch=1, step=1)
    save_checkpoint(tmp_path / "nan.ckpt", network.parameters_dict(), about)
    write_folder(tmp_path / "clip", coloured("Red", 24))
    with pytest.raises(InputError, match="scores.* are NaN or infinite"):
        run(tmp_path / "nan.ckpt", tmp_path / "clip", options=options)


@pytest.mark.parametrize(
    ("options", "crops"),
    [([], 10), (["--explain", "e.png"], 1), (["--explain", "e.png", "--test_crops", "5"], 5)],
)
def test_an_explanation_is_of_the_scores_that_are_printed(monkeypatch, tmp_path, options, crops):
    """It is of the centre crop, so the scores are, unless other crops are asked for."""
    seen = []

    def load(config, categories):
        seen.append(config.test_crops)
        raise InputError("no further")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("src.inference.model.load_model", load)
    write_folder(tmp_path / "clip", coloured("Red", 3))
    with pytest.raises(InputError, match="no further"):
        run("trn.onnx", "clip", options=options)
    assert seen == [crops]


@pytest.mark.parametrize("given", [[], ["--is_train_distributed", "true"], ["--device_target", "Ascend"]])
def test_nobody_has_asked_for_a_gpu(monkeypatch, capsys, given):
    """The config's own default gives way to the CPU; what the user asks for does not."""
    from model_utils.device_adapter import start_device

    started = []

    def without_gpu(**settings):
        started.append(settings["device_target"])
        if settings["device_target"] != "CPU":
            raise RuntimeError("Unsupported device target.\nAnd much more")

    monkeypatch.setattr("mindspore.set_context", without_gpu)
    config = load_config(given)
    if given:
        said = r"cannot be used here \(--device_target CPU runs anywhere\): Unsupported device target\.[^\n]*$"
        with pytest.raises(InputError, match=said):
            start_device(config)
        assert len(started) == 1
        return
    assert start_device(config) == (0, 1)
    assert started == ["GPU", "CPU"]
    assert config.device_target == "CPU"
    assert capsys.readouterr().err == "device_target GPU: none can be used here, so this runs on the CPU\n"


def test_the_environment_chooses_the_device(monkeypatch):
    """It wins over a file and the default; the command line wins over it."""
    monkeypatch.setenv("DEVICE_TARGET", "Ascend")
    config = load_config([])
    assert (config.device_target, "device_target" in config.given) == ("Ascend", True)
    synthetic = "configs/synthetic_config.yaml"  # says CPU
    assert load_config(["--config_path", synthetic]).device_target == "Ascend"
    assert load_config(["--device_target", "CPU"]).device_target == "CPU"
    monkeypatch.setenv("DEVICE_TARGET", "TPU")
    with pytest.raises(InputError, match=r"^DEVICE_TARGET: 'TPU' is not allowed, expected one of GPU, CPU, Ascend"):
        load_config([])
    monkeypatch.setenv("DEVICE_TARGET", "")
    assert load_config([]).device_target == "GPU"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--realtime"], "--realtime: needs --stream"),
        (["--stride", "1"], "--stride: needs --window"),
        (["--stride", "1", "--window", "1", "--stream"], "--stride: needs --window, and no --stream"),
        (["--explain_class", "Red"], "--explain_class: needs --explain"),
        (["--explain", "{}/e.png", "--stream"], "--explain: needs a whole clip"),
        (["--explain", "{}/e.png", "--explain_class", "Rad"], "'Rad' is none of Blue, Green, Red, No gesture"),
        (["--stream", "--relations", "sampled"], "--stream: needs --relations all"),
        (["--output", "{}/out.gif"], "out.gif: expected the name of a video that ends in .mp4"),
        (["--output", "{}/frame/out.mp4"], "out.mp4: cannot write the file"),
        (["--json", "{}/frame/out.json"], "out.json: cannot write the file"),
        (["--explain", "{}"], "cannot write the file: it is a folder"),
        (["--categories", "{}/two.txt"], "trained for 4 classes, the dataset lists 2"),
        (["--source", "{}/clip", "{}/clip", "--explain", "e.png"], "--output and --explain take one source"),
    ],
)
def test_options_that_cannot_be_followed(models, tmp_path, options, message):
    write_folder(tmp_path / "clip", coloured("Red", 3))
    (tmp_path / "frame").touch()
    (tmp_path / "two.txt").write_text("Blue\nGreen\n")
    options = [text.format(tmp_path) for text in options]
    assert message in refusal(run, models / "orders.ckpt", tmp_path / "clip", options=options)


def test_a_source_is_not_written_over(models, tmp_path):
    clip = write_video(tmp_path / "clip.mp4", coloured("Red", 5))
    before = clip.read_bytes()
    with pytest.raises(InputError, match="--output: .*clip.mp4 would be written over: .* is read"):
        run(models / "orders.ckpt", clip, options=["--output", tmp_path / "." / "clip.mp4"])
    assert clip.read_bytes() == before


@pytest.fixture
def no_work(monkeypatch):
    """Any work is an error: a device, a model, a source that is opened."""
    for name in ("model_utils.device_adapter.start_device", "src.inference.model.load_model"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("started to work"))
    monkeypatch.setattr("src.inference.recognise.open_source", lambda *_: pytest.fail("started to work"))


# Through links, too: `check_outputs` in tests/model_utils/test_util.py.
READ = ["clip.mp4", "trn.onnx", "trn.onnx.json", "trn.json", "classes.txt", "settings.yaml", "frames/00002.jpg"]


@pytest.mark.parametrize(
    ("option", "target"),
    [*(("--json", name) for name in [*READ, "output.mp4"]), ("--explain", "trn.onnx"), ("--output", "output.mp4")],
)
def test_no_file_is_written_over_what_is_read_or_written(models, tmp_path, no_work, option, target):
    write_folder(tmp_path / "frames", coloured("Red", 3))
    files = ("clip.mp4", "trn.onnx", "trn.onnx.json", "trn.json", "classes.txt", "output.mp4")
    for name in files:
        (tmp_path / name).write_text(name)
    (tmp_path / "settings.yaml").write_text("seed: 1\n")
    others = {"--categories": "classes.txt", "--config_path": "settings.yaml"}
    others["--explain" if option == "--json" else "--json"] = "output.mp4"
    source = "frames" if target.startswith("frames/") else "clip.mp4"
    given = [part for name, file in others.items() for part in (name, tmp_path / file)]
    said = refusal(run, tmp_path / "trn.onnx", tmp_path / source, options=[*given, option, tmp_path / target])
    assert f" would be written over: {tmp_path / target} is read" in said or "writes it too" in said
    assert ("writes it too" in said) == (target == "output.mp4")
    assert [(tmp_path / name).read_text() for name in files] == list(files)


@pytest.mark.parametrize(("option", "name"), [("--explain", "e.PNG"), ("--output", "o.mp4"), ("--explain", "e.jpg")])
def test_a_new_picture_is_not_put_among_the_frames(models, tmp_path, no_work, option, name):
    write_folder(tmp_path / "frames", coloured("Red", 3))
    (tmp_path / "link").symlink_to(tmp_path / "frames")
    for folder in ("frames", "link"):
        with pytest.raises(InputError, match=f"{option}: .*{name} would be taken for a part of the source"):
            run(models / "orders.ckpt", tmp_path / "frames", options=[option, tmp_path / folder / name])
    assert len(os.listdir(tmp_path / "frames")) == 3


def test_a_stream_that_is_too_short(models, tmp_path, capsys):
    write_folder(tmp_path / "clip", coloured("Red", 1))
    result = run(models / "orders.ckpt", tmp_path / "clip", options=["--stream"], result=tmp_path / "r.json")
    assert (result["num_frames"], result["events"]) == (1, [])
    assert "0.00 s are too short: nothing is recognised before 3 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("--stream", r", or the two files of export.py --streaming true, such as trn_frame.mindir; trn.mindir takes"),
        ("--explain", ", an exported file gives scores only"),
    ],
)
def test_an_exported_network_is_not_looked_into(models, tmp_path, monkeypatch, option, instead):
    write_folder(tmp_path / "clip", coloured("Red", 3))
    config = colour_settings(file_format="MINDIR", export_batch_size=1)
    write_exported(tmp_path / "trn.mindir", "", config, NAMES)
    monkeypatch.setattr(exported, "load_exported", lambda path: lambda inputs: np.zeros((1, 4), np.float32))
    options = ["--stream"] if option == "--stream" else ["--explain", tmp_path / "e.png"]
    with pytest.raises(InputError, match=rf"{option}: needs a checkpoint \(.ckpt\){instead}"):
        run(tmp_path / "trn.mindir", tmp_path / "clip", options=options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trn.onnx", "trn.onnx: (not a whole ONNX file|the package onnx)"),
        ("trn.mindir", "trn.mindir: MindSpore .* cannot read it as MINDIR"),
    ],
)
def test_an_exported_network_that_is_not_whole(models, tmp_path, name, message):
    """What else can be wrong with it stands in tests/shipping/test_exported.py."""
    write_folder(tmp_path / "clip", coloured("Red", 3))
    config = colour_settings(file_format=name[4:].upper(), export_batch_size=0)
    write_exported(tmp_path / name, "junk", config, NAMES)
    with pytest.raises(InputError, match=message):
        run(tmp_path / name, tmp_path / "clip")


def test_scores_that_the_named_classes_do_not_fit(models, tmp_path, monkeypatch):
    write_folder(tmp_path / "clip", coloured("Red", 3))
    config = colour_settings(file_format="ONNX", export_batch_size=0)
    write_exported(tmp_path / "trn.onnx", "", config, NAMES[:3])
    monkeypatch.setattr(exported, "load_exported", lambda _: lambda inputs: np.zeros((len(inputs[0]), 4), np.float32))
    with pytest.raises(InputError, match="trn.onnx: gives 4 scores, but 3 classes are named in its JSON"):
        run(tmp_path / "trn.onnx", tmp_path / "clip")


def test_explanation(models, tmp_path):
    write_folder(tmp_path / "clip", changing_frames(12))
    options = ["--explain", tmp_path / "e.png", "--explain_class", "Green", "--test_crops", 1]
    result = run(models / "orders.ckpt", tmp_path / "clip", options=options, result=tmp_path / "r.json")
    explanation = result["explanation"]
    assert explanation["label"] == "Green"
    shares = sum(scale["contribution"] + scale["bias"] for scale in explanation["scales"])
    assert explanation["score"] == pytest.approx(shares, abs=1e-6)
    assert shares == pytest.approx(result["logits"][1], abs=1e-5)
    tuples = explanation["scales"][-1]["most"]
    assert sorted(row["frame_indices"] for row in tuples) == [[2, 6], [2, 10], [6, 10]]
    assert cv2.imread(str(tmp_path / "e.png")).shape[1] > 1000
