"""Groups of one face and its fakes: what they share, what they are made of, and what never gets in."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from utils.core.errors import DataError
from utils.data.batches import collate
from utils.data.groups import GroupedFaces, Stream, shared_out
from utils.data.meshes import Meshes
from utils.data.sampling import SampleKey
from utils.data.sources import find_pairs, read_source, refuse_overlap
from utils.faces.mesh import POINTS
from utils.weights.preprocess import Preprocess

PREPROCESS = Preprocess(96, (0.5,) * 3, (0.5,) * 3, (76, 100, 244, 268))
REALS, FAKES, VAL = 6, 5, 2


@pytest.fixture(scope="module")
def crops(tmp_path_factory, face):
    """Real faces of a place, fakes of all but one, and two more reals to validate on; a list and labels."""
    root = tmp_path_factory.mktemp("groups")
    rows, labels = [], []
    for k in range(REALS + FAKES + VAL):
        fake = REALS <= k < REALS + FAKES
        name, original = f"v{k}", f"v{k - REALS}" if fake else f"v{k}"
        rng = np.random.default_rng(k)
        picture = cv2.warpAffine(
            face, cv2.getRotationMatrix2D((160, 180), rng.uniform(-4, 4), rng.uniform(0.9, 1.1)), (320, 320),
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        (root / "faces" / name).mkdir(parents=True)
        cv2.imwrite(str(root / "faces" / name / "000.png"), 255 - picture if fake else picture)
        rows.append((name, int(fake), 1, "train" if k < REALS + FAKES else "val"))
        labels.append((name, int(fake), original))
    pd.DataFrame(rows, columns=["name", "is_fake", "n_frame", "set_name"]).to_csv(root / "l.csv", index=False)
    pd.DataFrame(labels, columns=["name", "is_fake", "original"]).to_csv(root / "o.csv", index=False)
    return root


@pytest.fixture(scope="module")
def source(crops):
    return read_source(crops / "l.csv", crops / "faces", ("train",), str(crops / "o.csv"))


def groups(source, *kinds, length=12, seed=0, meshes=None) -> GroupedFaces:
    return GroupedFaces([Stream(kind, source, 1.0) for kind in kinds], length, PREPROCESS, seed, meshes)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("fake", [0, 1]),
        ("blend", [0, 1]),
        ("swap", [0, 1]),
        ("trio", [0, 1, 1]),
    ],
)
def test_a_group_is_one_real_face_and_its_fakes(source, kind, labels):
    group = groups(source, kind)[SampleKey(0, 0)]
    assert group.labels.tolist() == labels
    assert group.images.shape == (len(labels), 96, 96, 3) and group.images.dtype == torch.uint8
    assert not group.broken


def test_a_swap_needs_two_faces(source):
    labels = np.ones_like(source.videos.labels)
    labels[source.reals[0]] = 0
    one = replace(source, videos=replace(source.videos, labels=labels))
    assert len(groups(one, "blend")) == 12
    with pytest.raises(DataError, match="'swap'"):
        groups(one, "swap")


def test_all_members_of_a_group_share_their_transform(source, monkeypatch):
    dataset = groups(source, "trio")
    drawn = []
    draw = dataset.augmentation.draw
    monkeypatch.setattr(
        dataset.augmentation, "draw", lambda *arguments: drawn.append(draw(*arguments)) or drawn[-1]
    )
    monkeypatch.setattr(
        dataset, "members", lambda *_: ([np.full((216, 216, 3), 90, np.uint8)] * 3, [0, 1, 1])
    )
    for index in range(len(dataset)):
        one, other, third = dataset[SampleKey(0, index)].images
        assert torch.equal(one, other) and torch.equal(one, third)
    assert len(drawn) == len(dataset) and len({transform.effects for transform in drawn}) > 3


@pytest.mark.parametrize("kind", ["blend", "trio"])
def test_the_real_of_a_self_blend_is_its_target(source, kind):
    """Beyond the mask, at the window's corners, the blend is the real one of its group to the last bit."""
    dataset = groups(source, kind)
    stream = dataset.streams[0]
    for place in range(len(stream)):
        faces, labels = dataset.members(stream, place, np.random.default_rng(place))
        real, blend = faces[0], faces[-1]
        assert (labels[0], labels[-1]) == (0, 1)
        changed = (real != blend).any(axis=2)
        assert changed.any()
        assert not changed[:8].any() and not changed[:, :8].any() and not changed[:, -8:].any()


@pytest.mark.parametrize("kind", ["blend", "trio", "swap"])
def test_masks_lie_where_the_mesh_of_the_face_is_and_else_on_its_landmarks(source, kind):
    at = np.array([(150, 220), (180, 220), (165, 250)])[np.arange(len(POINTS)) % 3]  # of the aligned face
    meshes = Meshes(["v0/000.png", "v1/000.png"], np.stack([at, at]).astype(np.int16))
    plain, known = groups(source, kind), groups(source, kind, meshes=meshes)
    x1, y1 = known.box[:2]
    for place in range(len(known.streams[0])):
        usual, found = (one.members(one.streams[0], place, np.random.default_rng(place))[0]
                        for one in (plain, known))  # fmt: skip
        name = source.videos.names[source.pairs[place][0] if kind == "trio" else source.reals[place]]
        changed = (found[0] != found[-1]).any(axis=2)
        if name in ("v0", "v1"):
            y, x = np.nonzero(changed)
            assert len(x) and abs(x.mean() + x1 - 165) < 12 and abs(y.mean() + y1 - 230) < 12
            assert np.ptp(x) < 110
        else:
            assert all(np.array_equal(one, other) for one, other in zip(usual, found, strict=True))


def test_a_group_depends_on_seed_epoch_and_index_alone(source):
    dataset, again = groups(source, "fake", "blend", "swap"), groups(source, "fake", "blend", "swap")
    one = dataset[SampleKey(1, 3)]
    [again[SampleKey(*key)] for key in ((0, 2), (1, 5))]
    assert torch.equal(one.images, again[SampleKey(1, 3)].images)
    assert not torch.equal(one.images, dataset[SampleKey(2, 3)].images)
    other = groups(source, "fake", "blend", "swap", seed=1)
    assert not torch.equal(one.images, other[SampleKey(1, 3)].images)


def test_every_face_comes_before_one_comes_again(source):
    dataset = groups(source, "blend", length=4)
    places = np.concatenate([dataset.plan(epoch)[:, 1] for epoch in range(3)])  # 12 draws of 6 faces
    assert np.bincount(places).tolist() == [2] * REALS


def test_streams_have_their_shares_of_an_epoch(source):
    streams = [Stream("fake", source, 0.25), Stream("blend", source, 0.45), Stream("swap", source, 0.3)]
    dataset = GroupedFaces(streams, 20, PREPROCESS, 0)
    assert np.bincount(dataset.plan(0)[:, 0]).tolist() == [5, 9, 6] == shared_out(20, [25, 45, 30]).tolist()


def test_pairs_are_fakes_and_their_own_originals(source):
    names = source.videos.names
    assert [(names[real], names[fake]) for real, fake in source.pairs] == [
        (f"v{k}", f"v{REALS + k}") for k in range(FAKES)
    ]
    videos, labels = source.videos, pd.DataFrame({"name": ["v6"], "original": ["v7"]})
    assert find_pairs(videos, labels).shape == (0, 2)  # v7 is itself a fake


def test_no_face_of_another_set_gets_in(crops, source):
    held_back = {"v11", "v12"}
    assert not set(source.videos.names) & held_back
    refuse_overlap([source], held_back)
    whole = read_source(crops / "l.csv", crops / "faces", ("train", "val"), None)
    with pytest.raises(DataError, match="v11"):
        refuse_overlap([whole], held_back)


def test_a_batch_has_the_images_of_all_its_groups(source):
    dataset = groups(source, "fake", "trio")
    parts = [dataset[SampleKey(0, index)] for index in range(3)]
    batch = collate(parts)
    assert len(batch.images) == len(batch.labels) == sum(len(part.labels) for part in parts)
    assert torch.equal(batch.images[: len(parts[0].labels)], parts[0].images)


def test_a_crop_that_cannot_be_read_gives_way_and_is_named(crops, source):
    dataset = groups(source, "blend", length=REALS)
    path = crops / "faces" / "v2" / "000.png"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:100])
        found = [dataset[SampleKey(0, index)] for index in range(REALS)]
    finally:
        path.write_bytes(whole)
    assert all(group.images is not None for group in found)
    lines = [line for group in found for line in group.broken]
    assert lines and all(str(path) in line for line in lines)


def test_a_kind_without_faces_is_refused(crops):
    bare = read_source(crops / "l.csv", crops / "faces", ("train",), None)
    with pytest.raises(DataError, match="'fake'"):
        groups(bare, "fake")
