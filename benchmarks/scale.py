"""As many clips as Jester has, with tiny frames: 148,092 clips of 37 frames, from unpacking to the first batch.

    nice -n 15 python -m benchmarks.scale --folder DIR [--clips 148092] [--forms packed folders]

Makes a part that is a tar.gz (once; a folder that has it is used again) and measures, each in a process of its own:
unpacking, preprocessing, the first batch of training, one batch of evaluation. For each the time, the time of the CPUs,
the peak memory of the largest process, and how many inodes it made. Prints a table and asserts nothing.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from tempfile import TemporaryFile

import cv2
import numpy as np

from src.data.names import FRAME_NAME, IMAGES_DIR_NAME

FRAMES = 37
ROOT = Path(__file__).resolve().parents[1]


def make_parts(folder: Path, clips: int) -> None:
    """One part and label lists: three classes, a tenth of the clips to validate."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pictures = [
        cv2.imencode(".jpg", rng.integers(256, size=(16, 24, 3), dtype=np.uint8))[1].tobytes() for _ in range(50)
    ]
    path = folder / f"{IMAGES_DIR_NAME}-00"
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        for clip in range(1, clips + 1):
            for number in range(1, FRAMES + 1):
                content = pictures[(clip + number) % len(pictures)]
                info = tarfile.TarInfo(f"{IMAGES_DIR_NAME}/{clip}/{FRAME_NAME.format(number)}")
                info.size = len(content)
                packed.write(info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512))
        packed.write(bytes(1024))
    rows = [f"{clip};class {clip % 3}\n" for clip in range(1, clips + 1)]
    (folder / "labels").mkdir()
    (folder / "labels" / "train.csv").write_text("".join(rows[clips // 10 :]))
    (folder / "labels" / "validation.csv").write_text("".join(rows[: clips // 10]))


def read_batch(dataset_root: str, split: str) -> None:
    """Reads one batch as training or evaluation does."""
    from src.data.clips import EvaluationLoader, TrainingLoader
    from src.data.frame_files import FrameFolders
    from src.tsn_dataset import evaluation_dataset, read_video_list, training_dataset

    frames = FrameFolders(Path(dataset_root, IMAGES_DIR_NAME), FRAME_NAME)
    name = {"training": "train", "evaluation": "val"}[split]
    records = read_video_list(Path(dataset_root, f"{name}_videofolder.txt"), 3, frames)
    if split == "training":
        mirrored = np.arange(3, dtype=np.int32)
        loader = TrainingLoader(frames, 8, 64, 3, 0, "plain", mirrored, 0.5, 32)
        batches = training_dataset(loader, records, batch_size=24, workers=2).read(1)
    else:
        batches = evaluation_dataset(EvaluationLoader(frames, 8, 64, 10), records, batch_size=24, workers=2).read(1)
    print("batch:", [column.shape for column in next(batches) if hasattr(column, "shape")])
    batches.close()


def measure_step(name: str, disk: Path, command: list[str]) -> None:
    """Runs a program and prints its row."""
    before = count_files(disk)
    begin = time.perf_counter()
    with TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, process.returncode, used = os.wait4(process.pid, 0)  # with what its children used
        if process.returncode:
            output.seek(0)
            sys.exit(f"{name}: {output.read()}")
    seconds, cpu, memory = time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"| {name} | {seconds:,.1f} | {cpu:,.1f} | {memory:,.0f} | {count_files(disk) - before:,} |", flush=True)


def count_files(folder: Path) -> int:
    """Inodes below a folder."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=148_092)
    parser.add_argument("--forms", nargs="+", choices=("packed", "folders"), default=["packed", "folders"])
    args = parser.parse_args()
    data = args.folder / f"parts of {args.clips}"
    if not data.is_dir():
        make_parts(data, args.clips)
    print(f"{args.clips:,} clips of {FRAMES} frames, {os.cpu_count()} cores\n\n| step | s | CPU s | peak MB | inodes |")
    print("|---|---:|---:|---:|---:|", flush=True)
    batch = ["-c", "import sys; from benchmarks.scale import read_batch; read_batch(*sys.argv[1:])"]
    for form in args.forms:
        target = str(args.folder / f"{form} {args.clips}")
        packed = str(form == "packed").lower()
        steps = {
            "unpack": ["-m", "src.data.unpack_jester_dataset", str(data), target, "--packed", packed],
            "preprocess": ["-m", "src.preprocess_jester_dataset", target],
            "first batch of training": [*batch, target, "training"],
            "a batch of evaluation": [*batch, target, "evaluation"],
        }
        for name, step in steps.items():
            measure_step(f"{form}: {name}", args.folder, [sys.executable, *step])


if __name__ == "__main__":
    main()
