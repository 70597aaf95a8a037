"""One WS-DAN training step against the reference's numbers, and the feature centres."""

import pytest
import torch
from fill import fill
from torch.nn.functional import normalize

from models import WSDAN
from utils.training.wsdan import FeatureCenters, center_loss, draw_theta, training_losses, updated_centers

MEAN = torch.tensor([0.4479, 0.3744, 0.3473]).view(3, 1, 1)
STD = torch.tensor([0.2537, 0.2502, 0.2424]).view(3, 1, 1)
TERMS = ("raw", "crop", "drop", "center", "total")


def relative(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours.detach() - expected).abs().max() / expected.abs().max())


# The gradient of the first layer passes batch norms over two images: in float32 it moves by some 1e-3 with
# the order of summation alone; that of the heads doesn't.
@pytest.mark.parametrize("name, net, gain, first", [
    ("wsdan-xception", "xception", 1.0, "features.conv1.weight"),
    ("wsdan-efficientnet-b3", "efficientnet-b3", 2.0, "EFN._conv_stem.weight")])
def test_one_step_gives_the_golden_losses_logits_gradients_and_centres(golden, name, net, gain, first):
    values = golden("train_step")
    expected = {key: torch.from_numpy(values[f"{name}/{key}"]) for key in (
        "images_rgb_uint8", "labels", "feature_center_before", "feature_center_after",
        "logits_raw", "logits_crop", "logits_drop", "loss_terms_raw_crop_drop_center_total")}
    model = fill(WSDAN(2, 8, net), gain).train()
    if net == "efficientnet-b3":  # the golden step was computed without drop-connect
        model.EFN._global_params = model.EFN._global_params._replace(drop_connect_rate=0.0)
    images = (expected["images_rgb_uint8"].float() / 255 - MEAN) / STD
    step = training_losses(
        model, images, expected["labels"], expected["feature_center_before"], beta=0.05,
        picks=(3, 5), crop_theta=0.5, drop_theta=0.55, head_dropout=0.0)

    for key in ("logits_raw", "logits_crop", "logits_drop"):
        assert relative(step[key], expected[key]) < 1e-4, key
    terms = torch.stack([step[key].detach() for key in TERMS])
    assert torch.allclose(terms.double(), expected["loss_terms_raw_crop_drop_center_total"], rtol=1e-4)
    assert relative(step["centers"], expected["feature_center_after"]) < 1e-4

    step["total"].backward()
    parameters = dict(model.named_parameters())
    for key, tolerance in ((first, 5e-3), ("fc.weight", 1e-4), ("attentions.conv.weight", 1e-3)):
        norm = float(parameters[key].grad.norm())
        assert norm == pytest.approx(float(values[f"{name}/grad_norm_{key}"]), rel=tolerance), key


def test_the_centre_loss_of_an_empty_centre_is_the_features_square():
    features = normalize(torch.randn(4, 6), dim=1)
    loss, away = center_loss(features, torch.zeros(2, 6), torch.tensor([0, 1, 1, 0]))
    assert float(loss) == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(away, features)


def test_the_last_sample_of_a_class_moves_its_centre_alone():
    centers, away = torch.ones(3, 4), torch.arange(16.0).reshape(4, 4)
    labels = torch.tensor([1, 0, 1, 0])
    moved = updated_centers(centers, labels, away, beta=0.5)
    assert torch.equal(moved[0], 1 + 0.5 * away[3])
    assert torch.equal(moved[1], 1 + 0.5 * away[2])
    assert torch.equal(moved[2], centers[2])  # no sample of this class


def test_averaged_centres_move_by_the_mean():
    centers, away = torch.zeros(3, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    moved = updated_centers(centers, torch.tensor([0, 0, 1]), away, beta=0.5, average=True)
    assert torch.equal(moved, torch.tensor([[1.0, 1.5], [5.0, 10.0], [0.0, 0.0]]))


def test_thetas_are_drawn_in_their_span_and_by_the_seed():
    images = torch.zeros(500, 1)
    torch.manual_seed(1)
    first = draw_theta((0.4, 0.7), images)
    torch.manual_seed(1)
    assert torch.equal(first, draw_theta((0.4, 0.7), images))
    assert 0.4 <= first.min() < 0.42 and 0.68 < first.max() <= 0.7


def test_a_sampled_step_is_repeatable_and_leaves_the_given_centres_alone():
    model = fill(WSDAN(2, 8, "xception")).train()
    images, labels, centers = torch.randn(2, 3, 96, 96), torch.tensor([0, 1]), torch.zeros(2, 16384)
    totals = []
    for _ in range(2):
        torch.manual_seed(5)
        step = training_losses(model, images, labels, centers, beta=0.05)
        totals.append(step["total"].item())
        assert not centers.any() and step["centers"].any() and not step["centers"].requires_grad
    assert totals[0] == totals[1]


@pytest.mark.parametrize("spread", [0.02, 30.0])
def test_centres_with_a_scale_are_the_published_doubled_ones(spread):
    """Bit for bit over 60 epochs, whether features lie close together (centres grow) or not (they don't)."""
    torch.manual_seed(0)
    doubled, centers = torch.zeros(2, 12), FeatureCenters(2, 12)
    means = torch.randn(2, 12)
    for _ in range(60):
        for _ in range(3):
            labels = torch.randint(0, 2, (6,))
            features = normalize(means[labels] + spread * torch.randn(6, 12), dim=1)
            loss, away = center_loss(features, doubled, labels)
            ours, our_away = center_loss(features, centers.values, labels)
            assert torch.equal(loss, ours) and torch.equal(away, our_away)
            doubled = updated_centers(doubled, labels, away, 0.05)
            centers.values = updated_centers(centers.values, labels, our_away, centers.step_size(0.05))
        doubled = 2 * doubled
        centers.grow()
        assert torch.equal(centers.values.double() * centers.scale[:, None], doubled.double())
    assert (centers.scale > 1).all() == (spread < 1)
    assert centers.values.norm(dim=1).max() <= 2.0**31


def test_the_scale_outlives_the_doubled_centres():
    """From 2^65 on a doubled centre has unit length 0, and at 2^128 it is no number."""
    centers = FeatureCenters(2, 4)
    centers.values, labels = torch.ones(2, 4), torch.tensor([0, 1])
    assert not normalize(centers.values * 2.0**70, dim=1).any()
    for _ in range(2000):
        centers.grow()
    away = center_loss(normalize(torch.randn(2, 4)), centers.values, labels)[1]
    centers.values = updated_centers(centers.values, labels, away, centers.step_size(0.05))
    assert torch.equal(normalize(centers.values, dim=1), torch.full((2, 4), 0.5))
    assert torch.isfinite(centers.scale).all()


def test_stored_centres_must_be_of_these_classes_and_features():
    centers = FeatureCenters(2, 4)
    centers.load(torch.ones(2, 4), torch.tensor([8.0, 2.0]))
    assert centers.scale.tolist() == [8, 2] and centers.values.sum() == 8
    centers.load(torch.ones(2, 4))
    assert centers.scale.tolist() == [1, 1]
    for bad in (torch.ones(3, 4), torch.ones(2, 5), torch.full((2, 4), float("inf"))):
        with pytest.raises(ValueError, match="feature_center or its scale has the shape"):
            centers.load(bad)
