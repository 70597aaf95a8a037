"""Which crop a sample is, and what happens to crops that can't be read."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from utils.augment.recipes import augmentation
from utils.data.batches import collate, make_loader
from utils.data.datasets import (
    FaceDataset,
    ScheduledFaces,
    crop_drawn,
    crops_spread,
    read_crop,
    sample_counts,
)
from utils.data.lists import Videos, find_videos
from utils.data.sampling import EpochBatches, Kind, SampleKey
from utils.weights.preprocess import Preprocess

PREPROCESS = Preprocess(96, (0.5,) * 3, (0.4, 0.5, 0.6), (70, 88, 250, 268))


def write_crop(path, value: int) -> None:
    """A smooth picture whose top left pixel is `value`, quick to write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = np.linspace(value, 255 - value, 320).astype(np.uint8)
    image = np.stack([np.tile(row, (320, 1)), np.tile(row[:, None], (1, 320)), np.full((320, 320), value)], 2)
    cv2.imwrite(str(path), image.astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def root_of(videos):
    return Path(videos.folders[0]).parent


@pytest.fixture
def videos(tmp_path) -> Videos:
    """Four reals and two fakes; video k has the crops 0, 2, 4 with the values 10k, 10k + 2, 10k + 4."""
    rows = [(f"video{k}", int(k >= 4), 6, "train") for k in range(6)]
    for k, row in enumerate(rows):
        for number in (0, 2, 4):
            write_crop(tmp_path / row[0] / f"{number:03d}.png", 10 * k + number)
    table = pd.DataFrame(rows, columns=["name", "is_fake", "n_frame", "set_name"])
    return find_videos(table, tmp_path, ("train",))[0]


def validation(videos: Videos, count: int) -> FaceDataset:
    return FaceDataset(videos, np.full(len(videos), count), PREPROCESS, seed=0)


def training(videos: Videos) -> FaceDataset:
    return FaceDataset(videos, np.full(len(videos), 2), PREPROCESS, 0, augmentation("alike"))


def value(sample) -> int:
    return int(sample.images[0, 0, 0, 2])  # blue is the first channel of the file and the last of the sample


def test_validation_frames_are_spread_over_the_video(videos):
    """Frames 6 * s // 3 = 0, 2, 4; four samples of three crops."""
    three, four = validation(videos, 3), validation(videos, 4)
    first, second = ([value(three[SampleKey(epoch, s)]) for s in range(3, 6)] for epoch in (0, 1))
    assert first == second
    blue = [read_crop(root_of(videos) / "video1" / f"{n:03d}.png")[0][0, 0, 2] for n in (0, 2, 4)]
    assert [value(three[SampleKey(0, s)]) for s in range(3, 6)] == blue
    assert [value(four[SampleKey(0, s)]) for s in range(4, 8)] == [blue[0], blue[0], blue[1], blue[2]]


def test_crops_of_every_tenth_frame_are_all_within_reach(tmp_path):
    """As make_split.py lists them: n_frame counts the crops, whose numbers go up to 59."""
    numbers = range(9, 60, 10)
    for number in numbers:
        write_crop(tmp_path / "v" / f"{number:03d}.png", number)
    columns = ["name", "is_fake", "n_frame", "set_name"]
    table = pd.DataFrame([("v", 0, len(numbers), "train")], columns=columns)
    strided = find_videos(table, tmp_path, ("train",))[0]
    blue = {read_crop(tmp_path / "v" / f"{n:03d}.png")[0][0, 0, 2] for n in numbers}
    assert [value(validation(strided, 6)[SampleKey(0, s)]) for s in range(6)] == list(numbers)
    drawn = FaceDataset(strided, np.array([6]), PREPROCESS, 0, lambda image, *_: image.copy())
    assert {value(drawn[SampleKey(epoch, s)]) for epoch in range(8) for s in range(6)} == blue


@pytest.mark.parametrize("count", [1, 15, 75, 300])
def test_validation_takes_the_published_frames_where_they_have_crops(count):
    published = [300 * s // count for s in range(count)]
    assert crops_spread(np.arange(300), 300, count).tolist() == published


def test_validation_takes_the_nearest_crop_where_few_are_missing():
    crops = np.delete(np.arange(300), [0, 140, 141, 280])
    expected = [1, *range(20, 140, 20), 139, *range(160, 280, 20), 279]
    assert crops_spread(crops, 300, 15).tolist() == expected


@pytest.mark.parametrize("count", [3, 5, 15, 100])
@pytest.mark.parametrize(
    "crops", [range(200, 300), range(100), range(209, 300), [*range(40), *range(260, 300)]]
)
def test_validation_is_spread_over_crops_that_lie_anywhere(crops, count):
    """No crop comes twice, if there are enough of them, and of two halves none has more samples."""
    crops = np.array(crops)
    taken = crops_spread(crops, 300, count)
    times = np.unique(taken, return_counts=True)[1]
    assert np.isin(taken, crops).all() and times.max() == -(-count // len(crops))
    assert abs(int((taken < crops[len(crops) // 2]).sum()) - count / 2) <= 1


def test_validation_hands_over_the_crop_itself(videos):
    sample = validation(videos, 1)[SampleKey(0, 0)]
    stored = cv2.imread(str(root_of(videos) / "video0" / "000.png"))[..., ::-1]
    assert sample.images.dtype == torch.uint8 and np.array_equal(sample.images[0].numpy(), stored)
    assert (sample.labels.tolist(), sample.key, sample.broken) == ([0], SampleKey(0, 0), [])


def test_training_frames_are_drawn_from_all_crops_anew_each_epoch(videos):
    seen = {read_crop(root_of(videos) / "video2" / f"{n:03d}.png")[0][0, 0, 2]: n for n in (0, 2, 4)}
    faces = FaceDataset(videos, np.full(6, 1), PREPROCESS, 0, lambda face, preprocess, rng: face)
    drawn = [seen[value(faces[SampleKey(epoch, 2)])] for epoch in range(30)]
    assert set(drawn) == {0, 2, 4}
    assert drawn == [seen[value(faces[SampleKey(epoch, 2)])] for epoch in range(30)]


def test_training_without_change_is_what_scoring_sees(videos):
    """Through `resize` and `normalised` as through `Preprocess.batch`, to a grey level."""
    plain = FaceDataset(
        videos, np.full(6, 1), PREPROCESS, 0, lambda face, preprocess, rng: preprocess.resize(face)
    )
    plain.videos.frames[3] = np.array([2])
    scored = PREPROCESS.batch(validation(plain.videos, 1)[SampleKey(0, 3)].images)[0]
    trained = PREPROCESS.normalised(plain[SampleKey(0, 3)].images)[0]
    assert (trained - scored).abs().max() < 1.01 / 255 / 0.4


def test_the_draws_of_a_sample_are_those_of_runs_that_are_under_way(videos):
    """Pinned, as the order is; a self-blended sample draws as one beyond the end of the data set."""
    faces = FaceDataset(videos.subset(np.arange(5)), np.full(5, 2), PREPROCESS, 3)
    keys = SampleKey(1, 0), SampleKey(1, 3), SampleKey(1, 3, Kind.SELF_BLENDED)
    assert [faces._generator(key).integers(1000) for key in keys] == [978, 601, 841]


@pytest.mark.parametrize("crops, n_frame", [(range(200, 300), 300), ([7], 300), (range(9, 60, 10), 60)])
def test_crops_that_lie_anywhere_are_drawn_alike(crops, n_frame):
    """Over all frames that can be drawn, no crop stands for more than one frame more than another."""
    crops = np.array(crops)
    drawn = [crop_drawn(crops, n_frame, frame) for frame in range(n_frame)]
    counts = [drawn.count(number) for number in crops]
    assert sum(counts) == n_frame and max(counts) - min(counts) <= 1
    assert all(crop_drawn(crops, n_frame, number) == number for number in crops)


def test_a_frame_that_has_a_crop_is_drawn_as_it_is():
    """The published rule, where every frame or nearly every has one."""
    crops = np.delete(np.arange(300), [3, 150, 299])
    drawn = [crop_drawn(crops, 300, frame) for frame in range(300)]
    assert [drawn[number] for number in crops] == crops.tolist()
    assert len({drawn[3], drawn[150], drawn[299]}) == 3 and {3, 150, 299}.isdisjoint(drawn)


def test_samples_per_video():
    """round(frames * share), half to even, at least one, at most the crops there are."""
    frames = [10, 6, 2, 300, 50, 30, 8]
    crops = [10, 6, 2, 300, 50, 30, 1]
    labels = np.array([0, 0, 0, 1, 1, 1, 0])
    videos = Videos(None, [""] * 7, labels, np.array(frames), [np.arange(n) for n in crops])
    assert sample_counts(videos, 0.25, 0.05).tolist() == [2, 2, 1, 15, 2, 2, 1]
    whole = FaceDataset(videos, np.array([2, 1, 1, 1, 1, 1, 3]), None, 0)
    assert whole.video_of.tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 6, 6]
    assert whole.within.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 1, 2]


def test_batches_do_not_depend_on_the_number_of_workers(videos):
    dataset = training(videos)
    order = dataset.epoch_order(1)
    state = torch.get_rng_state()
    runs = [list(make_loader(dataset, EpochBatches(order, 1, 4), workers)) for workers in (0, 2)]
    assert torch.equal(state, torch.get_rng_state())
    assert len(runs[0]) == len(runs[1]) == 3
    for alone, parallel in zip(*runs, strict=True):
        assert torch.equal(alone.images, parallel.images) and alone.keys == parallel.keys
        assert alone.images.shape == (4, 96, 96, 3) and alone.images.dtype == torch.uint8


def test_a_broken_crop_is_replaced_by_another_of_its_video_then_by_its_like(videos):
    dataset = validation(videos, 1)
    path = root_of(videos) / "video4" / "000.png"
    path.write_bytes(path.read_bytes()[:-30])
    sample = dataset[SampleKey(0, 4)]
    others = [read_crop(root_of(videos) / "video4" / name)[0] for name in ("002.png", "004.png")]
    assert any(np.array_equal(sample.images[0].numpy(), other) for other in others)
    assert sample.labels.tolist() == [1] and len(sample.broken) == 1 and "video4/000.png" in sample.broken[0]

    for name in ("002.png", "004.png"):
        (root_of(videos) / "video4" / name).write_bytes(b"")
    sample = dataset[SampleKey(0, 4)]
    alike = [read_crop(path)[0] for path in (root_of(videos) / "video5").glob("*.png")]
    assert any(np.array_equal(sample.images[0].numpy(), other) for other in alike)
    assert len(sample.broken) == 3

    for path in (root_of(videos) / "video5").glob("*.png"):
        path.unlink()
    sample = dataset[SampleKey(0, 4)]
    assert sample.images is None and collate([sample, dataset[SampleKey(0, 0)]]).images is None


@pytest.mark.parametrize(
    "content, reason",
    [(b"", "not a whole PNG"), (b"not an image", "not a whole PNG"), (None, "No such file")],
)
def test_reasons_for_broken_crops(tmp_path, content, reason):
    path = tmp_path / "000.png"
    if content is not None:
        path.write_bytes(content)
    image, said = read_crop(path)
    assert image is None and reason in said


def test_a_crop_of_another_size_is_no_aligned_face(tmp_path):
    cv2.imwrite(str(tmp_path / "000.png"), np.zeros((224, 200, 3), np.uint8))
    image, reason = read_crop(tmp_path / "000.png")
    assert image is None and reason == "200x224 pixels, not 320x320"


def test_a_crop_is_decoded_only_if_its_header_says_that_it_is_one(tmp_path, monkeypatch):
    """A PNG of 32,000 x 32,000 pixels may be small, and takes gigabytes to decode."""
    cv2.imwrite(str(tmp_path / "000.png"), np.zeros((320, 320, 3), np.uint8))
    data = (tmp_path / "000.png").read_bytes()
    large = data[16:20].replace((320).to_bytes(4, "big"), (32000).to_bytes(4, "big"))
    (tmp_path / "000.png").write_bytes(data[:16] + large + large + data[24:])
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    assert read_crop(tmp_path / "000.png") == (None, "32000x32000 pixels, not 320x320")


def test_damaged_crops_and_odd_profiles_are_read_quietly(tmp_path, capfd):
    path = tmp_path / "000.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (320, 320, 3), np.uint8))
    data, (image, _) = path.read_bytes(), read_crop(path)
    profile = b"\0\0\0\4iCCPabc\0"
    profile += zlib.crc32(profile[4:]).to_bytes(4, "big")
    path.write_bytes(data[:33] + profile + data[33:])
    assert np.array_equal(read_crop(path)[0], image)
    path.write_bytes(data[:5000] + b"x" + data[5001:])
    assert read_crop(path)[0] is None
    assert capfd.readouterr() == ("", "")


def test_a_sample_names_its_file(videos):
    dataset = ScheduledFaces(videos, PREPROCESS, 0, augmentation("alike"))
    # frame 14; the last crop is 4
    assert dataset.file(SampleKey(0, 21)) == str(root_of(videos) / "video1" / "004.png")


def test_a_self_blended_sample_is_its_real_face_changed_and_called_fake(videos):
    """The same for the same epoch, whoever loads it."""
    faces = FaceDataset(videos, np.full(6, 1), PREPROCESS, 0, lambda face, preprocess, rng: face)
    key = SampleKey(0, 1, Kind.SELF_BLENDED)
    plain, blended, again = faces[SampleKey(0, 1)], faces[key], faces[key]
    assert (plain.labels.tolist(), blended.labels.tolist(), blended.key) == ([0], [1], key)
    assert torch.equal(blended.images, again.images)
    assert not torch.equal(blended.images, faces[SampleKey(1, 1, Kind.SELF_BLENDED)].images)
    name = {faces.file(wanted).split("/")[-2] for wanted in (key, SampleKey(0, 1))}
    assert name == {"video1"}
    stored = [read_crop(root_of(videos) / "video1" / f"{n:03d}.png")[0].astype(int) for n in (0, 2, 4)]
    change = min(np.abs(blended.images[0].numpy() - image).mean() for image in stored)
    assert 0 < change < 25
