"""The classifiers against the reference's numbers, and the properties of WS-DAN's forward."""

import json
from pathlib import Path

import numpy as np
import pretrainedmodels
import pytest
import torch
from fill import fill
from torch.nn.functional import interpolate

from models import WSDAN, Xception, xception
from models.wsdan import attention_pooling, draw_maps, normalised_matrix

KEYS = json.loads((Path(__file__).resolve().parents[1] / "golden" / "checkpoint_keys.json").read_text())
MEAN = torch.tensor([0.4479, 0.3744, 0.3473]).view(3, 1, 1)
STD = torch.tensor([0.2537, 0.2502, 0.2424]).view(3, 1, 1)
BUILD = {
    "xception": lambda: xception(2),
    "wsdan-xception": lambda: WSDAN(2, 8, "xception"),
    "wsdan-efficientnet-b3": lambda: WSDAN(2, 8, "efficientnet-b3"),
}


def relative(ours: torch.Tensor, golden: np.ndarray) -> float:
    return float(np.abs(ours.numpy() - golden).max() / np.abs(golden).max())


@pytest.fixture(scope="module")
def faces(golden) -> torch.Tensor:
    return torch.from_numpy(golden("classifiers")["faces_rgb_0_1"]).float() / 255  # (2, 3, 320, 320)


@pytest.mark.parametrize("name", BUILD)
def test_state_dict_has_the_published_names_shapes_and_dtypes(name):
    state = BUILD[name]().state_dict()
    ours = {key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()}
    assert ours == KEYS[name]


@torch.inference_mode()
def test_xception_gives_the_golden_logits(golden, faces):
    images = (interpolate(faces, (299, 299), mode="bilinear", align_corners=False) - 0.5) * 2
    logits = fill(xception(2))(images)
    assert relative(logits, golden("classifiers")["xception__logits"]) < 1e-4


@torch.inference_mode()
def test_xception_gives_the_numbers_of_pretrainedmodels():
    theirs = pretrainedmodels.xception(num_classes=1000, pretrained=None).eval()
    ours = Xception(num_classes=1000).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 96, 96)
    assert relative(ours(images), theirs(images).numpy()) < 1e-5


# The b3 golden values carry the rounding of a deep float32 network with gain 2: they are themselves 1.9e-4
# (logits) and 3.7e-4 (feature matrix) away from the same network in float64, ours 0.7e-4 and 1.9e-4.
@pytest.mark.parametrize("name, net, side, gain, tolerance", [
    ("wsdan-xception", "xception", 320, 1.0, 1e-4),
    ("wsdan-efficientnet-b3", "efficientnet-b3", 300, 2.0, 6e-4)])
@torch.inference_mode()
def test_wsdan_gives_the_golden_outputs(golden, faces, name, net, side, gain, tolerance):
    images = interpolate((faces - MEAN) / STD, (side, side), mode="bilinear", align_corners=False)
    model, values = fill(WSDAN(2, 8, net), gain), golden("classifiers")
    logits, matrix, attention = model(images)
    assert relative(logits, values[f"{name}__logits"]) < tolerance
    assert relative(matrix, values[f"{name}__feature_matrix"]) < tolerance
    assert relative(attention, values[f"{name}__attention_map"]) < tolerance
    maps = model.attentions(model.feature_maps(images))
    assert relative(maps, values[f"{name}__attention_maps_all"]) < tolerance


def test_other_network_names_are_refused():
    with pytest.raises(ValueError, match="resnet"):
        WSDAN(2, 8, "resnet")


def test_attention_pooling_is_the_mean_of_map_times_feature():
    features, attention = torch.randn(2, 5, 3, 4), torch.rand(2, 2, 3, 4)
    pooled = attention_pooling(features, attention)
    by_hand = (attention[:, :, None] * features[:, None]).mean(dim=(3, 4))
    assert torch.allclose(pooled, by_hand, atol=1e-6)


def test_attention_pooling_stays_in_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        pooled = attention_pooling(torch.rand(1, 4, 2, 2).bfloat16(), torch.rand(1, 2, 2, 2).bfloat16())
        assert pooled.dtype == normalised_matrix(pooled).dtype == torch.float32


def test_normalised_matrix_has_unit_length_and_keeps_signs():
    pooled = torch.randn(3, 2, 7)
    matrix = normalised_matrix(pooled)
    assert torch.allclose(matrix.norm(dim=1), torch.ones(3), atol=1e-6)
    assert torch.equal(matrix.sign(), pooled.flatten(1).sign())


def test_maps_are_drawn_in_proportion_to_the_root_of_their_sum():
    attention = torch.zeros(4000, 3, 2, 2)
    attention[:, 0], attention[:, 1] = 1.0, 9.0  # roots of the sums: 2 and 6; the third map is empty
    torch.manual_seed(0)
    share = (draw_maps(attention) == 1).float().mean().item()
    assert abs(share - 0.75) < 0.03
    assert not (draw_maps(attention) == 2).any()


def test_empty_and_nan_maps_can_be_drawn_from():
    assert draw_maps(torch.zeros(2, 8, 3, 3)).shape == (2, 2)
    assert draw_maps(torch.full((2, 8, 3, 3), float("nan"))).shape == (2, 2)


def test_train_mode_returns_the_picked_maps_and_head_dropout_leaves_the_matrix_alone():
    torch.manual_seed(0)
    model = fill(WSDAN(2, 8, "xception")).train()
    images, picks = torch.randn(2, 3, 96, 96), torch.tensor([[3, 5], [1, 1]])
    plain_logits, plain_matrix, maps = model(images, picks=picks)
    assert maps.shape == (2, 2, 3, 3)
    assert torch.equal(maps[1, 0], maps[1, 1]) and not torch.equal(maps[0, 0], maps[0, 1])
    dropped_logits, dropped_matrix, _ = model(images, head_dropout=0.9, picks=picks)
    assert torch.allclose(plain_matrix, dropped_matrix, atol=1e-6)
    assert not torch.allclose(plain_logits, dropped_logits, atol=1e-3)
