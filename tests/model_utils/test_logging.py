"""The log: the form of its lines, and where they go."""

import io
import os
import re
import sys

import pytest
from tqdm import tqdm

from model_utils.config import load_config
from model_utils.errors import InputError
from model_utils.logging import get_logger, log_plain, log_settings

STAMP = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]"


@pytest.fixture(autouse=True)
def _close_log():
    yield
    get_logger(rank=1)


def test_lines_on_the_terminal_and_in_the_file(tmp_path, capsys):
    logger = get_logger(tmp_path / "new" / "logs", file_name="eval.log")
    logger.info("Steps: %d; top1: %f; top5: %f", 100, 0.939394, 1.0)
    logger.warning("fewer workers")
    log_plain(logger, "epoch: 1 step: 1800, loss is 1.47 (100%)")
    terminal = capsys.readouterr()
    stamped, warned, plain = terminal.out.splitlines()
    assert re.fullmatch(STAMP + r":INFO:Steps: 100; top1: 0\.939394; top5: 1\.000000", stamped)
    assert re.fullmatch(STAMP + ":WARNING:fewer workers", warned)
    assert plain == "epoch: 1 step: 1800, loss is 1.47 (100%)"
    assert terminal.err == ""
    assert (tmp_path / "new" / "logs" / "eval.log").read_text(encoding="utf-8") == terminal.out


def test_lines_do_not_reach_the_loggers_of_libraries(caplog):
    get_logger().info("ours alone")
    assert caplog.records == []


def test_setting_up_twice_writes_each_line_once_and_appends(tmp_path, capsys):
    get_logger(tmp_path).info("first")
    get_logger(tmp_path).info("second")
    assert [line.rsplit(":", 1)[1] for line in capsys.readouterr().out.splitlines()] == ["first", "second"]
    assert [line.rsplit(":", 1)[1] for line in (tmp_path / "train.log").read_text().splitlines()] == ["first", "second"]


def test_other_ranks_write_only_to_files_of_their_own(tmp_path, capsys):
    get_logger(tmp_path, rank=1, file_name="train.log").info("from rank 1")
    assert capsys.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["train_rank1.log"]
    assert (tmp_path / "train_rank1.log").read_text().endswith(":INFO:from rank 1\n")


def test_without_a_folder_there_is_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    get_logger().info("hello")
    get_logger(rank=1).info("nobody hears this")
    assert re.fullmatch(STAMP + ":INFO:hello\n", capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == []


def test_unusable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "logs" / "train.log"
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: cannot write the log file: Not a directory$"):
        get_logger(tmp_path / "file" / "logs")


def test_lines_stand_above_a_progress_bar(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    logger = get_logger()
    with tqdm(total=2, file=terminal, desc="clips") as bar:
        bar.update()
        logger.info("message")
    # The bar is wiped first ("\r", blanks, "\r"), so that the line begins at the left edge.
    assert re.search(r"\r +\r" + STAMP + ":INFO:message\n", terminal.getvalue())


def test_names_that_are_not_utf8_are_logged(tmp_path):
    get_logger(tmp_path).info("left out %s", os.fsdecode(b"caf\xe9"))
    get_logger(rank=1)  # closes the file
    assert (tmp_path / "train.log").read_text(encoding="utf-8").endswith("left out caf\\udce9\n")


def test_settings_and_what_there_is_to_say_about_them(tmp_path, capsys):
    config = load_config(["--dropout", "0.2"])
    log_settings(get_logger(tmp_path), config, tmp_path, "train")
    warned, saved = capsys.readouterr().out.splitlines()
    assert warned.split("]:")[1].startswith("WARNING:dropout 0.2: is the probability of dropping")
    assert saved.endswith(f":INFO:settings: {tmp_path / 'config.yaml'}")
    assert load_config(["--config_path", str(tmp_path / "config.yaml")]).dropout == 0.2


def test_the_names_of_the_model_zoo(tmp_path, capsys):
    logger = get_logger(tmp_path, 0)
    config = load_config(["--seed", "5"])
    logger.save_args(config)
    logger.important_info("start evaluation")
    *arguments, last = capsys.readouterr().out.splitlines()
    assert [line.split(":INFO:")[1] for line in arguments] == [
        f"--> {key}: {getattr(config, key)}" for key in config.keys
    ]
    assert re.fullmatch(STAMP + ":WARNING:start evaluation", last)
