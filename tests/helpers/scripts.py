"""The repository's scripts, whose names can't be imported, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def run_script(script: ModuleType, schema: type, *arguments: str) -> int:
    """The exit status of a training script with these arguments, in this process."""
    from utils.core.console import run
    from utils.training.command import read_command

    has_picture = "picture" in script.train.__annotations__
    try:
        command = read_command(script.__doc__, schema, arguments, has_picture)
    except SystemExit as end:
        return end.code
    pictures = [command.picture] if has_picture else []
    return run(lambda: script.train(command.config, *pictures))


def load_script(path: str | Path) -> ModuleType:
    """The script at a path from the root of the repository; its `main` isn't called."""
    path = ROOT / path
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
