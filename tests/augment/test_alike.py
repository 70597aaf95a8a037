"""The augmentation "alike": the same transform for all, and what it leaves alone."""

import numpy as np
import pytest

from utils.augment.alike import EFFECTS, Alike, Transform, place, reach
from utils.weights.preprocess import Preprocess

PREPROCESS = Preprocess(224, (0.5,) * 3, (0.5,) * 3, (76, 100, 244, 268))


class Undrawn:
    """A generator that draws what changes nothing: no place, no mirror, no damage."""

    def random(self) -> float:
        return 0.99


def test_without_anything_drawn_it_is_what_scoring_does(face):
    image = Transform(place(PREPROCESS, Undrawn()), 224, ())(face)
    away = np.abs(image.astype(int) - PREPROCESS.resize(face))
    assert away.mean() < 0.5 and away.max() <= 10  # places are rounded to 1/32 of a pixel


def test_the_same_generator_state_gives_the_same_picture(face):
    one, again, other = (Alike()(face, PREPROCESS, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert one.shape == (224, 224, 3) and one.dtype == np.uint8


def test_a_transform_gives_the_same_however_often_it_is_used(face):
    for seed in range(20):
        transform = Alike().draw(PREPROCESS, np.random.default_rng(seed))
        assert np.array_equal(transform(face), transform(face))


def test_a_part_of_the_face_is_enough(face):
    """What augmentation may reach lies in `reach`, but for what a large turn takes from further out."""
    x1, y1, x2, y2 = reach(PREPROCESS)
    part = np.ascontiguousarray(face[y1:y2, x1:x2])
    for seed in range(20):
        matrix = place(PREPROCESS, np.random.default_rng(seed))
        whole, cut = (
            Transform(matrix, 224, ())(image, at) for image, at in ((face, (0, 0)), (part, (x1, y1)))
        )
        assert (np.abs(whole.astype(int) - cut).max(axis=2) > 2).mean() < 0.01


@pytest.mark.parametrize("name", EFFECTS)
def test_every_effect_keeps_size_and_type_and_changes_something(face, name):
    draw, apply = EFFECTS[name]
    image = np.ascontiguousarray(face[:224, :224])
    for seed in range(5):
        changed = apply(image, *draw(np.random.default_rng(seed)))
        assert changed.shape == image.shape and changed.dtype == np.uint8
        assert not np.array_equal(changed, image)


def test_what_is_kept_to_measure_with_is_not_drawn():
    rates = {EFFECTS["h264"][0](np.random.default_rng(seed))[0] for seed in range(200)}
    assert max(rates) < 28 and not any("means" in name for name in EFFECTS)
