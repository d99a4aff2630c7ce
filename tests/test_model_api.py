"""The program in docs/training.md: MindSpore's own ``Model`` trains and evaluates on the datasets."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.helpers.documents import ROOT, blocks

SMALL = {"width_mult": 0.0625, "num_segments": 3, "image_size": 32, "img_feature_dim": 8, "epochs_num": 2}


@pytest.mark.slow
def test_the_program_trains_and_evaluates(tmp_path):
    rng = np.random.default_rng(0)
    for clip in range(10):
        folder = tmp_path / "data/20bn-jester-v1" / str(clip)
        folder.mkdir(parents=True)
        for number in range(1, 6):
            pixels = np.full((40, 48, 3), 60 + 120 * (clip % 2), np.uint8) + rng.integers(20, size=(40, 48, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:05d}.jpg")
    (tmp_path / "data/categories.txt").write_text("dark\nbright\n")
    for name, clips in (("train", range(8)), ("val", (8, 9))):
        (tmp_path / f"data/{name}_videofolder.txt").write_text("".join(f"{clip} 5 {clip % 2}\n" for clip in clips))
    (tmp_path / "small.yaml").write_text("".join(f"{key}: {value}\n" for key, value in SMALL.items()))
    (program,) = [text for text in blocks(ROOT / "docs/training.md", "python") if "Model(" in text]
    assert len(program.splitlines()) <= 25
    given = {"configs/synthetic_config.yaml": "small.yaml", "DATASET_ROOT": "data"}
    for written, used in given.items():
        assert f'"{written}"' in program
        program = program.replace(f'"{written}"', f'"{used}"')
    # The config's own default, a batch of 24, is more than there are clips.
    (tmp_path / "program.py").write_text(program.replace("batch_size=config.train_batch_size", "batch_size=4"))
    (tmp_path / "run.py").write_text(
        "import mindspore, runpy\nfrom tests.helpers.networks import one_block\n"
        "mindspore.set_context(device_target='CPU')\nwith one_block():\n    runpy.run_path('program.py')\n"
    )
    command, environment = [sys.executable, "run.py"], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [float(loss) for loss in re.findall(r"epoch: \d step: \d, loss is (\S+)", done.stdout)]
    assert len(losses) == 2 * 2  # 8 clips in batches of 4
    assert len(set(losses)) == 4
    assert np.isfinite(losses).all()
    assert len(re.findall("epoch time: ", done.stdout)) == 2
    assert len(list((tmp_path / "checkpoints").glob("trn-*.ckpt"))) == 2
    accuracy = re.search(r"\{'accuracy': (\S+)\}", done.stdout)
    assert accuracy
    assert float(accuracy[1]) in (0.0, 0.5, 1.0)
