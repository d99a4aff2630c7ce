"""Converts PyTorch's BNInception weights to a MindSpore checkpoint. Both converters share code from here.

    python -m src.convert_bn_inception bn_inception-9f5701afb96c8044.pth bn_inception.ckpt

There are three public copies (``PUBLIC_COPIES``). Their SHA-256 begins with the hex digits in their names. The first
was written by an early PyTorch: it is not a zip, and its batch-norm vectors have the shape [1, C]. The ImageNet
classifier is left out and reported. Every other tensor becomes a parameter, or is an error that names it.

The model zoo's command writes the model zoo's file, with the classifier and without ``base_model.`` before each name:

    python src/convert_bn_inception.py --torch_ckpt_path bn_inception.pth --ms_ckpt_out_path bn_inception.ckpt
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if __name__ == "__main__":  # run by its path, where Python looks for modules beside this file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model_utils.command_line import Parser
from model_utils.errors import InputError
from model_utils.files import digest, open_file
from model_utils.util import check_outputs, exclusive_files, run_main
from src.utils import require_usable_weights

if TYPE_CHECKING:
    from mindspore import Parameter

# {first digits of the SHA-256: file}
PUBLIC_COPIES = {
    "9f5701afb96c8044": "bn_inception-9f5701afb96c8044.pth, of the authors of TSN",
    "52deb4733": "bn_inception-52deb4733.pth, of pretrainedmodels",
    "ed2e8665": "bn_inception_caffe-ed2e8665.pth, of OpenMMLab",
}
DATE = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
IMAGENET_CLASSIFIER = ("fc.weight", "fc.bias", "last_linear.weight", "last_linear.bias")
BATCH_NORM_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def backbone_torch_name(name: str) -> str:
    """PyTorch's name of a backbone parameter.

    ``inception_3a.branch_3x3_reduce.bn.gamma`` -> ``inception_3a_3x3_reduce_bn.weight``.
    """
    if name.startswith("fc."):
        return name
    layer, kind, tensor = name.rsplit(".", 2)
    layer = layer.replace(".branch_", "_")
    return f"{layer}_bn.{BATCH_NORM_NAMES[tensor]}" if kind == "bn" else f"{layer}.{tensor}"


def read_torch_file(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors of a PyTorch weights file by name, and the other entries of the file (its epoch, for example).

    The file holds a state dict or a dict with one under ``state_dict``. The prefix ``module.`` of ``DataParallel`` is
    removed. Floating-point tensors come back as float32.

    Raises:
        InputError: if the file is missing, damaged, holds something other than tensors and plain values (it is refused
            without running anything it asks for) or NaN or infinite values, or if torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{path}: reading a PyTorch file needs torch: pip install torch") from error
    try:
        os.close(open_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a file of PyTorch weights") from error
    except Exception as error:  # on bytes that are no weights file torch raises almost anything, KeyError included
        forbidden = re.search(r"GLOBAL ((?:\w+\.)+\w+)", str(error))
        if forbidden:
            reason = f"refused: it wants to call {forbidden[1]}, expected only tensors and plain values"
        else:
            reason = "damaged, truncated or another format, expected a file of PyTorch weights"
        raise InputError(f"{path}: {reason}") from error

    about = {}
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        about = {key: value for key, value in content.items() if key != "state_dict"}
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: no named tensors in it, expected a PyTorch state dict")
    return _float_arrays(content, path), about


def _float_arrays(state: Mapping[Any, Any], path: str | Path) -> dict[str, np.ndarray]:
    import torch

    prefix = "module." if all(str(name).startswith("module.") for name in state) else ""
    weights = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {name!r} is {type(value).__name__}, expected a name and its tensor")
        if value.is_floating_point():
            value = value.float()
        elif not name.endswith(".num_batches_tracked"):
            raise InputError(f"{path}: {name} is {value.dtype}, expected floating point")
        weights[name[len(prefix) :]] = value.detach().numpy()
    require_usable_weights(weights, path)
    return weights


def check_download(path: str | Path) -> str:
    """Names the public copy that a file is; "" for any other file.

    Raises:
        InputError: for a file whose name holds a hash that is not its own, and for one that cannot be read.
    """
    try:
        found = digest(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a file of PyTorch weights") from error
    # As PyTorch's own downloads are named. Eight digits that are a date are no hash.
    named = re.search(rf"-(?!{DATE}\b)([0-9a-f]{{8,64}})(?: \(\d+\))?\.[^-]*$", Path(path).name)
    if named and not found.startswith(named[1]):
        raise InputError(
            f"{path}: its SHA-256 begins with {found[: len(named[1])]}, expected {named[1]} as in its name; the"
            " download was cut off or changed, download it again"
        )
    return next((copy for start, copy in PUBLIC_COPIES.items() if found.startswith(start)), "")


def match_parameters(
    weights: Mapping[str, np.ndarray],
    parameters: Iterable[Parameter],
    torch_name: Callable[[str], str],
    path: str | Path,
    left_out: Iterable[str] = (),
) -> dict[str, np.ndarray]:
    """``weights`` with the names and shapes of the network's ``parameters``.

    Raises:
        InputError: naming every tensor of ``path`` that is missing, misshapen, or neither used nor ``left_out``.
    """
    arrays, missing, misshapen = {}, [], []
    known = set(left_out)
    for parameter in parameters:
        name = torch_name(parameter.name)
        known.add(name)
        if name.endswith(".running_var"):
            known.add(name.replace("running_var", "num_batches_tracked"))
        if name not in weights:
            missing.append(name)
            continue
        array, shape = weights[name], tuple(parameter.shape)
        if "_bn." in name and array.shape == (1, *shape):
            array = array[0]
        if array.shape != shape:
            misshapen.append(f"{name} is {list(array.shape)} and not {list(shape)}")
        arrays[parameter.name] = array

    unexpected = sorted(weights.keys() - known)
    problems = [
        f"{len(names)} {problem}: {', '.join(names)}"
        for problem, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if problems:
        raise InputError(f"{path}: not the weights expected; " + "; ".join(problems))
    return arrays


def convert_bn_inception(
    source: str | Path, target: str | Path, width_mult: float = 1.0, zoo_names: bool = False
) -> dict[str, np.ndarray]:
    """Writes the backbone in ``source`` (.pth), without its last layer, to ``target`` (.ckpt); returns its arrays.

    ``zoo_names``: writes the model zoo's file instead, see ``convert_torch_checkpoint_to_mindspore``.

    Raises:
        InputError: if ``source`` is not BNInception of this width or ``target`` cannot be written.
    """
    check_target(target, source)
    copy = check_download(source)
    weights, _ = read_torch_file(source)
    from src.training.checkpoint import save_checkpoint

    arrays = _backbone_arrays(weights, source, width_mult, with_classifier=zoo_names)
    if not zoo_names:
        arrays = {f"base_model.{name}": array for name, array in arrays.items()}
    save_checkpoint(target, arrays, {"source": Path(source).name, "settings": {"width_mult": width_mult}})

    print(f"{source}: {copy or 'none of the three public copies, but the same network'}")
    print(f"{target}: {count(arrays)} from {source}")
    classifier = [name for name in IMAGENET_CLASSIFIER if name in weights]
    if classifier and not zoo_names:
        print(f"Left out on purpose, the ImageNet classifier: {', '.join(classifier)}")
    return arrays


def convert_torch_checkpoint_to_mindspore(torch_state_dict: Mapping[str, Any]) -> dict[str, Parameter]:
    """The model zoo's function: parameters of a ``BNInception`` by name, with its classifier, if that is there."""
    from mindspore import Parameter, Tensor

    name = "torch_state_dict"
    arrays = _backbone_arrays(_float_arrays(torch_state_dict, name), name, with_classifier=True)
    return {name: Parameter(Tensor(array), name=name) for name, array in arrays.items()}


def _backbone_arrays(
    weights: Mapping[str, np.ndarray], path: str | Path, width_mult: float = 1.0, *, with_classifier: bool
) -> dict[str, np.ndarray]:
    from src.bn_inception import BNInception

    if with_classifier:
        weights = {name.replace("last_linear.", "fc."): array for name, array in weights.items()}
    classes = len(weights["fc.bias"]) if with_classifier and "fc.bias" in weights else 0
    network = BNInception(out_channels=classes or 1, width_mult=width_mult)
    wanted = [p for p in network.get_parameters() if classes or not p.name.startswith("fc.")]
    left_out = () if with_classifier else IMAGENET_CLASSIFIER
    return match_parameters(weights, wanted, backbone_torch_name, path, left_out)


def check_target(target: str | Path, *inputs: str | Path) -> None:
    """Raises InputError for a target that is no .ckpt, or that would be written over one of the ``inputs``."""
    if Path(target).suffix != ".ckpt":
        raise InputError(f"{target}: expected the name of a checkpoint to write, ending in .ckpt")
    check_outputs({"target": target}, inputs)


def count(arrays: Mapping[str, np.ndarray]) -> str:
    return f"{len(arrays)} tensors, {sum(array.size for array in arrays.values()):,} values"


def make_parser(description: str, **positional: Any) -> Parser:
    """The arguments that both converters take; ``positional``: more about the two files."""
    parser = Parser(description=description)
    parser.add_argument("source", help="PyTorch file to read", **positional)
    parser.add_argument("target", help="MindSpore checkpoint (.ckpt) to write", **positional)
    parser.add_number("--width_mult", "float (0, 4]", 1.0, "width of the backbone, above 0 up to 4")
    return parser


def main(argv: list[str] | None = None) -> None:
    parser = make_parser("Convert BNInception from PyTorch to MindSpore.", nargs="?")
    parser.add_argument("--torch_ckpt_path", help="the model zoo's option: PyTorch file to read")
    parser.add_argument("--ms_ckpt_out_path", help="the model zoo's option: its form of checkpoint to write")
    args = parser.parse_args(argv)
    ours, zoos = (args.source, args.target), (args.torch_ckpt_path, args.ms_ckpt_out_path)
    if None in ours and None in zoos or (any(ours) and any(zoos)):
        parser.error("expected SOURCE TARGET, or --torch_ckpt_path SOURCE --ms_ckpt_out_path TARGET")
    source, target = zoos if None in ours else ours
    with exclusive_files([target]):
        convert_bn_inception(source, target, args.width_mult, zoo_names=None in ours)


if __name__ == "__main__":
    run_main(main)
