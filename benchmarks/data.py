"""Makes the data of the benchmarks once: the synthetic Jester, and as many folders as the real Jester has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
TRAIN_CLIPS, VAL_CLIPS = 216, 54
NEW_GESTURES = (  # which the quickstart's network has not seen
    "Rolling Hand Forward",
    "Rolling Hand Backward",
    "Turning Hand Clockwise",
    "Turning Hand Counterclockwise",
    "Stop Sign",
)
JESTER_TRAIN_CLIPS, JESTER_VAL_CLIPS, JESTER_TEST_CLIPS = 118_562, 14_787, 14_743
JESTER_CLIPS = JESTER_TRAIN_CLIPS + JESTER_VAL_CLIPS + JESTER_TEST_CLIPS
JESTER_FRAMES = 37
CLIPS_A_FRAME = 1000  # a file can have 65,000 names


def run_program(*command: str) -> None:
    """Runs a program of the repository; shows its output if it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])}
    program = [sys.executable, str(REPO / command[0]), *command[1:]]
    done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}")


def make_dataset(dataset: Path, labels: list[str], train: int, val: int, seed: int) -> None:
    """Draws, unpacks and lists clips, unless they are there; keeps the archives beside the dataset."""
    from src.synthetic.jester import make_archives

    if not (dataset / "val_videofolder.txt").is_file():
        archives = dataset.parent / "archives"
        make_archives(archives, labels, {"train": train, "validation": val, "test": 0}, seed, 3)
        run_program("src/data/unpack_jester_dataset.py", str(archives), str(dataset))
        run_program("src/preprocess_jester_dataset.py", str(dataset))


def make_data(folder: Path) -> None:
    """Make the dataset in `folder`/jester, unless it is there."""
    from src.synthetic.gestures import GESTURES

    make_dataset(folder / "jester", list(GESTURES), TRAIN_CLIPS, VAL_CLIPS, seed=1)


def make_packed(folder: Path) -> Path:
    """Make `folder`/packed, the clips of `folder`/jester in one tar; returns where the folder of the clips would be."""
    from src.data.pack_frames import pack_folders
    from src.data.packed import tar_of

    images = folder / "packed" / "20bn-jester-v1"
    if not tar_of(images).exists():
        shutil.rmtree(images.parent, ignore_errors=True)  # begun and not finished
        shutil.copytree(folder / "jester" / images.name, images)
        pack_folders(images)
    return images


def drop_cache(folder: Path) -> None:
    """Nothing below the folder stays in the system's cache; as root no names of files do either."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        for path in folder.rglob("*"):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)


def make_folders(folder: Path) -> Path:
    """Make `folder`/folders, a dataset with as many clips and frames as the real one, but with empty frames.

    The frames are hard links to a few files: 5.5 million files of their own would take as many inodes.
    """
    dataset = folder / "folders"
    images, labels = dataset / "20bn-jester-v1", dataset / "labels"
    if labels.is_dir():
        return dataset
    shutil.rmtree(dataset, ignore_errors=True)  # begun and not finished
    images.mkdir(parents=True)
    clips = range(1, JESTER_CLIPS + 1)
    for number in clips:
        source = f"{dataset}/frame{number // CLIPS_A_FRAME}.jpg"
        if number == 1 or number % CLIPS_A_FRAME == 0:
            Path(source).write_bytes(b"frame")
        os.mkdir(f"{images}/{number}")
        clip = os.open(f"{images}/{number}", os.O_RDONLY)
        for frame in range(1, JESTER_FRAMES + 1):
            os.link(source, f"{frame:05d}.jpg", dst_dir_fd=clip)
        os.close(clip)
    _write_jester_labels(dataset / "labels.partial", clips)
    (dataset / "labels.partial").rename(labels)
    return dataset


def _write_jester_labels(labels: Path, clips: range) -> None:
    labels.mkdir(exist_ok=True)
    names = [f"Gesture {index}" for index in range(27)]
    rows = [f"{clip};{names[clip % 27]}" for clip in clips]
    test = JESTER_TRAIN_CLIPS + JESTER_VAL_CLIPS
    lists = {
        "labels": names,
        "train": rows[:JESTER_TRAIN_CLIPS],
        "validation": rows[JESTER_TRAIN_CLIPS:test],
        "test": map(str, clips[test:]),
        "test-answers": rows[test:],
    }
    for name, lines in lists.items():
        (labels / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines))
