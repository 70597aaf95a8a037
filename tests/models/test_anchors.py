"""Anchors and what is decoded from them: reference values, and a case by hand."""

import math

import numpy as np
import pytest
import torch

from models.retinaface import anchors, decode_boxes, decode_landmarks


def test_anchors_are_the_reference_s(golden):
    values = golden("retinaface")
    assert np.array_equal(anchors(193, 251).numpy(), values["priors_193x251"])
    of_1080p = anchors(1080, 1920).double().numpy()
    total, first, last = values["priors_1080x1920_sum_first_last"]
    assert len(of_1080p) == 2 * (135 * 240 + 68 * 120 + 34 * 60)
    np.testing.assert_allclose(of_1080p.sum(0), total, rtol=1e-7)
    np.testing.assert_allclose([of_1080p[0], of_1080p[-1]], [first, last], rtol=1e-7)


def test_anchors_need_a_frame_and_their_cache_is_bounded():
    for height, width in ((0, 10), (10, 0)):
        with pytest.raises(ValueError, match="no anchors"):
            anchors(height, width)
    assert anchors(60, 80) is anchors(60, 80)
    for size in range(1, 40):
        anchors(size, size)
    assert anchors.cache_info().currsize <= 16


def test_decoding_gives_the_reference_s_pixels(golden):
    values = golden("retinaface")
    loc, landms = (
        torch.from_numpy(values[f"retinaface-mobilenet0.25/{name}"][0]) for name in ("loc", "landms")
    )
    boxes = decode_boxes(loc, anchors(193, 251)).numpy() * [251, 193, 251, 193]
    points = decode_landmarks(landms, anchors(193, 251)).numpy() * [251, 193]
    np.testing.assert_allclose(boxes, values["retinaface-mobilenet0.25/boxes_px"], atol=1e-3)
    np.testing.assert_allclose(
        points.reshape(-1, 10), values["retinaface-mobilenet0.25/landms_px"], atol=1e-3
    )


def test_decoding_by_hand():
    prior = torch.tensor([[0.5, 0.4, 0.2, 0.1]])
    box = decode_boxes(torch.tensor([[1.0, -2.0, 5 * math.log(2), 0.0]]), prior)
    assert torch.allclose(box, torch.tensor([[0.32, 0.33, 0.72, 0.43]]))
    points = decode_landmarks(torch.arange(10.0).view(1, 10), prior)
    assert torch.allclose(points[0, 0], torch.tensor([0.5, 0.41]))
    assert torch.allclose(points[0, 4], torch.tensor([0.66, 0.49]))
