"""Preprocessing: the published numbers, and scoring and training that see the same pixels."""

import json

import cv2
import numpy as np
import pytest
import torch

from utils.core.errors import DataError, WeightsError
from utils.weights.preprocess import PREPROCESS_KEY, PUBLISHED, Preprocess, preprocess_of

WINDOWED = Preprocess(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (60, 70, 260, 270))


@pytest.fixture(scope="module")
def faces():
    """Three smooth and one noisy image, uint8 (4, 320, 320, 3)."""
    rng = np.random.default_rng(0)
    smooth = [cv2.resize(rng.integers(0, 256, (20, 20, 3), np.uint8), (320, 320)) for _ in range(3)]
    return np.stack([*smooth, rng.integers(0, 256, (320, 320, 3), np.uint8)])


def pixels(preprocess, images):
    """Network input (B, 3, H, W) back to grey levels 0..255."""
    mean, std = np.reshape(preprocess.mean, (3, 1, 1)), np.reshape(preprocess.std, (3, 1, 1))
    return (images.numpy() * std + mean) * 255


@pytest.mark.parametrize("preprocess", [*PUBLISHED.values(), WINDOWED, Preprocess(256, *[(0.5,) * 3] * 2)])
def test_training_and_scoring_agree_within_a_grey_level(preprocess, faces):
    scored = preprocess.batch(torch.from_numpy(faces))
    resized = np.stack([preprocess.resize(face) for face in faces])
    trained = preprocess.normalised(torch.from_numpy(resized))
    assert scored.shape == trained.shape == (4, 3, preprocess.size, preprocess.size)
    assert scored.dtype == trained.dtype == torch.float32
    assert np.abs(pixels(preprocess, scored) - pixels(preprocess, trained)).max() <= 1.0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_training_s_numbers_are_those_of_float32_to_the_last_bit(layout):
    """So a run that is gone on with sees what it saw before."""
    for preprocess in PUBLISHED.values():
        image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
        expected = (image.astype(np.float32) / 255 - np.float32(preprocess.mean)) / np.float32(preprocess.std)
        images = preprocess.normalised(torch.from_numpy(image)[None], layout)
        assert images.is_contiguous(memory_format=layout)
        assert np.array_equal(images[0].permute(1, 2, 0).numpy(), expected)


def test_published_xception_numbers(faces):
    images = torch.from_numpy(faces).permute(0, 3, 1, 2) / 255
    expected = (torch.nn.functional.interpolate(images, (299, 299), mode="bilinear") - 0.5) * 2
    torch.testing.assert_close(PUBLISHED["xception"].batch(torch.from_numpy(faces)), expected)


def test_published_wsdan_numbers(faces):
    mean, std = np.array([0.4479, 0.3744, 0.3473]), np.array([0.2537, 0.2502, 0.2424])
    expected = torch.from_numpy((faces / 255 - mean) / std).permute(0, 3, 1, 2)
    batch = PUBLISHED["wsdan-xception"].batch(torch.from_numpy(faces))
    np.testing.assert_allclose(batch, expected, atol=1e-5)
    smaller = torch.nn.functional.interpolate(expected.float(), (300, 300), mode="bilinear")
    torch.testing.assert_close(PUBLISHED["wsdan-efficientnet-b3"].batch(torch.from_numpy(faces)), smaller)


def test_the_window_is_cut_before_scaling(faces):
    plain = Preprocess(200, (0.0,) * 3, (1.0,) * 3, (60, 70, 260, 270))
    cut = faces[:, 70:270, 60:260]
    np.testing.assert_array_equal(plain.resize(faces[3]), cut[3])
    batch = plain.batch(torch.from_numpy(faces))
    np.testing.assert_allclose(batch, cut.transpose(0, 3, 1, 2) / 255, atol=1e-6)


def test_batched_equals_single(faces):
    batch = torch.from_numpy(faces)
    singles = torch.cat([WINDOWED.batch(batch[index : index + 1]) for index in range(len(faces))])
    torch.testing.assert_close(WINDOWED.batch(batch), singles, rtol=0, atol=0)
    assert WINDOWED.batch(batch[:0]).shape == (0, 3, 224, 224)


def test_a_window_needs_an_aligned_face():
    with pytest.raises(DataError, match="a crop of 224x200 pixels"):
        WINDOWED.resize(np.zeros((200, 224, 3), np.uint8))
    whole = Preprocess(64, (0.5,) * 3, (0.5,) * 3)
    assert whole.resize(np.zeros((200, 224, 3), np.uint8)).shape == (64, 64, 3)


@pytest.mark.parametrize("preprocess", [*PUBLISHED.values(), WINDOWED])
def test_metadata_round_trip(preprocess):
    assert Preprocess.from_metadata(preprocess.to_metadata()) == preprocess
    assert preprocess_of("xception", {PREPROCESS_KEY: preprocess.to_metadata()}) == preprocess
    assert preprocess_of("xception", {}) == PUBLISHED["xception"]


OTHER = [
    '{"size": "big", "mean": [0], "std": [1], "window": null}',
    WINDOWED.to_metadata().replace("bilinear", "bicubic"),
]


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", *OTHER])
def test_unknown_metadata_is_refused(text):
    with pytest.raises(WeightsError, match="'preprocess' can't be understood"):
        Preprocess.from_metadata(text)


@pytest.mark.parametrize("changed", [
    {"size": 0}, {"size": 10**6}, {"size": 10}, {"window": [5, 5, 5, 5]}, {"window": [0, 0, 999, 999]},
    {"std": [0, 1, 1]}, {"mean": [float("nan"), 0, 0]}, {"size": float("inf")}])
def test_metadata_that_no_network_could_be_fed_by_is_refused(changed):
    text = json.dumps({**json.loads(Preprocess(224, (0.5,) * 3, (0.5,) * 3).to_metadata()), **changed})
    with pytest.raises(WeightsError, match="can't be understood"):
        Preprocess.from_metadata(text)
