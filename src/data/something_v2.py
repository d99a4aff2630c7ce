"""Videos and label lists of Something-Something v2 -> frame folders and the list files that training reads.

    20bn-something-something-v2/<id>.webm             ->  20bn-something-something-v2-frames/<id>/00001.jpg ...
    labels/labels.json      {name: "index"}           ->  categories.txt           names sorted, as for Jester
    labels/train.json       [{id, template, ...}]     ->  train_videofolder.txt    <id> <num_frames> <class index>
    labels/validation.json  [{id, template, ...}]     ->  val_videofolder.txt
    labels/test.json        [{id}]                    ->  test_videofolder.txt     class -1: the answer is not known

The class of a video is its template without brackets. Older downloads call the lists
``something-something-v2-train.json`` and so on. Running it again decodes only what is missing.
"""

from __future__ import annotations

import json
import re
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.files import exists, is_folder
from model_utils.util import exclusive_folder, run_main
from src.data.frame_folders import FrameMaker
from src.data.lists import missing_files, read_json, require_disjoint, write_lists
from src.data.names import (
    LABELS_DIR_NAME,
    LOCK_NAME,
    SOMETHING_V2,
    UNKNOWN_CLASS,
    V2_IMAGES_DIR_NAME,
    V2_VIDEOS_DIR_NAME,
    check_classes,
)
from src.data.video_frames import ClipRequest

VIDEO_HEIGHT = 240


class Entry(NamedTuple):
    """One video of a label list; ``place`` names it in messages."""

    place: str
    video: str
    label: int


def decode_videos(args: Namespace) -> None:
    """Decodes the listed videos and writes the list files, all or none.

    Raises:
        InputError: if a list is wrong, a video is broken and not skipped, or a file cannot be written.
    """
    root = args.dataset_root
    maker = FrameMaker.from_options(root / V2_IMAGES_DIR_NAME, args)
    videos = root / V2_VIDEOS_DIR_NAME
    if not is_folder(videos):
        raise InputError(f"{videos}: no such folder; expected the unpacked videos <id>.webm")
    labels = args.labels_path or root / LABELS_DIR_NAME
    categories = read_templates(_require_list(labels, "labels"))
    entries = {
        "training": read_entries(_require_list(labels, "train"), categories),
        "validation": read_entries(_require_list(labels, "validation"), categories),
    }
    test = _find_list(labels, "test")
    if test:
        entries["test"] = read_entries(test, None)
    require_disjoint([[(entry.place, entry.video) for entry in rows] for rows in entries.values()], "video")
    wanted = [ClipRequest(e.video, e.place, videos / f"{e.video}.webm") for rows in entries.values() for e in rows]
    missing = missing_files([(clip.place, clip.video) for clip in wanted], "video", args.missing == "skip")
    wanted = [clip for clip in wanted if clip.place not in missing]
    for split, its_entries in entries.items():
        if all(entry.place in missing for entry in its_entries):
            raise InputError(f"{videos}: holds none of the videos for {split}")
    with exclusive_folder(root, LOCK_NAME):
        made = maker.make(maker.inspect(wanted))
        rows = {
            split: [f"{e.video} {made.counts[e.video]} {e.label}" for e in its_entries if e.video in made.counts]
            for split, its_entries in entries.items()
        }
        write_lists(root, categories, rows, list(missing.values()))
    for problem in made.problems.values():
        print(f"left out: {problem}", flush=True)
    kept = len(made.counts) - made.new
    print(f"{made.new} videos decoded, {kept} kept from an earlier run; {len(made.problems)} left out", flush=True)


def read_templates(path: Path) -> list[str]:
    """The class names in ``labels.json``, sorted."""
    names = read_json(path)
    if not isinstance(names, dict) or not names:
        raise InputError(f'{path}: expected an object {{"class name": "index", ...}}')
    for name in names:
        if name != name.strip():
            raise InputError(f"{path}: {name!r}; expected a class name without spaces around it")
    check_classes((str(path), name) for name in names)
    return sorted(names)


def read_entries(path: Path, categories: list[str] | None) -> list[Entry]:
    """The videos of a label list, in its order; without ``categories`` their class is unknown.

    Raises:
        InputError: naming the entry, if it is malformed, has an unknown template or repeats a video.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path}: expected a list of objects with an id")
    index = {name: label for label, name in enumerate(categories or [])}
    entries: dict[str, Entry] = {}
    for number, row in enumerate(rows, 1):
        place = f"{path}: entry {number}"
        video = str(row.get("id", "")) if isinstance(row, dict) else ""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", video):
            raise InputError(f'{place}: {json.dumps(row)[:100]}; expected an object with an "id" such as "78687"')
        if video in entries:
            raise InputError(f"{place}: video {video} is here twice, first in {entries[video].place}")
        label = UNKNOWN_CLASS
        if categories is not None:
            template = row.get("template")
            name = re.sub(r"[\[\]]", "", template) if isinstance(template, str) else ""
            if name not in index:
                raise InputError(f"{place}: template {template!r}; expected a class of the list of labels")
            label = index[name]
        entries[video] = Entry(place, video, label)
    return list(entries.values())


def _find_list(labels_path: Path, name: str) -> Path | None:
    paths = [labels_path / f"{prefix}{name}.json" for prefix in ("", SOMETHING_V2.list_prefix)]
    return next((path for path in paths if exists(path)), None)


def _require_list(labels_path: Path, name: str) -> Path:
    path = _find_list(labels_path, name)
    if path is None:
        prefixed = f"{SOMETHING_V2.list_prefix}{name}.json"
        raise InputError(f"{labels_path / name}.json: no such file, and no {prefixed} either")
    return path


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="preprocess_something_v2", description="Decode Something-Something v2 and write its lists.")
    parser.add_argument("dataset_root", type=Path, help="folder of the unpacked dataset")
    parser.add_argument("--labels_path", type=Path, help="folder with the label lists (default DATASET_ROOT/labels)")
    FrameMaker.add_options(parser, VIDEO_HEIGHT)
    decode_videos(parser.parse_args(argv))
    print("DONE!")


if __name__ == "__main__":
    run_main(main)
