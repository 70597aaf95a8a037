"""Attention crop and drop: the reference's numbers, the loop version, and maps that are hard to use."""

import pytest
import torch
from torch.nn.functional import interpolate

from models.attention import attention_boxes, attention_crop, attention_drop, attention_mask

MEAN = torch.tensor([0.4479, 0.3744, 0.3473]).view(3, 1, 1)
STD = torch.tensor([0.2537, 0.2502, 0.2424]).view(3, 1, 1)


def crop_in_a_loop(images, maps, theta, padding):
    """The plain form: image by image, box by nonzero, cut out and interpolated."""
    height, width = images.shape[2:]
    crops = []
    for image, attention, limit in zip(images, maps, theta.tolist(), strict=True):
        upsampled = interpolate(attention[None], (height, width), mode="bilinear", align_corners=True)[0, 0]
        places = torch.nonzero(upsampled >= limit * attention.max())
        low, high = places.min(dim=0).values.tolist(), places.max(dim=0).values.tolist()
        y1, y2 = max(int(low[0] - padding * height), 0), min(int(high[0] + padding * height), height)
        x1, x2 = max(int(low[1] - padding * width), 0), min(int(high[1] + padding * width), width)
        cut = image[None, :, y1:y2, x1:x2]
        crops.append(interpolate(cut, size=(height, width), mode="bilinear", align_corners=True))
    return torch.cat(crops)


@pytest.fixture
def images_and_maps():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(6, 3, 61, 83, generator=generator), torch.rand(6, 1, 5, 7, generator=generator) ** 4


def test_crops_and_drops_equal_the_golden_ones(golden):
    values = golden("classifiers")
    images = (torch.from_numpy(values["faces_rgb_0_1"]).float() / 255 - MEAN) / STD
    maps = torch.from_numpy(values["wsdan-xception__attention_maps_all"])
    for name, ours in (
        ("crop_theta0.1_pad0.05", attention_crop(images, maps.mean(dim=1, keepdim=True), 0.1, 0.05)),
        ("crop_theta0.5_pad0.1", attention_crop(images, maps[:, 3:4], 0.5, 0.1)),
        ("drop_theta0.5", attention_drop(images, maps[:, 5:6], 0.5)),
    ):
        expected = torch.from_numpy(values[f"batch_augment__{name}"])
        assert torch.allclose(ours[:, :, ::4, ::4], expected, atol=1e-4), name


@pytest.mark.parametrize("padding", [0.05, 0.1])
def test_the_batched_crop_equals_the_loop(images_and_maps, padding):
    images, maps = images_and_maps
    theta = torch.linspace(0.1, 0.9, 6)
    ours = attention_crop(images, maps, theta, padding)
    assert torch.allclose(ours, crop_in_a_loop(images, maps, theta, padding), atol=1e-5)


def test_the_drop_blanks_the_peak_and_nothing_else(images_and_maps):
    images, _ = images_and_maps
    maps = torch.zeros(6, 1, 5, 7)
    maps[:, 0, 2, 3] = 1.0
    dropped = attention_drop(images, maps, 0.5)
    blank = (dropped == 0).all(dim=1)
    assert blank[:, 30, 41].all() and not blank[:, 0, 0].any() and not blank[:, -1, -1].any()
    assert torch.equal(dropped[:, :, :10], images[:, :, :10])


def test_a_map_of_zeros_crops_the_whole_image_and_drops_all_of_it(images_and_maps):
    images, maps = images_and_maps
    assert torch.allclose(attention_crop(images, maps * 0, 0.5, 0.1), images, atol=1e-5)
    assert not attention_drop(images, maps * 0, 0.5).any()


def test_a_map_of_nan_means_the_whole_image(images_and_maps):
    images, maps = images_and_maps
    lost = torch.full_like(maps, float("nan"))
    assert torch.allclose(attention_crop(images, lost, 0.5, 0.1), images, atol=1e-5)
    assert torch.equal(attention_drop(images, lost, 0.5), images)


def test_boxes_hold_a_pixel_even_in_tiny_images():
    maps = torch.zeros(1, 1, 4, 4)
    maps[..., 0, 0] = 1.0
    x1, y1, x2, y2 = attention_boxes(maps, 0.99, (4, 4), 0.05)[0].tolist()
    assert (x1, y1) == (0, 0) and x2 >= 1 and y2 >= 1


def test_each_image_has_its_own_threshold():
    maps = torch.rand(2, 1, 4, 4)
    masks = attention_mask(maps, torch.tensor([0.2, 0.9]), (16, 16))
    assert torch.equal(masks[:1], attention_mask(maps[:1], 0.2, (16, 16)))
    assert torch.equal(masks[1:], attention_mask(maps[1:], 0.9, (16, 16)))


def test_no_gradient_flows_through_box_or_mask():
    maps = torch.rand(1, 1, 4, 4, requires_grad=True)
    images = torch.randn(1, 3, 16, 16)
    assert not attention_crop(images, maps, 0.5, 0.1).requires_grad
    assert not attention_drop(images, maps, 0.5).requires_grad
