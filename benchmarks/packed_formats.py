"""Random access to 8 of a clip's 37 frames, in folders and in the containers that might replace them.

    python -m benchmarks.packed_formats [--clips 1000] [--rounds 5] [--folder DIR]

What decides between them: how many clips a second a worker reads (warm: from the page cache; cold: the
system's cache was dropped), how much disk and how many files they take. ``lmdb`` is measured where it
is installed (``pip install lmdb``). Prints a table and asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np

from benchmarks.data import drop_cache
from src.data.names import FRAME_NAME
from src.data.packed import PackedFrames
from src.data.packing import packing

FRAMES, READ = 37, 8
Read = Callable[[list[tuple[int, int]]], int]  # (clip, frame) of one clip's frames -> bytes read


def frame_of(clip: int, number: int) -> bytes:
    """As large as a frame of Jester."""
    rng = np.random.default_rng([clip, number])
    return rng.bytes(int(rng.integers(2500, 6000)))


def in_folders(folder: Path, clips: int) -> Read:
    for clip in range(clips):
        (folder / str(clip)).mkdir(parents=True)
        for number in range(FRAMES):
            (folder / str(clip) / FRAME_NAME.format(number + 1)).write_bytes(frame_of(clip, number))

    def read(wanted: list[tuple[int, int]]) -> int:
        total = 0
        for clip, number in wanted:
            descriptor = os.open(f"{folder}/{clip}/{FRAME_NAME.format(number + 1)}", os.O_RDONLY)
            total += len(os.read(descriptor, os.fstat(descriptor).st_size))
            os.close(descriptor)
        return total

    return read


def in_tar(folder: Path, clips: int) -> Read:
    folder.mkdir()
    with packing(folder / "frames.tar") as packer:
        for clip in range(clips):
            for number in range(FRAMES):
                packer.add(f"{clip}/{FRAME_NAME.format(number + 1)}", frame_of(clip, number))
    packed = PackedFrames(folder / "frames.tar")
    return lambda wanted: sum(len(packed.frame_bytes(str(clip), number + 1)) for clip, number in wanted)


def in_lmdb(folder: Path, clips: int) -> Read:
    import lmdb

    environment = lmdb.open(str(folder), map_size=1 << 40)
    with environment.begin(write=True) as transaction:
        for clip in range(clips):
            for number in range(FRAMES):
                transaction.put(f"{clip}/{number}".encode(), frame_of(clip, number))

    def read(wanted: list[tuple[int, int]]) -> int:
        with environment.begin() as transaction:
            return sum(len(transaction.get(f"{clip}/{number}".encode())) for clip, number in wanted)

    return read


def in_mindrecord(folder: Path, clips: int) -> Read:
    """One row for each frame, read by a sampler that names the rows, as MindSpore reads its own format at random."""
    import mindspore.dataset as ds
    from mindspore.mindrecord import FileWriter

    folder.mkdir()
    path = str(folder / "frames.mindrecord")
    writer = FileWriter(path, shard_num=1)
    writer.add_schema({"frame": {"type": "bytes"}}, "frames")
    for clip in range(clips):
        writer.write_raw_data([{"frame": frame_of(clip, number)} for number in range(FRAMES)])
    writer.commit()

    def read(wanted: list[tuple[int, int]]) -> int:
        rows = [clip * FRAMES + number for clip, number in wanted]
        dataset = ds.MindDataset(path, num_parallel_workers=1, sampler=ds.SubsetSampler(rows))
        return sum(row[0].nbytes for row in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True))

    read.at_once = True  # type: ignore[attr-defined]  # opening costs more than reading: all clips in one pass
    return read


def seconds(read: Read, clips: int, seed: int) -> float:
    """For each clip once, in a random order."""
    rng = np.random.default_rng(seed)
    wanted = [[(int(clip), int(n)) for n in sorted(rng.choice(FRAMES, READ, False))] for clip in rng.permutation(clips)]
    begin = time.perf_counter()
    if getattr(read, "at_once", False):
        read([pair for clip in wanted for pair in clip])
    else:
        for clip in wanted:
            read(clip)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's folder for such files)")
    args = parser.parse_args()
    forms = {"folders": in_folders, "tar": in_tar, "LMDB": in_lmdb, "MindRecord": in_mindrecord}
    print(
        f"{args.clips} clips of {FRAMES} frames, {READ} read of each; clips/s, median of {args.rounds} (min to max)\n"
    )
    print("| form | warm | cold | MB | files | s to write |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(dir=args.folder) as work:
        readers: dict[str, Read] = {}
        writing = {}
        for name, make in forms.items():
            begin = time.perf_counter()
            try:
                readers[name] = make(Path(work) / name, args.clips)
            except ImportError as error:
                print(f"| {name} | {error} | | | | |")
            writing[name] = time.perf_counter() - begin
        rates: dict[tuple[str, bool], list[float]] = {}
        for turn in range(args.rounds):
            for name, read in readers.items():
                for warm in (False, True):
                    if not warm:
                        drop_cache(Path(work) / name)
                    rates.setdefault((name, warm), []).append(args.clips / seconds(read, args.clips, turn))
        for name in readers:
            files = [path for path in (Path(work) / name).rglob("*") if path.is_file()]
            size = sum(path.stat().st_blocks * 512 for path in files) / 1e6
            cells = [
                f"{statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})"
                for found in (rates[name, True], rates[name, False])
            ]
            print(f"| {name} | {' | '.join(cells)} | {size:.0f} | {len(files)} | {writing[name]:.1f} |")


if __name__ == "__main__":
    main()
