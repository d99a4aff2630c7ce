import cv2
import numpy as np
import pytest
from PIL import Image

from model_utils.errors import InputError
from src.data import video
from src.data.video import VideoWriter, find_sources, frames_of_one_size, open_source, read_frames
from tests.helpers.clips import write_clip
from tests.helpers.colours import changing_frames, coloured, write_folder, write_video


def test_a_folder_gives_its_frames_in_the_order_of_their_numbers(tmp_path):
    folder = write_clip(tmp_path / "clip", 12, seed=1)
    for number in range(1, 13):  # names without leading zeros sort wrongly as text: 1, 10, 11, 12, 2
        (folder / f"{number:05d}.jpg").rename(folder / f"frame{number}.jpg")
    source = open_source(str(folder))
    assert (source.num_frames, source.rate) == (12, 12.0)
    for index, frame in zip((0, 1, 11), read_frames(source, np.array([0, 1, 11]))):
        np.testing.assert_array_equal(frame, cv2.imread(str(folder / f"frame{index + 1}.jpg")))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm"])
@pytest.mark.parametrize("rate", [12, 29.97])
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


def test_frames_of_two_sizes_are_an_error(tmp_path):
    folder = write_folder(tmp_path / "clip", [*changing_frames(2, 40, 52), *changing_frames(1, 52, 40)])
    with pytest.raises(InputError, match="clip: frame 2 is of 40x52 pixels; expected 52x40 as before"):
        list(frames_of_one_size(open_source(str(folder))))


def test_what_is_no_source_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "zero.avi").touch()
    (tmp_path / "empty").mkdir()
    for name, message in [
        ("text.mp4", "not a video, no frame"),
        ("zero.avi", "not a video"),
        ("empty", "no frames"),
        ("missing", "no such"),
    ]:
        with pytest.raises(InputError, match=f"{name}: {message}") as error:
            open_source(str(tmp_path / name))
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="missing: no such"):
        find_sources([str(tmp_path / "missing")])


def test_a_camera_that_is_not_there(capfd):
    with pytest.raises(InputError, match="camera 97: cannot be opened"):
        open_source("97")
    assert capfd.readouterr().err == ""


class FakeCapture:
    """A camera of ten frames, the number of each its brightness, that then breaks."""

    def __init__(self, number):
        self.levels = iter(range(0, 100, 10))

    def isOpened(self):  # noqa: N802
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
    num_frames, indices, frames = video.record(camera, 0.8, 4)
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


@pytest.mark.parametrize(("size", "written"), [((52, 40), (52, 40)), ((53, 41), (52, 40)), ((2, 2), (2, 2))])
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
