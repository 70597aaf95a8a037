"""RetinaFace against the reference: names, shapes, outputs; and that batches and odd sizes are no matter."""

import json
from pathlib import Path

import pytest
import torch
from fill import fill

from models.retinaface import BACKBONES, RetinaFace, anchors

KEYS = json.loads((Path(__file__).resolve().parents[1] / "golden" / "checkpoint_keys.json").read_text())
MEAN = torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def filled():
    return {backbone: fill(RetinaFace(backbone)) for backbone in BACKBONES}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_state_dict_is_that_of_the_published_checkpoint(backbone, filled):
    state = filled[backbone].state_dict()
    ours = {
        name: [list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in state.items()
    }
    assert ours == KEYS[f"retinaface-{backbone}"]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_outputs_are_the_reference_s(backbone, layout, filled, golden):
    values = golden("retinaface")
    image = torch.from_numpy(values["retinaface/image_bgr_uint8"]).permute(2, 0, 1)[None]
    net = filled[backbone].to(memory_format=layout)
    with torch.inference_mode():
        outputs = net((image.float() - MEAN).to(memory_format=layout))
    for name, output in zip(("loc", "conf", "landms"), outputs, strict=True):
        expected = torch.from_numpy(values[f"retinaface-{backbone}/{name}"])
        assert output.shape == expected.shape
        assert (output - expected).abs().max() <= 1e-4 * expected.abs().max(), name


def test_eval_mode_gives_probabilities_and_train_mode_logits(filled):
    net = filled["mobilenet0.25"]
    image = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 50
    with torch.inference_mode():
        probabilities = net(image)[1]
        net.training = True  # this module alone: its batch norms stay as they are
        logits = net(image)[1]
        net.eval()
    assert torch.allclose(probabilities.sum(-1), torch.ones(()))
    assert not torch.allclose(logits.sum(-1), torch.ones(()))
    assert torch.allclose(logits.softmax(-1), probabilities, atol=1e-6)


@pytest.mark.parametrize("height, width", [(1, 1), (20, 20), (33, 7), (8, 257)])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_prediction_per_anchor_at_any_size(backbone, height, width, filled):
    with torch.inference_mode():
        loc, conf, landms = filled[backbone](torch.zeros(2, 3, height, width))
    count = len(anchors(height, width))
    assert (loc.shape, conf.shape, landms.shape) == ((2, count, 4), (2, count, 2), (2, count, 10))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_batch_gives_what_its_images_give_alone(backbone, filled):
    images = torch.randn(3, 3, 70, 90, generator=torch.Generator().manual_seed(1)) * 50
    with torch.inference_mode():
        batched = filled[backbone](images)
        alone = [filled[backbone](image[None]) for image in images]
    for position, output in enumerate(batched):
        expected = torch.cat([outputs[position] for outputs in alone])
        assert (output - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_an_unknown_backbone_is_refused_by_name():
    with pytest.raises(ValueError, match="mobilenet0.25, not 'vgg16'"):
        RetinaFace("vgg16")
