"""Everything a user can get wrong, in one table: what is damaged, what is typed then, what the answer must name.

Each command is run in a copy of one small working folder (see `write_work`) that it could work with until something
was damaged. Whatever that is, the command ends with exit status 1, says so in a single line that begins with "error: "
(a script that was called wrongly shows its usage below), shows no traceback, leaves every file as it was and no new one
but a log and the resolved config. To add a case, add a row.

Python programs run inside this process, which has MindSpore imported; scripts, and rows under IN_A_PROCESS, as a user
starts them.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Callable, NamedTuple

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

from model_utils.logging import get_logger
from model_utils.util import run_main
from src.data.pack_frames import pack_folders
from src.data.packed import index_of, tar_of
from src.ops.compat import EXPORTS_ANY_BATCH, LEGACY
from src.training.checkpoint import describe, read_checkpoint, save_checkpoint
from tests.data.test_unpack_jester_dataset import cut, write_data, write_labels
from tests.data.test_unpack_jester_dataset import tar_of as gzipped_tar
from tests.helpers import ROOT
from tests.helpers.clips import write_clip
from tests.helpers.colours import changing_frames, write_video
from tests.helpers.networks import CLASSES, SIDE, one_block, settings, tiny_network
from tests.helpers.permissions import obeyed_permissions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_backbone")]

HAS_MINDCV = importlib.util.find_spec("mindcv") is not None
HAS_TORCH = importlib.util.find_spec("torch") is not None

# ------------------------------------------------------------------------------------------------- the working folder

FRAMES = "data/20bn-jester-v1"
FRAME = f"{FRAMES}/right/00002.jpg"
TRAIN_LIST = "data/train_videofolder.txt"
VAL_LIST = "data/val_videofolder.txt"
CATEGORIES = "data/categories.txt"
TRAIN_LABELS = "data/labels/train.csv"
FIRST, PART, LAST = (f"archives/20bn-jester-v1-0{number}.zip" for number in range(3))

SMALL = f"--num_segments 3 --img_feature_dim 8 --width_mult 0.0625 --image_size {SIDE} --subsample_num 2"
TRAIN = (
    f"train.py --device_target CPU --dataset_root data --train_output_dir out {SMALL} --epochs_num 1"
    " --train_batch_size 2 --train_workers 1 --eval_workers 1"
)
EVAL = "eval.py --device_target CPU --dataset_root data --ckpt_file trn.ckpt --eval_output_dir out --eval_workers 1"
EXPORT = "export.py --device_target CPU --dataset_root data --ckpt_file trn.ckpt --export_output_dir out"
INFER = f"infer.py --device_target CPU --ckpt_file trn.ckpt --source {FRAMES}/right --json out.json --test_crops 1"
EVAL_STREAMS = (
    "eval_streams.py --device_target CPU --ckpt_file trn.ckpt --eval_output_dir out --videos videos/x --truth t.json"
)
TUNE = "tune_stream.py --device_target CPU --ckpt_file trn.ckpt --videos videos --truth t.json"
PAGE = "make_page.py --device_target CPU --model trn.ckpt --output page"
DEMO = "demo.py --device_target CPU --model trn.ckpt"


class Alike(tuple):
    """Commands that share the code which a row tests. A row runs one of them, and the rows take turns."""


PROGRAMS = Alike((TRAIN, EVAL, EXPORT, INFER))
NETWORK_USERS = Alike((EVAL, EXPORT, INFER))
CLIP_READERS = Alike((TRAIN, EVAL, INFER))
LIST_READERS = Alike((TRAIN, EVAL))
CLASS_CHECKERS = Alike((EVAL, EXPORT, f"{INFER} --categories data/categories.txt"))
PROGRAMS_WITH_CLASSES = Alike((TRAIN, EVAL, EXPORT, f"{INFER} --categories data/categories.txt"))

UNPACK = "src.data.unpack_jester_dataset archives target"
PREPROCESS = "src.preprocess_jester_dataset data"
PACK = "src.data.pack_frames data"
FRAME_READERS = Alike((TRAIN, EVAL, PREPROCESS))
LIST_OPTIONS = "--train_list_file_name other.txt --eval_list_file_name other.txt"
CONVERT_BACKBONE = "src.convert_bn_inception in.pth out.ckpt"
CONVERT_TRN = "src.convert_trn_pytorch in.pth out.ckpt"
CONVERTERS = Alike((CONVERT_BACKBONE, CONVERT_TRN))
OWN = "src.data.prepare_videos videos target"
GESTURES = "src.own_gestures.main videos out"
SOMETHING = "src.data.something_v2 data"
ANNOTATED = f"{OWN} --annotations a.csv"
SYNTHETIC = "src.synthetic.jester target --gestures 1 --train 1 --val 1 --test 0"
DRAWN_STREAMS = "src.synthetic.streams target --videos 1 --gestures 1"
STREAMS = "eval_streams.py --device_target CPU --ckpt_file trn.ckpt --videos data --truth t.json --eval_output_dir out"
ABLATION = "benchmarks.order_ablation results"
YAML = "--config_path c.yaml"
OVER_CONFIG = "--config_path out/export.log"
BACKBONE = "--pre_trained_backbone trn.ckpt"
FROZEN = "--pre_trained trn.ckpt --freeze_backbone true"

INFINITE = "tensors hold NaN or infinite values (base_model.conv1_7x7_s2.conv.weight)"

LISTS = {
    "categories.txt": "".join(f"{name}\n" for name in CLASSES),
    "train_videofolder.txt": "left 3 0\nright 3 1\n",
    "val_videofolder.txt": "left 3 0\nright 3 1\n",
    "labels/labels.csv": "".join(f"{name}\n" for name in CLASSES),
    "labels/train.csv": "left;Swiping Left\n",
    "labels/validation.csv": "right;Swiping Right\n",
}


def write_work(folder: Path) -> None:
    """A dataset of two clips of three frames, so that all are looked at, a checkpoint, and archives."""
    for seed, name in enumerate(("left", "right")):
        write_clip(folder / FRAMES / name, 3, 40, 44, seed=seed)
    (folder / "data/labels").mkdir()
    for name, text in LISTS.items():
        (folder / "data" / name).write_text(text)
    about = describe(settings(), CLASSES, epoch=1, step=1)
    save_checkpoint(folder / "trn.ckpt", tiny_network().parameters_dict(), about)
    frames = {f"left/{number:05d}.jpg": bytes(3000) for number in (1, 2, 3)}
    packed = gzipped_tar([(f"20bn-jester-v1/{name}", content) for name, content in frames.items()])
    write_data(folder / "archives", cut(packed, 3))
    write_labels(folder / "archives")
    (folder / "in.pth").write_text("not weights")


# ------------------------------------------------------------------------------------- damage, done in that folder

Damage = Callable[[Path], object]
HELD: list[IO[bytes]] = []  # locks of the present test


def nothing(work: Path) -> None:
    pass


def remove(*names: str) -> Damage:
    def damage(work: Path) -> None:
        for name in names:
            path = work / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def write(name: str, content: str | bytes) -> Damage:
    def damage(work: Path) -> None:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def cut_off(name: str, kept: float = 0.5) -> Damage:
    def damage(work: Path) -> None:
        data = (work / name).read_bytes()
        (work / name).write_bytes(data[: int(len(data) * kept)])

    return damage


def flip_bit(name: str) -> Damage:
    """Damage in the middle of the file, which is a value of a large tensor."""

    def damage(work: Path) -> None:
        data = bytearray((work / name).read_bytes())
        data[len(data) // 2] ^= 1
        (work / name).write_bytes(data)

    return damage


def folder_instead(name: str) -> Damage:
    return both(remove(name), lambda work: (work / name).mkdir())


def in_use(lock: str) -> Damage:
    """Another process has this lock: each opening of a file locks for itself."""

    def damage(work: Path) -> None:
        (work / lock).parent.mkdir(parents=True, exist_ok=True)
        HELD.append(open(work / lock, "ab"))  # noqa: SIM115
        fcntl.flock(HELD[-1], fcntl.LOCK_EX)

    return damage


def both(*damages: Damage) -> Damage:
    return lambda work: [damage(work) for damage in damages]


def resize(name: str) -> Damage:
    return lambda work: Image.new("RGB", (30, 20)).save(work / name)


def rewrite_checkpoint(change: Callable[[dict, dict], object]) -> Damage:
    """`change` edits the parameters and the description of trn.ckpt."""

    def damage(work: Path) -> None:
        parameters, about = read_checkpoint(work / "trn.ckpt")
        change(parameters, about)
        save_checkpoint(work / "trn.ckpt", parameters, about)

    return damage


def draw_on_terminal(parameters: dict, about: dict) -> None:
    about["categories"][1] = "b\x1b[2J"


def only_the_backbone(parameters: dict, about: dict) -> None:
    about.clear()
    for name in [name for name in parameters if name.startswith(("consensus.", "base_model.fc."))]:
        del parameters[name]


def infinite_weights(work: Path) -> None:
    """A checkpoint as an earlier version wrote it, without a digest and a description."""
    parameters, _ = read_checkpoint(work / "trn.ckpt")
    values = {name: parameter.asnumpy().copy() for name, parameter in parameters.items()}
    values["base_model.conv1_7x7_s2.conv.weight"][0, 0, 0, 0] = np.inf
    ms.save_checkpoint(
        [{"name": name, "data": Tensor(array)} for name, array in values.items()], str(work / "trn.ckpt")
    )


def rename_frames(work: Path) -> None:
    for number in (1, 2, 3):
        (work / FRAMES / f"right/{number:05d}.jpg").rename(work / FRAMES / f"right/img_{number}.jpg")


def make(name: str) -> Damage:
    return lambda work: (work / name).mkdir(parents=True)


def pack(change: Callable[[Path], object]) -> Damage:
    """The frames in a tar, to which ``change`` is done then; and a list with a clip that is not there."""

    def damage(work: Path) -> None:
        (work / "data/other.txt").write_text("left 3 0\nother 3 1\n")
        pack_folders(work / FRAMES)
        change(tar_of(work / FRAMES))

    return damage


def locked_up(name: str) -> Damage:
    """A file that may not be read, or a folder that may not be entered."""
    return lambda work: (work / name).chmod(0)


def pipe_instead(name: str) -> Damage:
    return lambda work: pipe(work / name)


def own_videos() -> Damage:
    """Videos of half a second, and a CSV."""

    def damage(work: Path) -> None:
        (work / "videos/x").mkdir(parents=True)
        for name in ("a.mp4", "b.mp4"):
            write_video(work / "videos/x" / name, changing_frames(6), 12)
        (work / "a.csv").touch()

    return damage


def unread_video(damage: Callable[[Path], object]) -> Damage:
    """Videos of every program that opens some, one of each damaged by ``damage``."""

    def everywhere(work: Path) -> None:
        own_videos()(work)
        something_v2(entry_of("1"))(work)
        shutil.copy(work / "videos/x/a.mp4", work / "data/20bn-something-something-v2/3.webm")
        (work / "t.json").write_text('{"a.mp4": [], "b.mp4": []}')
        damage(work / "videos/x/b.mp4")
        damage(work / "data/20bn-something-something-v2/1.webm")

    return everywhere


def playlist(path: Path) -> None:
    """An HLS playlist of another video."""
    other = path.parents[2] / "videos/x/a.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nfile://{other}\n#EXT-X-ENDLIST\n")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.mp4")


def entry_of(video: str, template: str = "Holding [something]") -> str:
    return json.dumps([{"id": video, "template": template}])


def something_v2(train: str, other_class: str = "Moving") -> Damage:
    """One video that is none, and label lists of Something-Something v2 with this list for training."""
    videos = "data/20bn-something-something-v2"
    return both(
        write(f"{videos}/1.webm", "no video"),
        write(f"{videos}/3.webm", "no video"),
        write("data/labels/labels.json", json.dumps({"Holding something": "0", other_class: "1"})),
        write("data/labels/train.json", train),
        write("data/labels/validation.json", entry_of("3")),
    )


# ------------------------------------------------------------------------------------------------------------ the table


class Case(NamedTuple):
    """`named`: what the line must contain, all of it; the options in `more` are added to each command."""

    name: str
    damage: Damage
    commands: str | tuple[str, ...]
    named: str | tuple[str, ...]
    more: str = ""


CASES = [
    # Frames and clips: train.py and eval.py find them by the lists, infer.py takes what is in the folder.
    Case("missing frame", remove(FRAME), LIST_READERS, f"{FRAME}: frame is missing"),
    Case("unreadable frame", folder_instead(FRAME), LIST_READERS, f"{FRAME}: frame cannot be read (Is a directory)"),
    Case("truncated frame", cut_off(FRAME), CLIP_READERS, f"{FRAME}: frame is truncated after"),
    Case("frame of zero bytes", write(FRAME, ""), CLIP_READERS, f"{FRAME}: frame is empty"),
    Case("frame that is no JPEG", write(FRAME, "<html></html>"), CLIP_READERS, f"{FRAME}: frame is not an image"),
    Case("missing clip folder", remove(f"{FRAMES}/right"), LIST_READERS, f"{FRAMES}/right: clip folder is missing"),
    Case("frames of two sizes", resize(FRAME), LIST_READERS, (f"{FRAME}: frame of 30x20 pixels", "expected 44x40")),
    Case("frames of two sizes", resize(FRAME), TRAIN, (f"{FRAME}: frame of 30x20 pixels", "expected 44x40"), FROZEN),
    Case("frames of two sizes", resize(FRAME), INFER, f"{FRAMES}/right: frame 1 is of 30x20 pixels; expected 44x40"),
    Case("missing images folder", nothing, LIST_READERS, "data/frames/", "--images_dir_name frames"),
    Case("missing source", remove(f"{FRAMES}/right"), INFER, f"{FRAMES}/right: no such folder of frames"),
    Case("source without frames", nothing, INFER, "data/labels: no frames", "--source data/labels"),
    Case("source that is no video", nothing, INFER, "categories.txt: not a video", "--source data/categories.txt"),
    Case("no source", nothing, "infer.py --device_target CPU --ckpt_file trn.ckpt", "--source"),
    # Folders and files that another process writes.
    *(
        Case("in use", both(before, in_use(lock)), commands, named, more)
        for lock, before, commands, named, more in [
            ("out/eval.lock", nothing, EVAL, "out: another process writes into this folder", ""),
            ("out/export.lock", nothing, EXPORT, "out: another process writes into this folder", ""),
            ("out/eval_streams.lock", nothing, STREAMS, "out: another process writes into this folder", ""),
            ("out/train.lock", nothing, TRAIN, "out: another training uses this folder", ""),
            (".out.json.lock", nothing, INFER, "out.json: another process writes it", ""),
            (".a.png.lock", nothing, INFER, "a.png: another process writes it", "--explain a.png"),
            (".a.mp4.lock", nothing, INFER, "a.mp4: another process writes it", "--output a.mp4"),
            (".out.ckpt.lock", nothing, CONVERTERS, "out.ckpt: another process writes it", ""),
            (".stream.yaml.lock", nothing, TUNE, "stream.yaml: another process writes it", ""),
            (".page.lock", nothing, PAGE, "page: another process writes it", ""),
            ("data/.lock", something_v2(entry_of("1")), (PACK, PREPROCESS, SOMETHING), "data: another process", ""),
            ("target/.lock", own_videos(), (UNPACK, SYNTHETIC, DRAWN_STREAMS, OWN), "target: another process", ""),
        ]
    ),
    # Lists.
    Case("other frame name", nothing, TRAIN, ": frame is missing", "--frame_name img_{}.jpg"),
    Case("other frame names", rename_frames, PREPROCESS, ("img_1.jpg: not the name", "--frame_name 'img_{:01d}.jpg'")),
    Case("missing training list", nothing, TRAIN, "data/none.txt: cannot be read", "--train_list_file_name none.txt"),
    Case("missing list", nothing, (TRAIN, EVAL), "data/none.txt: cannot be read", "--eval_list_file_name none.txt"),
    Case("malformed row", write(TRAIN_LIST, "left 3\n"), TRAIN, "train_videofolder.txt:1: row 'left 3'"),
    Case("class too low", write(VAL_LIST, "left 3 -1\n"), LIST_READERS, f"{VAL_LIST}:1: class index -1; expected 0"),
    Case("escape codes in a class", rewrite_checkpoint(draw_on_terminal), NETWORK_USERS, r"class 'b\x1b[2J'; expected"),
    Case("missing categories", remove(CATEGORIES), LIST_READERS, "data/categories.txt: cannot be read"),
    Case("missing categories", nothing, INFER, "none.txt: cannot be read", "--categories none.txt"),
    Case("class twice", write(CATEGORIES, "a\nb\na\n"), PROGRAMS_WITH_CLASSES, "categories.txt:3: class 'a'"),
    Case("less than one batch", nothing, TRAIN, "train_batch_size 3: 2 training clips", "--train_batch_size 3"),
    # Checkpoints.
    Case("no checkpoint given", nothing, EXPORT, "ckpt_file: no checkpoint given", "--ckpt_file="),
    Case("no model given", nothing, (EVAL, INFER), "ckpt_file: no model given", "--ckpt_file="),
    Case("missing model", nothing, (EVAL, INFER), "none.mindir: no such", "--ckpt_file none.mindir"),
    Case("no JSON", write("a.mindir", "x"), (EVAL, INFER), "expected a.mindir.json beside it", "--ckpt_file a.mindir"),
    Case("8 bits as MINDIR", nothing, EXPORT, "quantize int8: needs file_format ONNX", "--quantize int8"),
    Case("empty name", nothing, EXPORT, "model_name '': expected the name of a file", "--model_name ''"),
    Case("name of a folder", nothing, EXPORT, "model_name 'a/b': expected the name of a file", "--model_name a/b"),
    Case("long name", nothing, EXPORT, "too long; expected at most 243 bytes", f"--model_name {'n' * 244}"),
    Case("long name", nothing, INFER, "cannot write the file: File name too long", f"--json {'n' * 252}.png"),
    Case("stream as AIR", nothing, EXPORT, "streaming true: needs file_format", "--streaming true --file_format AIR"),
    Case("drawn", nothing, EXPORT, "streaming true: needs relations all", "--streaming true --relations sampled"),
    Case("missing checkpoint", remove("trn.ckpt"), NETWORK_USERS, "trn.ckpt: no such checkpoint file"),
    Case("missing backbone", nothing, TRAIN, "none.ckpt: no such checkpoint file", "--pre_trained_backbone none.ckpt"),
    Case("missing network", nothing, TRAIN, "none.ckpt: no such checkpoint file", "--pre_trained none.ckpt"),
    Case("truncated checkpoint", cut_off("trn.ckpt"), NETWORK_USERS, "trn.ckpt: not a whole MindSpore"),
    Case("infinite weights", infinite_weights, NETWORK_USERS, INFINITE),
    Case("infinite weights to start from", infinite_weights, TRAIN, INFINITE, "--pre_trained trn.ckpt"),
    Case("folder instead", folder_instead("trn.ckpt"), NETWORK_USERS, "trn.ckpt: cannot be read (Is a directory)"),
    Case("PyTorch file as checkpoint", nothing, NETWORK_USERS, "in.pth: expected a ", "--ckpt_file in.pth"),
    Case("backbone", rewrite_checkpoint(only_the_backbone), NETWORK_USERS, "not a checkpoint of a network with", SMALL),
    Case("other classes", write(CATEGORIES, "a\nb\n"), CLASS_CHECKERS, "trained for 3 classes, the dataset lists 2"),
    Case("checkpoint of another T", nothing, NETWORK_USERS, ("trn.ckpt", "num_segments 3", "8"), "--num_segments 8"),
    Case("config of another T", write("c.yaml", "num_segments: 8\n"), EVAL, "num_segments 3", YAML),
    Case("another width", nothing, TRAIN, "was trained with width_mult 0.0625", f"{BACKBONE} --width_mult 1"),
    Case("another backbone", nothing, NETWORK_USERS, "trained with backbone bn_inception, ", "--backbone resnet18"),
    Case("network of another T", nothing, TRAIN, "num_segments 3 (now 4)", "--pre_trained trn.ckpt --num_segments 4"),
    Case("backbone", rewrite_checkpoint(only_the_backbone), TRAIN, "holds no whole network", "--pre_trained trn.ckpt"),
    Case("two starts", nothing, TRAIN, "expected one of them, not both", f"{BACKBONE} --pre_trained trn.ckpt"),
    Case("nothing to freeze", nothing, TRAIN, ("freeze_backbone true", "pre_trained"), "--freeze_backbone true"),
    Case("nothing to fetch", nothing, TRAIN, "mindcv has no bn_inception", "--pre_trained_backbone pretrained"),
    Case("damaged checkpoint", flip_bit("trn.ckpt"), NETWORK_USERS, "trn.ckpt: damaged, its content does not match"),
    Case("damaged backbone", flip_bit("trn.ckpt"), TRAIN, "trn.ckpt: damaged", BACKBONE),
    Case("folder of another run", write("out/checkpoint_last.ckpt", "x"), TRAIN, "out: holds a training run already"),
    Case("metrics of another run", write("out/metrics.csv", "x"), TRAIN, "out: holds a training run already"),
    Case("nothing to resume", write("out/checkpoint_best.ckpt", "x"), TRAIN, "give another --tr", "--resume auto"),
    Case("missing checkpoint to resume", nothing, TRAIN, "none.ckpt: no such checkpoint file", "--resume none.ckpt"),
    Case("checkpoint to evaluate to resume", nothing, TRAIN, "trn.ckpt: holds a network only", "--resume trn.ckpt"),
    # What is written where nothing can be.
    Case("file as output folder", write("out", ""), TRAIN, "out: "),
    Case("file as output folder", write("out", ""), (EVAL, EXPORT), "out: is not a folder"),
    Case("file as folder of the output", nothing, INFER, "in.pth/out.json: cannot write", "--json in.pth/out.json"),
    *(
        Case("export over the classes", nothing, EXPORT, (f"data/{name} would be written over", "is read"), more)
        for name in ("trn.mindir", "trn.mindir.json", "export.log")
        for more in [f"--export_output_dir data --categories_list_file_name {name}"]
    ),
    Case("export over the config", write("out/export.log", "seed: 1\n"), EXPORT, "be written over: out/", OVER_CONFIG),
    # Configuration.
    Case("unknown key", nothing, PROGRAMS, ("unknown key 'trian_batch_size'", "train_batch"), "--trian_batch_size 3"),
    Case("wrong type in the config", write("c.yaml", "lr: fast\n"), PROGRAMS, "c.yaml:1: lr: 'fast'", YAML),
    Case("image size", nothing, PROGRAMS, ("image_size 40", "nearest that work: ["), "--image_size 40"),
    Case("too many segments", nothing, TRAIN, "num_segments 30: expected at most 16", "--num_segments 30"),
    Case("observe that is no number", nothing, EVAL, "observe: '0.5,half' is not allowed", "--observe 0.5,half"),
    Case("ModelArts elsewhere", nothing, (TRAIN, EVAL, EXPORT), "needs the package moxing", "--enable_modelarts true"),
    # Archives; what else can be wrong with them stands in tests/data/test_unpack_jester_dataset.py.
    Case("missing archives folder", remove("archives"), UNPACK, "archives: no such folder"),
    Case("missing part", remove(PART), UNPACK, f"{PART}: this part is missing"),
    Case("folder as part", folder_instead(PART), UNPACK, f"{PART}: cannot be read: Is a directory"),
    Case("file as target", write("target", ""), (UNPACK, SYNTHETIC), "target: is not a folder"),
    Case("archives there", write("target/20bn-jester-v1-00.zip", ""), SYNTHETIC, "target/20bn-jester-v1-00.zip: "),
    # Label lists; the rest is in tests/test_preprocess_jester_dataset.py.
    Case("missing dataset", nothing, "src.preprocess_jester_dataset none", "none/20bn-jester-v1: no such folder"),
    Case("missing clip", remove(f"{FRAMES}/left"), PREPROCESS, "left (data/labels/train.csv:1: No such file"),
    Case("unknown label", write(TRAIN_LABELS, "left;Left\n"), PREPROCESS, "train.csv:1: unknown label 'Left'"),
    Case("file as folder of lists", nothing, PREPROCESS, "in.pth: is not a folder", "--save_labels_path in.pth"),
    # Something-Something v2.
    Case("missing videos", nothing, SOMETHING, "data/20bn-something-something-v2: no such folder"),
    Case("missing list", something_v2("[]"), f"{SOMETHING} --labels_path x", "x/labels.json: no such file"),
    Case("empty list", something_v2("[]"), SOMETHING, "labels/train.json: expected a list"),
    Case("list that is no JSON", something_v2("[{"), SOMETHING, "labels/train.json:1: not valid JSON"),
    *(
        Case("class that is no line of text", something_v2(entry_of("1"), name), SOMETHING, ("labels.json: ", "'b"))
        for name in ("b\rc", "b\0", "b\ud800", "b\n", "b\x1b[2J")
    ),
    Case("row without id", something_v2('[{"label": "x"}]'), SOMETHING, "train.json: entry 1: {"),
    Case("unknown template", something_v2(entry_of("1", "Eating [x]")), SOMETHING, "entry 1: template 'Eating [x]'"),
    Case("missing video", something_v2(entry_of("2")), SOMETHING, "v2/2.webm: no such"),
    Case("broken video", something_v2(entry_of("1")), SOMETHING, "v2/1.webm: not a video"),
    Case("video of two lists", something_v2(entry_of("3")), SOMETHING, "entry 1: video 3 is in another list too, "),
    *(
        Case("path instead of an id", something_v2(entry_of(name)), SOMETHING, f'train.json: entry 1: {{"id": "{name}"')
        for name in ("1/../../1", "../1", "1.webm", "1 ", "")
    ),
    # What the system does not let be read, and what is no file: the reason is named, nothing is waited for.
    *(
        Case(f"locked up: {name}", both(before, locked_up(name)), commands, (named, "Permission denied"))
        for name, before, commands, named in [
            (FRAME, nothing, (TRAIN, INFER), f"{FRAME}: frame cannot be read ("),
            (FRAME, nothing, PACK, f"{FRAME}: "),
            (FRAMES, nothing, (EVAL, PREPROCESS, PACK), f"{FRAMES}"),
            ("data/20bn-jester-v1.tar", pack(nothing), FRAME_READERS, "data/20bn-jester-v1.tar"),
            (f"{FRAMES}/right", nothing, EVAL, f"{FRAMES}/right/00001.jpg: frame cannot be read ("),
            (f"{FRAMES}/right", nothing, (INFER, PREPROCESS), f"{FRAMES}/right: "),
            ("data", nothing, (TRAIN, PREPROCESS), "data/"),
            (VAL_LIST, nothing, EVAL, f"{VAL_LIST}: cannot be read ("),
            (TRAIN_LABELS, nothing, PREPROCESS, f"{TRAIN_LABELS}: cannot be read"),
            ("data/labels", something_v2("[]"), (PREPROCESS, SOMETHING), "data/labels"),
            ("trn.ckpt", unread_video(nothing), (*NETWORK_USERS, PAGE, DEMO, TUNE), "trn.ckpt: cannot be read ("),
            ("t.json", unread_video(nothing), (EVAL_STREAMS, TUNE), "t.json: cannot be read ("),
            ("videos/x", unread_video(nothing), (OWN, EVAL_STREAMS), "videos/x: cannot be read ("),
            ("videos", unread_video(nothing), TUNE, "videos"),
            ("data/20bn-something-something-v2", unread_video(nothing), SOMETHING, "20bn-something-something-v2"),
            ("videos", own_videos(), (OWN, f"{INFER} --source videos/x/a.mp4"), "videos"),
            ("a.csv", own_videos(), ANNOTATED, "a.csv: cannot be read ("),
            ("c.yaml", write("c.yaml", ""), f"{EXPORT} {YAML}", "c.yaml: cannot read the config file: "),
            ("in.pth", nothing, CONVERTERS, "in.pth: "),
            ("closed", make("closed"), "src.convert_bn_inception closed/in.pth out.ckpt", "closed/in.pth: "),
            ("closed", make("closed"), "src.convert_trn_pytorch in.pth closed/out.ckpt", "closed: "),
            ("closed", make("closed"), f"{PAGE} --output closed/page", "closed: "),
            ("closed", make("closed"), f"{TUNE} --output closed/a.yaml", "closed: "),
            ("closed", make("closed"), f"{INFER} --json closed/a.json", "closed"),
            ("out", make("out"), (TRAIN, EVAL, EXPORT, STREAMS), "out"),
            ("target", both(own_videos(), make("target")), (UNPACK, SYNTHETIC, DRAWN_STREAMS, OWN), "target"),
            (FIRST, nothing, UNPACK, f"{FIRST}: cannot be read"),
            ("archives", nothing, UNPACK, "archives"),
        ]
    ),
    *(
        Case(f"pipe: {name}", pipe_instead(name), commands, (f"{name}: ", "is a named pipe; expected a regular file"))
        for name, commands in [
            (FRAME, TRAIN),
            (TRAIN_LABELS, PREPROCESS),
            ("trn.ckpt", EXPORT),
            ("in.pth", (CONVERT_BACKBONE, f"{EXPORT} --config_path in.pth")),
            (LAST, UNPACK),
        ]
    ),
    # Videos: each program that opens one refuses what is none before anything else is opened.
    *(
        Case(name, unread_video(damage), command, (file, reason))
        for name, damage, reason, programs in [
            ("playlist as video", playlist, ": not a video; expected a file with pictures of its own", 5),
            ("pipe as video", pipe, ": cannot be read (it is a named pipe; expected a regular file)", 2),
            ("broken link as video", broken_link, ": cannot be read (No such file: it is a link to gone.mp4)", 2),
            ("unreadable video", lambda path: path.chmod(0), ": cannot be read (Permission denied)", 3),
        ]
        for file, command in [
            ("videos/x/b.mp4", OWN),
            ("20bn-something-something-v2/1.webm", SOMETHING),
            ("videos/x/b.mp4", f"{INFER} --source videos/x/b.mp4"),
            ("videos/x/b.mp4", f"{INFER} --source videos/x/b.mp4 --stream"),
            ("videos/x/b.mp4", EVAL_STREAMS),
        ][:programs]
    ),
    # Frames in a tar; the rest is in tests/data/test_packed.py.
    Case("no frames to pack", nothing, f"{PACK} --images_dir_name none", "data/none: no such folder, and no none.tar"),
    Case("tar without an index", pack(lambda tar: index_of(tar).unlink()), FRAME_READERS, "tar.index: no such file"),
    Case("clip that the tar lacks", pack(nothing), LIST_READERS, "tar/other: clip is missing in the tar", LIST_OPTIONS),
    Case("other frame name", pack(nothing), FRAME_READERS, "its frames are called", "--frame_name {}.png"),
    # Own videos; the rest is in tests/data/test_prepare_videos.py.
    Case("missing videos", nothing, OWN, "videos: no such folder"),
    Case("broken video", both(own_videos(), write("videos/x/b.mp4", "x")), OWN, ("b.mp4: not a video", "--on_error")),
    Case("file as folder", own_videos(), f"{OWN[:-6]}in.pth", "in.pth: is not a folder"),
    Case("no annotations", make("videos"), ANNOTATED, "a.csv: cannot be read (No such file"),
    # PyTorch files.
    Case("target of another kind", nothing, "src.convert_bn_inception in.pth out.pth", "out.pth: expected the"),
    *(
        Case("target that is the source", nothing, f"src.{name} trn.ckpt data/../trn.ckpt", "trn.ckpt is read")
        for name in ("convert_bn_inception", "convert_trn_pytorch")
    ),
    Case("target over the list", write("c.ckpt", "A\n"), f"{CONVERT_TRN[:-8]}c.ckpt --categories c.ckpt", "is read"),
    # The page.
    Case("no model", nothing, (PAGE, DEMO), "categories.txt: expected a checkpoint", "--model data/categories.txt"),
    Case("8 bits without clips", nothing, (PAGE, DEMO), "quantize int8: needs --dataset_root", "--quantize int8"),
    Case("no list of clips", remove(TRAIN_LIST), PAGE, f"{TRAIN_LIST}: ", "--dataset_root data"),
    Case("folder of others", nothing, PAGE, "data: would be replaced, but make_page.sh did not", "--output data"),
    Case("file as page", nothing, PAGE, "in.pth: is not a folder", "--output in.pth"),
    Case("page in a file", nothing, PAGE, "in.pth: cannot be written: ", "--output in.pth/page"),
    # Options of single programs.
    *(
        Case("value", nothing, command, f"{option}: '{value}' is not allowed, expected {allowed}", f"{option}={value}")
        for command, option, values, allowed in [
            (SYNTHETIC, "--gestures", "28", "int in [1, 27]"),
            *((SYNTHETIC, option, "0", "int in [1, ") for option in ("--train", "--val", "--parts")),
            (SYNTHETIC, "--test", "-1", "int in [0, "),
            (DRAWN_STREAMS, "--videos", "0", "int in [1, 999]"),
            (DRAWN_STREAMS, "--gestures", "28", "int in [1, 27]"),
            *((command, "--seed", "-1", "int in [0, ") for command in (DRAWN_STREAMS, OWN, GESTURES)),
            (OWN, "--val", "0 1", "float in (0, 1)"),
            (OWN, "--height", "2", "int in [16, 4320]"),
            (OWN, "--fps", "nan", "float in (0, 1000]"),
            (SOMETHING, "--height", "15 4321", "int in [16, 4320]"),
            (SOMETHING, "--fps", "0 1001", "float in (0, 1000]"),
            (GESTURES, "--minutes", "0", "float in (0, "),
            (CONVERT_BACKBONE, "--width_mult", "0 -1 nan wide", "float in (0, "),
            (CONVERT_TRN, "--num_segments", "0", "int in [2, inf)"),
            (INFER, "--window", "0 soon", "float in (0, 1000000]"),
            ((PAGE, DEMO), "--window", "0", "float in (0, "),
            (DEMO, "--port", "70000", "int in [1, 65535]"),
        ]
        for value in values.split()
    ),
    Case("no such choice", nothing, OWN, "command line: argument --on_error: ", "--on_error go"),
    # The rest.
    Case("unknown option", nothing, (UNPACK, PREPROCESS, SYNTHETIC, *CONVERTERS), "--colour", "--colour red"),
    Case("results that are not there", nothing, ABLATION, "results/TRNmultiscale/natural/metrics.json: cannot be read"),
]

if HAS_MINDCV:
    RESNET = "--backbone resnet18 --width_mult 1"
    CASES += [
        Case("unknown backbone", nothing, TRAIN, "backbone 'resnt50': no such", "--backbone resnt50 --width_mult 1"),
        Case("backbone of one width", nothing, TRAIN, "width_mult 0.0625: backbone resnet18", "--backbone resnet18"),
        Case("another backbone", nothing, TRAIN, "but backbone is resnet18", f"{BACKBONE} {RESNET}"),
        Case("another backbone", nothing, TRAIN, "bn_inception (now resnet18)", f"--pre_trained trn.ckpt {RESNET}"),
    ]

if HAS_TORCH:  # the rest is in tests/test_convert_bn_inception.py
    CASES.append(Case("text", nothing, tuple(CONVERTERS), "in.pth: damaged, truncated or another format"))
if EXPORTS_ANY_BATCH:  # the other package writes no ONNX
    QUANTIZE = "--file_format ONNX --quantize int8"
    CASES.append(Case("no clips", remove(TRAIN_LIST), EXPORT, f"{TRAIN_LIST}: cannot be read", QUANTIZE))
else:
    CASES.append(Case("any batch", nothing, EXPORT, "export_batch_size 0: MindSpore ", "--export_batch_size 0"))

# Scripts find what is wrong with their arguments before they start Python. That there are too few, or that they lead
# nowhere, is tested in tests/test_scripts.py.
OUT = "--train_output_dir out --eval_output_dir out --export_output_dir out"
DISTRIBUTED = "run_distributed_train_gpu.sh data ''"
SCRIPTS = [
    *(
        Case("arguments", nothing, command, named)
        for command, named in [
            ("make_synthetic_jester.sh a b", "1 argument(s) expected, 2 given"),
            ("make_synthetic_jester.sh --seed 1", "1 argument(s) expected, 0 given"),
            ("run_eval_gpu.sh data trn.ckpt more", "2 argument(s) expected, 3 given"),
            ("run_standalone_train_gpu.sh first data ''", "first: not the number of a device"),
            ("quickstart.sh one two", "at most one folder expected, given: one two"),
            ("quickstart.sh --colour", "at most one folder expected, given: --colour"),
            ("run_tests.sh one", "0 argument(s) expected, 1 given"),
        ]
    ),
    Case("file as folder", nothing, "run_eval_gpu.sh in.pth trn.ckpt", "in.pth: no such folder", OUT),
    Case("devices", nothing, f"DEVICE_NUM=two {DISTRIBUTED}", "DEVICE_NUM=two: not a number"),
    Case("devices", nothing, f"DEVICE_NUM=0 {DISTRIBUTED}", "DEVICE_NUM=0: not a number"),
    Case("hosts", nothing, f"HOSTFILE=nowhere {DISTRIBUTED}", "nowhere: no such file"),
    Case("no mpirun", nothing, f"PATH={{bin}} {DISTRIBUTED}", "mpirun: not found; install"),
    Case("no interpreter", nothing, "PYTHON=nowhere run_eval_gpu.sh data trn.ckpt", "nowhere: no such interp", OUT),
    Case("no interpreter", nothing, "PYTHON=nowhere make_synthetic_jester.sh target", "nowhere: no such interpreter"),
    Case("no target", nothing, "DEVICE_TARGET=TPU run_export_gpu.sh data trn.ckpt", "'TPU' is not allowed", OUT),
    Case("no config", nothing, "run_eval_gpu.sh data trn.ckpt --config_path nowhere.yaml", "nowhere.yaml: cannot", OUT),
    Case("file as folder", nothing, "quickstart.sh in.pth", "in.pth: is not a folder"),
    Case("no archives", nothing, "unpack_jester_dataset.sh data/labels target", "labels: no archives here"),
    Case("no labels", remove("data/labels"), "preprocess_jester_dataset.sh data", "labels: no list train.csv"),
    Case("no Python", nothing, "PATH={bin} HOME=data quickstart.sh work", "no Python among 3.11 3.12 3.10 found"),
    Case("no Python", nothing, "PATH={bin} HOME=data run_tests.sh", "no Python among 3.11 3.12 3.10 found"),
]

# The same through processes of their own: what is true above is true for a user, too.
TRAIN_SCRIPT = f"run_standalone_train_gpu.sh 0 data '' {OUT} {SMALL} --train_batch_size 2"
IN_A_PROCESS = [
    Case("truncated frame", cut_off(FRAME), TRAIN_SCRIPT, FRAME),
    Case("truncated checkpoint", cut_off("trn.ckpt"), "run_export_gpu.sh data trn.ckpt", "trn.ckpt: not a whole", OUT),
]
if not LEGACY:  # which does not join a run of its own on a CPU
    ALONE = "--is_train_distributed true --group_size 2"
    IN_A_PROCESS.append(Case("group size", nothing, TRAIN, "group_size 2: 1 processes were started", ALONE))
if not Path("/proc/driver/nvidia").exists():
    ON_GPU = "DEVICE_TARGET=GPU run_eval_gpu.sh data trn.ckpt"
    IN_A_PROCESS.append(Case("no GPU", nothing, ON_GPU, "device_target GPU: cannot be used here", OUT))


# ------------------------------------------------------------------------------------------------------- running them


def rows(cases: list[Case]) -> list:
    """A test for each command of each case, but one for commands that are alike."""
    tests = []
    for number, case in enumerate(cases):
        commands = (case.commands,) if isinstance(case.commands, str) else case.commands
        if isinstance(commands, Alike):
            commands = (commands[number % len(commands)],)
        for command in commands:
            words = [word for word in command.split() if "=" not in word]
            tests.append(pytest.param(case, f"{command} {case.more}", id=f"{words[0]}: {case.name}"))
    return tests


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with one_block():
        write_work(folder)
    return folder


@pytest.fixture
def work(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "a folder")
    monkeypatch.chdir(tmp_path / "a folder")
    yield tmp_path / "a folder"
    while HELD:
        HELD.pop().close()


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): _content(path) for path in folder.rglob("*")}


def _content(path: Path) -> bytes | None:
    with suppress(PermissionError):
        return path.read_bytes() if path.is_file() else None
    return None


def check(case: Case, before: dict, work: Path, status: int, stdout: str, stderr: str) -> None:
    said = f"exit status {status}\n{stdout}\n{stderr}"
    assert status == 1, said
    assert "Traceback" not in stdout + stderr, said
    others = "[", "warning: there is no background class"  # MindSpore's own log lines: [ERROR] ME(...
    error, *usage = [line for line in stderr.splitlines() if not line.startswith(others)]
    assert error.startswith("error: "), said
    assert not usage or usage[0].startswith("usage: bash scripts/"), said
    for part in (case.named,) if isinstance(case.named, str) else case.named:
        assert part in error, said
    after = contents(work)
    assert {name: after.get(name) for name in before} == before
    new = {Path(name).name for name in after.keys() - before.keys() if after[name] is not None}
    assert all(name.endswith(".log") or name == "config.yaml" for name in new), new


@pytest.fixture
def run_here(work, monkeypatch, capfd, clips_here):
    """Runs a Python program in this process; gives exit status, stdout and stderr."""
    monkeypatch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))

    def run(command: str) -> tuple[int, str, str]:
        program, *arguments = shlex.split(command)
        module = importlib.import_module(program[: -len(".py")] if program.endswith(".py") else program)
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit) as end, obeyed_permissions():
            run_main(module.main)
        get_logger(rank=1)  # closes the log file
        return (end.value.code, *capfd.readouterr())

    return run


@pytest.mark.parametrize(("case", "command"), rows(CASES))
def test_programs(case, command, work, run_here):
    case.damage(work)
    before = contents(work)
    check(case, before, work, *run_here(command))


@pytest.mark.parametrize(("command", "key"), [(TRAIN, "train_workers"), (EVAL, "eval_workers")])
def test_more_workers_than_cores_are_no_error(command, key, work, run_here, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    remove(FRAME)(work)  # ends it, after this has been said
    _, stdout, stderr = run_here(f"{command} --{key} 8")
    assert f":INFO:{key}: 8 asked for, 1 used (CPU cores)\n" in stdout
    assert FRAME in stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The repository without environments and results, and in `bin` the tools that scripts use, but no Python."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*.txt"), ROOT / "src", ROOT / "model_utils", ROOT / "configs"):
        (folder / path.name).symlink_to(path)
    (folder / "bin").mkdir()
    for tool in ("bash", "dirname", "cat", "mkdir", "rm", "flock", "ls"):
        (folder / "bin" / tool).symlink_to(shutil.which(tool))
    return folder


@pytest.mark.parametrize(("case", "command"), rows(SCRIPTS + IN_A_PROCESS))
def test_processes(case, command, work, repository):
    case.damage(work)
    before = contents(work)
    words = shlex.split(command.replace("{bin}", str(repository / "bin")))
    given = dict(word.split("=", 1) for word in words if "=" in word.split(".sh")[0] and not word.startswith("--"))
    program, *arguments = [word for word in words if word.split("=")[0] not in given]
    if program.endswith(".sh"):
        start = [shutil.which("bash"), repository / "scripts" / program]
    else:
        start = [sys.executable, repository / program]
    environment = {**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU", **given}
    done = subprocess.run(
        [*map(str, start), *arguments], cwd=work, env=environment, capture_output=True, text=True, timeout=120
    )
    check(case, before, work, done.returncode, done.stdout, done.stderr)
