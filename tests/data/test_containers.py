"""A video file is read alone: not what it names, and not what its own name could mean."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
from PIL import Image

from model_utils.errors import InputError
from src.data.containers import BEGINNINGS, QUICKTIME_BOXES, holds_pictures
from src.data.video import grabbed_frames, open_source
from tests.helpers.colours import changing_frames, write_folder, write_video
from tests.helpers.containers import refer_to

SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n"
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static"
mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000">
<BaseURL>file://{0}</BaseURL></Representation></AdaptationSet></Period></MPD>"""
REFERENCES = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nfile://{0}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile {1}\n",
    "sdp": SDP,
    "dash": DASH,
    "pls": "[playlist]\nFile1={0}\n",
    "avisynth": 'AviSource("{0}")\n',
    "text": "# Readme\n\nGesture recognition, in words.\n" * 40,
    "subtitles": "1\n00:00:01,000 --> 00:00:02,000\nhello\n\n",
    "": "",
    "G": "G",
}


@pytest.fixture
def secret(tmp_path):
    """A video that nobody names."""
    return write_video(tmp_path / "secret.mp4", changing_frames(10))


@pytest.mark.parametrize(("kind", "suffix"), [*((kind, ".mp4") for kind in REFERENCES), ("hls", ""), ("dash", ".txt")])
def test_what_names_other_files_is_no_video(secret, kind, suffix):
    path = secret.with_name(f"local{suffix}")
    path.write_text(REFERENCES[kind].format(secret, secret.name))
    with pytest.raises(InputError, match="local.*: not a video; expected a file with pictures of its own: MP4"):
        open_source(str(path))


@pytest.mark.parametrize("beginning", [*BEGINNINGS, *(b"AAAA" + box for box in QUICKTIME_BOXES), b"RIFFAAAAAVI "])
def test_a_playlist_behind_the_beginning_of_a_container_shows_nothing(secret, beginning):
    for text in REFERENCES.values():
        for between in (b"", b"\n"):
            secret.with_name("local.mp4").write_bytes(beginning + between + text.format(secret, secret.name).encode())
            assert next(grabbed_frames(secret.with_name("local.mp4")), None) is None


def test_a_playlist_in_the_rhythm_of_a_transport_stream_shows_nothing(secret):
    for text in filter(None, REFERENCES.values()):
        for size, sync in ((188, 0), (192, 4)):
            data = bytearray((text.format(secret, secret.name) * 1920).encode()[: 10 * size])
            data[sync::size] = b"G" * 10
            assert holds_pictures(bytes(data[:1024]))
            secret.with_name("local.ts").write_bytes(data)
            assert next(grabbed_frames(secret.with_name("local.ts")), None) is None


def test_a_movie_with_its_pictures_in_another_file_shows_nothing(secret):
    """As QuickTime writes references; FFmpeg follows them only with its option enable_drefs."""
    path = refer_to(write_video(secret.with_name("local.mp4"), changing_frames(10)), secret)
    with pytest.raises(InputError, match="local.mp4: not a video, no frame of it could be decoded"):
        open_source(str(path))


@pytest.mark.parametrize("name", ["%05d.jpg", "00001.jpg", "00001.jpg.mp4"])
def test_a_name_is_no_pattern_of_pictures(tmp_path, name):
    write_folder(tmp_path / "v", [np.full((8, 8, 3), 255, np.uint8)] * 20)
    video = write_video(tmp_path / "v.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3)
    os.replace(video, tmp_path / "v" / name)
    source = open_source(str(tmp_path / "v" / name))
    assert source.num_frames == 3
    assert max(frame.max() for _, frame in source.frames()) < 10


@pytest.mark.parametrize("name", ["one.png", "one.jpg"])
def test_a_picture_is_no_video(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), changing_frames(1)[0])
    with pytest.raises(InputError, match="not a video; expected"):
        open_source(str(tmp_path / name))


# Codecs that the OpenCV wheels can write; Ogg and MPEG program streams they only read.
WRITTEN = {
    ".mp4": "mp4v",
    ".m4v": "mp4v",
    ".mov": "mp4v",
    ".3gp": "mp4v",
    ".avi": "MJPG",
    ".mkv": "mp4v",
    ".webm": "VP80",
    ".flv": "FLV1",
    ".wmv": "WMV2",
    ".ts": "mp4v",
}


@pytest.mark.parametrize("suffix", WRITTEN)
def test_containers_are_read_whatever_they_are_called(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*WRITTEN[suffix]), 12, (64, 48))
    for level in range(0, 200, 20):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    for name in (path.name, "v.bin"):
        path = path.rename(tmp_path / name)
        frames = [frame.mean() for _, frame in open_source(str(path)).frames()]
        np.testing.assert_allclose(frames, range(0, 200, 20), atol=6)


def test_an_animated_picture_is_a_video(tmp_path):
    first, *others = (Image.new("L", (64, 48), level) for level in (0, 100, 200))
    first.save(tmp_path / "v.gif", save_all=True, append_images=others, duration=500)
    frames = [frame.mean() for _, frame in open_source(str(tmp_path / "v.gif")).frames()]
    np.testing.assert_allclose(frames, [0, 100, 200], atol=2)


@pytest.mark.parametrize(
    "beginning",
    ["000001ba44000400", "000001b316012013", "0000000167640028", "4f67675300020000", "0000002066747970"],
    ids=["MPEG program stream", "MPEG video", "H.264", "Ogg", "MP4"],
)
def test_beginnings(beginning):
    assert holds_pictures(bytes.fromhex(beginning))
    assert not holds_pictures(b" " + bytes.fromhex(beginning))
