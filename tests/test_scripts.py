"""What the scripts do before and around Python: the exact commands, whose defaults win, which folders are emptied.

Python is a stub that notes the folder, the arguments and the environment that it is started with.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT

SCRIPTS = sorted(
    path.name
    for path in (ROOT / "scripts").glob("*.sh")
    if path.name not in ("common.sh", "environment.sh", "run_tests.sh")
)

# A program that leaves what the script looks at next. {calls} is where it notes its calls.
STUB = """#!{python} -S
import json, os, sys
from pathlib import Path

arguments = sys.argv[1:]
if arguments[0] == "-c":
    sys.exit(0)
names = ("DEVICE_TARGET", "PYTHONPATH", "PYTHONSAFEPATH")
call = {{"cwd": os.getcwd(), "arguments": arguments, **{{name: os.environ.get(name) for name in names}}}}
with open("{calls}", "a") as file:
    print(json.dumps(call), file=file)
program, options = Path(arguments[0]).name, dict(zip(arguments, arguments[1:]))
if program == os.environ.get("FAILS_IN"):
    sys.exit(int(os.environ["FAILS_WITH"]))
if program == "unpack_jester_dataset.py":
    Path(arguments[2], "20bn-jester-v1/7").mkdir(parents=True)
elif program == "preprocess_jester_dataset.py":
    Path(arguments[1], "val_videofolder.txt").write_text("7 30 1\\n")
    Path(arguments[1], "categories.txt").write_text("Left\\nRight\\n")
elif program == "train.py" and "--train_output_dir" in options:
    folder = Path(options["--train_output_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    if list(folder.glob("checkpoint_*")):
        sys.exit("holds a training run already")
    (folder / "checkpoint_trn-28_60.ckpt").write_text("")
elif program == "eval.py" and "--eval_output_dir" in options:
    folder = Path(options["--eval_output_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "eval.log").write_text("120 clips, 10 crops\\nTop1: 95.00%\\nTop5: 100.00%\\n")
"""


@pytest.fixture
def user(tmp_path):
    """A folder with a space in its name in which a user stands, with a dataset, files and the stub."""
    folder = tmp_path / "a folder"
    (folder / "my data").mkdir(parents=True)
    for name in ("net.ckpt", "hosts", "in.pth", "own.yaml"):
        (folder / name).write_text("")
    stub = folder / "stub"
    stub.write_text(STUB.format(python=sys.executable, calls=tmp_path / "calls"))
    stub.chmod(0o755)
    return folder


def start(user, script, *arguments, root=ROOT, **environment):
    """Starts a script as its user does. The environment is bare, except for what is given."""
    given = {"PATH": os.environ["PATH"], "HOME": str(user), "PYTHON": "./stub", **environment}
    given = {name: value for name, value in given.items() if value is not None}
    command = ["bash", str(root / "scripts" / script), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "surrogateescape"}
    return subprocess.Popen(command, cwd=user, env=given, start_new_session=True, **pipes)


def run(user, script, *arguments, **options):
    process = start(user, script, *arguments, **options)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def calls(user):
    """What the stub was called with."""
    path = user.parent / "calls"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def called(user, script, *arguments, **environment):
    """The arguments of the only call."""
    status, _, stderr = run(user, script, *arguments, **environment)
    assert (status, stderr) == (0, "")
    (call,) = calls(user)
    assert call["cwd"] == str(user)
    return call["arguments"]


# What a user types, and the command that it becomes; OPTIONS behind it are handed on. DATA and NET stand for "my data"
# and net.ckpt.
EXACT = [
    ("make_synthetic_jester.sh new", "src/synthetic/jester.py new"),
    ("make_synthetic_streams.sh new", "src/synthetic/streams.py new"),
    ("unpack_jester_dataset.sh DATA new", "src/data/unpack_jester_dataset.py DATA new"),
    ("preprocess_jester_dataset.sh DATA", "src/preprocess_jester_dataset.py DATA"),
    ("preprocess_something_v2.sh DATA", "src/data/something_v2.py DATA"),
    ("prepare_videos.sh DATA new", "src/data/prepare_videos.py DATA new"),
    ("pack_frames.sh DATA", "src/data/pack_frames.py DATA"),
    ("my_gestures.sh DATA new", "src/own_gestures/main.py DATA new"),
    ("convert_bn_inception.sh in.pth out.ckpt", "src/convert_bn_inception.py in.pth out.ckpt"),
    ("convert_trn_pytorch.sh in.pth out.ckpt", "src/convert_trn_pytorch.py in.pth out.ckpt"),
    ("run_demo.sh NET", "demo.py --model NET"),
    ("make_page.sh NET new", "make_page.py --model NET --output new"),
    ("run_stream_eval.sh DATA own.yaml NET", "eval_streams.py --videos DATA --truth own.yaml --ckpt_file NET"),
    ("tune_stream.sh NET DATA own.yaml", "tune_stream.py --ckpt_file NET --videos DATA --truth own.yaml"),
    ("run_standalone_train_gpu.sh 3 DATA NET", "train.py --device_id 3 --dataset_root DATA --pre_trained_backbone NET"),
    ("run_standalone_train_gpu.sh 0 DATA ''", "train.py --device_id 0 --dataset_root DATA --pre_trained_backbone ''"),
    ("run_eval_gpu.sh DATA NET", "eval.py --dataset_root DATA --ckpt_file NET"),
    ("run_export_gpu.sh DATA NET", "export.py --dataset_root DATA --ckpt_file NET"),
]
OPTIONS = ["--split", "test", "--pre_trained", "old.ckpt", "--lr=1"]


def words(text):
    return [{"DATA": "my data", "NET": "net.ckpt"}.get(word, word) for word in shlex.split(text)]


DATA = words("--dataset_root DATA")
SCRATCH = words("--pre_trained_backbone ''")
NET = words("--pre_trained_backbone NET")
CKPT = words("--ckpt_file NET")
# Each script with arguments that are right, and the programs that it starts.
WORKING = {typed.split()[0]: (words(typed)[1:], [Path(words(command)[0]).name]) for typed, command in EXACT[::-1]}
WORKING["compare_exports.sh"] = (words("DATA NET out"), words("export.py eval.py compare_exports.py"))
WORKING["run_order_ablation.sh"] = (words("DATA out"), words("train.py eval.py order_ablation.py"))
WORKING["run_distributed_train_gpu.sh"] = (words("DATA ''"), ["-n"])  # the stub is mpirun
PREPARED = words("jester.py unpack_jester_dataset.py preprocess_jester_dataset.py")
WORKING["quickstart.sh"] = ([], [*PREPARED, *words("train.py train.py eval.py export.py infer.py")])
ONE_PROGRAM = sorted({typed.split()[0] for typed, _ in EXACT})


@pytest.mark.parametrize(("typed", "command"), EXACT)
def test_exact_command(user, typed, command):
    script, *arguments = words(typed)
    program, *rest = words(command)
    assert called(user, script, *arguments, *OPTIONS) == [str(ROOT / program), *rest, *OPTIONS]


@pytest.mark.parametrize(("script", "given", "used"), [("run_demo.sh", None, "CPU"), ("make_page.sh", "GPU", "GPU")])
def test_pages_are_made_on_the_cpu_unless_another_device_is_asked_for(user, script, given, used):
    assert run(user, script, *WORKING[script][0], DEVICE_TARGET=given)[0] == 0
    assert calls(user)[0]["DEVICE_TARGET"] == used


@pytest.mark.parametrize(
    ("arguments", "environment", "launch", "rest"),
    [
        (["my data", "net.ckpt"], {}, ["-n", "8"], ["8", *DATA, *NET, "--train_batch_size", "8"]),
        (
            ["my data", "", "--lr", "1", "--train_batch_size", "4"],
            {"DEVICE_NUM": "2", "HOSTFILE": "hosts", "DEVICE_TARGET": "CPU"},
            ["-n", "2", "--hostfile", "hosts"],
            ["2", "--device_target", "CPU", *DATA, *SCRATCH, "--train_batch_size", "8"]
            + ["--lr", "1", "--train_batch_size", "4"],
        ),
        (
            ["my data", "", "--config_path", "own.yaml"],
            {},
            ["-n", "8"],
            ["8", *DATA, *SCRATCH, "--config_path", "own.yaml"],
        ),
        (["my data", "", "--config_path=own.yaml"], {}, ["-n", "8"], ["8", *DATA, *SCRATCH, "--config_path=own.yaml"]),
    ],
)
def test_exact_command_of_mpirun(user, arguments, environment, launch, rest):
    """What stands on the command line twice counts as it stands last."""
    (user / "bin").mkdir()
    shutil.copy(user / "stub", user / "bin" / "mpirun")
    path = f"{user / 'bin'}:{os.environ['PATH']}"
    fixed = ["--allow-run-as-root", "--mca", "odls_base_sigkill_timeout", "10", "-x", "PYTHONPATH"]
    expected = [*launch[:2], *fixed, *launch[2:], "./stub", str(ROOT / "train.py")]
    expected += ["--is_train_distributed", "true", "--group_size", *rest]
    assert called(user, "run_distributed_train_gpu.sh", *arguments, PATH=path, **environment) == expected


SYNTHETIC = ["--config_path", str(ROOT / "configs/synthetic_config.yaml")]


@pytest.mark.parametrize(
    ("options", "common"),
    [
        (["--lr", "1", "--config_paths", "config_path"], [*SYNTHETIC, "--lr", "1", "--config_paths", "config_path"]),
        (["--config_path", "own.yaml"], ["--config_path", "own.yaml"]),
    ],
)
def test_exact_commands_of_the_order_ablation(user, options, common):
    expected = []
    for head in ("TRNmultiscale", "TRN", "avg"):
        fixed = [*common, *DATA, "--consensus_type", head]
        train = ["train.py", *fixed, "--train_output_dir", f"out/{head}/train", "--keep_checkpoint_max", "1"]
        expected.append(train)
        for order in ("natural", "reversed", "shuffled"):
            checkpoint = ["--ckpt_file", f"out/{head}/train/checkpoint_trn-28_60.ckpt", "--frame_order", order]
            expected.append(["eval.py", *fixed, *checkpoint, "--eval_output_dir", f"out/{head}/{order}"])
    expected.append(["benchmarks/order_ablation.py", "out"])
    expected = [[str(ROOT / program), *rest] for program, *rest in expected]
    for _ in range(2):  # the second time in the folders of the first
        status, stdout, stderr = run(user, "run_order_ablation.sh", "my data", "out", *options)
        assert (status, stderr) == (0, ""), stdout
        assert [call["arguments"] for call in calls(user)] == expected


def test_exact_commands_of_the_comparison_of_exports(user):
    """Each form is exported in its own way, and evaluated from its own file."""
    onnx = ["--file_format", "ONNX"]
    forms = {
        "mindir": ("trn.mindir", []),
        "onnx": ("trn.onnx", onnx),
        "int8": ("trn.onnx", [*onnx, "--quantize", "int8"]),
        "stream": ("trn_frame.onnx", [*onnx, "--streaming", "true"]),
        "stream-int8": ("trn_frame.onnx", [*onnx, "--streaming", "true", "--quantize", "int8"]),
    }
    given = ["--seed", "1"]
    expected = []
    for form, (_, how) in forms.items():
        fixed = [*CKPT, "--export_output_dir", f"out/{form}/export", "--model_name", "trn"]
        expected.append(["export.py", *given, *DATA, *fixed, *how])
    models = {"checkpoint": "net.ckpt", **{form: f"out/{form}/export/{file}" for form, (file, _) in forms.items()}}
    for form, model in models.items():
        expected.append(["eval.py", *given, *DATA, "--ckpt_file", model, "--eval_output_dir", f"out/{form}/eval"])
    expected.append(["benchmarks/compare_exports.py", "out"])
    expected = [[str(ROOT / program), *rest] for program, *rest in expected]
    status, stdout, stderr = run(user, "compare_exports.sh", "my data", "net.ckpt", "out", *given)
    assert (status, stderr) == (0, ""), stdout
    assert [call["arguments"] for call in calls(user)] == expected


# --------------------------------------------------------------------------------------------------------- all scripts


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(user, script):
    status, stdout, stderr = run(user, script, "a", "b", "--help")
    assert (status, stderr) == (0, "")
    assert stdout.startswith(f"usage: bash scripts/{script} ")
    assert run(user, script, "-h") == (0, stdout, "")
    assert calls(user) == []


@pytest.mark.parametrize(("script", "program"), [(name, program) for name in SCRIPTS for program in WORKING[name][1]])
def test_exit_status_of_the_program_is_that_of_the_script(user, repository, script, program):
    shutil.copy(user / "stub", repository / "bin" / "mpirun")
    environment = {"PATH": f"{repository / 'bin'}:{os.environ['PATH']}", "FAILS_IN": program, "FAILS_WITH": "77"}
    status, _, _ = run(user, script, *WORKING[script][0], root=repository, **environment)
    assert status == 77
    assert Path(calls(user)[-1]["arguments"][0]).name == program  # and nothing after it


@pytest.mark.parametrize("script", ONE_PROGRAM)
def test_python_finds_the_repository_whatever_the_environment_says(user, script):
    """PYTHONSAFEPATH of the user's, CDPATH, and a folder `src` where the user stands."""
    (user / "src").mkdir()
    (user / "src/__init__.py").write_text("raise SystemExit('the wrong src')")
    (user / "model_utils.py").write_text("raise SystemExit('the wrong model_utils')")
    environment = {"PYTHON": sys.executable, "PYTHONSAFEPATH": "1", "CDPATH": str(ROOT.parent), "PYTHONPATH": None}
    status, stdout, stderr = run(user, script, *WORKING[script][0], "--no_such_option", "1", **environment)
    assert status == 1
    assert stderr.startswith("error: command line: un"), stdout + stderr
    assert "no_such_option" in stderr


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name != "quickstart.sh"])
def test_arguments_that_are_missing_or_lead_nowhere(user, script):
    """Scripts see that before they start Python."""
    arguments = WORKING[script][0]
    required = arguments[: next((i for i, word in enumerate(arguments) if word.startswith("--")), None)]
    status, _, stderr = run(user, script, *required[:-1])
    said = f"error: {len(required)} argument(s) expected, {len(required) - 1} given\nusage: bash scripts/{script} "
    assert (status, stderr[: len(said)]) == (1, said)
    for place, word in enumerate(required):
        if word in ("my data", "net.ckpt", "in.pth", "own.yaml", ""):
            status, _, stderr = run(user, script, *required[:place], "nowhere", *required[place + 1 :])
            assert (status, stderr.count("\n"), stderr[:14]) == (1, 1, "error: nowhere"), word
    assert calls(user) == []


@pytest.mark.parametrize("script", ["run_eval_gpu.sh", "run_export_gpu.sh"])
def test_checkpoints_are_found_in_both_layouts(user, script):
    """Runs save in train-logs, those of the model zoo in train-logs/checkpoints; what is there as given is taken."""
    (user / "train-logs" / "checkpoints").mkdir(parents=True)
    (user / "train-logs" / "ours.ckpt").write_text("")
    (user / "train-logs" / "checkpoints" / "zoos.ckpt").write_text("")
    for given, taken in [
        ("train-logs/ours.ckpt", "train-logs/ours.ckpt"),
        ("train-logs/checkpoints/ours.ckpt", "train-logs/ours.ckpt"),
        ("train-logs/zoos.ckpt", "train-logs/checkpoints/zoos.ckpt"),
    ]:
        status, stdout, _ = run(user, script, "my data", given)
        assert status == 0
        arguments = calls(user)[-1]["arguments"]
        assert arguments[arguments.index("--ckpt_file") + 1] == taken
        assert (f"{given}: no such file; {taken} is used" in stdout) == (given != taken)
    status, _, stderr = run(user, script, "my data", "train-logs/none.ckpt")
    assert (status, stderr) == (1, "error: train-logs/none.ckpt: no such file\n")


def test_what_python_gets_from_the_environment(user):
    status, *_ = run(user, "run_eval_gpu.sh", "my data", "net.ckpt", PYTHONPATH="/mine")
    assert status == 0
    (call,) = calls(user)
    assert call["PYTHONPATH"] == f"{ROOT}:/mine"
    assert call["PYTHONSAFEPATH"] == "1"


def test_relative_script_with_cdpath(user):
    """`cd` prints where it went if CDPATH took it there."""
    (user / "scripts").symlink_to(ROOT / "scripts")
    command = ["bash", "scripts/run_eval_gpu.sh", "my data", "net.ckpt"]
    environment = {**os.environ, "CDPATH": str(user), "PYTHON": "./stub"}
    done = subprocess.run(command, cwd=user, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n" not in calls(user)[0]["arguments"][0]


@pytest.mark.parametrize("script", ["run_eval_gpu.sh", "preprocess_jester_dataset.sh"])
def test_an_empty_path_is_shown(user, script):
    status, _, stderr = run(user, script, "", *WORKING[script][0][1:])
    assert (status, stderr) == (1, "error: '': no such folder\n")


def test_paths_that_are_not_utf_8(user):
    """They are read, written and printed, on a terminal as into a file, and in messages."""
    data = os.fsdecode(b"caf\xe9")
    programs = [
        ("make_synthetic_jester.sh", "archives \udcff", *words("--gestures 2 --train 2 --val 2 --test 0 --parts 1")),
        ("unpack_jester_dataset.sh", "archives \udcff", data),
        ("preprocess_jester_dataset.sh", data),
    ]
    environment = {"PYTHON": sys.executable, "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}
    for command in programs:
        status, stdout, stderr = run(user, *command, **environment)
        assert (status, stderr) == (0, ""), command
    assert "caf\\udce9" in stdout
    assert len(os.listdir(user / data / "20bn-jester-v1")) == 4
    no_frames = f"preprocess_jester_dataset.sh {data} --images_dir_name none"
    for command in ("unpack_jester_dataset.sh nowhere\udcff data", no_frames):
        status, _, stderr = run(user, *command.split(), **environment)
        assert (status, stderr.count("\n"), stderr[:7]) == (1, 1, "error: ")


# ---------------------------------------------------------------------------------------------------------- quickstart

OWN = ("archives", "dataset", "backbone-logs", "train-logs", "eval-logs", "export-logs")


@pytest.fixture
def repository(user, tmp_path):
    """A copy of the scripts with an environment that is complete, whose Python is the stub."""
    folder = tmp_path / "the repository"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "requirements.txt").write_text("nothing\n")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "requirements").write_text("nothing\n")
    shutil.copy(user / "stub", folder / ".venv" / "bin" / "python")
    (folder / "bin").mkdir()
    return folder


def quickstart(user, repository, *arguments, **environment):
    return run(user, "quickstart.sh", *arguments, root=repository, PYTHON=None, **environment)


def test_exact_commands_of_the_quickstart(user, repository):
    for _ in range(2):  # the second time in the folders of the first
        status, stdout, stderr = quickstart(user, repository, "my work", DEVICE_TARGET="GPU")
        assert (status, stderr) == (0, ""), stdout
        assert "Top1: 95.00%\n" in stdout
        assert "It shows: Right\n" in stdout
        found = calls(user)
        config = ["--config_path", f"{repository}/configs/quickstart_config.yaml"]
        data = ["--dataset_root", "my work/dataset"]
        checkpoint = ["--ckpt_file", "my work/train-logs/checkpoint_trn-28_60.ckpt"]
        train = ["train.py", "--device_id", "0", *data, *SCRATCH, *config, "--train_output_dir"]
        relations = ["--pre_trained", "my work/backbone-logs/checkpoint_trn-28_60.ckpt", "--freeze_backbone", "true"]
        relations += words("--epochs_num 40 --update_lr_epochs 32")
        relations += words("--sliding_windows 0.6 --sliding_windows_start 0 --sliding_windows_full 0")
        counts = ["--gestures", "8", "--train", "480", "--val", "120"]
        out = {name: [f"--{name}_output_dir", f"my work/{name}-logs"] for name in ("eval", "export")}
        clip = ["--source", "my work/dataset/20bn-jester-v1/7", "--json", "my work/eval-logs/clip.json"]
        expected = [
            ["src/synthetic/jester.py", "my work/archives", *counts],
            ["src/data/unpack_jester_dataset.py", "my work/archives", "my work/dataset"],
            ["src/preprocess_jester_dataset.py", "my work/dataset"],
            [*train, "my work/backbone-logs"],
            [*train, "my work/train-logs", *relations],
            ["eval.py", *data, *checkpoint, *config, *out["eval"]],
            ["export.py", *data, *checkpoint, *config, *out["export"]],
            ["infer.py", *checkpoint, *clip],
        ]
        assert [call["arguments"] for call in found] == [[f"{repository}/{name}", *rest] for name, *rest in expected]
        assert {call["DEVICE_TARGET"] for call in found} == {"CPU"}
        (user / "my work/dataset/old").mkdir()
        (user / "my work/dataset/old/file").write_text("of the run before")
    quickstart(user, repository, "my work")
    assert not (user / "my work/dataset/old").exists()
    assert sorted(path.name for path in (user / "my work").iterdir()) == sorted(OWN)


@pytest.mark.parametrize("name", OWN)
def test_quickstart_empties_no_folder_of_the_user_s(user, repository, name):
    theirs = user / "work" / name / "deep" / "file"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    advice = "would be emptied, but quickstart.sh did not make it; move it away, or give another folder"
    assert quickstart(user, repository, "work") == (1, "", f"error: work/{name}: {advice}\n")
    assert theirs.read_text() == "mine"
    assert calls(user) == []


def test_quickstart_works_beside_other_files(user, repository):
    (user / "work/mine").mkdir(parents=True)
    (user / "work/clip.json").write_text("mine")
    (user / "work/dataset").mkdir()  # empty: nothing to lose
    assert quickstart(user, repository, "work")[0] == 0
    assert (user / "work/clip.json").read_text() == "mine"


def test_folder_behind_a_link_is_not_emptied_either(user, repository):
    (user / "precious").mkdir()
    (user / "precious/file").write_text("mine")
    (user / "work").mkdir()
    (user / "work/dataset").symlink_to(user / "precious")
    assert quickstart(user, repository, "work")[0] == 1
    assert (user / "precious/file").read_text() == "mine"


def test_file_in_place_of_a_folder(user, repository):
    (user / "work").mkdir()
    (user / "work/dataset").write_text("mine")
    assert quickstart(user, repository, "work")[2] == "error: work/dataset: is not a folder\n"


@pytest.mark.parametrize("name", ["TRNmultiscale", "TRN", "avg"])
def test_order_ablation_empties_no_folder_of_the_user_s(user, name):
    (user / "out" / name).mkdir(parents=True)
    (user / "out" / name / "file").write_text("mine")
    status, _, stderr = run(user, "run_order_ablation.sh", "my data", "out")
    assert status == 1
    assert stderr.startswith(f"error: out/{name}: would be emptied, but run_order_ablation.sh did not make it;")
    assert (user / "out" / name / "file").read_text() == "mine"
    assert calls(user) == []


def test_folder_that_cannot_be_made(user, repository):
    status, _, stderr = quickstart(user, repository, "net.ckpt/work")
    assert status == 1
    assert stderr.startswith("error: mkdir: ")
    assert stderr.count("\n") == 1


def test_two_quickstarts_in_one_folder(user, repository):
    (repository / ".venv/bin/python").write_text("#!/bin/bash\n[ $1 = -c ] || { echo at work; sleep 60; }\n")
    first = start(user, "quickstart.sh", "work", root=repository, PYTHON=None)
    try:
        for line in first.stdout:
            if line == "at work\n":
                break
        assert quickstart(user, repository, "work")[2] == "error: work: another quickstart.sh works in this folder\n"
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()


# -------------------------------------------------------------------------------------------------- environment script

# A Python that makes an environment in half a second, and notes that it did.
FAKE_PYTHON = """#!/bin/bash
[ "$1" = -c ] && exit 0
echo made >> {made}
mkdir -p "$3/bin"
printf '#!/bin/bash\\n[ "$1" = -c ] || { sleep 0.5; touch "%s/installed"; }\\n' "$3" > "$3/bin/python"
chmod +x "$3/bin/python"
"""


@pytest.fixture
def bare(tmp_path):
    """A folder with requirements, and a script that makes the environment from them."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "python3.11"
    fake.write_text(FAKE_PYTHON.replace("{made}", str(tmp_path / "made")))
    fake.chmod(0o755)
    (tmp_path / "requirements.txt").write_text("numpy\n")
    make = f"set -euo pipefail; source {ROOT}/scripts/environment.sh; make_environment .venv requirements.txt 3.11"
    (tmp_path / "make.sh").write_text(f"{make}; [ -e .venv/installed ]; echo complete\n")
    return tmp_path


def make_environment(folder, **environment):
    given = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(["bash", "make.sh"], cwd=folder, env=given, start_new_session=True, **pipes)


def test_first_runs_at_once_make_one_environment(bare):
    """Without HOME, too."""
    processes = [make_environment(bare) for _ in range(3)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert (bare / "made").read_text() == "made\n"
    assert all(stdout.endswith("complete\n") and stderr == "" for stdout, stderr in said)
    assert sum("is being made by another process; waiting" in stdout for stdout, _ in said) <= 2


@pytest.mark.slow
def test_environment_after_a_kill_or_other_requirements_or_a_python_that_is_gone(bare):
    def make():
        process = make_environment(bare)
        stdout, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return "there already" in stdout

    process = make_environment(bare)
    while not (bare / ".venv/bin/python").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not make()
    assert make()
    for changed in ("requirements.txt", "requirements-included.txt"):
        (bare / changed).write_text("numpy\nscipy\n")
        assert not make()
        assert make()
    (bare / ".venv/bin/python").unlink()
    assert not make()


def test_environment_that_cannot_be_made_passes_the_status_on(bare):
    fake = bare / "bin" / "python3.11"
    fake.write_text(fake.read_text().replace("echo made", "exit 9; echo made"))
    process = make_environment(bare)
    process.communicate(timeout=60)
    assert process.returncode == 9
