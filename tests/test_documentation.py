"""The documentation: its commands run or name what exists, its defaults are the config's, its links lead somewhere.

The commands in ``RUN`` are run. Of all others, which need a GPU, a camera, the real data, weights from elsewhere, or
minutes, the script or program, its arguments and its options are looked up.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import yaml

from model_utils.config import DEFAULT_CONFIG, load_config
from model_utils.util import run_main
from model_utils.version import VERSION
from tests.helpers import documents
from tests.helpers.colours import changing_frames, write_video
from tests.helpers.documents import PAGES, ROOT
from tests.helpers.networks import one_block
from tests.helpers.small_program import write_python

VALUES = next(iter(yaml.safe_load_all(DEFAULT_CONFIG.read_text(encoding="utf-8"))))
README = ROOT / "README.md"
SMALL = "--width_mult 0.0625 --image_size 32 --num_segments 3 --img_feature_dim 8 --freeze_bn false --dropout 0"
TRAIN = f"{SMALL} --train_batch_size 4 --epochs_num 1 --max_steps 2 --train_workers 1 --eval_workers 1"


class Run(NamedTuple):
    """How a command is run: with these options behind it, so that it is quick, and leaving these files."""

    options: str = ""
    leaves: tuple[str, ...] = ()


# In the order in which they are run. Those up to the first training prepare the folder of all others.
RUN = {
    "bash scripts/make_synthetic_jester.sh /path/to/JESTER": Run("--gestures 3 --train 12 --val 6 --test 0 --parts 1"),
    "bash scripts/unpack_jester_dataset.sh /path/to/JESTER /path/to/unpacked_JESTER": Run(),
    "bash scripts/preprocess_jester_dataset.sh /path/to/unpacked_JESTER": Run(leaves=("data/categories.txt",)),
    "bash scripts/run_standalone_train_gpu.sh 0 DATASET_ROOT PRETRAINED": Run(
        TRAIN, ("train-logs/train.log", "train-logs/config.yaml", "train-logs/metrics.csv", "train-logs/curves.png")
    ),
    "bash scripts/run_eval_gpu.sh DATASET_ROOT train-logs/checkpoint_best.ckpt": Run(
        "--test_crops 1", ("eval-logs/report.html", "eval-logs/metrics.json", "eval-logs/eval.log")
    ),
    "bash scripts/run_export_gpu.sh DATASET_ROOT trn.ckpt --file_format ONNX": Run(
        "", ("export-logs/trn.onnx", "export-logs/trn.onnx.json")
    ),
    "bash scripts/run_eval_gpu.sh DATASET_ROOT export-logs/trn.onnx --test_crops 10": Run(),
    "python infer.py --model trn.ckpt --source clip.mp4 other_clip/ --json result.json": Run("", ("result.json",)),
    "python infer.py --model trn.ckpt --source long.mp4 --window 3 --stride 1": Run("--test_crops 1"),
    "python infer.py --model trn.ckpt --source long.mp4 --stream --output seen.mp4": Run("", ("seen.mp4",)),
    "python infer.py --model trn.ckpt --source clip.mp4 --explain why.png": Run("", ("why.png",)),
    "bash scripts/prepare_videos.sh VIDEOS DATASET_ROOT": Run(),
    "bash scripts/prepare_videos.sh VIDEOS DATASET_ROOT --annotations my.csv": Run(),
    "bash scripts/preprocess_jester_dataset.sh DATASET_ROOT --images_dir_name frames"
    " --frame_name 'img_{:05d}.jpg'": Run(),
    "bash scripts/pack_frames.sh DATASET_ROOT": Run(leaves=("data/20bn-jester-v1.tar",)),
    "bash scripts/pack_frames.sh DATASET_ROOT --unpack true": Run(leaves=("data/20bn-jester-v1/1/00001.jpg",)),
}
FIRST, LATER = list(RUN)[:4], list(RUN)[4:]
WRITTEN = sorted({command for page in PAGES for command in documents.commands(page)})
PARTS = ("common", "environment")  # sourced by scripts
# Options of other programs that the text names.
FOREIGN_OPTIONS = {"--softmax"}


def test_the_commands_that_are_run_stand_in_the_documentation():
    assert RUN.keys() - set(WRITTEN) == set()


# ------------------------------------------------------------------------------------------------ commands that are run


def run(command: str, folder: Path) -> None:
    """Runs a command of ``RUN`` as it stands there, but for paths that begin with /path/to."""
    names = {"/path/to/JESTER": "archives", "/path/to/unpacked_JESTER": "data", "PRETRAINED": ""}
    _, words = documents.split(command)
    words = [names.get(word, word) for word in (*words, *shlex.split(RUN[command].options))]
    if words[0] == "python":
        run_here(words[1:], folder)
    else:
        words[1] = str(ROOT / words[1])
        environment = {"PYTHON": write_python(folder), "PYTHONPATH": str(ROOT), "DEVICE_TARGET": "CPU", "GLOG_v": "3"}
        done = subprocess.run(
            words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert [name for name in RUN[command].leaves if not (folder / name).is_file()] == [], command


def run_here(words: list[str], folder: Path) -> None:
    """Runs a program in this process, which has MindSpore imported and set up."""
    with pytest.MonkeyPatch.context() as patch, one_block():
        patch.chdir(folder)
        patch.setattr("model_utils.device_adapter.start_device", lambda config: (0, 1))
        patch.setattr("sys.argv", words)
        with pytest.raises(SystemExit, match="^0$"):
            run_main(importlib.import_module(Path(words[0]).stem).main)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder in which the names of the documentation exist: a dataset, a network, videos."""
    folder = tmp_path_factory.mktemp("work")
    for command in FIRST[:3]:
        run(command, folder)
    (folder / "DATASET_ROOT").symlink_to("data")
    run(FIRST[3], folder)
    (folder / "trn.ckpt").symlink_to("train-logs/checkpoint_best.ckpt")
    (folder / "other_clip").symlink_to("data/20bn-jester-v1/1")
    write_video(folder / "clip.mp4", changing_frames(12))
    write_video(folder / "long.mp4", changing_frames(60))
    return folder


def own_folder(command: str, folder: Path) -> Path:
    """Where a command is run: those that write DATASET_ROOT have a folder of their own."""
    if "prepare_videos" in command:
        folder = folder / f"own videos {len(command)}"
        for label in ("wave", "clap"):
            (folder / "VIDEOS" / label).mkdir(parents=True)
            for number in range(2):
                write_video(folder / "VIDEOS" / label / f"{number}.mp4", changing_frames(14))
        rows = [f"{label}/{number}.mp4,{label},0,1" for label in ("wave", "clap") for number in range(2)]
        (folder / "my.csv").write_text("\n".join(["video,label,start,end", *rows]) + "\n")
    elif "--images_dir_name frames" in command:
        inside = folder / "own frames" / "DATASET_ROOT"
        for clip in ("1", "2"):
            frames = inside / "frames" / clip
            frames.mkdir(parents=True)
            for number in range(3):
                cv2.imwrite(str(frames / f"img_{number:05d}.jpg"), np.zeros((48, 64, 3), np.uint8))
        (inside / "labels").mkdir()
        for name, text in (("labels", "wave\n"), ("train", "1;wave\n"), ("validation", "2;wave\n")):
            (inside / "labels" / f"{name}.csv").write_text(text)
        folder = inside.parent
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", LATER)
def test_a_command_runs(work, command):
    if "ONNX" in command or "onnx" in command:
        pytest.importorskip("onnxruntime")
    run(command, own_folder(command, work))


# -------------------------------------------------------------------------------------------- commands that are checked


def usage(script: str) -> str:
    done = subprocess.run(["bash", str(ROOT / script), "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def options_of(words: list[str]) -> dict[str, str]:
    """Options and their values: ``--key value``, ``--key=value`` or a switch, whose value is empty."""
    found: dict[str, str] = {}
    last = ""
    for word in words:
        if word.startswith("--"):
            last, _, value = word.partition("=")
            found[last] = value
        elif last:
            found[last], last = word, ""
        else:
            raise AssertionError(f"{word} belongs to no option")
    return found


def check_script(words: list[str]) -> None:
    says = usage(words[1])
    first = says.splitlines()[0].removeprefix(f"usage: bash {words[1]}").split("[")
    required = first[0].split()
    count = next((i for i, word in enumerate(words[2:]) if word.startswith("--")), len(words) - 2)
    assert len(required) <= count <= len(required) + says.splitlines()[0].count("[WORK_DIR]")
    takes_keys = "[--key value ...]" in says
    for option, value in options_of(words[2 + count :]).items():
        key = option.removeprefix("--")
        if key == "config_path":
            load_config(["--config_path", str(ROOT / value)])
        elif takes_keys and key in VALUES:
            load_config([option, value])
        else:
            assert option in says.split(), f"{option} is not in the usage of {words[1]}"


def check_program(words: list[str]) -> None:
    module = importlib.import_module(Path(words[0]).stem)
    load_config(words[1:], add_arguments=getattr(module, "add_arguments", None))


@pytest.mark.parametrize("command", [command for command in WRITTEN if command not in RUN])
def test_a_command_names_what_exists(command):
    variables, words = documents.split(command)
    if words[:1] == ["bash"]:
        assert all(name in usage(words[1]) for name in variables)
        check_script(words)
    elif any((ROOT / word).is_file() for word in words if word.endswith(".py") and "/" not in word):
        check_program(words[next(i for i, word in enumerate(words) if word.endswith(".py")) :])
    else:  # of another program: its files
        inside = ("scripts/", "src/", "configs/", "tests/", "benchmarks/", "requirements")
        assert [word for word in words if word.startswith(inside) and not (ROOT / word).exists()] == []


def known_options() -> set[str]:
    """The options of all programs and scripts, as their help texts name them."""
    known = {f"--{key}" for key in VALUES} | {"--config_path", "--help", "--version", "--key"}
    for text in help_texts():
        known.update(re.findall(r"--\w+", text))
    return known


def help_texts() -> list[str]:
    """The usages of all scripts, and the programs, whose help texts stand in them."""
    usages = [usage(f"scripts/{path.name}") for path in (ROOT / "scripts").glob("*.sh") if path.stem not in PARTS]
    programs = [*ROOT.glob("*.py"), ROOT / "src/inference/options.py", *(ROOT / "benchmarks").glob("*.py")]
    return [*usages, *(path.read_text(encoding="utf-8") for path in programs)]


def example(name: str) -> bool:
    """Whether it is a file that the guide for contributors has its readers write."""
    return any(word in name for word in ("three_convs", "ucf101", "vX.Y.Z"))


def test_the_text_names_scripts_programs_and_options_that_exist():
    known = known_options()
    wrong = []
    for page in PAGES:
        for code in documents.inline_code(page):
            for option in re.findall(r"(?<![\w-])--\w+", code):
                if option not in known | FOREIGN_OPTIONS:
                    wrong.append(f"{page.name}: {option}")
            for name in re.findall(
                r"(?<![\w/])(?:scripts|src|model_utils|configs|tests|benchmarks)/[\w./]+\.\w+", code
            ):
                if not (ROOT / name).exists() and not example(name):
                    wrong.append(f"{page.name}: {name}")
            for name in re.findall(r"^(?:python |bash )([\w/]+\.(?:py|sh))", code):
                if not (ROOT / name).exists():
                    wrong.append(f"{page.name}: {name}")
    assert wrong == []


def test_the_table_of_scripts_has_all_of_them_with_their_arguments():
    rows = re.findall(r"^\| `(scripts/\w+\.sh)([^`]*)` \|", (ROOT / "docs/scripts.md").read_text(), re.MULTILINE)
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.sh") if path.stem not in PARTS}
    assert {name for name, _ in rows} == scripts
    for name, arguments in rows:
        first = usage(name).splitlines()[0].removeprefix(f"usage: bash {name}")
        assert arguments.split("[")[0].split() == first.split("[")[0].split(), name
        assert set(re.findall(r"--\w+", arguments)) <= set(re.findall(r"--\w+", usage(name))), name


# -------------------------------------------------------------------------------------------------------- its defaults


def stated_defaults(page: Path) -> list[tuple[str, str]]:
    """(key, value) wherever a page says a default of the config: a YAML excerpt, or one of these forms in the text.

    `key: value` (the default) · `key` (value) · `--key` (value) · `key` (default value) · `key` is `value` by default
    """
    found = []
    for block in documents.blocks(page, "yaml"):
        found += [(key, str(value)) for key, value in yaml.safe_load(block).items()]
    text = " ".join(documents.prose(page).split())
    found += re.findall(r"`(?:--)?(\w+): ([^`]+)` \((?:the )?default\)", text)
    found += re.findall(r"`(?:--)?(\w+)` \((?:default |by default )?`?(-?[\d.]*\d|true|false)`?\)", text)
    found += re.findall(r"`(?:--)?(\w+)` is `?([\w.]+?)`? by default", text)
    return [(key, value) for key, value in found if key in VALUES]


def test_stated_defaults_are_those_of_the_config():
    stated = [(page.name, *default) for page in PAGES for default in stated_defaults(page)]
    one_of_each_form = {"lr", "flip", "calibration_clips", "device_target"}
    assert one_of_each_form <= {key for _, key, _ in stated}
    wrong = [row for row in stated if load_config([f"--{row[1]}", row[2]]).__dict__[row[1]] != VALUES[row[1]]]
    assert wrong == []


# ------------------------------------------------------------------------------------------------ sections and links


# The sections of the model zoo's README for this model, in its order.
SECTIONS = """Contents, TRN Description, Model Architecture, Dataset, Environment Requirements, Quick Start,
Script Description, Script and Sample Code, Script Parameters, Parameter configuration, Training Process,
Evaluation Process, Model Export, Model Description, Performance, Training Performance, Evaluation Performance,
Description of Random Situation, ModelZoo Homepage"""


def test_readme_has_the_sections_of_the_zoo_in_its_order():
    titles = re.findall(r"^#+ \[?([^\]\n]+)", documents.prose(README), re.MULTILINE)
    wanted = [title.strip() for title in SECTIONS.replace("\n", " ").split(",")]
    assert [title for title in titles if title in wanted] == wanted
    contents = documents.prose(README).split("# Contents")[1].split("\n## ")[0]
    assert [title for title, _ in re.findall(r"^ *- \[(.*?)\]\(#(.*?)\)", contents, re.MULTILINE)] == wanted[1:]
    assert f"Version {VERSION}" in README.read_text(encoding="utf-8")


def test_the_file_tree_of_readme():
    (tree,) = [block for block in documents.blocks(README, "text") if "── configs" in block]
    folder, missing, named = ROOT, [], 0
    for line in tree.splitlines()[1:]:
        branch, _, names = line.partition("── ")
        if "│" not in branch:
            folder = ROOT
        for name in names.split("   ")[0].split():
            missing += [name] if not (folder / name).exists() else []
            named += 1
        if names.strip() == "src":
            folder = ROOT / "src"
    assert missing == []
    top = {path.name for path in (ROOT / "src").glob("*.py")} - {"__init__.py"}
    assert top <= set(tree.split())
    assert named > len(top)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", documents.prose(page)):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in documents.anchors(path), f"{page.name}: {target}"
