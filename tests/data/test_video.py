import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from model_utils.errors import InputError
from src.data import video
from src.data.video import find_sources, open_source, read_frames
from src.data.video_writer import VideoWriter
from tests.helpers import ROOT
from tests.helpers.clips import write_clip
from tests.helpers.colours import changing_frames, coloured, write_folder, write_video
from tests.helpers.containers import damage, rotate, set_intervals, set_rate
from tests.helpers.refusals import refusal


def test_a_folder_gives_its_frames_in_the_order_of_their_numbers(tmp_path):
    folder = write_clip(tmp_path / "clip", 12, seed=1)
    for number in range(1, 13):  # names without leading zeros sort wrongly as text: 1, 10, 11, 12, 2
        (folder / f"{number:05d}.jpg").rename(folder / f"frame{number}.jpg")
    source = open_source(str(folder))
    assert (source.num_frames, source.rate) == (12, 12.0)
    for index, frame in zip((0, 1, 11), read_frames(source, np.array([0, 1, 11]))):
        np.testing.assert_array_equal(frame, cv2.imread(str(folder / f"frame{index + 1}.jpg")))


@pytest.mark.parametrize(("suffix", "rate"), [(".mp4", 12), (".avi", 29.97), (".webm", 12)])
def test_a_video_gives_the_frames_that_went_into_it(tmp_path, suffix, rate):
    levels = range(0, 200, 20)
    path = write_video(tmp_path / f"video{suffix}", [np.full((48, 64, 3), level, np.uint8) for level in levels], rate)
    source = open_source(str(path))
    assert source.num_frames == 10
    assert source.rate == pytest.approx(rate, rel=0.01)
    frames = read_frames(source, np.array([0, 3, 3, 9]))
    np.testing.assert_allclose([frame.mean() for frame in frames], [0, 60, 60, 180], atol=3)
    assert [index for index, _ in source.frames()] == list(range(10))


def test_grey_alpha_palette_and_deep_pictures_are_read_as_8_bit_colour(tmp_path):
    """Against Pillow's conversion; what is transparent shows the colour that it has."""
    rng = np.random.default_rng(0)
    colour = rng.integers(256, size=(20, 30, 3), dtype=np.uint8)
    grey = colour[..., 0]
    palette = Image.fromarray(colour).convert("P", palette=Image.ADAPTIVE)
    with_alpha = np.dstack([colour, rng.integers(256, size=(20, 30, 1), dtype=np.uint8)])
    pictures = {
        "grey": (Image.fromarray(grey), np.dstack([grey] * 3)),
        "palette": (palette, np.array(palette.convert("RGB"))),
        "alpha": (Image.fromarray(with_alpha), colour),
        "deep": (Image.fromarray(grey.astype(np.uint16) * 257), np.dstack([grey] * 3)),
    }
    for name, (image, expected) in pictures.items():
        folder = tmp_path / name
        folder.mkdir()
        image.save(folder / "1.png")
        (frame,) = read_frames(open_source(str(folder)), np.array([0]))
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame[..., ::-1], expected, err_msg=name)


@pytest.mark.parametrize("name", ["half.png", "half.jpg"])
def test_a_picture_that_is_cut_off_is_an_error(tmp_path, name):
    write_folder(tmp_path / "clip", coloured("Red", 1) + changing_frames(2), name[-4:])
    frame = tmp_path / "clip" / f"00002{name[-4:]}"
    frame.write_bytes(frame.read_bytes()[: frame.stat().st_size // 2])
    with pytest.raises(InputError, match="00002.* truncated"):
        list(open_source(str(tmp_path / "clip")).frames())


def quarters(height=48, width=96):
    """A picture of four colours: red and green above, blue and black below."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = (0, 0, 255), (0, 255, 0)
    picture[height // 2 :, : width // 2] = (255, 0, 0)
    return picture


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_video_with_a_rotation_is_read_upright(tmp_path, degrees):
    path = rotate(write_video(tmp_path / "phone.mp4", [quarters()] * 5), degrees)
    expected = np.rot90(quarters(), -degrees // 90)  # clockwise
    for _, frame in open_source(str(path)).frames():
        assert frame.shape == expected.shape
        middles = np.s_[frame.shape[0] // 4 :: frame.shape[0] // 2, frame.shape[1] // 4 :: frame.shape[1] // 2]
        np.testing.assert_allclose(frame[middles].astype(int), expected[middles].astype(int), atol=12)


def test_frames_of_a_video_have_their_own_times(tmp_path):
    path = write_video(tmp_path / "v.mp4", changing_frames(5), 10)
    source = open_source(str(set_intervals(path, [0.1, 0.3, 0.1, 1.0, 0.5])))
    assert source.times == pytest.approx([0, 0.1, 0.4, 0.5, 1.5], abs=1e-3)
    assert source.duration == pytest.approx(1.5 + 0.2, abs=1e-3)  # the median of 0.1, 0.3, 0.1 and 1.0
    assert source.rate == pytest.approx(5 / 1.7, rel=1e-3)


def test_a_minute_between_frames(tmp_path):
    source = open_source(str(set_intervals(write_video(tmp_path / "v.mp4", changing_frames(5), 12), [60.0] * 5)))
    assert source.times == pytest.approx([0, 60, 120, 180, 240])
    assert (source.duration, source.rate) == (pytest.approx(300), pytest.approx(1 / 60))
    assert source.warning == ""


@pytest.mark.parametrize("scale", [10**6, 61])
def test_frames_that_are_said_to_be_hours_apart_are_taken_at_a_usual_rate(tmp_path, scale):
    path = set_rate(write_video(tmp_path / "v.avi", changing_frames(12), 10), 1, scale)
    source = open_source(str(path))
    assert source.times == pytest.approx(np.arange(12) / 12)
    assert source.duration == pytest.approx(1.0)
    states = f"the file states {scale} s between two frames, expected at most 60; taken as 12 frames a second"
    assert source.warning == f"{path}: {states}"


@pytest.mark.parametrize(("suffix", "rate"), [(".mp4", 29.97), (".avi", 12), (".webm", 29.97)])
def test_times_at_a_constant_rate(tmp_path, suffix, rate):
    """WebM rounds to milliseconds; the times are nevertheless evenly spaced."""
    source = open_source(str(write_video(tmp_path / f"v{suffix}", changing_frames(60), rate)))
    assert source.times == pytest.approx(np.arange(60) / rate, abs=1.5e-3)
    assert np.ptp(np.diff(source.times)) < 1e-9
    assert source.duration == pytest.approx(60 / rate, abs=2e-3)
    assert source.warning == ""


def test_times_of_a_folder_and_of_a_single_frame(tmp_path):
    folder = open_source(str(write_folder(tmp_path / "clip", changing_frames(6))))
    assert folder.times == pytest.approx(np.arange(6) / 12)
    assert folder.duration == 0.5
    one = open_source(str(write_video(tmp_path / "one.mp4", changing_frames(1), 10)))
    assert (one.num_frames, one.times.tolist(), one.duration) == (1, [0.0], pytest.approx(0.1))


@pytest.mark.parametrize(
    ("stamps", "stated", "times", "duration"),
    [
        ([5.0, 5.1, 5.2], 10, [0, 0.1, 0.2], 0.3),
        ([0, 0, 0], 10, [0, 0.1, 0.2], 0.3),  # all the same
        ([0, 0.2, 0.1], 10, [0, 0.1, 0.2], 0.3),  # backwards
        ([0, 1e-5, 2e-5], 10, [0, 0.1, 0.2], 0.3),  # more than 1,000 a second
        ([0, np.nan, 0.2], 10, [0, 0.1, 0.2], 0.3),
        ([0, 0, 0], 0, [0, 1 / 12, 2 / 12], 0.25),  # nothing stated
        ([0, 0, 0, 0.9], 10, [0, 0, 0, 0.9], 1.2),  # a median of 0: the mean
        ([0, 0.033, 0.067, 0.1], 0, [0, 1 / 30, 2 / 30, 0.1], 4 / 30),  # rounded
    ],
)
def test_frame_times(stamps, stated, times, duration):
    found, end = video.frame_times(np.array(stamps, float), stated)
    assert found == pytest.approx(times, abs=1e-9)
    assert end == pytest.approx(duration)


def noise(count):
    return list(np.random.default_rng(0).integers(256, size=(count, 48, 96, 3), dtype=np.uint8))


def test_a_video_with_a_damaged_middle_gives_a_warning(tmp_path):
    source = open_source(str(damage(write_video(tmp_path / "v.mp4", noise(60)), 0.4, 0.6)))
    assert 5 < source.num_frames < 55
    decoded = f"only {source.num_frames} frames could be decoded, the file states 60 frames"
    assert source.warning == f"{tmp_path / 'v.mp4'}: {decoded}; is it damaged?"


@pytest.mark.parametrize("suffix", [".avi", ".webm"])
def test_a_video_that_is_cut_off_gives_a_warning(tmp_path, suffix):
    path = write_video(tmp_path / f"v{suffix}", noise(60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = open_source(str(path))
    assert 15 < source.num_frames < 45
    assert f"only {source.num_frames} frames could be decoded, the file states 60 frames" in source.warning


@pytest.mark.parametrize(
    ("count", "stated", "warns"),
    [(20, -1, 0), (20, 0, 0), (20, 17, 0), (20, 23, 0), (20, 24, 1), (400, 404, 0), (400, 405, 1)],
)
def test_a_container_may_overstate_by_three_frames_or_one_in_a_hundred(tmp_path, monkeypatch, count, stated, warns):
    class Stating:
        def __init__(self, *arguments):
            self.capture = REAL(*arguments)

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def get(self, key):
            return stated if key == cv2.CAP_PROP_FRAME_COUNT else self.capture.get(key)

    path = write_video(tmp_path / "v.mp4", changing_frames(count, 16, 16))
    REAL = cv2.VideoCapture  # noqa: N806
    monkeypatch.setattr(cv2, "VideoCapture", Stating)
    assert bool(open_source(str(path)).warning) == bool(warns)


def test_a_video_that_gets_shorter_while_it_is_read_is_an_error(tmp_path):
    path = write_video(tmp_path / "v.mp4", changing_frames(20))
    source = open_source(str(path))
    write_video(path, changing_frames(10))
    with pytest.raises(InputError, match="v.mp4: 10 frames, before 20; has the file changed"):
        read_frames(source, np.array([3, 15]))


def test_a_frame_that_cannot_be_converted_is_an_error(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", changing_frames(3))
    source = open_source(str(path))
    captures = video.grabbed_frames(path)

    class Broken:
        def retrieve(self):
            return False, None

    monkeypatch.setattr(video, "grabbed_frames", lambda path: (Broken() for _ in captures))
    with pytest.raises(InputError, match="v.mp4: frame 0 cannot be decoded"):
        next(source.frames())


def open_descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_a_video_is_closed_after_reading_also_when_only_a_part_is_read(tmp_path):
    source = open_source(str(write_video(tmp_path / "v.mp4", changing_frames(20))))
    kept = []  # a generator that is kept alive is not closed by the collector
    before = open_descriptors()
    for _ in range(5):
        list(source.frames())
        kept.append(source.frames())
        next(kept[-1])
        kept[-1].close()
    assert open_descriptors() == before


def test_names_that_are_not_utf8(foreign, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"  # its own: other programs write into the system's
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    video_file = write_video(tmp_path / "v.mp4", changing_frames(5)).rename(foreign / f"{foreign.name}.mp4")
    write_clip(foreign / "clip", 4)
    for path, count in ((video_file, 5), (foreign / "clip", 4)):
        source = open_source(str(path))
        assert len([frame for _, frame in source.frames()]) == source.num_frames == count
        source.name.encode()
        assert r"caf\xe9" in source.name
    with VideoWriter(str(foreign / f"{foreign.name}-out.mp4"), 12) as writer:
        for frame in changing_frames(7):
            writer.write(frame)
    assert sorted(foreign.iterdir()) == sorted([video_file, foreign / "clip", foreign / f"{foreign.name}-out.mp4"])
    assert open_source(str(foreign / f"{foreign.name}-out.mp4")).num_frames == 7
    assert list(temporary.iterdir()) == []
    (foreign / "text.mp4").write_text("no video")
    (foreign / "empty").mkdir()
    for name in ("text.mp4", "empty", "missing"):
        refusal(open_source, str(foreign / name)).encode()


def test_a_relative_name_with_a_colon_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "v.mp4", changing_frames(5)).rename("12:30.mp4")
    assert open_source("12:30.mp4").num_frames == 5


def test_hidden_files_are_no_frames_and_no_videos(tmp_path):
    """macOS puts ``._NAME`` beside NAME on other file systems."""
    folder = write_folder(tmp_path / "clip", changing_frames(3))
    (folder / "._00001.jpg").write_bytes(b"Mac OS X")
    assert open_source(str(folder)).num_frames == 3
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "._a.mp4", ".b.mp4", "._00001.jpg"):
        (videos / name).touch()
    assert find_sources([str(videos)]) == [str(videos / "a.mp4")]


def test_a_source_of_too_long_a_name(tmp_path):
    assert f"{'x' * 5000}: no such" in refusal(find_sources, [str(tmp_path / ("x" * 5000))])


def test_a_camera_that_is_not_there(capfd):
    for number in ("97", "2147483648", "9" * 30):
        with pytest.raises(InputError, match=f"camera {number}: cannot be opened"):
            open_source(number)
    assert capfd.readouterr().err == ""


class FakeCapture:
    """A camera of ten frames, the number of each its brightness, that then breaks."""

    def open(self, number):
        self.levels = iter(range(0, 100, 10))
        return True

    def get(self, key):
        return 0.0

    def read(self):
        level = next(self.levels, None)
        return level is not None, None if level is None else np.full((4, 6, 3), level, np.uint8)

    def release(self):
        pass


def test_a_camera(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    camera = open_source("3")
    assert (camera.name, camera.num_frames, camera.rate) == ("camera 3", None, video.CAMERA_RATE)
    with pytest.raises(InputError, match="camera 3: gives no more frames"):
        [frames for frames in camera.frames()]
    # Ten frames a second, of which four are looked at in 0.8 s: in the middle of each 0.2 s.
    clock = iter([0.0, *(0.1 * i for i in range(10))])
    monkeypatch.setattr(video.time, "monotonic", lambda: next(clock))
    num_frames, indices, frames = video.record_camera(camera, 0.8, 4)
    assert (num_frames, indices.tolist()) == (9, [1, 3, 5, 7])
    assert [frame[0, 0, 0] for frame in frames] == [10, 30, 50, 70]


def test_a_file_is_meant_before_a_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "97", 2)
    assert find_sources(["97"]) == ["97"]
    assert open_source("97").num_frames == 2


def test_a_folder_of_videos_is_its_videos(tmp_path):
    for name in ("10.avi", "9.avi", "2.mp4", "notes.txt"):
        (tmp_path / name).touch()
    assert find_sources([str(tmp_path)]) == [str(tmp_path / name) for name in ("2.mp4", "9.avi", "10.avi")]
    (tmp_path / "poster.jpg").touch()
    with pytest.raises(InputError, match="1 frames and 3 videos in a folder"):
        find_sources([str(tmp_path)])


def test_a_folder_of_class_folders_is_the_videos_in_them(tmp_path):
    for name in ("wave/2.mp4", "wave/10.mp4", "clap/b/1.avi", ".git/1.mp4", "frames/00001.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = [str(tmp_path / name) for name in ("clap/b/1.avi", "wave/2.mp4", "wave/10.mp4")]
    assert find_sources([str(tmp_path)]) == expected
    assert find_sources([str(tmp_path / "frames")]) == [str(tmp_path / "frames")]


@pytest.mark.parametrize(("size", "written"), [((53, 41), (52, 40)), ((2, 2), (2, 2))])
def test_what_is_written_is_read_again(tmp_path, size, written):
    levels = range(0, 200, 20)
    with VideoWriter(str(tmp_path / "new" / "out.mp4"), 24.5) as writer:
        for level in levels:
            writer.write(np.full((size[1], size[0], 3), level, np.uint8))
    source = open_source(str(tmp_path / "new" / "out.mp4"))
    frames = [frame for _, frame in source.frames()]
    assert source.rate == pytest.approx(24.5)
    assert {frame.shape for frame in frames} == {(written[1], written[0], 3)}
    np.testing.assert_allclose([frame.mean() for frame in frames], levels, atol=4)
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_what_browsers_play_is_written_without_a_word(tmp_path, capfd):
    with VideoWriter(str(tmp_path / "out.webm"), 12) as writer:
        for frame in changing_frames(7):
            writer.write(frame)
    assert open_source(str(tmp_path / "out.webm")).num_frames == 7
    assert capfd.readouterr().err == ""


def test_a_video_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    frame = np.zeros((40, 52, 3), np.uint8)
    for name, picture, message in [
        ("out.gif", frame, "out.gif: expected the name of a video that ends in .mp4"),
        ("file/out.mp4", frame, "out.mp4: cannot write the video: "),
        ("out.mp4", frame[:1, :1], r"out.mp4: cannot write a video of 1x1 pixels"),
    ]:
        with pytest.raises(InputError, match=message), VideoWriter(str(tmp_path / name), 12) as writer:
            writer.write(picture)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_video_that_is_given_up_leaves_the_old_one(tmp_path):
    (tmp_path / "out.mp4").write_text("old")

    def give_up():
        with VideoWriter(str(tmp_path / "out.mp4"), 12) as writer:
            writer.write(np.zeros((40, 52, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.mp4", "old")]


LIMITED = """
import resource, signal, sys
import numpy as np
from model_utils.errors import InputError
from src.data.video_writer import VideoWriter

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    with VideoWriter(sys.argv[1], 12) as writer:
        for frame in np.random.default_rng(0).integers(256, size=(40, 64, 64, 3), dtype=np.uint8):
            writer.write(frame)
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_full_disk_leaves_the_old_video(tmp_path, share):
    """A limit on the size of a file; OpenCV's writer ignores that it is reached."""
    path = tmp_path / "out.mp4"

    def write(limit):
        command = [sys.executable, "-c", LIMITED, str(path), str(limit)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert write(10**9) == ""
    whole = path.stat().st_size
    path.write_text("old")
    said = write(int(whole * share))
    assert said.startswith(f"{path}: cannot write the video: ")
    assert said.count("\n") == 1
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.mp4", "old")]


@pytest.mark.parametrize("rate", [1 / 60, 1e6])
def test_a_rate_that_no_player_follows_is_clipped(tmp_path, rate):
    with VideoWriter(str(tmp_path / "out.mp4"), rate) as writer:
        for frame in changing_frames(5):
            writer.write(frame)
    source = open_source(str(tmp_path / "out.mp4"))
    assert (source.num_frames, source.rate) == (5, pytest.approx(1 if rate < 1 else 1000))


def test_a_frame_that_is_not_in_the_file_is_missed(tmp_path):
    """OpenCV's writer leaves out a frame of another size and says nothing."""
    frames = changing_frames(5)
    frames[2] = frames[2][:20]
    (tmp_path / "out.mp4").write_text("old")
    message = "out.mp4: cannot write the video: 4 of 5 frames can be read back"

    def write():
        with VideoWriter(str(tmp_path / "out.mp4"), 12) as writer:
            for frame in frames:
                writer.write(frame)

    with pytest.raises(InputError, match=message):
        write()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.mp4", "old")]
