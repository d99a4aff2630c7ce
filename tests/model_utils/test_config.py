"""The configuration: what the YAML files and the command line may say, and what is said about the rest."""

import ast
import importlib
import os
import subprocess
import sys

import pytest
import yaml

from model_utils import config as config_module
from model_utils.config import DEFAULT_CONFIG, load_config
from model_utils.errors import InputError
from tests.helpers import ROOT
from tests.helpers.refusals import refusal

VALUES, HELPS, ALLOWED = yaml.safe_load_all(DEFAULT_CONFIG.read_text(encoding="utf-8"))


@pytest.fixture
def config_file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def refused(*argv, **options):
    return refusal(load_config, list(argv), **options)


@pytest.mark.parametrize("path", sorted(DEFAULT_CONFIG.parent.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_file_is_valid(path):
    config = load_config(["--config_path", str(path)])
    written = next(iter(yaml.safe_load_all(path.read_text(encoding="utf-8"))))
    assert {key: getattr(config, key) for key in written} == written


def test_defaults_are_those_of_the_default_file():
    config = load_config([])
    values = {key: getattr(config, key) for key in config.keys}
    assert values == VALUES
    # Equal is not enough: 1 == 1.0 == True.
    assert {key: type(value) for key, value in values.items()} == {key: type(value) for key, value in VALUES.items()}
    assert config.given == frozenset()
    assert config.config_path == str(DEFAULT_CONFIG)


# The recipe of the paper's section 4 and the authors' code for Jester.
RECIPE = {
    "consensus_type": "TRNmultiscale",
    "num_segments": 8,
    "subsample_num": 3,
    "img_feature_dim": 256,
    "backbone": "bn_inception",
    "width_mult": 1.0,
    "dropout": 0.8,
    "freeze_bn": True,
    "image_size": 224,
    "lr": 0.001,
    "update_lr_epochs": 50,
    "epochs_num": 120,
    "train_batch_size": 24,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "clip_grad_norm": 20.0,
    "test_crops": 10,
}


def test_the_published_recipe():
    config = load_config([])
    assert {key: getattr(config, key) for key in RECIPE} == RECIPE


def test_command_line_over_file_over_defaults(config_file):
    path = config_file("lr: 0.5\nnum_segments: 4\n")
    config = load_config(["--config_path", path, "--lr", "3", "--lr", "0.25", "--seed=7"])
    assert (config.lr, config.num_segments, config.seed) == (0.25, 4, 7)
    assert config.epochs_num == VALUES["epochs_num"]
    assert config.given == {"lr", "num_segments", "seed"}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("lr", "1e-3", 0.001),
        ("lr", "2", 2.0),
        ("num_segments", "16", 16),
        ("test_crops", "5", 5),
        ("freeze_bn", "No", False),
        ("freeze_bn", "0", False),
        ("is_train_distributed", "TRUE", True),
        ("is_train_distributed", "1", True),
        ("flip", "none", "none"),
        ("dataset_root", "2024", "2024"),
        ("images_dir_name", "no", "no"),
        ("dataset_root", "/with space/ünd: #", "/with space/ünd: #"),
    ],
)
def test_values_and_their_types(key, text, value, config_file):
    on_command_line = getattr(load_config([f"--{key}", text]), key)
    quoted = "'" + text + "'" if "#" in text else text
    in_file = getattr(load_config(["--config_path", config_file(f"{key}: {quoted}\n")]), key)
    for found in (on_command_line, in_file):
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("num_segments", "1.5", "int in [2, inf)"),
        ("num_segments", "1", "int in [2, inf)"),
        ("lr", "fast", "float in (0, inf)"),
        ("lr", "0", "float in (0, inf)"),
        ("lr", "inf", "float in (0, inf)"),
        ("weight_decay", "-0.1", "float in [0, inf)"),
        ("dropout", "1", "float in [0, 1)"),
        ("momentum", "1", "float in [0, 1)"),
        ("event_on", "0", "float in (0, 1)"),
        ("event_off", "1", "float in (0, 1)"),
        ("event_share", "1", "float in [0, 1)"),
        ("event_least", "0", "float in (0, inf)"),
        ("calibration_clips", "0", "int in [1, inf)"),
        ("image_size", "513", "int in [32, 512]"),
        ("freeze_bn", "2", "true or false"),
        ("test_crops", "3", "one of 1, 5, 10"),
        ("flip", "no", "one of label_aware, plain, none"),
    ],
)
def test_refused_values(key, text, expected, config_file):
    assert refused(f"--{key}", text) == f"--{key}: '{text}' is not allowed, expected {expected}"
    path = config_file(f"seed: 1\n\n{key}: {text}\n")
    assert refused("--config_path", path) == f"{path}:3: {key}: '{text}' is not allowed, expected {expected}"


@pytest.mark.parametrize(
    ("key", "edge"), [("image_size", 32), ("image_size", 512), ("dropout", 0.0), ("seed", 2**32 - 1)]
)
def test_closed_bounds_are_allowed(key, edge):
    assert getattr(load_config([f"--{key}", str(edge)]), key) == edge


def test_unknown_key_in_a_file(config_file):
    path = config_file("lr: 0.1\ntrain_batchsize: 4\n")
    assert refused("--config_path", path) == (
        f"{path}:2: unknown key 'train_batchsize', did you mean train_batch_size?"
    )


def test_unknown_key_on_the_command_line():
    assert refused("--train-batch-size=4") == (
        "command line: unknown key 'train-batch-size', did you mean train_batch_size?"
    )
    assert refused("--qqq", "4") == "command line: unknown key 'qqq', see --help"


def test_stray_argument_abbreviation_and_missing_value():
    assert "'stray'" in refused("stray")
    assert "unknown key 'momen'" in refused("--momen", "0.5")
    assert refused("--lr") == "command line: argument --lr: expected one argument"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("lr: 0.1\nseed: [1\n", 3, "not valid YAML"),
        ("lr: 0.1\nseed: *other\n", 2, "not valid YAML"),
        (b"lr: 0.1\ndataset_root: \xff\n", 2, "not UTF-8 text"),
        ("lr: 0.1\ndataset_root: a\x00b\n", 2, "a character that YAML forbids"),
        ("just text\n", 1, "expected lines of the form 'key: value'"),
        ("lr: 0.1\nseed: 1\nlr: 0.2\n", 3, "lr is already set in line 1"),
        ("lr: 0.1\nseed:\n", 2, "seed: not a single value, expected int in [0, 4294967295]"),
        ("seed: 1\nlr: [0.1]\n", 2, "lr: not a single value, expected float in (0, inf)"),
        ("seed: 1\n---\nOurs:\n  sede: help\n", 4, "unknown key 'sede', did you mean seed?"),
        ("seed: 1\n---\n---\nsede: int [0, 1]\n", 4, "unknown key 'sede', did you mean seed?"),
    ],
)
def test_unusable_files_name_file_and_line(text, line, reason, config_file):
    path = config_file(text)
    message = refused("--config_path", path)
    assert message.startswith(f"{path}:{line}: ")
    assert reason in message


def test_more_than_three_documents(config_file):
    path = config_file("seed: 1\n" + "---\n" * 3)
    assert refused("--config_path", path) == f"{path}: expected at most 3 documents, found 4"


def test_empty_file_overrides_nothing(config_file):
    assert load_config(["--config_path", config_file("# nothing\n")]).given == frozenset()


def test_a_copy_of_the_default_file_may_be_used(config_file):
    copy = DEFAULT_CONFIG.read_text(encoding="utf-8").replace("\nlr: 0.001\n", "\nlr: 1e-2\n", 1)
    config = load_config(["--config_path", config_file(copy)])
    assert config.lr == 0.01
    assert config.given == set(VALUES)


def test_save_and_load_again(tmp_path):
    argv = ["--lr", "1e-5", "--freeze_bn", "no", "--pre_trained_backbone", "a b/ü: #.ckpt", "--images_dir_name", "null"]
    config = load_config(argv)
    config.num_segments = 12  # what is saved is what was used
    path = config.save_in(tmp_path / "results", "train")
    again = load_config(["--config_path", str(path)])
    assert {key: getattr(again, key) for key in again.keys} == {key: getattr(config, key) for key in config.keys}
    assert (again.lr, again.num_segments, again.images_dir_name) == (1e-5, 12, "null")
    assert os.listdir(path.parent) == ["config.yaml"]


OWN = "# mine\nlr: 0.1\n"


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_a_config_of_the_users_own_in_the_output_folder(tmp_path, link):
    """It stays, whether it is given or not; what the program wrote there is replaced."""
    (tmp_path / "c.yaml").write_text(OWN)
    own = tmp_path / "config.yaml"
    link(tmp_path / "c.yaml", own) if link else own.write_text(OWN)
    for options in (["--config_path", str(own)], ["--config_path", str(tmp_path / "c.yaml")], []):
        saved = load_config([*options, "--seed", "5"]).save_in(tmp_path, "train")
        assert saved == tmp_path / "train_config.yaml"
        assert load_config(["--config_path", str(saved)]).seed == 5
        assert own.read_text() == OWN
    (tmp_path / "train_config.yaml").write_text(OWN)
    with pytest.raises(InputError, match="train_config.yaml: would be written over, but train.py did not write it"):
        load_config([]).save_in(tmp_path, "train")
    assert (tmp_path / "train_config.yaml").read_text() == OWN


def test_the_resolved_configs_of_programs_that_share_a_folder(tmp_path):
    for program, name in [("train", "config.yaml"), ("eval", "eval_config.yaml"), ("export", "export_config.yaml")]:
        for seed in (1, 2):
            saved = load_config(["--seed", str(seed)]).save_in(tmp_path, program)
            assert (saved.name, load_config(["--config_path", str(saved)]).seed) == (name, seed)
    assert len(os.listdir(tmp_path)) == 3


def test_the_resolved_config_of_a_run_may_be_given_to_its_next_part(tmp_path):
    first = load_config(["--seed", "1"]).save_in(tmp_path, "train")
    again = load_config(["--config_path", str(first), "--seed", "2"]).save_in(tmp_path, "train")
    assert [load_config(["--config_path", str(path)]).seed for path in (first, again)] == [1, 2]


ZOO_FILE = ROOT / "tests" / "helpers" / "zoo_config.yaml"


def test_a_file_of_the_model_zoo_is_read_as_it_is():
    """Its values are taken; its dropout is the rate that is kept, and the log says so."""
    written, helps, _ = yaml.safe_load_all(ZOO_FILE.read_text(encoding="utf-8"))
    assert {type(text) for text in helps.values()} == {str}
    config = load_config(["--config_path", str(ZOO_FILE)])
    expected = {**written, "dropout": 0.8, "weight_decay": 0.0005}
    assert {key: getattr(config, key) for key in written} == expected
    assert config.given == set(written)
    assert config.notes == (
        f"{ZOO_FILE}: read as a file of the model zoo, because its help texts stand in no groups",
        "dropout 0.2 in it is the rate that is kept: 0.8 is dropped",
    )
    assert load_config(["--config_path", str(ZOO_FILE), "--dropout", "0.5"]).dropout == 0.5


def test_keys_of_the_model_zoo_that_are_not_known_are_named_once(config_file):
    path = config_file("mine: [1]\ndropout: 1.0\nlr: 0.5\nother:\n---\nlr: rate\nfile_name: name\n---\nlr: [0.5]\n")
    config = load_config(["--config_path", path])
    assert (config.lr, config.dropout, config.given) == (0.5, 0.0, {"lr", "dropout"})
    assert config.notes[-1] == "keys in it that are not used: mine, other"
    assert " ".join(config.notes).count("mine") == 2  # the other one is in the file's name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dropout: 0\n---\nlr: rate\n", "1: dropout: '0' is not allowed, expected float in (0, 1]"),
        ("lr: fast\n---\nlr: rate\n", "1: lr: 'fast' is not allowed, expected float in (0, inf)"),
        ("lr: 1\n---\nlr: rate\nTraining:\n  lr: rate\n", "3: lr: expected a group of help texts, as others here are"),
    ],
)
def test_files_of_the_model_zoo_that_are_refused(text, reason, config_file):
    path = config_file(text)
    assert refused("--config_path", path) == f"{path}:{reason}"


def test_a_rate_in_our_form_that_looks_like_one_of_the_model_zoo(config_file):
    config = load_config(["--config_path", config_file("dropout: 0.2\n")])
    assert config.dropout == 0.2  # said, not changed
    assert config.notes == (
        "dropout 0.2: is the probability of dropping, in the published recipe 0.8; the model zoo's files hold the rate"
        " that is kept",
    )


@pytest.mark.parametrize("text", ["", "dropout: 0\n", "dropout: 0.8\n", "dropout: 0.2\nfreeze_bn: false\n"])
def test_rates_that_are_not_remarkable(text, config_file):
    assert load_config(["--config_path", config_file(text)]).notes == ()


def test_the_configuration_is_parsed_when_it_is_first_asked_for(tmp_path):
    code = (
        "import model_utils.config, model_utils.moxing_adapter, sys\n"
        "sys.argv = ['mine.py', '--lr', '0.25']\n"  # with what was there before, --qqq, parsing would fail
        "from model_utils.config import config, get_config\n"
        "from model_utils import moxing_adapter\n"
        "assert config is moxing_adapter.config is model_utils.config.config\n"
        "assert (config.lr, get_config().lr) == (0.25, 0.25)\n"
        "assert not hasattr(model_utils.config, 'other') and not hasattr(moxing_adapter, 'other')\n"
    )
    run = subprocess.run([sys.executable, "-c", code, "--qqq"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


def add_source(parser):
    parser.add_argument("--source", required=True)
    parser.add_argument("--json")


def test_options_of_one_program():
    config = load_config(["--source", "clip", "--lr", "1"], add_arguments=add_source)
    assert (config.source, config.json, config.lr) == ("clip", None, 1.0)
    assert config.given == {"lr"}
    assert "source" not in config.keys
    assert refused(add_arguments=add_source) == "command line: the following arguments are required: --source"
    assert "did you mean source?" in refused("--source", "a", "--sorce", "b", add_arguments=add_source)


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Edits the default file, as its readers may."""

    def replace(old, new):
        text = DEFAULT_CONFIG.read_text(encoding="utf-8")
        assert text.count(old) == 1
        edited = tmp_path / "jester_config.yaml"
        edited.write_text(text.replace(old, new), encoding="utf-8")
        monkeypatch.setattr(config_module, "DEFAULT_CONFIG", edited)
        return edited

    return replace


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("\nlr: 0.001\n", "\n", "no value for lr"),
        ("\nlr: 0.001\n", "\nlr: 0\n", "lr: '0' is not allowed, expected float in (0, inf)"),
        ("\nlr: 0.001\n", "\nlr: 0.001\nlrr: 1\n", "unknown key 'lrr', did you mean lr?"),
        ("\nlr: float (0, inf)\n", "\nlr: []\n", "lr: [] is not allowed, expected [choice, ...] or"),
    ],
)
def test_mistakes_made_when_editing_the_default_file(edit, old, new, reason):
    edited = edit(old, new)
    message = refused()
    assert message.startswith(f"{edited}:")
    assert reason in message


def test_a_default_may_be_edited_to_another_way_of_writing_it(edit):
    edit("\nlr: 0.001\n", "\nlr: 1\n")
    assert type(load_config([]).lr) is float


def test_percent_sign_in_a_help_text(edit, capsys):
    edit("initial learning rate", "100 %d of it")
    with pytest.raises(SystemExit, match="^0$"):
        load_config(["--help"])
    assert "100 %d of it" in capsys.readouterr().out


def test_help_shows_every_key_and_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from model_utils.config import load_config\n"
        "try:\n"
        "    load_config(['--help'], description='What it is for, 100 % of it.')\n"
        "finally:\n"
        "    print('heavy:', {'mindspore', 'numpy', 'cv2', 'torch', 'moxing'} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    assert "heavy: set()" in run.stdout
    words = " ".join(run.stdout.split())
    assert "What it is for, 100 % of it." in words
    keys = [key for group in HELPS.values() for key in group]
    assert sorted(keys) == sorted(VALUES)
    for title, group in HELPS.items():
        assert f"{title}:" in words
        for key, text in group.items():
            assert f"--{key} " in words
            assert " ".join(text.split()) in words
    assert "initial learning rate (float in (0, inf); default 0.001)" in words
    assert "format of the exported file (one of MINDIR, ONNX, AIR; default 'MINDIR')" in words


@pytest.mark.parametrize("program", ["infer", "eval_streams", "tune_stream", "make_page", "demo"])
def test_the_help_of_a_program_with_options_of_its_own(program, capsys):
    add_arguments = importlib.import_module(program).add_arguments
    with pytest.raises(SystemExit, match="^0$"):
        load_config(["--help"], add_arguments=add_arguments)
    assert "--window" in capsys.readouterr().out


def keys_read(path):
    """Names of the attributes of `config`, called `settings` where a checkpoint may stand in, that a file reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("config", "settings")
    }


def test_every_key_is_read_somewhere():
    sources = [*ROOT.glob("*.py"), *ROOT.glob("src/**/*.py"), *ROOT.glob("model_utils/**/*.py")]
    read = set().union(*(keys_read(path) for path in sources))
    unread = sorted(set(VALUES) - read)
    assert not unread, f"no source file reads config.<key> for: {', '.join(unread)}"
