"""Something-Something v1 and v2 in their packaging, made here: from archives to an evaluation."""

from __future__ import annotations

import csv
import json
import zipfile

import cv2
import pytest

from src.training.checkpoint import describe, save_checkpoint
from tests.data.test_unpack_jester_dataset import cut, tar_of
from tests.e2e.test_scripts import ROOT, script
from tests.helpers.colours import changing_frames, write_video
from tests.helpers.networks import settings, tiny_network
from tests.helpers.small_program import write_python

CLASSES = ["Holding something", "Pushing something from left to right", "Pushing something from right to left"]
TRAIN, VALIDATION, TEST = [101, 102, 103], [7, 8, 9], [55]
CLASS_OF = dict(zip(TRAIN + VALIDATION, CLASSES * 2))
LABELS_ARCHIVE = "20bn-something-something-download-package-labels.zip"
PREFIX = {1: "something-something-v1-", 2: "something-something-v2-"}


def files_of(version, tmp_path):
    """What is in the archive: frames of v1, videos of v2."""
    for number in (*TRAIN, *VALIDATION, *TEST):
        frames = changing_frames(9 + number % 3, 48, 64)
        if version == 1:
            for place, frame in enumerate(frames, 1):
                yield f"{number}/{place:05d}.jpg", cv2.imencode(".jpg", frame)[1].tobytes()
        else:
            yield f"{number}.webm", write_video(tmp_path / f"{number}.webm", frames, 12).read_bytes()


def lists_of(version):
    """The label lists; of v2 in the order of the official file, which is not sorted."""
    names = CLASSES[::-1]
    if version == 1:
        rows = {"train": TRAIN, "validation": VALIDATION}
        lists = {name: "".join(f"{n};{CLASS_OF[n]}\n" for n in numbers) for name, numbers in rows.items()}
        texts = {"labels": "".join(f"{name}\n" for name in names), **lists, "test": "".join(f"{n}\n" for n in TEST)}
        return {f"{name}.csv": text for name, text in texts.items()}

    def entry(number):
        template = CLASS_OF[number].replace("something", "[something]")
        words = {"label": CLASS_OF[number].replace("something", "a cup"), "placeholders": ["a cup"]}
        return {"id": str(number), "template": template, **words}

    documents = {
        "labels": {name: str(index) for index, name in enumerate(names)},
        "train": [entry(number) for number in TRAIN],
        "validation": [entry(number) for number in VALIDATION],
        "test": [{"id": str(number)} for number in TEST],
    }
    return {f"{name}.json": json.dumps(document) for name, document in documents.items()}


def write_archives(folder, version, loose, tmp_path):
    """Zipped parts and a zip with the lists, or raw parts and loose lists of older names."""
    folder.mkdir()
    name = f"20bn-something-something-v{version}"
    packed = tar_of([(f"{name}/{member}", content) for member, content in files_of(version, tmp_path)])
    for number, part in enumerate(cut(packed, 2)):
        if loose:
            (folder / f"{name}-{number:02d}").write_bytes(part)
        else:
            with zipfile.ZipFile(folder / f"{name}-{number:02d}.zip", "w") as archive:
                archive.writestr(f"{name}-{number:02d}", part)
    if loose:
        for file, text in lists_of(version).items():
            (folder / (PREFIX[version] + file)).write_text(text)
        return
    with zipfile.ZipFile(folder / LABELS_ARCHIVE, "w") as archive:
        for file, text in lists_of(version).items():
            archive.writestr(f"labels/{file}", text)


@pytest.mark.parametrize(("version", "loose"), [(1, False), (2, True)])
def test_from_archives_to_an_evaluation(small_backbone, tmp_path, version, loose):
    write_archives(tmp_path / "my archives", version, loose, tmp_path)
    unpack = ("unpack_jester_dataset.sh", "my archives", "data")
    assert script(*unpack, cwd=tmp_path, silent=True).endswith("DONE!\n")
    program = {1: "preprocess_jester_dataset.sh", 2: "preprocess_something_v2.sh"}[version]
    script(program, "data", cwd=tmp_path)
    lists = {path.name: path.read_text() for path in (tmp_path / "data").glob("*.txt")}
    assert lists == {
        "categories.txt": "".join(f"{name}\n" for name in CLASSES),
        "train_videofolder.txt": "101 11 0\n102 9 1\n103 10 2\n",
        "val_videofolder.txt": "7 10 0\n8 11 1\n9 9 2\n",
        "test_videofolder.txt": "55 10 -1\n",
    }
    if version == 2:  # again: nothing is decoded twice
        said = script(program, "data", cwd=tmp_path)
        assert "0 videos decoded, 7 kept from an earlier run; 0 left out" in said

    save_checkpoint(
        tmp_path / "trn.ckpt", tiny_network().parameters_dict(), describe(settings(), CLASSES, epoch=1, step=1)
    )
    config = ["--config_path", ROOT / f"configs/something_v{version}_config.yaml", "--eval_workers", 1]
    small = write_python(tmp_path)
    said = script("run_eval_gpu.sh", "data", "trn.ckpt", *config, cwd=tmp_path, PYTHON=small)
    assert "3 clips, 10 crops, relations: all, flip: label_aware" in said
    with open(tmp_path / "eval-logs/predictions.csv", encoding="utf-8") as file:
        answers = {row["clip"]: row["true"] for row in csv.DictReader(file)}
    assert answers == {str(number): CLASS_OF[number] for number in VALIDATION}


def test_entries_without_a_video_are_counted_or_left_out(tmp_path):
    (tmp_path / "data/labels").mkdir(parents=True)
    for file, text in lists_of(2).items():
        (tmp_path / "data/labels" / file).write_text(text)
    videos = tmp_path / "data/20bn-something-something-v2"
    videos.mkdir()
    for number in (103, 8, *TEST):
        write_video(videos / f"{number}.webm", changing_frames(9, 48, 64), 12)
    preprocess = ("preprocess_something_v2.sh", "data")
    said = script(*preprocess, cwd=tmp_path, status=1)
    first = ("train.json: entry 1", "101"), ("train.json: entry 2", "102"), ("validation.json: entry 1", "7")
    named = [f"data/labels/{place}: data/{videos.name}/{number}.webm: no such video" for place, number in first]
    assert said == f"error: {', '.join(named)} and 1 more; --missing skip leaves such rows out\n"
    said = script(*preprocess, "--missing", "skip", cwd=tmp_path)
    assert "left out: 4 clips, listed in data/left_out.txt" in said
    lists = [(tmp_path / f"data/{name}_videofolder.txt").read_text() for name in ("train", "val", "test")]
    assert lists == ["103 9 2\n", "8 9 1\n", "55 9 -1\n"]
    assert (tmp_path / "data/left_out.txt").read_text().splitlines()[:3] == named

    (videos / "103.webm").unlink()
    said = script(*preprocess, "--missing", "skip", cwd=tmp_path, status=1)
    assert said == f"error: data/{videos.name}: holds none of the videos for training\n"
