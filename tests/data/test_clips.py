"""Decoding one clip's frames, against Pillow, and what is said about frames that cannot be read."""

from __future__ import annotations

import io
import os
import re
import zlib

import numpy as np
import pytest
from PIL import Image

from model_utils.errors import InputError
from src.data.frame_files import VideoRecord, decode_frame
from tests.helpers.clips import folders, write_clip
from tests.helpers.refusals import refusal


def jpeg(image=None, **options):
    buffer = io.BytesIO()
    image = image or Image.fromarray(np.random.default_rng(1).integers(256, size=(40, 50, 3), dtype=np.uint8))
    image.save(buffer, "jpeg", **options)
    return buffer.getvalue()


def test_frames_are_the_pixels_pillow_decodes(tmp_path):
    clip = write_clip(tmp_path / "clip", 9, 40, 44)
    indices = np.array([0, 4, 4, 8])
    frames = folders(clip.parent).read(VideoRecord("clip", 9, 0), indices)
    for index, frame in zip(indices, frames):
        reference = np.asarray(Image.open(clip / f"0000{index + 1}.jpg").convert("RGB"))
        assert frame.dtype == np.uint8
        np.testing.assert_array_equal(frame[:, :, ::-1], reference)


def decode_one(folder, data):
    (folder / "00001.jpg").write_bytes(data)
    return folders(folder.parent).read(VideoRecord(folder.name, 1, 0), np.array([0]))[0]


@pytest.mark.parametrize("mode", ["L", "RGBA", "RGB"])
def test_other_images_become_bgr(tmp_path, mode):
    image = Image.fromarray(np.random.default_rng(2).integers(256, size=(20, 30, 3), dtype=np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    np.testing.assert_array_equal(decode_one(tmp_path, buffer.getvalue())[:, :, ::-1], np.asarray(image.convert("RGB")))


def test_orientation_tag_is_ignored_as_pillow_does(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 6
    assert decode_one(tmp_path, jpeg(exif=tag)).shape == (40, 50, 3)


def with_thumbnail(data):
    thumbnail = b"Exif\0\0" + jpeg(Image.new("RGB", (16, 16)))
    return data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]


@pytest.mark.parametrize(
    "data", [jpeg(), jpeg(progressive=True), with_thumbnail(jpeg())], ids=["base", "prog", "thumb"]
)
def test_truncated_jpeg_is_found_wherever_it_ends(tmp_path, data):
    assert decode_one(tmp_path, data).shape == (40, 50, 3)
    assert decode_one(tmp_path, data + bytes(100)).shape == (40, 50, 3)
    lengths = [*range(1, len(data) - 1, 97), len(data) - 2, len(data) - 1]
    assert len(lengths) > 15
    for length in lengths:
        for tail in (b"", bytes(len(data) - length)):
            said = refusal(decode_one, tmp_path, data[:length] + tail)
            assert re.search(r"00001\.jpg: frame is (truncated|not an image)", said)


def huge_png():
    """A well-formed PNG that claims 100000 x 100000 pixels, more than OpenCV is willing to read."""

    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = (100000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("data", "problem"), [(b"", "empty"), (b"<html></html>", "not an image"), (huge_png(), "not an image")]
)
def test_frames_that_are_no_images(tmp_path, data, problem):
    assert f"00001.jpg: frame is {problem}" in refusal(decode_one, tmp_path, data)


def test_frames_are_closed(tmp_path):
    """Also those that are no images: a worker decodes millions."""
    good = write_clip(tmp_path / "clip", 1, 20, 30) / "00001.jpg"
    empty = tmp_path / "00002.jpg"
    empty.write_bytes(b"")
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        decode_frame(good)
        with pytest.raises(InputError, match="empty"):
            decode_frame(empty)
        with pytest.raises(InputError, match="cannot be read"):
            decode_frame(tmp_path)
    assert os.listdir("/proc/self/fd") == before
