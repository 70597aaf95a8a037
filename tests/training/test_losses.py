"""The loss of groups against sums by hand."""

import math

import pytest
import torch

from utils.core import device
from utils.training.losses import class_mean_loss


def by_hand(margin: float, smoothing: float) -> float:
    """Cross entropy where the right logit is ahead by `margin`."""
    right, wrong = math.log1p(math.exp(-margin)), math.log1p(math.exp(margin))
    return (1 - smoothing / 2) * right + smoothing / 2 * wrong


@pytest.mark.parametrize("smoothing", [0.0, 0.02])
def test_both_classes_weigh_alike_however_many_faces_they_have(smoothing):
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.0]])
    loss = class_mean_loss(logits, torch.tensor([0, 1, 1]), smoothing)
    fakes = (by_hand(1.0, smoothing) + by_hand(-0.5, smoothing)) / 2
    assert loss.item() == pytest.approx((by_hand(2.0, smoothing) + fakes) / 2, abs=1e-6)


def test_a_gpu_gets_the_same_without_being_asked_for_counts(monkeypatch):
    torch.manual_seed(0)
    labels = [0, 1, 1, 0, 1, 1, 1], [1] * 7, [0] * 7
    batches = [(torch.randn(7, 2), torch.tensor(values)) for values in labels]
    expected = [class_mean_loss(*batch, 0.02).item() for batch in batches]
    monkeypatch.setattr(device, "GPU_TYPES", {"cpu"})
    found = [class_mean_loss(*batch, 0.02).item() for batch in batches]
    assert found == pytest.approx(expected, rel=1e-6)


def test_of_one_class_alone_it_is_its_mean():
    loss = class_mean_loss(torch.tensor([[0.0, 3.0], [0.0, 1.0]]), torch.tensor([1, 1]))
    assert loss.item() == pytest.approx((by_hand(3.0, 0) + by_hand(1.0, 0)) / 2, abs=1e-6)
