"""Turn a training checkpoint into a weights file that best-submission.py reads, or weights into other forms.

    python tools/export_weights.py output/bundled-xception/best.pth external/bundled-xception.safetensors
    python tools/export_weights.py external/bundled-xception.safetensors xception.onnx
    python tools/export_weights.py external/bundled-wsdan.safetensors wsdan/ --export hub

The form follows from the name of OUT, or from --export.
safetensors: fp16, from a checkpoint. The metadata says what the network expects of a face (`preprocess`)
and where the weights come from: network, data (with kinds of groups and sources of real faces, if it was
trained on such), seed, epoch and validation figures. Of a run with the key `ema` they are the averaged
ones.
onnx: images (B, 3, S, S), normalised as the metadata says, in; logits (B, 2) out, the second of them
"fake"; compared with torch before it is written. From a checkpoint or a weights file.
hub: a folder with config.json, model.safetensors and a card, as model hubs have it. From either, too.
Exit codes: 0 written, 1 the disk failed, 2 usage or a file that is neither a checkpoint of train-
xception.py or train-wsdan.py nor weights made of one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

FORMS = ("safetensors", "onnx", "hub")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="such as best.pth, or weights.safetensors"
    )
    parser.add_argument(
        "output", type=Path, metavar="OUT", help="weights.safetensors, model.onnx, or a folder"
    )
    parser.add_argument("--export", choices=FORMS, help="the form (default: what OUT's name says)")
    arguments = parser.parse_args(argv)

    from utils.core.console import run

    if arguments.export is None and arguments.output.suffix not in ("", ".safetensors", ".onnx"):
        parser.error(f"{arguments.output}: must end in .safetensors or .onnx, or be a folder (--export hub)")
    form = arguments.export or {".safetensors": "safetensors", ".onnx": "onnx"}.get(
        arguments.output.suffix, "hub"
    )
    return run(lambda: write(arguments.source, arguments.output, form))


def write(source: Path, output: Path, form: str) -> int:
    """Write the weights, and say what they are; exit status. Errors as of `export` and `check_output`."""
    from utils.core.errors import ConfigError
    from utils.core.files import check_output
    from utils.weights.checkpoint import describe_weights

    if form == "hub":
        if output.exists() and not output.is_dir():
            raise ConfigError(f"{output}: a file; name a folder")
    else:
        check_output(output, f".{form}", [source])
    if form == "safetensors":
        if source.suffix == ".safetensors":
            raise ConfigError(f"{source}: exported already; name a training checkpoint, such as best.pth")
        print(describe_weights(output, export(source, output)))
        return 0
    with TemporaryDirectory() as folder:
        if source.suffix != ".safetensors":
            weights = Path(folder) / "weights.safetensors"
            export(source, weights)
            source = weights
        return write_elsewhere(source, output, form)


def write_elsewhere(source: Path, output: Path, form: str) -> int:
    """Write a weights file in another form, and say what; exit status. Errors as of utils.weights.export."""
    from utils.weights.export import write_hub_folder, write_onnx

    if form == "onnx":
        difference = write_onnx(source, output)
        print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, logits within {difference:.1g} of torch's")
        return 0
    for path in write_hub_folder(source, output):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def export(checkpoint_path: Path, output: Path) -> dict[str, str]:
    """Write the weights; returns their metadata. WeightsError for another file than our own checkpoints."""
    from utils.core.errors import WeightsError
    from utils.weights.checkpoint import load_checkpoint, load_weights, save_weights
    from utils.weights.networks import NETWORK_NAMES, build_network

    checkpoint = load_checkpoint(checkpoint_path)
    network, config = checkpoint.get("arch"), checkpoint.get("config")
    if not isinstance(network, str) or network not in NETWORK_NAMES or not isinstance(config, dict):
        raise WeightsError(f"{checkpoint_path}: not written by our training: it holds no config")
    model = build_network(network)
    load_weights(model, checkpoint_path)
    try:
        within_epoch = any(tally["step"] for tally in checkpoint.get("tallies", []))
        metadata = stated(checkpoint)
    except KeyError as error:
        raise WeightsError(f"{checkpoint_path}: its config or figures lack {error}") from None
    except (AttributeError, IndexError, TypeError, ValueError, WeightsError):
        raise WeightsError(f"{checkpoint_path}: its config or figures are damaged") from None
    if within_epoch:
        raise WeightsError(f"{checkpoint_path}: saved within an epoch, so its figures are of older weights")
    save_weights(model, output, metadata)
    return metadata


def stated(checkpoint: dict) -> dict[str, str]:
    """What a checkpoint says of its weights; KeyError, WeightsError or the like for a damaged one."""
    from utils.weights.preprocess import PREPROCESS_KEY, Preprocess

    config = checkpoint["config"]
    preprocess = Preprocess.of_training(config).to_metadata()
    figures = {name: round(value, 5) for name, value in checkpoint["metrics"].items()}
    trained, validated = "+".join(config["train_sets"]), config["valid_set"]
    metadata = {
        "network": checkpoint["arch"],
        PREPROCESS_KEY: preprocess,
        "data": f"{Path(config['data_list']).name}: trained on {trained}, validated on {validated}",
        "epoch": str(checkpoint["epoch"]),
        "seed": str(config["seed"]),
        "validation": json.dumps(figures),
    }
    if config.get("groups"):
        metadata["groups"] = ", ".join(f"{kind} {share:g}" for kind, share in config["groups"])
        metadata["sources"] = ", ".join(f"{Path(path).name} {share:g}" for path, share in config["sources"])
    if "n_averaged" in checkpoint:  # then `state_dict` holds the averaged weights, as they were validated
        metadata["averaged"] = f"weights averaged over {checkpoint['n_averaged']} steps, ema {config['ema']}"
    return metadata


if __name__ == "__main__":
    sys.exit(main())
