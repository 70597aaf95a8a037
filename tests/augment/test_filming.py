"""Video encoders in memory, and still faces made to look as if taken from a compressed video."""

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio as psnr

from utils.augment.codecs import DECODERS, video_coded
from utils.augment.filming import Filmed, face_share, moved
from utils.augment.recipes import augmentation
from utils.weights.preprocess import Preprocess

WINDOW = Preprocess(128, (0.5,) * 3, (0.5,) * 3, (76, 100, 244, 268))


def film(image: np.ndarray, seed: int, **settings) -> np.ndarray:
    settings = {"crf": (24, 42), "quantiser": (3, 16), "scale": (0.13, 0.7), **settings}
    transform = Filmed(**settings, p=1.0)
    transform.set_random_seed(seed)
    return transform(image=image)["image"]


@pytest.mark.parametrize("encoder", DECODERS)
@pytest.mark.parametrize("size", [(64, 48), (63, 49), (16, 200)])
def test_as_many_frames_come_out_in_their_order(encoder, size):
    greys = [40, 200, 90, 150, 60]
    frames = (np.full((*size, 3), grey, np.uint8) for grey in greys)
    coded = list(video_coded(frames, encoder, 20 if encoder == "libx264" else 4))
    assert [frame.shape for frame in coded] == [(*size, 3)] * 5
    np.testing.assert_allclose([frame.mean() for frame in coded], greys, atol=4)
    assert list(video_coded(iter([]), encoder, 20)) == []


def test_odd_sides_repeat_their_edge_and_what_does_not_fit_is_refused():
    slope = np.tile(np.linspace(60, 220, 49).astype(np.uint8)[None, :, None], (63, 1, 3))
    for encoder in DECODERS:
        [coded] = video_coded([slope], encoder, 4)
        np.testing.assert_allclose(coded[:, -1].mean(), 220, atol=5)  # not mixed with black
        np.testing.assert_allclose(coded[-1].mean(), slope[-1].mean(), atol=3)
        with pytest.raises(ValueError, match="a frame of"):
            list(video_coded([slope, slope[:-3]], encoder, 4))
        for quality in (-1, 52):
            with pytest.raises(ValueError, match=f"{encoder} is .*, not {quality}"):
                list(video_coded([slope], encoder, quality))


@pytest.mark.parametrize("encoder, qualities", [("libx264", (20, 30, 40)), ("mpeg4", (3, 8, 20))])
def test_stronger_compression_loses_more_and_colours_stay(face, encoder, qualities):
    coded = [list(video_coded([face[..., ::-1], face], encoder, quality))[-1] for quality in qualities]
    losses = [psnr(face, image) for image in coded]
    assert losses[0] > losses[1] > losses[2] > 20
    np.testing.assert_allclose(coded[0].mean((0, 1)), face.mean((0, 1)), atol=3)  # red is still red


def test_frames_are_given_out_as_they_come_in(face):
    """A long clip is never held in memory: after the tenth frame in, the first are out."""
    taken = []

    def clip():
        for index in range(40):
            taken.append(index)
            yield face

    next(video_coded(clip(), "libx264", 30))
    assert len(taken) <= 10


@pytest.mark.parametrize("shape", [(320, 320), (224, 224), (97, 61)])
def test_same_seed_same_picture_and_the_input_is_left_alone(face, shape):
    image = np.ascontiguousarray(face[: shape[0], : shape[1]])
    before = image.copy()
    pictures = [film(image, seed) for seed in (3, 3, 4)]
    assert pictures[0].shape == image.shape and pictures[0].dtype == np.uint8
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])
    assert np.array_equal(image, before)


def test_the_face_lies_where_it_lay(face):
    """However it moved before: the last frame is the picture itself, for the labels of its pixels hold."""
    shifts = []
    for seed in range(20):
        pictures = (face, film(face, seed, crf=(20, 20), quantiser=(2, 2), scale=(0.5, 0.5)))
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in pictures]
        shifts.append(cv2.phaseCorrelate(*grey)[0])
    assert np.abs(shifts).max() < 1.5  # pixels of 320


def test_a_face_that_turns_is_blurred_and_what_is_still_isnt():
    """Against a clip in which nothing moves, of the same picture with fine detail everywhere."""
    rng = np.random.default_rng(0)
    fine = cv2.GaussianBlur(rng.normal(128, 60, (224, 224, 3)), (0, 0), 1.5).clip(0, 255).astype(np.uint8)
    share = face_share((224, 224), (0.5, 0.5, 0.3))

    def errors(motion: list[float]) -> tuple[float, float]:
        clip = [moved(fine, share, [ago * step for step in motion]) for ago in range(5, -1, -1)]
        *_, last = video_coded(clip, "libx264", 36)
        error = np.abs(last.astype(int) - fine).mean(2)
        return error[share == 1].mean(), error[share == 0].mean()

    (turned, beside), (still, ground) = errors([0.01, 0, 0.06, 0.03]), errors([0, 0, 0, 0])
    assert turned > 1.2 * still and beside < 1.1 * ground


def mean_psnr(image: np.ndarray, **settings) -> float:
    """Of 20 pictures filmed with these settings, to the picture itself."""
    return float(np.mean([psnr(image, film(image, seed, **settings)) for seed in range(20)]))


def test_each_setting_does_what_it_says(face):
    """The margins are about half of what was measured."""
    face = cv2.resize(face, (224, 224), interpolation=cv2.INTER_AREA)
    best, worst = {"crf": (18, 18), "quantiser": (2, 2)}, {"crf": (42, 42), "quantiser": (16, 16)}
    assert mean_psnr(face, **best) > mean_psnr(face, **worst) + 3
    assert mean_psnr(face, scale=(0.6, 0.6)) > mean_psnr(face, scale=(0.13, 0.13)) + 3
    share = face_share((224, 224), (0.5, 0.5, 0.4))
    turning, still = (
        np.stack([film(face, seed, scale=(0.5, 0.5), motion=motion) for seed in range(20)]).astype(int)
        for motion in (0.03, 0)
    )
    change = np.abs(turning - still).mean(axis=(0, 3))  # (H, W)
    assert change[share == 1].mean() > 1.5 * change[share == 0].mean()


def test_only_the_face_moves_unless_all_does(face):
    share = face_share(face.shape[:2], (0.5, 0.5, 0.3))
    assert share.min() == 0 and share[160, 160] == 1 and share[0, 0] == 0
    motion = [0.05, 0, 0, 0]
    inner = moved(face, share, motion)
    assert np.array_equal(inner[share == 0], face[share == 0])
    assert not np.array_equal(inner[share == 1], face[share == 1])
    whole = moved(face, None, motion)
    np.testing.assert_allclose(whole[:, 16:].astype(int), face[:, :-16], atol=1)  # 0.05 of 320 to the right
    assert np.array_equal(moved(face, share, [0, 0, 0, 0]), face)


def test_the_recipe_is_recognisable_and_wears_real_faces_more_often(face):
    plain = WINDOW.resize(face)

    def lost(label: int) -> float:
        augment, bundled = augmentation("filmed"), augmentation("bundled")
        detail = [
            [
                cv2.Laplacian(recipe(face, WINDOW, np.random.default_rng(seed), label), cv2.CV_64F).std()
                for seed in range(120)
            ]
            for recipe in (augment, bundled)
        ]
        return float((np.array(detail[0]) < np.quantile(detail[1], 0.1)).mean())

    assert lost(0) > 1.2 * lost(1) > 0.12
    assert np.median([psnr(plain, film(plain, seed)) for seed in range(20)]) > 20
    [worn] = augmentation("filmed").worn.transforms
    assert any(isinstance(transform, Filmed) for transform in worn.transforms)
