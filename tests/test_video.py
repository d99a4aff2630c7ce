import cv2
import numpy as np
import pytest

from src.errors import InputError
from src.video import open_source
from tests.clips import write_clip


def test_a_folder_gives_its_frames_in_the_order_of_their_numbers(tmp_path):
    folder = write_clip(tmp_path / "clip", 12, seed=1)
    for number in range(1, 13):  # names without leading zeros sort wrongly as text: 1, 10, 11, 12, 2
        (folder / f"{number:05d}.jpg").rename(folder / f"frame{number}.jpg")
    source = open_source(str(folder))
    assert source.num_frames == 12
    for index, frame in zip((0, 1, 11), source.read(np.array([0, 1, 11]))):
        np.testing.assert_array_equal(frame, cv2.imread(str(folder / f"frame{index + 1}.jpg")))


def test_a_video_gives_the_frames_that_went_into_it(tmp_path):
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12, (64, 48))
    for level in range(0, 200, 20):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    source = open_source(str(path))
    assert source.num_frames == 10
    frames = source.read(np.array([0, 3, 3, 9]))
    np.testing.assert_allclose([frame.mean() for frame in frames], [0, 60, 60, 180], atol=3)


def test_what_is_no_source_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty").mkdir()
    for name, message in [("text.mp4", "no frame of video"), ("empty", "no frames"), ("missing", "no such")]:
        with pytest.raises(InputError, match=f"{name}.*{message}"):
            open_source(str(tmp_path / name))
