"""Fakes made of a set's real faces: of two people, repeatable, and only where they fit."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scripts import load_script
from small_config import write_config, write_weights

from utils.augment.swapping import BLENDS, swap_crop
from utils.core.errors import DataError
from utils.evaluation.measures import labelled_faces
from utils.evaluation.swaps import ALIKE, FURTHEST_COLOUR, Look, fits, look_of, swapped_faces
from utils.faces.align import TEMPLATE

ROOT = Path(__file__).resolve().parents[2]


def picture(seed: int, level: int = 120) -> np.ndarray:
    """Something like a face's light and dark, (320, 320, 3) uint8, other features for each seed."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (20, 20, 1)) * np.ones(3)
    return (level + 40 * cv2.resize(noise, (320, 320), interpolation=cv2.INTER_CUBIC)).astype(np.uint8)


def write_set(folder: Path, pictures: list[np.ndarray], fakes: int = 2, per_video: int = 1) -> list:
    """Crops and a list of real videos, `per_video` pictures each, and of fake ones: (list, crops, set)."""
    pairs = []
    for k in range(len(pictures) // per_video + fakes):
        (folder / "faces" / f"v{k:02d}").mkdir(parents=True)
        fake = k * per_video >= len(pictures)
        for number in range(per_video):
            image = picture(1000 + k) if fake else pictures[k * per_video + number]
            cv2.imwrite(str(folder / "faces" / f"v{k:02d}" / f"{number:03d}.png"), image)
        pairs.append([f"v{k:02d}", int(fake)])
    (folder / "dfdc.json").write_text(json.dumps({"valid": pairs}))
    return [folder / "dfdc.json", folder / "faces", "valid"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list:
    """Sixteen real videos, each of other features, and four fake ones."""
    return write_set(tmp_path_factory.mktemp("set"), [picture(k) for k in range(16)], fakes=4)


def test_reals_stay_and_each_fake_is_a_swap_with_another_video(data):
    faces, plain = swapped_faces(*data, seed=3), labelled_faces(*data)
    assert faces.labels.tolist() == [0] * 16 + [1] * (len(faces) - 16) and len(faces) > 26
    assert faces.paths[:16] == [plain.paths[place] for place in np.flatnonzero(plain.labels == 0)]
    for place, swap in enumerate(faces.swaps):
        image = plain.face(plain.paths.index(faces.paths[place]))
        if swap is None:
            assert place < 16 and np.array_equal(faces.face(place), image)
            continue
        donor = plain.face(plain.paths.index(swap.donor))
        assert swap.donor.parent != faces.paths[place].parent
        assert plain.labels[plain.paths.index(swap.donor)] == 0
        made = swap_crop(image, donor, swap.blend, np.random.default_rng(swap.seed))
        assert np.array_equal(faces.face(place), made) and not np.array_equal(made, image)
    assert {swap.blend for swap in faces.swaps if swap} == set(BLENDS)
    batches = np.concatenate([batch for batch, _ in faces.batches(5)])
    assert np.array_equal(batches[20], faces.face(20))


def test_fakes_depend_on_the_seed_and_not_on_the_limit(data):
    def swaps(**arguments):
        faces = swapped_faces(*data, **arguments)
        return {path.parent.name: swap for path, swap in zip(faces.paths, faces.swaps, strict=True) if swap}

    whole, part = swaps(seed=1), swaps(seed=1, limit=8)
    assert whole == swaps(seed=1) and whole != swaps(seed=2)
    assert 0 < len(part) <= 6 and part.items() <= whole.items()
    assert len({swap.seed for swap in whole.values()}) == len(whole)


def test_groups_are_all_reals_and_the_fakes_of_one_kind(data):
    faces = swapped_faces(*data)
    groups = faces.groups()
    assert list(groups) == ["swapped by Poisson", "swapped by soft mask"]
    assert [*map(len, groups.values())] == [
        16 + sum(swap is not None and swap.blend == blend for swap in faces.swaps) for blend in BLENDS
    ]
    assert all((faces.labels[places] == 0).sum() == 16 for places in groups.values())
    assert labelled_faces(*data).groups() == {}


@pytest.mark.parametrize("pictures, per_video", [
    ([picture(1)] * 4, 1),  # one person in all of them, it seems
    ([picture(1, 60), picture(2, 190)], 1),  # too far apart in colour
    ([picture(1), picture(2)], 2),  # two crops of one video
    ([picture(1)], 1),
])  # fmt: skip
def test_sets_without_two_faces_that_fit_are_refused(tmp_path, pictures, per_video):
    arguments = write_set(tmp_path, pictures, per_video=per_video)
    with pytest.raises(DataError, match="none of .* real faces fits another.*--fakes labelled"):
        swapped_faces(*arguments, per_video=per_video)


def test_a_limit_without_a_face_that_fits_is_not_told_of_the_whole_set(tmp_path):
    one, other = (write_set(tmp_path / name, pictures) for name, pictures in (
        ("fit", [picture(k) for k in range(6)]), ("none", [picture(9)] * 6)))  # fmt: skip
    assert len(swapped_faces(*one, limit=2)) == 2
    with pytest.raises(DataError, match="none of 1 real faces fits another of its 6,"):
        swapped_faces(*other, limit=2)


def look(colour=(50.0, 10.0, 10.0), landmarks=TEMPLATE, seed=0) -> Look:
    pattern = np.random.default_rng(seed).normal(size=884)
    return Look(np.array(colour), landmarks, (pattern - pattern.mean()) / pattern.std())


def test_what_fits():
    assert fits(look(), look(seed=1))
    assert not fits(look(), look(seed=0))
    assert not fits(look(), look((50 + 1.1 * FURTHEST_COLOUR, 10, 10), seed=1))
    assert fits(look(), look(landmarks=TEMPLATE + (3, 3), seed=1))
    assert not fits(look(), look(landmarks=TEMPLATE + (0, 8), seed=1))


def test_the_same_face_in_other_light_is_known_again():
    one, other = (look_of(picture(5, level), TEMPLATE) for level in (90, 130))
    darker = look_of((picture(5) * 0.5).astype(np.uint8), TEMPLATE)
    assert np.mean(one.pattern * other.pattern) > 0.9 > ALIKE
    assert np.mean(one.pattern * darker.pattern) > 0.9
    assert abs(np.mean(one.pattern * look_of(picture(6), TEMPLATE).pattern)) < ALIKE


def test_faces_that_are_turned_or_cut_off_are_neither_donor_nor_target():
    turned = TEMPLATE.copy()
    turned[2] += (20, 0)
    assert look_of(picture(1), TEMPLATE) is not None
    assert look_of(picture(1), turned) is None
    cut = picture(1)
    cut[:, :130] = 0
    assert look_of(cut, TEMPLATE) is None
    assert look_of(np.zeros_like(cut), TEMPLATE) is None
    cut = picture(1)
    cut[:, :98] = 0
    assert look_of(cut, TEMPLATE) is not None


def test_the_tool_measures_swaps_under_corruptions(data, tmp_path, capsys):
    tool = load_script("evaluate.py")
    config = write_config(tmp_path / "conf.py", write_weights(tmp_path / "w.safetensors"))
    arguments = ["--config", str(config), "--list", str(data[0]), "--faces", str(data[1]), "--set", data[2]]
    output = tmp_path / "swaps"
    more = ["--fakes", "swapped", "--limit", "8", "--corruptions", "blur", "--output", str(output)]
    assert tool.main(["faces", *arguments, *more]) == 0
    said = capsys.readouterr().out
    data = json.loads((tmp_path / "swaps.json").read_text())
    assert "6 real faces, and" in said and "face swaps made of them" in data["faces"]
    assert data["fakes"] == "swapped"
    assert {"plain", "blur, sigma 4 pixels"} <= data["figures"].keys()
    assert any(name.startswith("plain, swapped by ") for name in data["figures"])
