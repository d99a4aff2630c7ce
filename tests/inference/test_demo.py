"""The functions behind the page of demo.py, without a browser and without Gradio."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data.video import VideoFile
from src.evaluation.scoring import ClipScorer
from src.inference import demo_camera, demo_video
from src.inference.demo_camera import CameraStream
from src.inference.demo_page import Demo, NetworkThread
from src.inference.model import Model
from src.inference.streaming import EventDetector, EventRules, Recognizer, stream
from tests.helpers.colours import COLOURS, NAMES, colour_network, colour_settings, coloured, write_video
from tests.helpers.networks import SIDE

ROOT = Path(__file__).resolve().parents[2]
WINDOW = 0.6  # seconds; the network looks at a frame every 0.2


def here(function, *arguments):
    return function(*arguments)


def new_stream():
    return Recognizer(colour_network(), SIDE, WINDOW), EventDetector(NAMES, EventRules())


def camera():
    return CameraStream(*new_stream(), here)


@pytest.fixture
def demo(tmp_path):
    return Demo(model(), new_stream, here, tmp_path / "uploads", WINDOW)


def model(exported=False):
    network = colour_network()
    settings = colour_settings(consensus_type="avg")
    return Model(
        Path("colours.ckpt"), ClipScorer(network, test_crops=1), NAMES, settings, None if exported else network
    )


def upload(demo, name, write):
    """An upload as Gradio leaves it: in a folder of its own, with an empty file beside."""
    path = demo.uploads / "0123" / name
    path.parent.mkdir(parents=True)
    (demo.uploads / "tmpabc").touch()
    write(path)
    return str(path)


def frame(name):
    return coloured(name, 1)[0]


def shown(html, name):
    """The value of the attribute ``data-name``."""
    return re.search(f'data-{name}="([^"]*)"', html)[1]


# -------------------------------------------------------------------------------------------------------------- camera


def test_frames_that_arrive_unevenly_give_the_events_of_the_video(tmp_path):
    """Times are the page's: clock begins anywhere, frames are missing, an answer takes any time."""
    parts = ["No gesture", *["Red"] * 4, *["No gesture"] * 2, *["Blue"] * 3, *["No gesture"] * 2]
    frames = sum((coloured(name, 10) for name in parts), [])  # half a second each
    expected = []
    source = VideoFile(write_video(tmp_path / "video.avi", frames, rate=20))
    for moment in stream(*new_stream(), source, realtime=False):
        expected += [change for change in moment.changes if change.end is not None]
    assert [event.label for event in expected] == ["Red", "Blue"]
    live, rng = camera(), np.random.default_rng(3)
    for index, picture in enumerate(frames):
        if rng.random() < 0.6 or index == 0:
            live.push(picture, 5000 + index / 20 + rng.uniform(0, 0.01))
    assert [event.label for event in live.events] == ["Red", "Blue"]
    for event, other in zip(live.events, expected):
        assert event.start == pytest.approx(other.start, abs=0.3)
        assert event.end == pytest.approx(other.end, abs=0.3)


def test_share_looked_at_and_delay():
    live = camera()
    for tenth in range(21):
        live.push(frame("Red"), 7 + tenth / 10, shown=100 + 3 * tenth, answered=7 + tenth / 10 - 0.25)
    assert (live.arrived, live.looked_at, live.shown) == (21, 11, 61)
    assert live.delay == pytest.approx(0.25)
    assert live.seconds == pytest.approx(2)


def test_an_answer_of_another_stream_is_no_delay():
    live = camera()
    live.push(frame("Red"), 7.0, answered=-1.0)
    live.push(frame("Red"), 7.1, answered=3.0)
    assert live.delay is None


def test_a_frame_that_was_overtaken_is_left_out():
    live = camera()
    for clock in (1.0, 1.4, 1.2, 1.4):
        live.push(frame("Red"), clock)
    assert (live.arrived, live.clock) == (2, 1.4)


@pytest.mark.parametrize("step", [demo_camera.PAUSE + 0.1, -demo_camera.PAUSE - 0.1])
def test_after_a_pause_another_stream_begins(step):
    live = camera()
    for tenth in range(30):
        live.push(frame("Red"), 50 + tenth / 10, shown=tenth)
    assert [event.label for event in live.events] == ["Red"]
    live.push(frame("Red"), 52.9 + step, shown=200)
    assert (live.events, live.arrived, live.shown, live.seconds, live.probabilities) == ([], 1, 1, 0.0, None)


def test_visitors_do_not_mix():
    """Their recognisers are made from one, and have one network."""
    first, detector = new_stream()
    others = [first.for_another_stream() for _ in range(2)]
    streams = [CameraStream(r, EventDetector(NAMES, EventRules()), here) for r in others]
    for tenth in range(30):
        for live, name in zip(streams, ("Red", "Blue")):
            live.push(frame(name), tenth / 10)
    assert [[event.label for event in live.events] for live in streams] == [["Red"], ["Blue"]]
    assert others[0].head is others[1].head is first.head
    assert len(first.features) == 0


def test_on_frame(demo):
    """The browser's picture is RGB; the first answers say what is missing; without a clock nothing is looked at."""
    image = frame("Blue")[..., ::-1]
    html, state = demo.on_frame(image, 1.0, 10, -1, None)
    assert "Filling the first window: 1 of 3 frames" in html
    for tenth in range(12, 40, 2):
        html, state = demo.on_frame(image, tenth / 10, tenth, 1.0, state)
    assert float(re.search(r"<td>Blue</td>.*?([\d.]+) %", html, re.S)[1]) > 99
    assert (shown(html, "label"), shown(html, "end")) == ("Blue", "")
    assert f'data-arrived="{state.arrived}"' in html
    assert state.arrived == 15
    assert demo.on_frame(image, None, None, None, state)[1].arrived == 15
    assert demo.on_frame(None, 9.0, 0, -1, state)[1].arrived == 15


def test_the_camera_of_an_exported_model(demo):
    demo.new_stream = None
    html, state = demo.on_frame(frame("Red"), 1.0, 1, -1, None)
    assert "needs a checkpoint" in html
    assert state is None


def test_a_head_whose_scores_are_not_explained(tmp_path):
    video = write_video(tmp_path / "video.avi", coloured("Red", 20), rate=20)
    shown_model = model()
    shown_model.network.head = replace(shown_model.network.head, scales=None)
    answer = demo_video.answer_video(video, "video.avi", shown_model, WINDOW, new_stream(), here)
    why = "not with consensus_type avg, whose scores are not sums over frame tuples"
    assert (answer.top[0]["label"], answer.explanation, answer.missing) == ("Red", None, f"No explanation: {why}")


def test_scores_that_are_not_finite(demo):
    network = colour_network()
    network.base_model.fc.bias.set_data(network.base_model.fc.bias * np.nan)
    demo.new_stream = lambda: (Recognizer(network, SIDE, WINDOW), EventDetector(NAMES, EventRules()))
    state = None
    for second in range(3):
        html, state = demo.on_frame(frame("Red"), float(second), 1, -1, state)
    assert "NaN or infinite" in html
    assert state is None


# --------------------------------------------------------------------------------------------------------------- video


def test_a_video(demo, tmp_path):
    frames = coloured("Red", 24) + coloured("No gesture", 12) + coloured("Blue", 24)
    html, cleared = demo.on_video(upload(demo, "two.avi", lambda path: write_video(path, frames)))
    assert cleared is None
    assert "60 frames, 5.00 s" in html
    assert re.findall('data-label="(.*?)"', html)[-2:] == ["Red", "Blue"]  # the gestures, after the windows
    assert "16 windows" in html
    (picture,) = re.findall('data:image/png;base64,([^"]+)', html)
    assert cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR).shape[1] > 500
    (video,) = re.findall('data:video/webm;base64,([^"]+)', html)
    drawn = tmp_path / "drawn.webm"
    drawn.write_bytes(base64.b64decode(video))
    source = VideoFile(drawn)
    assert source.num_frames == 60
    assert source.duration == pytest.approx(5, abs=0.1)
    colours = [f[f.shape[0] // 2, 200].astype(float) for _, f in source.frames({6, 54})]
    np.testing.assert_allclose(colours, [COLOURS["Red"], COLOURS["Blue"]], atol=25)
    assert list(demo.uploads.rglob("*")) == []


def test_a_video_for_an_exported_model(demo):
    demo.model, demo.new_stream = model(exported=True), None
    html, _ = demo.on_video(upload(demo, "red.avi", lambda path: write_video(path, coloured("Red", 30))))
    assert re.search(r"<td>Red</td>.*?100.0 %", html, re.S)
    assert "an exported file gives scores only" in html
    assert "data:image/png" not in html


@pytest.mark.parametrize(("count", "height", "width"), [(1, 40, 52), (3, 90, 50), (2, 1, 50)])
def test_short_and_narrow_videos(demo, count, height, width):
    html, _ = demo.on_video(
        upload(demo, "v.avi", lambda path: write_video(path, coloured("Green", count, height, width)))
    )
    if height > 1:  # a height of 1 no codec takes
        assert re.search(r"<td>Green</td>.*?100.0 %", html, re.S)
    else:
        assert 'role="alert"' in html
    assert list(demo.uploads.rglob("*")) == []


def test_what_is_no_video(demo):
    name = "<b>notes.txt"
    html, _ = demo.on_video(upload(demo, name, lambda path: path.write_text("no video")))
    assert "&lt;b&gt;notes.txt: not a video; expected a file with pictures of its own: MP4" in html
    assert str(demo.uploads) not in html
    assert list(demo.uploads.rglob("*")) == []
    assert demo.on_video(None) == ("", None)


def test_a_video_that_is_too_long(demo, monkeypatch):
    monkeypatch.setattr(demo_video, "LONGEST", 2.0)
    html, _ = demo.on_video(upload(demo, "long.avi", lambda path: write_video(path, coloured("Red", 36))))
    assert "long.avi: 3 s, expected at most 2 s; infer.py takes longer ones" in html


@pytest.mark.slow
def test_the_same_file_of_two_visitors(demo):
    """Gradio gives both one path. The first answer must not take the second's file away while it is looked at."""
    path = Path(upload(demo, "red.avi", lambda path: write_video(path, coloured("Red", 30))))
    content, score = path.read_bytes(), demo.model.score

    def upload_again(*arguments):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return score(*arguments)

    demo.model = model()
    upload_again.batch_size = score.batch_size
    object.__setattr__(demo.model, "score", upload_again)
    assert "100.0 %" in demo.on_video(str(path))[0]
    assert path.read_bytes() == content
    assert "100.0 %" in demo.on_video(str(path))[0]
    path.unlink()
    assert "upload it again" in demo.on_video(str(path))[0]


# ----------------------------------------------------------------------------------------------------------- the rest


def test_the_network_runs_on_one_thread():
    import threading

    run = NetworkThread()
    assert len({run(threading.get_ident) for _ in range(5)} - {threading.get_ident()}) == 1
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)


def test_requirements_of_the_demo_are_those_of_inference():
    """All but Pillow's, which Gradio wants lower."""

    def pins(name):
        lines = [line.split(";") for line in (ROOT / name).read_text().splitlines()]
        rows = [row[0].strip() for row in lines if len(row) == 1 or row[1].strip() == 'python_version >= "3.10"']
        return dict(row.split("==") for row in rows if "==" in row)

    demo, own = pins("requirements-demo.txt"), pins("requirements.txt")
    assert {name for name in demo if demo[name] != own.get(name)} == {"gradio", "pillow"}
    assert own.keys() <= demo.keys()
