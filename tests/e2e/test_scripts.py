"""The shell scripts as a user runs them: once the whole way from archives to a recognised clip."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from src.ops.compat import EXPORTS_ANY_BATCH
from tests.helpers import ROOT


def run(*command, cwd=ROOT, status=0, silent=False, **environment):
    """Runs a command, which ends with this status; returns what it wrote to stdout, or else to stderr.

    ``silent``: it writes nothing to stderr.
    """
    environment = {**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU", "GLOG_v": "3", **environment}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert not (silent and done.stderr)
    return done.stderr if status else done.stdout


def script(name, *arguments, **options):
    return run("bash", ROOT / "scripts" / name, *arguments, **options)


def test_from_archives_to_a_recognised_clip(tmp_path):
    """With spaces in the paths, relative paths and a network as small as it gets, compiled."""
    work = tmp_path / "a folder"
    work.mkdir()
    small = (
        "--width_mult 0.0625 --image_size 32 --num_segments 3 --img_feature_dim 8 --freeze_bn false --dropout 0".split()
    )

    script("make_synthetic_jester.sh", "jester", *"--gestures 3 --train 12 --val 6".split(), cwd=work)
    script("unpack_jester_dataset.sh", "jester", "unpacked", cwd=work)
    script("preprocess_jester_dataset.sh", "unpacked", cwd=work)

    # The user's own config file says where results go and what the device is: the script's defaults are weaker.
    (work / "own.yaml").write_text("train_output_dir: train logs\ndevice_target: CPU\ntrain_batch_size: 3\n")
    options = ["--config_path", "own.yaml", *small, "--train_batch_size", "4", "--epochs_num", "2"]
    options += ["--log_interval", "2", "--train_workers", "2"]
    stdout = script(
        "run_standalone_train_gpu.sh", 0, "unpacked", "", *options, cwd=work, DEVICE_TARGET="", PYTHONSAFEPATH="1"
    )
    assert not (work / "train-logs").exists()
    for line in ("epoch: 1 step: 2, loss is ", "epoch: 2 step: 3, loss is ", "ms, per step time: "):
        assert line in stdout
        assert line in (work / "train logs/train.log").read_text()
    checkpoint = Path("train logs/checkpoint_trn-2_3.ckpt")
    assert (work / checkpoint).is_file()
    assert (work / "train logs/config.yaml").is_file()
    assert (work / "train logs/checkpoint_best.ckpt").is_file()
    assert (work / "train logs/curves.png").is_file()
    header, *epochs = (work / "train logs/metrics.csv").read_text().splitlines()
    assert header == "epoch,lr,loss,top1,top5,seconds"
    assert [epoch.split(",")[0] for epoch in epochs] == ["1", "2"]
    assert f"validation after epoch 2: top1: {float(epochs[1].split(',')[3]):f}; top5: 1.000000; 6 clips" in stdout

    # Width, side and segments come from the checkpoint.
    options = ["--log_interval", "5", "--eval_batch_size", "4", "--eval_workers", "2"]
    stdout = script("run_eval_gpu.sh", "unpacked", checkpoint, *options, cwd=work)
    answers = {row["clip"]: row for row in csv.DictReader((work / "eval-logs/predictions.csv").open())}
    with zipfile.ZipFile(work / "jester/20bn-jester-download-package-labels.zip") as archive:
        truth = dict(row.split(";") for row in archive.read("labels/validation.csv").decode().splitlines())
    assert {clip: row["true"] for clip, row in answers.items()} == truth
    top1 = sum(row["predicted"] == truth[clip] for clip, row in answers.items()) / 6
    assert f"INFO:Steps: 6; top1: {top1:f}; top5: 1.000000\n" in stdout
    assert f"INFO:Top1: {100 * top1:.2f}%\n" in stdout
    assert "INFO:Top5: 100.00%" in stdout
    shown = [line for line in stdout.splitlines(keepends=True) if not line.startswith("Evaluate: ")]
    assert (work / "eval-logs/eval.log").read_text() == "".join(shown)
    metrics = json.loads((work / "eval-logs/metrics.json").read_text())
    assert metrics["top1"] == pytest.approx(top1)
    assert metrics["protocol"]["test_crops"] == 10
    assert len((work / "eval-logs/per_class.csv").read_text().splitlines()) == 1 + 3
    assert (work / "eval-logs/confusion_matrix.png").is_file()
    assert "</html>" in (work / "eval-logs/report.html").read_text()

    batch = 0 if EXPORTS_ANY_BATCH else 2
    options = ["--export_output_dir", "export logs", "--export_batch_size", str(batch)]
    stdout = script("run_export_gpu.sh", "unpacked", checkpoint, *options, cwd=work)
    assert float(re.search("by at most (.+?);", stdout)[1]) < 1e-4
    assert (work / "export logs/trn.mindir").is_file()
    usage = json.loads((work / "export logs/trn.mindir.json").read_text())
    assert usage["categories"] == (work / "unpacked/categories.txt").read_text().split("\n")[:-1]
    assert usage["input"]["shape"] == [batch or "batch", 9, 32, 32]

    clip = (work / "unpacked/val_videofolder.txt").read_text().split()[0]
    options = ["--ckpt_file", work / checkpoint, "--source", work / "unpacked/20bn-jester-v1" / clip]
    result = work / "clip.json"
    stdout = run(sys.executable, "infer.py", "--device_target", "CPU", *options, "--json", result)
    found = json.loads(result.read_text())
    probabilities = np.exp(found["logits"]) / np.exp(found["logits"]).sum()
    assert [row["probability"] for row in found["top"]] == pytest.approx(sorted(probabilities, reverse=True), rel=1e-5)
    assert found["top"][0]["label"] == usage["categories"][int(np.argmax(found["logits"]))]
    assert found["top"][0]["label"] in stdout
    assert answers[clip]["predicted"] == found["top"][0]["label"]
    assert float(answers[clip]["probability"]) == pytest.approx(found["top"][0]["probability"], abs=1e-4)
    assert len(found["frame_indices"]) == 3
