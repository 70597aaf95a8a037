"""Muted colours: the changed network gives for a face what the old one gives for the paler face."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill
from scripts import load_script

from models import WSDAN, xception
from utils.core.errors import WeightsError
from utils.weights.checkpoint import load_weights, read_state_dict, save_weights
from utils.weights.colour import LUMA, mixing, muted
from utils.weights.preprocess import PREPROCESS_KEY, Preprocess

ROOT = Path(__file__).resolve().parents[2]
ALIKE = Preprocess(96, (0.5,) * 3, (0.5,) * 3)


def tool():
    return load_script("tools/mute_colour.py").main


def paler(images: torch.Tensor, saturation: float) -> torch.Tensor:
    """Pixel by pixel, (B, 3, S, S): towards the luma."""
    luma = sum(share * images[:, channel] for channel, share in enumerate(LUMA))
    return saturation * images + (1 - saturation) * luma[:, None]


def test_the_mixing_keeps_grey_and_luma():
    for saturation in (0.0, 0.7, 1.0):
        matrix = mixing(saturation)
        torch.testing.assert_close(matrix @ torch.ones(3), torch.ones(3))
        torch.testing.assert_close(torch.tensor(LUMA) @ matrix, torch.tensor(LUMA))
    torch.testing.assert_close(mixing(0.5) @ mixing(0.4), mixing(0.2))
    assert torch.equal(mixing(1.0), torch.eye(3))


@pytest.mark.parametrize("build", [xception, WSDAN], ids=["xception", "wsdan"])
def test_the_muted_network_sees_paler_faces(build):
    net = fill(build(num_classes=2)).eval()
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        first = lambda output: output[0] if isinstance(output, tuple) else output  # noqa: E731
        plain, wanted = first(net(images)), first(net(paler(images, 0.3)))
        net.load_state_dict(muted(net.state_dict(), ALIKE, 0.3))
        found = first(net(images))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert (found - plain).abs().max() > 20 * (found - wanted).abs().max()


def test_what_the_first_convolution_can_not_hold_is_refused():
    state = fill(xception(num_classes=2)).state_dict()
    with pytest.raises(WeightsError, match="must be the same for R, G and B"):
        muted(state, Preprocess(96, (0.4, 0.5, 0.5), (0.5,) * 3), 0.5)
    with pytest.raises(WeightsError, match="0 layers see three channels"):
        muted({"fc.weight": torch.ones(2, 3)}, ALIKE, 0.5)


def test_the_tool_writes_weights_that_load_and_say_what_is_left(tmp_path, capsys):
    net = fill(xception(num_classes=2))
    weights, output = tmp_path / "w.safetensors", tmp_path / "muted.safetensors"
    metadata = {"network": "xception", PREPROCESS_KEY: ALIKE.to_metadata(), "validation": "{}"}
    save_weights(net, weights, metadata)
    assert tool()([str(weights), str(output), "--saturation", "0.5"]) == 0
    assert "saturation: 0.5" in capsys.readouterr().out
    state, stated = read_state_dict(output)
    assert stated["saturation"] == "0.5" and "validation" not in stated
    load_weights(xception(num_classes=2), output)
    for name, value in net.state_dict().items():
        if name == "conv1.weight":
            value = torch.einsum("ochw,cr->orhw", value.half().float(), mixing(0.5))
        np.testing.assert_allclose(state[name].float(), value.float(), rtol=2e-3, atol=1e-3, err_msg=name)
    again = tmp_path / "again.safetensors"
    assert tool()([str(output), str(again), "--saturation", "0.4"]) == 0
    assert read_state_dict(again)[1]["saturation"] == "0.2"


@pytest.mark.parametrize(
    "metadata, output, words",
    [({}, "o.safetensors", "names no network"),
     ({"network": "resnet"}, "o.safetensors", "names no network"),
     ({"network": "wsdan-xception"}, "o.safetensors", "must be the same for R, G and B"),
     ({"network": "xception", "saturation": "pale"}, "o.safetensors", "could not convert"),
     ({"network": "xception"}, "o.pth", "must end in .safetensors"),
     ({"network": "xception"}, "w.safetensors", "would be overwritten")],
)  # fmt: skip
def test_files_of_no_use_are_told_in_a_line(metadata, output, words, tmp_path, capsys):
    save_weights(torch.nn.Conv2d(3, 2, 3), tmp_path / "w.safetensors", metadata)
    arguments = [str(tmp_path / "w.safetensors"), str(tmp_path / output), "--saturation", "0.5"]
    assert tool()(arguments) == 2
    said = capsys.readouterr().err
    assert words in said and said.startswith("error: ") and said.count("\n") == 1
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "much"])
def test_a_share_is_between_0_and_1(share, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        tool()(["w.safetensors", "o.safetensors", "--saturation", share])
    assert ended.value.code == 2 and "--saturation" in capsys.readouterr().err
