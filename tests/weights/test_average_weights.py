"""Averaging weights files: the shares count, what doesn't fit is refused in one line."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from fill import fill
from safetensors.torch import save
from scripts import ROOT, load_script

from models import xception
from utils.core.errors import WeightsError
from utils.weights.averaging import OF_PARTS, averaged_files
from utils.weights.checkpoint import read_state_dict, save_state_dict, save_weights
from utils.weights.preprocess import PREPROCESS_KEY, Preprocess


def run_tool(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / "average_weights.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def small(path, value, counter, **metadata):
    state = {"a.weight": torch.full((2, 3), value), "a.num_batches_tracked": torch.tensor(counter)}
    save_state_dict(state, path, {"network": "xception", "data": path.stem} | metadata)
    return path


def test_shares_count_and_the_first_ones_metadata_is_kept(tmp_path):
    one = small(tmp_path / "one.safetensors", 1.0, 7, validation="{}", calibration="of one alone")
    other = small(tmp_path / "other.safetensors", 3.0, 9)
    state, metadata = averaged_files([(one, 0.75), (other, 0.25)])
    assert torch.equal(state["a.weight"], torch.full((2, 3), 1.5)) and state["a.num_batches_tracked"] == 7
    assert metadata == {"network": "xception", "data": "one",
                        "mean of": "0.75 one.safetensors, 0.25 other.safetensors"}  # fmt: skip


def test_what_all_parts_agree_on_is_kept_unless_it_is_of_each_alone(tmp_path):
    alone = {key: "{}" for key in OF_PARTS}
    stated = {"groups": "fake 0.5, blend 0.5", "sources": "utk.csv 1", "seed": "1"}
    one = small(tmp_path / "one.safetensors", 1.0, 7, **stated, **alone, masks="mesh.npz")
    other = small(tmp_path / "other.safetensors", 3.0, 9, **stated | {"seed": "2"}, **alone)
    third = small(tmp_path / "third.safetensors", 3.0, 9, **stated, **alone)
    parts = [(one, 0.5), (other, 0.25), (third, 0.25)]
    metadata = averaged_files(parts)[1]
    kept = {key: stated[key] for key in ("groups", "sources")}
    assert {"network", "data", "mean of"} == metadata.keys() - kept.keys()
    assert metadata.items() >= kept.items() and metadata["mean of"].count(",") == 2


def test_the_script_writes_a_network_between_the_two(tmp_path):
    metadata = {"network": "xception", PREPROCESS_KEY: Preprocess(96, (0.5,) * 3, (0.5,) * 3).to_metadata()}
    nets = [fill(xception(num_classes=2), gain) for gain in (1.0, 1.1)]
    paths = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for net, path in zip(nets, paths, strict=True):
        save_weights(net, path, metadata)
    output = tmp_path / "mean.safetensors"
    done = run_tool(f"{paths[0]}=0.5", f"{paths[1]}=0.5", output)
    assert done.returncode == 0, done.stderr
    assert "mean of: 0.5 0.safetensors, 0.5 1.safetensors" in done.stdout
    state, stated = read_state_dict(output)
    assert stated[PREPROCESS_KEY] == metadata[PREPROCESS_KEY]
    wanted = sum(net.state_dict()["block5.rep.1.pointwise.weight"] for net in nets) / 2
    np.testing.assert_allclose(state["block5.rep.1.pointwise.weight"].float(), wanted, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, words",
    [(["one.safetensors=1", "out.safetensors"], "between 0 and 1"),
     (["one.safetensors=0.5", "out.safetensors"], "at least two"),
     (["one.safetensors=0.5", "other.safetensors=0.4", "out.safetensors"], "sum to 0.9"),
     (["one.safetensors=0.5", "other.safetensors=0.5", "out.pth"], "must end in .safetensors"),
     (["one.safetensors", "other.safetensors=0.5", "out.safetensors"], "FILE=SHARE"),
     (["one.safetensors=0.5", "absent.safetensors=0.5", "out.safetensors"], "absent.safetensors"),
     (["one.safetensors=0.5", "wsdan.safetensors=0.5", "out.safetensors"], "its network isn't that of"),
     (["bare.safetensors=0.5", "one.safetensors=0.5", "out.safetensors"], "names no network"),
     (["one.safetensors=0.5", "shape.safetensors=0.5", "out.safetensors"], "another network"),
     (["one.safetensors=0.5", "whole.safetensors=0.5", "out.safetensors"], "another network"),
     (["one.safetensors=0.5", "nan.safetensors=0.5", "out.safetensors"], "nan.safetensors: a.weight holds"),
     (["one.safetensors=nan", "other.safetensors=0.5", "out.safetensors"], "between 0 and 1"),
     (["one.safetensors=0.5", "other.safetensors=0.5", "other.safetensors"], "would be overwritten"),
     (["one.safetensors=0.5", "other.safetensors=0.5", "folder.safetensors"], "a folder")],
)  # fmt: skip
def test_errors_are_one_line(arguments, words, tmp_path, capsys):
    tool = load_script("tools/average_weights.py")
    for name in ("one", "other"):
        small(tmp_path / f"{name}.safetensors", 1.0, 1)
    save_state_dict({"a.weight": torch.ones(3)}, tmp_path / "bare.safetensors")
    small(tmp_path / "wsdan.safetensors", 1.0, 1, network="wsdan-xception")
    network = {"network": "xception"}
    save_state_dict({"a.weight": torch.ones(3)}, tmp_path / "shape.safetensors", network)
    counter = {"a.num_batches_tracked": torch.tensor(1)}
    whole = counter | {"a.weight": torch.ones(2, 3, dtype=torch.int32)}
    save_state_dict(whole, tmp_path / "whole.safetensors", network)
    damaged = save(counter | {"a.weight": torch.full((2, 3), float("nan"))}, network)
    (tmp_path / "nan.safetensors").write_bytes(damaged)
    (tmp_path / "folder.safetensors").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    try:
        status = tool.main([str(tmp_path / argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        status = stop.code
    assert status == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out.safetensors").exists()
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_licence_is_kept_and_another_one_refused(tmp_path):
    one, none, other = (
        small(tmp_path / f"{name}.safetensors", 1.0, 7, **stated)
        for name, stated in (("one", {"licence": "MIT"}), ("none", {}), ("other", {"licence": "research"}))
    )
    for parts in ((one, none), (none, one)):
        assert averaged_files([(path, 0.5) for path in parts])[1]["licence"] == "MIT"
    with pytest.raises(WeightsError, match="other.safetensors: its licence"):
        averaged_files([(one, 0.5), (other, 0.5)])
