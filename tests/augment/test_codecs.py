"""Codecs in memory: what comes out is what went in, less so the stronger they compress."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio as psnr

from utils.augment.codecs import DECODERS, video_coded


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
