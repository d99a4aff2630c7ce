"""The input: from frames on the disk to arrays in memory, list files from folders, start-up."""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Any

from benchmarks.data import JESTER_CLIPS, TRAIN_CLIPS, drop_cache, make_folders, make_packed
from benchmarks.harness import Item, Round, repeated, side

if TYPE_CHECKING:
    from src.data.frame_files import FrameFolders, VideoRecord

IMAGE_SIZE = 224
TRAIN_BATCH, EVAL_BATCH = 8, 1
STARTS = 3
PROGRAMS = (
    *("train.py", "eval.py", "export.py", "infer.py"),
    *("-m src.synthetic.jester", "-m src.data.unpack_jester_dataset", "-m src.preprocess_jester_dataset"),
    *("-m src.convert_bn_inception", "-m src.convert_trn_pytorch"),
)


def read_records(data: Path, clips: int, packed: bool = False) -> tuple[list[VideoRecord], FrameFolders]:
    """``clips`` records, repeated if there are fewer, and where their frames are."""
    from src.data.frame_files import FrameFolders
    from src.data.names import FRAME_NAME
    from src.tsn_dataset import read_video_list

    frames = FrameFolders(make_packed(data) if packed else data / "jester" / "20bn-jester-v1", FRAME_NAME)
    records = read_video_list(data / "jester" / "train_videofolder.txt", 27, frames)
    return list(islice(cycle(records), clips)), frames


def train_input(data: Path, clips: int, workers: int, segments: int, packed: bool = False, cold: bool = False) -> Round:
    """Whole training pipeline of the project: uint8 batches. From the tar if ``packed``; ``cold``: from the disk."""
    import numpy as np

    from src.data.clips import TrainingLoader
    from src.tsn_dataset import training_dataset

    records, frames = read_records(data, clips, packed)
    loader = TrainingLoader(
        frames,
        segments,
        IMAGE_SIZE,
        subsample_num=3,
        seed=0,
        flip="label_aware",
        mirrored=np.arange(27),
        dropout=0.8,
        features=1024,
    )

    def one_round() -> int:
        dataset = training_dataset(loader, records, batch_size=TRAIN_BATCH, workers=workers)
        return sum(len(batch[1]) for batch in dataset.read())

    if cold:
        one_round.before = lambda: drop_cache(frames.root.parent)  # type: ignore[attr-defined]
    return one_round


def eval_input(data: Path, clips: int, workers: int, segments: int) -> Round:
    """Whole 10-crop pipeline of the project: uint8 batches."""
    from src.data.clips import EvaluationLoader
    from src.tsn_dataset import evaluation_dataset

    records, frames = read_records(data, clips)
    loader = EvaluationLoader(frames, segments, IMAGE_SIZE, test_crops=10)

    def one_round() -> int:
        dataset = evaluation_dataset(loader, records, batch_size=EVAL_BATCH, workers=workers)
        return sum(len(batch[1]) for batch in dataset.read(output_numpy=True))

    return one_round


def torch_input(data: Path, clips: int, workers: int, segments: int, test_crops: int) -> Round:
    loader = torch_loader(data, clips, workers, segments, test_crops)
    return lambda: sum(len(labels) for _, labels in loader)


def torch_loader(data: Path, clips: int, workers: int, segments: int, test_crops: int) -> Any:
    """The same clips with Pillow in a PyTorch DataLoader, which starts its workers anew each time: float32 batches."""
    import warnings

    from torch.utils.data import DataLoader, Subset

    from benchmarks.torch_reference import VideoDataset

    jester = data / "jester"
    dataset = VideoDataset(
        jester / "train_videofolder.txt", jester / "20bn-jester-v1", segments, IMAGE_SIZE, test_crops
    )
    batch = EVAL_BATCH if test_crops else TRAIN_BATCH
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores
    chosen = Subset(dataset, [index % len(dataset) for index in range(clips)])
    return DataLoader(chosen, batch_size=batch, shuffle=not test_crops, num_workers=workers)


def bare_opencv(data: Path, clips: int, threads: int, segments: int) -> Round:
    """Decode, crop and resize alone, the limit of the machine."""
    from concurrent.futures import ThreadPoolExecutor

    import cv2
    import numpy as np

    records, frames = read_records(data, clips)
    cv2.setNumThreads(0)

    def work(share: list) -> None:
        clip = np.empty((segments, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        for record in share:
            for segment, out in enumerate(clip):
                number = segment * record.num_frames // segments + 1
                frame = cv2.imread(frames.path(record, number - 1))
                cv2.resize(frame[6:93, 10:97], (IMAGE_SIZE, IMAGE_SIZE), dst=out)

    def one_round() -> int:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, [records[thread::threads] for thread in range(threads)]))
        return clips

    return one_round


def preprocess(data: Path, clips: int) -> Round:
    """The project's preprocessing, checks and all."""
    from src.preprocess_jester_dataset import write_dataset_lists

    images, labels = _folders(data, clips)

    def one_round() -> int:
        with TemporaryDirectory() as target, redirect_stdout(StringIO()):
            write_dataset_lists(images, labels, Path(target))
        return clips

    return one_round


def glob_preprocess(data: Path, clips: int) -> Round:
    """A glob for each folder, without checks."""
    images, labels = _folders(data, clips)

    def one_round() -> int:
        categories = sorted((labels / "labels.csv").read_text().splitlines())
        index = {name: number for number, name in enumerate(categories)}
        with TemporaryDirectory() as target:
            for name in ("train", "validation", "test-answers"):
                lines = []
                for row in (labels / f"{name}.csv").read_text().splitlines():
                    clip, label = row.split(";")
                    frames = glob.glob(os.path.join(images, clip, "*.jpg"))
                    lines.append(f"{clip} {len(frames)} {index[label]}")
                Path(target, f"{name}.txt").write_text("\n".join(lines))
        return clips

    return one_round


def _folders(data: Path, clips: int) -> tuple[Path, Path]:
    """Folders of the clips and of lists with so many of them, the same share of each list."""
    dataset = make_folders(data)
    labels = Path(mkdtemp())
    atexit.register(shutil.rmtree, labels)
    for path in (dataset / "labels").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        share = len(lines) if path.stem == "labels" else len(lines) * clips // JESTER_CLIPS
        (labels / path.name).write_text("".join(lines[:share]))
    return dataset / "20bn-jester-v1", labels


def show_help(data: Path, program: str) -> Round:
    """An entry point from its start to the end of its help text."""
    command = [sys.executable, *program.split(), "--help"]
    return repeated(STARTS, lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


ITEMS = [
    Item(
        "train_input",
        "training input, 224 px, T = 8, from the disk to a batch",
        "clip",
        (
            side("this project, 1 worker", train_input, clips=1920, workers=1, segments=8),
            side("PyTorch + Pillow, 1 worker", torch_input, 6, clips=72, workers=1, segments=8, test_crops=0),
            side("bare OpenCV, 1 thread", bare_opencv, 0.5, clips=480, threads=1, segments=8),
        ),
        {"clips": "clips", "segments": "frames of a clip (T)", "workers": "workers"},
    ),
    Item(
        "eval_input",
        "10-crop test input, 224 px, T = 8, from the disk to a batch",
        "clip",
        (
            side("this project, 1 worker", eval_input, clips=864, workers=1, segments=8),
            side("PyTorch + Pillow, 1 worker", torch_input, 20, clips=8, workers=1, segments=8, test_crops=10),
        ),
        {"clips": "clips", "segments": "frames of a clip (T)"},
    ),
    Item(
        "train_input_workers",
        "training input with 2 workers",
        "clip",
        (
            side("this project, 2 workers", train_input, clips=3840, workers=2, segments=8),
            side("this project, 1 worker", train_input, 1.7, clips=1920, workers=1, segments=8),
            side("PyTorch + Pillow, 2 workers", torch_input, clips=144, workers=2, segments=8, test_crops=0),
            side("bare OpenCV, 2 threads", bare_opencv, clips=960, threads=2, segments=8),
            side("bare OpenCV, 1 thread", bare_opencv, clips=480, threads=1, segments=8),
        ),
    ),
    Item(
        "packed_input",
        "training input from the tar, 224 px, T = 8, 1 worker",
        "clip",
        (
            side("tar", train_input, clips=1920, workers=1, segments=8, packed=True),
            side("folders", train_input, 0.95, clips=1920, workers=1, segments=8),
        ),
    ),
    Item(
        "packed_input_cold",
        "the same, nothing in the system's cache",
        "clip",
        (
            side("tar", train_input, clips=TRAIN_CLIPS, workers=1, segments=8, packed=True, cold=True),
            side("folders", train_input, clips=TRAIN_CLIPS, workers=1, segments=8, cold=True),
        ),
    ),
    Item(
        "preprocess",
        f"list files from {JESTER_CLIPS} folders of 37 frames",
        "clip",
        (
            side("this project", preprocess, clips=JESTER_CLIPS),
            side("glob for each folder", glob_preprocess, 3, clips=JESTER_CLIPS),
        ),
        {"clips": "clips"},
        factors=(0.25, 0.5, 1),
    ),
    Item(
        "help",
        "start of a program up to its help text",
        "start",
        tuple(side(program, show_help, at_most=2, program=program) for program in PROGRAMS),
    ),
]
