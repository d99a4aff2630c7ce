"""Makes the frame folders of many videos. After a kill, the next run keeps the finished clips.

    videos ─► inspected (all, before anything is written) ─► decoded into IMAGES.partial/ ─► renamed to IMAGES/<clip>/

``.source.json`` in a clip's folder records the video and options of its frames. If they change, the clip is made again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.files import cannot_be_read, file_status, read_file
from model_utils.util import write_json
from src.data.names import LONGEST_NAME, SOURCE_FILE
from src.data.video import VideoFile
from src.data.video_frames import (
    ClipRequest,
    DecodeJob,
    expected_bytes,
    inspect_video,
    num_frames,
    run_on_videos,
    write_frames,
)

# Annotations are written by hand or by another clock: an end may be this much later than the video's.
END_TOLERANCE = 0.1  # seconds


@dataclass
class ClipStatus:
    """Which clips are made, which cannot be made, and which are still to be made.

    Attributes:
        counts: {folder: number of frames} of the clips that are made.
        problems: {folder: error message} of the clips that cannot be made.
        todo: readable videos, each with the clips still to be made.
        new: how many clips were decoded in this run.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    todo: list[tuple[VideoFile, list[ClipRequest]]] = field(default_factory=list)
    new: int = 0


@dataclass(frozen=True)
class FrameMaker:
    """Makes frame folders: ``make(inspect(clips))``.

    Attributes:
        images: folder of the clips' folders; is made.
        height: of the frames, in pixels.
        max_frames: a clip of more frames is a problem.
        skip: whether clips with problems are left out; otherwise the first problem is raised.
    """

    images: Path
    fps: float
    height: int
    max_frames: int
    skip: bool

    @staticmethod
    def add_options(parser: Parser, height: int) -> None:
        """Adds the options that ``from_options`` reads, and ``--missing``; ``height`` is the default."""
        parser.add_number("--fps", "float (0, 1000]", 12.0, "frames a second; Jester has 12")
        parser.add_number("--height", "int [16, 4320]", height, "of the frames, in pixels")
        parser.add_number("--max_frames", "int [1, inf)", 10000, "of a clip, at most")
        parser.add_choice("--on_error", ("stop", "skip"), "skip leaves broken videos out")
        parser.add_choice("--missing", ("stop", "skip"), "skip leaves out listed videos that are not there")

    @classmethod
    def from_options(cls, images: Path, args: Namespace) -> FrameMaker:
        return cls(images, args.fps, args.height, args.max_frames, args.on_error == "skip")

    def inspect(self, clips: list[ClipRequest]) -> ClipStatus:
        """Finds the clips that are missing or out of date, and reads their videos through.

        Raises:
            InputError: for a video that cannot be read and a stretch outside its video, unless they are skipped; if
                the disk is too full for the frames.
        """
        found = ClipStatus()
        unmade: dict[Path, list[ClipRequest]] = {}
        for clip in clips:
            made = _read_source(self.images / clip.folder)
            try:
                if made and made["source"] == self._source(clip):
                    found.counts[clip.folder] = made["frames"]
                else:
                    unmade.setdefault(clip.video, []).append(clip)
            except InputError as error:
                found.problems[clip.folder] = str(error)
        for path, result in run_on_videos(inspect_video, unmade, Path, "Inspect"):
            if isinstance(result, InputError):
                refused = {clip.folder: str(result) for clip in unmade[path]}
            else:
                refused = {clip.folder: why for clip in unmade[path] if (why := self._refused(clip, result))}
                found.todo.append((result, [clip for clip in unmade[path] if clip.folder not in refused]))
            found.problems.update(refused)
        self._stop_at(found.problems)
        self._check_space(found)
        return found

    def make(self, clips: ClipStatus) -> ClipStatus:
        """Makes the clips in ``todo``.

        Raises:
            InputError: for a video that cannot be decoded, unless it is skipped; if a folder is in the way.
        """
        partial = self.images.with_name(f"{self.images.name}.partial")
        jobs = [
            DecodeJob(video, {partial / f"{v}-{c}": clip for c, clip in enumerate(wanted)}, self.fps, self.height)
            for v, (video, wanted) in enumerate(clips.todo)
            if wanted
        ]
        work = run_on_videos(write_frames, jobs, lambda job: job.video.path, "Decode")
        with _emptied(partial), closing(work):
            for job, result in work:
                if isinstance(result, InputError):
                    clips.problems.update({clip.folder: str(result) for clip in job.clips.values()})
                    self._stop_at(clips.problems)
                    continue
                for (folder, clip), count in zip(job.clips.items(), result):
                    self._publish(clip, folder, count)
                    clips.counts[clip.folder] = count
                    clips.new += 1
        return clips

    def _refused(self, clip: ClipRequest, video: VideoFile) -> str:
        """The error message of a stretch outside its video or with too many frames; "" for a good one."""
        longest = max(len(os.fsencode(name)) for name in clip.folder.split("/"))
        if longest > LONGEST_NAME:
            return f"{clip.place}: its folder would have a name of {longest} bytes; expected at most {LONGEST_NAME}"
        if clip.start >= video.duration or (clip.end or 0.0) > video.duration + END_TOLERANCE:
            end = "its end" if clip.end is None else f"{clip.end:g} s"
            has = f"outside the video {video.name}, which has {video.duration:.2f} s"
            return f"{clip.place}: from {clip.start:g} s to {end} is {has}; expected a stretch inside it"
        count = num_frames(video, clip, self.fps)
        if count > self.max_frames:
            at_most = f"at most {self.max_frames} (--max_frames)"
            return f"{clip.place}: {count} frames at {self.fps:g} a second; expected {at_most}"
        return ""

    def _check_space(self, found: ClipStatus) -> None:
        expected = sum(
            expected_bytes(video, clip, self.fps, self.height) for video, clips in found.todo for clip in clips
        )
        free = shutil.disk_usage(next(folder for folder in self.images.parents if folder.exists())).free
        if expected > free:
            raise InputError(f"{self.images}: {free / 1e6:.0f} MB are free, but {expected / 1e6:.0f} MB are needed")

    def _stop_at(self, problems: dict[str, str]) -> None:
        if problems and not self.skip:
            lines = list(dict.fromkeys(problems.values()))
            others = f" (and {len(lines) - 1} other problems, listed above)" if lines[1:] else ""
            for line in lines if others else []:
                print(line, flush=True)
            raise InputError(f"{lines[0]}{others}; --on_error skip leaves such clips out")

    def _publish(self, clip: ClipRequest, folder: Path, count: int) -> None:
        write_json(folder / SOURCE_FILE, {"source": self._source(clip), "frames": count})
        target = self.images / clip.folder
        if target.exists():
            if _read_source(target) is None:
                raise InputError(f"{target}: would be replaced, but is not made from a video; move it away")
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(folder, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # The target is behind a link to another disk: copy it there first, so that it appears whole.
            with _emptied(target.with_name(".partial")) as there:
                shutil.copytree(folder, there, dirs_exist_ok=True)
                os.replace(there, target)

    def _source(self, clip: ClipRequest) -> dict[str, Any]:
        """The video and options that the frames depend on. Raises InputError if the video cannot be read."""
        try:
            stat = file_status(clip.video)
        except OSError as error:
            raise cannot_be_read(clip.video, error) from None
        source = {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "start": clip.start, "end": clip.end}
        return {**source, "fps": self.fps, "height": self.height}


def _read_source(folder: Path) -> dict[str, Any] | None:
    """What ``_publish`` wrote; None without it."""
    try:
        made = json.loads(read_file(folder / SOURCE_FILE))
        return made if isinstance(made["frames"], int) and "source" in made else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """An empty folder while the block runs; the rest of a killed run is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
