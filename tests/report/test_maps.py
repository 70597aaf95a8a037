"""What the report shows of a face: activations that add up to the answer, attention crop and drop."""

import base64

import cv2
import numpy as np
import pytest
import torch
from fill import fill
from small_config import SMALL

from models.attention import attention_crop
from utils.report.maps import activation_map, crop_and_drop, show_faces
from utils.report.overlays import attention_colours, blended, coloured, placed
from utils.scoring.aggregate import Detail
from utils.scoring.ensemble import Ensemble, Member
from utils.weights.networks import build_network
from utils.weights.preprocess import Preprocess
from utils.weights.runtime import fold_batch_norms

WINDOW = (76, 100, 244, 268)


@pytest.fixture(scope="module")
def ensemble():
    wide, tight = SMALL, Preprocess(128, (0.5,) * 3, (0.5,) * 3, WINDOW)
    nets = [fold_batch_norms(fill(build_network(name))) for name in ("xception", "wsdan-xception")]
    return Ensemble([Member(nets[0], wide, 0.5), Member(nets[1], tight, 0.5)])


@pytest.fixture(scope="module")
def detail(face):
    detail = Detail(most=1)
    for probability, crop in ((0.4, face[::-1]), (0.9, face), (0.1, 255 - face), (0.5, face)):
        detail.add(probability, np.ascontiguousarray(crop))
    return detail


@pytest.mark.parametrize("size", [96, 200])
def test_the_mean_of_the_class_activation_map_and_the_bias_are_the_answer(face, ensemble, size):
    net = ensemble.members[0].net
    images = Preprocess(size, (0.5,) * 3, (0.5,) * 3).batch(torch.from_numpy(np.stack([face, face[::-1]])))
    with torch.inference_mode():
        logits, maps = net(images), activation_map(net, images)
    bias = net.last_linear.bias
    answer = maps.mean(dim=(1, 2, 3)) + bias[1] - bias[0]
    torch.testing.assert_close(answer, logits[:, 1] - logits[:, 0], rtol=1e-4, atol=1e-4)
    assert maps.std() > 1e-3


def test_the_faces_shown_are_the_extreme_ones_and_each_network_has_its_view(detail, ensemble, face):
    shown = show_faces(detail, ensemble, ["xception", "wsdan-xception"])
    assert [one["place"] for one in shown] == [1, 2]
    high = shown[0]
    assert high["region"] == [0, 0, 320, 320]  # Xception sees all of it
    jpeg = np.frombuffer(base64.b64decode(high["picture"]), np.uint8)
    picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[:, :, ::-1]
    assert picture.shape == (192, 192, 3)
    assert np.abs(picture.astype(int) - cv2.resize(face, (192, 192), interpolation=cv2.INTER_AREA)).mean() < 6
    activation, attention = high["views"]
    assert activation["kind"] == "activation" and np.array(activation["map"]).shape == (3, 3)
    assert attention["kind"] == "attention" and attention["window"] == list(WINDOW)
    maps = np.array(attention["maps"])
    assert maps.shape == (8, 4, 4) and maps.min() >= 0
    assert attention["peak"] == maps.max(axis=(1, 2)).argmax()


def test_of_the_ensemble_that_scores_nothing_changes(detail, ensemble, face):
    faces = face[None].copy()
    before = ensemble.predict_each(faces)
    show_faces(detail, ensemble, ["xception", "wsdan-xception"])
    np.testing.assert_array_equal(ensemble.predict_each(faces), before)


def test_crop_and_drop_are_those_of_the_training_in_pixels_of_the_face():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 2, 5] = 1.0
    [box], [outlines] = crop_and_drop(maps, 168, WINDOW)
    x1, y1, x2, y2 = box
    middle_x, middle_y = 76 + 5 / 7 * 167, 100 + 2 / 7 * 167
    assert x1 < middle_x < x2 and y1 < middle_y < y2 and x1 >= 76 and y2 <= 268
    rows = torch.arange(168.0).expand(1, 1, 168, 168)  # a picture whose columns say where they are
    cropped = attention_crop(rows, maps, 0.5, 0.1)[0, 0, 0]
    assert cropped[0].item() + 76 == pytest.approx(x1, abs=0.1)
    assert cropped[-1].item() + 77 == pytest.approx(x2, abs=0.1)
    [outline] = outlines
    near = np.array(outline) - [middle_x, middle_y]
    assert np.abs(near).max() < 167 / 7  # within a cell of the peak
    assert np.abs(np.abs(near).max(axis=0) - 167 / 14).max() < 3  # half of it is where the map halves


def test_a_map_that_is_empty_has_all_of_the_window_as_crop():
    [box], _ = crop_and_drop(torch.zeros(1, 1, 4, 4), 96, (0, 0, 320, 320))
    assert box == [0, 0, 320, 320]


def test_colours_lie_where_the_map_is_high(face):
    values = np.zeros((4, 4))
    values[0, 3] = 2.0
    colours = attention_colours(values)
    assert colours[0, 3, 3] > 150 and (np.delete(colours[..., 3].ravel(), 3) == 0).all()
    changed = np.abs(blended(face, colours).astype(int) - face).sum(axis=2)
    assert changed[:80, 240:].mean() > 20 and (changed[160:] == 0).all()
    signs = coloured(np.array([[1.0, -1.0]]), 1.0, (255, 0, 0), (0, 0, 255))
    assert signs[0, 0, :3].tolist() == [255, 0, 0] and signs[0, 1, :3].tolist() == [0, 0, 255]
    assert (attention_colours(np.zeros((2, 2)))[..., 3] == 0).all()


def test_a_map_is_placed_with_its_outer_cells_on_the_window_edges():
    x, y, width, height = placed((10, 20, 110, 220), height=5, width=3)
    assert (x + width / 6, x + width * 5 / 6) == pytest.approx((10, 110))
    assert (y + height / 10, y + height * 9 / 10) == pytest.approx((20, 220))
