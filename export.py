"""Exports a trained Temporal Relation Network to MINDIR, ONNX or AIR, with a JSON that says how to use it.

The exported file and its JSON go to ``export_output_dir``. The file is read back and compared with the network.
``--quantize int8`` writes 8-bit ONNX, ``--streaming true`` the two files of a stream.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # with PYTHONSAFEPATH Python leaves it out

from model_utils.config import Config, load_config
from model_utils.moxing_adapter import moxing_session
from model_utils.stop_signals import ctrl_c_at_once
from model_utils.util import check_outputs, exclusive_folder, run_main


def export(config: Config) -> None:
    from model_utils.device_adapter import start_device
    from model_utils.logging import get_logger, log_settings
    from src import tsn_dataset
    from src.shipping.export import check_formats, export_network, with_forced_values
    from src.shipping.exported import pair_paths, usage_path
    from src.shipping.samples import read_samples
    from src.training.checkpoint import load_network
    from src.tsn import prepare_for_inference

    output_dir = Path(config.export_output_dir)
    path = output_dir / file_name(config)
    listed = Path(config.dataset_root) / config.categories_list_file_name
    check_formats(config)
    files = pair_paths(path) if config.streaming else (path,)
    written = {"log": output_dir / "export.log"}
    for file in files:
        written.update({f"exported network {file.name}": file, f"JSON of {file.name}": usage_path(file)})
    check_outputs(written, [config.ckpt_file, listed, config.config_path])

    start_device(config)
    known = tsn_dataset.read_categories(listed) if listed.is_file() else None
    logger = get_logger(output_dir, file_name="export.log")
    network, categories, config = load_network(config, known)
    config = with_forced_values(config)
    prepare_for_inference(network)

    log_settings(logger, config, output_dir, "export")
    samples = read_samples(config, len(categories)) if config.quantize == "int8" else None
    about = export_network(network, config, categories, path, samples)
    for file in files:
        logger.info("exported %s", file)
        logger.info("described in %s", usage_path(file))
    if not about:
        logger.info("not read back: AIR files run on Ascend devices only")
    else:
        clips = f"{about['clips']} clips of {about['list_file']}" if samples else f"{about['clips']} random clips"
        size = "%.3g of a logit (RMS), %.2g %% of the spread of a clip's logits (RMS), and by at most %.3g"
        shares = clips, about["rms"], 100 * about["relative"], about["largest"], about["same_class"]
        logger.info(f"read back: scores of %s differ from the network's by {size}; %d get the same class", *shares)


def file_name(config: Config) -> str:
    """The name of the exported file; an 8-bit file gets a suffix, unless the user names it."""
    suffix = "_int8" if config.quantize == "int8" and "model_name" not in config.given else ""
    return f"{config.model_name}{suffix}.{config.file_format.lower()}"


def main() -> None:
    config = load_config(description=__doc__)
    with moxing_session(config), ctrl_c_at_once(), exclusive_folder(config.export_output_dir, "export.lock"):
        export(config)


if __name__ == "__main__":
    run_main(main)
