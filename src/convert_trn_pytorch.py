"""Converts the authors' PyTorch checkpoints (.pth.tar) to MindSpore checkpoints of the whole network.

    python -m src.convert_trn_pytorch TRN_jester_RGB_BNInception_TRNmultiscale_segment8_best.pth.tar trn.ckpt

Consensus, number of segments, classes and feature size follow from the names and shapes in the file. The checkpoint
has the same description as one that was trained here, so evaluation, export and inference need no more.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # run by its path, where Python looks for modules beside this file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model_utils.errors import InputError
from model_utils.settings import Settings
from model_utils.util import exclusive_files, run_main
from src.convert_bn_inception import (
    backbone_torch_name,
    check_download,
    check_target,
    count,
    make_parser,
    match_parameters,
    read_torch_file,
)

# Fixed in the authors' code, and not stored in their files.
AUTHORS_SETTINGS = {"subsample_num": 3, "image_size": 224, "flip": "plain"}


def torch_name(name: str) -> str:
    """The authors' name of one of the network's parameters: ``base_model.fc.bias`` -> ``new_fc.bias``."""
    if name.startswith("base_model.fc."):
        return name.replace("base_model.fc.", "new_fc.")
    if name.startswith("base_model."):
        return "base_model." + backbone_torch_name(name[len("base_model.") :])
    return name


def deduce_settings(weights: Mapping[str, np.ndarray], path: str | Path, num_segments: int) -> tuple[dict, int]:
    """Settings and number of classes of the network that ``weights`` belong to.

    ``num_segments`` is used for average consensus only: its file does not show the number.

    Raises:
        InputError: naming the tensor that is missing or whose shape fits no number of segments.
    """

    def matrix(name: str) -> tuple[int, int]:
        if name not in weights:
            raise InputError(f"{path}: no {name} in it, expected a TRN checkpoint of the authors' code")
        if weights[name].ndim != 2:
            raise InputError(f"{path}: {name} is {list(weights[name].shape)}, expected two dimensions")
        rows, columns = weights[name].shape
        return rows, columns

    outputs, _ = matrix("new_fc.weight")
    scales = {match[0] for name in weights if (match := re.match(r"consensus\.fc_fusion_scales\.\d+\.", name))}
    if scales:
        num_segments = len(scales) + 1
        num_classes, _ = matrix("consensus.fc_fusion_scales.0.3.weight")
        settings = {"consensus_type": "TRNmultiscale", "img_feature_dim": outputs}
    elif any(name.startswith("consensus.") for name in weights):
        _, inputs = matrix("consensus.classifier.1.weight")
        num_segments, rest = divmod(inputs, outputs)
        if rest:
            raise InputError(
                f"{path}: consensus.classifier.1.weight takes {inputs} values, expected a multiple of the {outputs}"
                " that new_fc.weight gives for a frame"
            )
        num_classes, _ = matrix("consensus.classifier.3.weight")
        settings = {"consensus_type": "TRN", "img_feature_dim": outputs}
    else:
        num_classes = outputs
        settings = {"consensus_type": "avg", "img_feature_dim": 256}  # unused, this is the config's default
    return {**AUTHORS_SETTINGS, **settings, "num_segments": num_segments}, num_classes


def convert_trn_pytorch(
    source: str | Path,
    target: str | Path,
    width_mult: float = 1.0,
    num_segments: int = 8,
    categories: str | Path | None = None,
) -> dict[str, Any]:
    """Writes the network in ``source`` (.pth.tar) to ``target`` (.ckpt); returns its description.

    Raises:
        InputError: if ``source`` is no such network of this width, if ``categories`` has another number of names than
            the network has classes, or if ``target`` cannot be written.
    """
    from src.training.checkpoint import save_checkpoint
    from src.tsn import build_network
    from src.tsn_dataset import read_categories

    check_target(target, source, categories or "")
    check_download(source)
    weights, about = read_torch_file(source)
    if about.get("arch", "BNInception") != "BNInception":
        raise InputError(f"{source}: its arch is {about['arch']!r}, expected 'BNInception'")
    settings, num_classes = deduce_settings(weights, source, num_segments)
    settings.update(backbone="bn_inception", width_mult=width_mult)

    described = Settings()
    vars(described).update(settings, freeze_bn=True)
    network = build_network(described, num_classes)
    arrays = match_parameters(weights, network.get_parameters(), torch_name, source)

    description: dict[str, Any] = {"settings": settings, "num_classes": num_classes, "source": Path(source).name}
    if isinstance(about.get("epoch"), int):
        description["epoch"] = about["epoch"]
    if categories is not None:
        names = description["categories"] = read_categories(categories)
        if len(names) != num_classes:
            raise InputError(f"{categories}: {len(names)} class names, expected the {num_classes} classes of {source}")
    save_checkpoint(target, arrays, description)

    print(f"{target}: {count(arrays)} from {source}")
    print(f"{num_classes} classes; " + ", ".join(f"{key} {value}" for key, value in sorted(settings.items())))
    for key in ("epoch", "best_prec1"):
        if key in about:
            print(f"{key} in {source}: {about[key]}")
    return description


def main(argv: list[str] | None = None) -> None:
    parser = make_parser("Convert the authors' TRN checkpoint from PyTorch to MindSpore.")
    parser.add_number("--num_segments", "int [2, inf)", 8, "of a clip, read for average consensus")
    parser.add_argument("--categories", help="categories.txt, to keep the class names in the checkpoint")
    args = parser.parse_args(argv)
    with exclusive_files([args.target]):
        convert_trn_pytorch(args.source, args.target, args.width_mult, args.num_segments, args.categories)


if __name__ == "__main__":
    run_main(main)
