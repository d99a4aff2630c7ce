"""Opens a video file so that FFmpeg reads this file and no other.

FFmpeg follows references in a file: a playlist named ``local.mp4`` shows another video of the disk, an ``ffconcat``
list several, and plain text is drawn as letters. A name such as ``clip%03d.jpg`` is a pattern of pictures. So a file is
opened only if it begins like a container that holds its own pictures, and FFmpeg gets a descriptor instead of a name.
FFmpeg's ``format_whitelist`` would do the same, but OpenCV 4.11 ignores OPENCV_FFMPEG_CAPTURE_OPTIONS.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

# FFmpeg and OpenCV print messages of their own to the terminal; here each error is one line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2

from model_utils.errors import InputError
from model_utils.files import cannot_be_read, open_file, path_text

cv2.setLogLevel(0)

CONTAINERS = "MP4, MOV, 3GP, AVI, Matroska, WebM, MPEG, Ogg, FLV, WMV or GIF"
BEGINNINGS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"OggS",
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"GIF87a",
    b"GIF89a",
    b"\x00\x00\x01",  # MPEG program streams, and MPEG, H.264 and H.265 without a container
    b"\x00\x00\x00\x01",
)
QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"sidx", b"wide", b"free", b"skip", b"pnot")
TS_SYNC = 0x47
TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet of an MPEG transport stream, and where it has its sync
LONGEST_BEGINNING = 1024


@contextlib.contextmanager
def open_container(path: str | os.PathLike) -> Iterator[cv2.VideoCapture]:
    """A capture of a video file, released at the end; it gives no frames if nothing can be decoded.

    Raises:
        InputError: if the file cannot be read, is no regular file, or does not hold its own pictures.
    """
    try:
        descriptor = open_file(path)
    except OSError as error:
        raise cannot_be_read(path, error) from None
    try:
        if not holds_pictures(os.pread(descriptor, LONGEST_BEGINNING, 0)):
            raise InputError(f"{path_text(path)}: not a video; expected a file with pictures of its own: {CONTAINERS}")
        capture = cv2.VideoCapture(f"/proc/self/fd/{descriptor}", cv2.CAP_FFMPEG)
        try:
            yield capture
        finally:
            capture.release()
    finally:
        os.close(descriptor)


def holds_pictures(beginning: bytes) -> bool:
    """Whether a file that begins so is a container that holds its own pictures."""
    if beginning.startswith(BEGINNINGS) or beginning[4:8] in QUICKTIME_BOXES:
        return True
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"AVI ":
        return True
    packets = (beginning[sync::size] for size, sync in TS_PACKETS)
    return any(len(syncs) > 2 and set(syncs) == {TS_SYNC} for syncs in packets)
