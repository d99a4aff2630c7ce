"""The dataset: list files, decoding against Pillow, and batches against rows put together by hand."""

from __future__ import annotations

import gc
import os
import re
import subprocess
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from model_utils.errors import InputError
from src import sampling, transforms, tsn_dataset
from src.data.clips import EvaluationLoader, TrainingLoader
from src.data.frame_files import VideoRecord
from src.ops.ranks import Ranks
from tests.helpers.clips import folders, read_frames, write_clip
from tests.helpers.refusals import refusal

ANYWHERE = folders("nowhere")
NUM_CLIPS = 11
NUM_FRAMES = 9
MIRRORED = np.array([1, 0, 2, -1], np.int32)
SMALLEST = 0.875
LOADING = {"num_segments": 4, "image_size": 32}
RANDOM = {"subsample_num": 2, "seed": 5, "flip": "none", "mirrored": MIRRORED, "dropout": 0.8, "features": 6}
RANDOM["smallest_crop"] = SMALLEST
SLIDING = {"sliding_windows": 0.7, "background": 2, "flip": "label_aware"}


def training(records, images_root, loading=(), **options):
    """Two epochs, or ``epochs``, less what ``first_epoch`` and ``first_step`` leave out."""
    options = {"batch_size": 2, "epochs": 2, **options}
    epochs = options.pop("epochs") - options.get("first_epoch", 0)
    return training_dataset(records, images_root, loading, **options).read(epochs)


def training_dataset(records, images_root, loading=(), **options):
    loader = TrainingLoader(folders(images_root), **{**LOADING, **RANDOM, **dict(loading)})
    return tsn_dataset.training_dataset(loader, records, **options)


def evaluation(records, images_root, loading=(), **options):
    """Columns, and for each clip what is wrong with it, or ""."""
    loader = EvaluationLoader(folders(images_root), **{**LOADING, "test_crops": 10, **dict(loading)})
    problems = {}
    dataset = tsn_dataset.evaluation_dataset(loader, records, problems=problems, **{"batch_size": 3, **options})
    with closing(dataset.read(output_numpy=True)) as batches:
        for clip, label, index in batches:
            yield clip, label, index, [problems.get(int(number), "") for number in index]


@pytest.fixture(scope="module")
def images_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for index in range(NUM_CLIPS):
        write_clip(root / f"clip {index}", NUM_FRAMES, 40, 44 + 4 * (index % 3), seed=index)
    return root


@pytest.fixture
def processes(monkeypatch):
    """The processes that are started during the test."""
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    return started


@pytest.fixture(scope="module")
def records():
    return [VideoRecord(f"clip {index}", NUM_FRAMES, index % 4) for index in range(NUM_CLIPS)]


def write(path, text):
    path.write_bytes(text.encode())
    return path


# ---------------------------------------------------------------------------------------------------- list files


def test_read_categories(tmp_path):
    path = write(tmp_path / "categories.txt", "\ufeffNo gesture\r\nSwiping Left\r\nThumb Up\r\n")
    assert tsn_dataset.read_categories(path) == ["No gesture", "Swiping Left", "Thumb Up"]


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", "categories.txt: ", "empty file"),
        ("a\n\nb\n", "categories.txt:2: ", "class ''; expected a name"),
        ("a\nb\na\n", "categories.txt:3: ", "class 'a' is here twice, first in {path}:1"),
        ("a\nCaf\u00e9\nCafe\u0301\n", "categories.txt:3: ", "class 'Cafe\\u0301' is here twice, first in {path}:2"),
        ("a\n\x1b[2Jb\n", "categories.txt:2: ", "class '\\x1b[2Jb'; expected a name without control characters"),
        ("a\nb\u2028c\n", "categories.txt:2: ", "class 'b\\u2028c'; expected a name without control characters"),
        ("a\nb\0c\n", "categories.txt:2: ", "NUL byte; expected one class name a line"),
    ],
)
def test_read_categories_refuses(tmp_path, text, place, problem):
    path = write(tmp_path / "categories.txt", text)
    said = refusal(tsn_dataset.read_categories, path)
    assert place in said
    assert problem.replace("{path}", str(path)) in said


def test_a_clip_with_two_classes(tmp_path):
    """With one class it may stand there twice, which lets it count twice."""
    path = write(tmp_path / "list.txt", "a 9 1\nb 9 0\na 9 1\n")
    assert len(tsn_dataset.read_video_list(path, 2, ANYWHERE)) == 3
    write(path, "a 9 1\nb 9 0\na 9 1\na 9 0\n")
    with pytest.raises(InputError, match=f"^{path}:4: a has class 0, but 1 in {path}:1$"):
        tsn_dataset.read_video_list(path, 2, ANYWHERE)
    (tmp_path / "a").mkdir()
    write(path, "a 1 9 1\na 2 9 0\na 1 8 0\n")  # stretches may overlap
    assert len(tsn_dataset.read_video_list(path, 2, folders(tmp_path))) == 3
    write(path, "a 1 9 1\na 2 9 0\na 1 9 0\n")
    with pytest.raises(InputError, match=f"^{path}:3: a 1-9 has class 0, but 1 in {path}:1$"):
        tsn_dataset.read_video_list(path, 2, folders(tmp_path))


def test_read_video_list(tmp_path):
    path = write(tmp_path / "list.txt", "12 37 0\nsome folder/7 1 26\n")
    expected = [VideoRecord("12", 37, 0), VideoRecord("some folder/7", 1, 26)]
    assert tsn_dataset.read_video_list(path, 27, ANYWHERE) == expected
    for text in ("\ufeff12 37 0\r\nsome folder/7 1 26\r\n", "12 37 0\rsome folder/7 1 26\r"):
        assert tsn_dataset.read_video_list(write(path, text), 27, ANYWHERE) == expected


def test_only_line_ends_end_a_line(tmp_path):
    """str.splitlines knows more of them, which may stand in a name."""
    path = write(tmp_path / "list.txt", "a\u2028b\x85c 3 0\n")
    assert tsn_dataset.read_video_list(path, 1, ANYWHERE) == [VideoRecord("a\u2028b\x85c", 3, 0)]


def test_a_list_in_another_encoding_is_named_with_its_line(tmp_path):
    path = tmp_path / "list.txt"
    for start in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(start + "a 3 0\nb 3 0\ncafé 3 0\n".encode("latin-1"))
        said = refusal(tsn_dataset.read_video_list, path, 1, ANYWHERE)
        assert said.startswith(f"{path}: cannot be read (line 3 is not UTF-8: byte 0xe9)")


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", "list.txt: ", "empty file"),
        ("12 37 0\n\n13 37 0\n", "list.txt:2: ", "row ''"),
        ("12 37 0\n13 37\n", "list.txt:2: ", "row '13 37'"),
        ("12 many 0\n", "list.txt:1: ", "row '12 many 0'"),
        ("12 37 4\n", "list.txt:1: ", "class index 4; expected 0 to 3"),
        ("12 37 -1\n", "list.txt:1: ", "class index -1"),
        ("12 0 1\n", "list.txt:1: ", "0 frames"),
        ("12 37 0\n1\0 37 0\n", "list.txt:2: ", "NUL byte; expected rows '<folder>"),
    ],
)
def test_read_video_list_refuses(tmp_path, text, place, problem):
    path = write(tmp_path / "list.txt", text)
    said = refusal(tsn_dataset.read_video_list, path, 4, ANYWHERE)
    assert place in said
    assert problem in said


def test_a_row_with_a_first_frame(tmp_path):
    """Where a folder's name may end in a number, the folders on the disk decide."""
    for folder in ("long", "my clip", "a 3", "b", "b 3"):
        (tmp_path / "images" / folder).mkdir(parents=True)
    path = write(tmp_path / "list.txt", "long 31 40 0\nmy clip 0 9 1\nlong 3 0\na 3 7 2\nb 3 7 1\ngone 3 7 1\n")
    records = tsn_dataset.read_video_list(path, 3, folders(tmp_path / "images"))
    assert records == [
        VideoRecord("long", 40, 0, 31, True),
        VideoRecord("my clip", 9, 1, 0, True),
        VideoRecord("long", 3, 0),
        VideoRecord("a 3", 7, 2),
        VideoRecord("b 3", 7, 1),
        VideoRecord("gone 3", 7, 1),
    ]
    assert [record.name for record in records[:4]] == ["long 31-70", "my clip 0-8", "long", "a 3"]


@pytest.mark.parametrize(
    ("numbers", "first"),
    [(range(1, 10), 1), (range(9), 0), (range(10), 1), ([], 1)],
    ids=["from one", "from zero", "a frame more", "no folder"],
)
def test_where_frames_begin(tmp_path, numbers, first):
    (tmp_path / "images/a").mkdir(parents=True)
    for number in numbers:
        (tmp_path / "images/a" / f"img_{number:03d}.png").write_bytes(b"")
    path = write(tmp_path / "list.txt", "a 4 2 0\na 9 0\nb 9 0\n")
    records = tsn_dataset.read_video_list(path, 1, folders(tmp_path / "images", "img_{:03d}.png"))
    assert [record.first for record in records] == [4, first, first]


@pytest.mark.parametrize(
    "name", ["img.jpg", "", "{:05d}{:05d}.jpg", "{}/{}.jpg", "{:05d", "{name}.jpg", "{:.2f}.jpg", "{1}.jpg"]
)
def test_a_frame_name_without_a_number(tmp_path, name):
    config = SimpleNamespace(dataset_root=tmp_path, images_dir_name="images", frame_name=name)
    said = refusal(tsn_dataset.read_clips, config, "list.txt", 1)
    assert re.match("frame_name .*: expected a file name with one number in it, such as", said)


def test_a_stretch_that_leaves_its_folder_is_named(records, images_root):
    """Frames 1, 3, 5 and 7 of it are the files 5, 7, 9 and 11."""
    stretch = VideoRecord("clip 0", NUM_FRAMES, 0, 4, True)
    (batch,) = evaluation([stretch], images_root)
    assert batch[3] == [f"{images_root / 'clip 0' / '00011.jpg'}: frame is missing"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_lists_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "list.txt"
    if content:
        path.write_bytes(content)
    for read in (tsn_dataset.read_categories, lambda path: tsn_dataset.read_video_list(path, 4, ANYWHERE)):
        assert refusal(read, path).startswith(f"{path}: cannot be read")


# ------------------------------------------------------------------------------------------------------ training


def expected_row(records, images_root, epoch, index, flip, sliding_windows=0.0, background=-1):
    """A training row put together by hand: clip, label, relations, dropout mask."""
    record, whole = records[index], True
    indices = sampling.train_segments(record.num_frames, 4, sampling.generator(5, epoch, index, "frames"))
    window = sampling.generator(5, epoch, index, "window")
    if window.random() < sliding_windows:
        indices, whole = sampling.sliding_window(record.num_frames, 4, window, background >= 0)
    frames = read_frames(images_root / record.folder, indices)
    crop, clip = sampling.generator(5, epoch, index, "crop"), np.empty((4, 32, 32, 3), np.uint8)
    transforms.crop_and_resize(frames, sampling.training_crop(*frames[0].shape[:2], 32, crop, SMALLEST), False, clip)
    label = record.label if whole else background
    if flip != "none" and sampling.mirror_clip(sampling.generator(5, epoch, index, "flip")):
        twin = {0: 1, 1: 0, 2: 2, 3: None}[label]
        if flip == "plain" or twin is not None:
            clip = clip[:, :, ::-1]
        if flip == "label_aware" and twin is not None:
            label = twin
    relations = sampling.sample_relations(4, 2, sampling.generator(5, epoch, index, "relations"))
    return clip, label, relations, sampling.dropout_mask(4, 6, 0.8, sampling.generator(5, epoch, index, "dropout"))


def as_arrays(batches):
    return [tuple(column.asnumpy() for column in batch) for batch in batches]


def assert_same_batches(first, second):
    assert len(first) == len(second)
    for ours, theirs in zip(first, second):
        for column, reference in zip(ours, theirs):
            np.testing.assert_array_equal(column, reference)


@pytest.fixture(scope="module")
def sliding_run(records, images_root):
    return as_arrays(training(records, images_root, SLIDING))


@pytest.mark.parametrize(
    ("flip", "windows"),
    [
        ("none", (0.0, -1)),
        ("none", (1.0, 2)),
        ("plain", (0.7, -1)),
        ("label_aware", (0.0, 2)),
        ("label_aware", (0.7, 2)),
    ],
)
def test_training_batches(records, images_root, flip, windows):
    loading = {"flip": flip, "sliding_windows": windows[0], "background": windows[1]}
    batches = as_arrays(training(records, images_root, loading))
    assert len(batches) == 2 * 5  # 11 clips are 5 whole batches of 2
    changed = 0
    for number, (clip, label, relations, mask) in enumerate(batches):
        assert (clip.dtype, label.dtype, relations.dtype) == (np.uint8, np.int32, np.int32)
        assert (clip.shape, label.shape, relations.shape) == ((2, 4, 32, 32, 3), (2,), (2, 3, 2))
        assert (mask.dtype, mask.shape) == (np.float32, (2, 4, 6))
        epoch, step = divmod(number, 5)
        for slot, index in enumerate(sampling.epoch_order(NUM_CLIPS, 5, epoch)[2 * step : 2 * step + 2]):
            row = expected_row(records, images_root, epoch, index, flip, *windows)
            np.testing.assert_array_equal(clip[slot], row[0])
            assert label[slot] == row[1]
            np.testing.assert_array_equal(relations[slot], row[2])
            np.testing.assert_array_equal(mask[slot], row[3])
            changed += label[slot] != records[index].label
    assert bool(changed) == (flip == "label_aware" or (windows[0] > 0 and windows[1] >= 0))


def test_sliding_windows_grow_over_the_epochs(records, images_root):
    """None in epoch 0, half of the share in epoch 1, all of it in epoch 2."""
    growing = as_arrays(training(records, images_root, {**SLIDING, "windows_start": 0, "windows_full": 2}, epochs=3))
    for epoch, share in enumerate((0.0, 0.35, 0.7)):
        constant = {**SLIDING, "sliding_windows": share}
        expected = as_arrays(training(records, images_root, constant, epochs=epoch + 1, first_epoch=epoch))
        assert_same_batches(growing[5 * epoch : 5 * epoch + 5], expected)


def test_training_does_not_depend_on_the_number_of_workers(records, images_root, sliding_run):
    assert_same_batches(as_arrays(training(records, images_root, SLIDING, workers=3)), sliding_run)


@pytest.mark.parametrize(("first_epoch", "first_step"), [(0, 3), (1, 0), (2, 0)])
def test_training_resumes_where_it_stopped(records, images_root, sliding_run, first_epoch, first_step):
    batches = training(records, images_root, SLIDING, first_epoch=first_epoch, first_step=first_step)
    assert_same_batches(as_arrays(batches), sliding_run[first_epoch * 5 + first_step :])


def test_two_ranks_see_what_one_would(records, images_root):
    one = as_arrays(training(records, images_root, SLIDING, batch_size=4))
    ranks = [as_arrays(training(records, images_root, SLIDING, ranks=Ranks(rank, 2))) for rank in range(2)]
    together = [
        tuple(np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:]) for columns in zip(*steps))
        for steps in zip(*ranks)
    ]
    assert len(one) == 2 * 2
    assert_same_batches(together, one)


def test_too_few_clips_for_a_step(records, images_root):
    assert tsn_dataset.steps_per_epoch(11, 2, 2) == 2
    with pytest.raises(InputError, match="11 training clips.*at least 12"):
        training(records, images_root, batch_size=6, ranks=Ranks(0, 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_training_stops_at_a_clip_that_cannot_be_read(records, images_root, workers, processes):
    order = sampling.epoch_order(NUM_CLIPS, 5, 0)
    broken = list(records)
    broken[order[5]] = VideoRecord("gonë", NUM_FRAMES, 0)
    batches = training(broken, images_root, workers=workers)
    next(batches), next(batches)
    assert refusal(next, batches) == f"{images_root / 'gonë'}: clip folder is missing"
    assert len(processes) == workers
    assert all(process.returncode is not None for process in processes)


def test_closing_the_batches_stops_their_workers(records, images_root, processes):
    with closing(training(records, images_root, epochs=1000)) as batches:
        next(batches)
        assert [process.poll() for process in processes] == [None]
    assert processes[0].returncode is not None


@pytest.mark.slow
def test_opening_and_closing_leaves_nothing_open(records, images_root):
    def opened():
        gc.collect()
        return [len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task", "map_files")]

    counts = []
    for _ in range(4):
        with closing(training(records, images_root)) as batches:
            next(batches)
        with closing(evaluation(records, images_root)) as batches:
            next(batches)
        del batches
        counts.append(opened())
    assert max(counts[1:]) == min(counts[1:])  # the first may import something


def test_bugs_are_not_taken_for_bad_data(records, images_root):
    with pytest.raises(TypeError, match="'NoneType' object is not subscriptable"):
        list(training(records, images_root, {"flip": "label_aware", "mirrored": None}))


def test_batches_that_are_kept_stay_as_they_were(records, images_root):
    """A tensor lies in the memory of the workers, which is used again only once nobody refers to it."""
    whole_run = as_arrays(training(records, images_root))
    kept = list(training(records, images_root, workers=2))
    assert_same_batches(as_arrays(kept), whole_run)
    results = [mask * 2 for *_, mask in training(records, images_root)]  # the batch may be released before the answer
    for result, (*_, mask) in zip(results, whole_run):
        np.testing.assert_array_equal(result.asnumpy(), 2 * mask)


# ---------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("workers", [1, 2])
def test_evaluation_batches(records, images_root, workers):
    batches = list(evaluation(records, images_root, workers=workers))
    assert [len(label) for _, label, _, _ in batches] == [3, 3, 3, 2]
    seen = []
    for crops, labels, indices, problems in batches:
        assert (crops.dtype, labels.dtype, indices.dtype) == (np.uint8, np.int32, np.int32)
        assert crops.shape == (len(labels), 10, 4, 32, 32, 3)
        assert problems == [""] * len(labels)
        for clip, label, index in zip(crops, labels, indices):
            frames = read_frames(images_root / records[index].folder, sampling.test_segments(NUM_FRAMES, 4))
            np.testing.assert_array_equal(clip, transforms.cut_crops(frames, 32, 10))
            assert label == records[index].label
            seen.append(int(index))
    assert seen == list(range(NUM_CLIPS))


def test_evaluation_of_nothing(records, images_root):
    assert list(evaluation(records, images_root, ranks=Ranks(11, 12))) == []


def test_evaluation_hands_problems_on(tmp_path):
    root = tmp_path / ("x" * 100)
    good = write_clip(root / "good", 4, 40, 44)
    write_clip(root / "bad", 4, 40, 44)
    (root / "bad" / "00003.jpg").write_bytes((good / "00003.jpg").read_bytes()[:500])
    clips = [VideoRecord("good", 4, 1), VideoRecord("bad", 4, 2), VideoRecord("good", 4, 3)]
    [(clip, label, index, problems)] = evaluation(clips, root)
    expected = f"{root / 'bad' / '00003.jpg'}: frame is truncated after 500 bytes; expected a whole JPEG image"
    assert problems == ["", expected, ""]
    assert label.tolist() == [1, 2, 3]
    assert index.tolist() == [0, 1, 2]
    assert not clip[1].any()
    assert clip[0].any()
    np.testing.assert_array_equal(clip[0], clip[2])


def test_the_ranks_of_a_node_share_its_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 20)
    workers = {(8, 1): 8, (99, 1): 20, (8, 2): 8, (8, 3): 6, (8, 8): 2, (1, 8): 1, (8, 20): 1, (8, 32): 1}
    for (requested, ranks), expected in workers.items():
        assert tsn_dataset.usable_workers(requested, ranks) == expected


def test_a_path_that_is_not_utf8(tmp_path):
    """A frame that is missing there, and its message, come back from the workers as they are."""
    root = tmp_path / os.fsdecode(b"caf\xe9")
    write_clip(root / "good", 4, 40, 44)
    listed = [VideoRecord("good", 4, 0), VideoRecord("none", 4, 1)]
    [(crops, _, _, problems)] = evaluation(listed, root)
    assert crops[0].any()
    assert problems == ["", f"{root / 'none'}: clip folder is missing"]
