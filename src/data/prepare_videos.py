"""Your own videos -> frame folders and the list files that training and evaluation read.

    VIDEOS/<class>/<anything>.mp4, or a CSV with segments
      ─► 20bn-jester-v1/<video>/00001.jpg ...      for a segment 20bn-jester-v1/<video>@<start>-<end>/
      ─► categories.txt, train_videofolder.txt, val_videofolder.txt[, test_videofolder.txt]

The lists are written at the end, all or none. After a kill, run it again: finished clips stay.
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from pathlib import Path
from statistics import median

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.files import exists, is_folder
from model_utils.util import exclusive_folder, run_main, write_bytes
from src.data.annotations import VideoClip, find_clips, read_annotations
from src.data.frame_folders import ClipStatus, FrameMaker
from src.data.lists import write_lists
from src.data.mirror_pairs import describe_mirroring, given_pairs, mirrored_classes
from src.data.names import CATEGORIES_FILE, IMAGES_DIR_NAME, LIST_FILES, LOCK_NAME, PREPARED_MARKER, check_classes
from src.data.pack_frames import pack_folders, unpack_tar
from src.data.packed import is_packed
from src.data.splits import split_clips
from src.data.video_frames import ClipRequest

FEW_CLIPS = 10  # in training; with fewer a class is reported
USUAL_SEGMENTS = 8  # T of the configs; a shorter clip repeats frames


def prepare_videos(args: Namespace) -> None:
    """Makes the dataset that the command line asks for.

    Raises:
        InputError: if videos or annotations are wrong, or if the dataset's folder belongs to another program, is in use
            or cannot be written.
    """
    root = args.dataset_root
    left_out: list[str] | None = [] if args.missing == "skip" else None
    clips = read_annotations(args.annotations, args.videos, left_out) if args.annotations else find_clips(args.videos)
    places = {clip.label: clip.place for clip in reversed(clips)}  # of the first clip of each class
    check_classes((places[label], label) for label in sorted(places))
    split_clips(clips, args.val, args.seed)  # reports wrong classes before hours of decoding
    _check_owner(root)
    with exclusive_folder(root, LOCK_NAME):
        _prepare(args, clips, left_out or [])


def _check_owner(root: Path) -> None:
    """Raises InputError if ``root`` holds a dataset that this program did not make."""
    if exists(root / PREPARED_MARKER):
        return
    for name in (IMAGES_DIR_NAME, f"{IMAGES_DIR_NAME}.tar", CATEGORIES_FILE, *LIST_FILES.values()):
        if exists(root / name):
            raise InputError(f"{root / name}: belongs to a dataset that was not made from videos; give another folder")


def _prepare(args: Namespace, clips: list[VideoClip], left_out: list[str]) -> None:
    root = args.dataset_root
    images = root / IMAGES_DIR_NAME
    if is_packed(images):
        unpack_tar(images)
    wanted = [ClipRequest(clip.folder, clip.place, args.videos / clip.video, clip.start, clip.end) for clip in clips]
    maker = FrameMaker.from_options(images, args)
    found = maker.inspect(wanted)
    write_bytes(root / PREPARED_MARKER, b"")
    made = maker.make(found)
    kept = [clip for clip in clips if clip.folder in made.counts]
    if not kept:
        raise InputError(f"{args.videos}: none of the {len(clips)} clips can be read")
    sides = split_clips(kept, args.val, args.seed)
    categories = sorted({clip.label for clip in kept})
    rows = {
        side: [f"{clip.folder} {made.counts[clip.folder]} {categories.index(clip.label)}" for clip in its_clips]
        for side, its_clips in sides.items()
    }
    write_lists(root, categories, rows, left_out)
    if args.packed == "true":
        pack_folders(images)
    mirrored = mirrored_classes(categories, given_pairs(root, categories, ""))
    print("\n".join([*report(sides, made), *describe_mirroring(categories, mirrored)]), flush=True)


def report(sides: dict[str, list[VideoClip]], made: ClipStatus) -> list[str]:
    """Lines about the dataset: clips and their lengths, clips left out, classes with few clips."""
    clips = [clip for its_clips in sides.values() for clip in its_clips]
    of_class = {label: [clip for clip in clips if clip.label == label] for label in sorted({c.label for c in clips})}
    counted = {side: Counter(clip.label for clip in its_clips) for side, its_clips in sides.items()}
    lines = [f"left out: {problem}" for problem in dict.fromkeys(made.problems.values())]
    splits = ", ".join(f"{len(its_clips)} for {side}" for side, its_clips in sides.items())
    kept = len(clips) - made.new
    lines += [f"{len(clips)} clips of {len(of_class)} classes: {splits}"]
    lines += [f"{made.new} clips decoded, {kept} kept from an earlier run; {len(made.problems)} left out"]
    width = max(len("class"), *map(len, of_class))
    lines += ["  ".join([f"{'class':{width}}", *(f"{side:>10}" for side in sides), "frames: least, median, most"])]
    for label, its_clips in of_class.items():
        frames = [made.counts[clip.folder] for clip in its_clips]
        numbers = "  ".join(f"{counted[side][label]:>10}" for side in sides)
        lines += [f"{label:{width}}  {numbers}  {min(frames)}, {median(frames):g}, {max(frames)}"]
    few = [label for label in of_class if counted["training"][label] < FEW_CLIPS]
    if few:
        lines += [f"fewer than {FEW_CLIPS} clips to train with: {', '.join(few)}"]
    short = sum(made.counts[clip.folder] < USUAL_SEGMENTS for clip in clips)
    if short:
        lines += [
            f"{short} clips have fewer than {USUAL_SEGMENTS} frames, so some are used twice; a higher --fps gives more"
        ]
    divided = {clip.video for clip in sides["training"]} & {clip.video for clip in sides["validation"]}
    if divided:
        lines += [f"{len(divided)} videos have segments in training and in validation, as the annotations say"]
    return lines


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = Parser(prog="prepare_videos", description="Turn one's own videos into frame folders and list files.")
    parser.add_argument("videos", type=Path, help="folder of class folders of videos, or of the annotated videos")
    parser.add_argument("dataset_root", type=Path, help="folder for the dataset; made if it is not there")
    parser.add_argument("--annotations", type=Path, help="CSV with a header video,label[,start,end][,split]; seconds")
    parser.add_number("--val", "float (0, 1)", 0.2, "share of the clips to validate with")
    FrameMaker.add_options(parser, height=100)
    parser.add_number("--seed", "int [0, inf)", 0, "another seed draws another split")
    parser.add_choice("--packed", ("false", "true"), "true puts the frames into one tar")
    args = parser.parse_args(argv)
    if not is_folder(args.videos):
        raise InputError(f"{args.videos}: no such folder; expected the folder of the videos")
    prepare_videos(args)
    print("DONE!")


if __name__ == "__main__":
    run_main(main)
