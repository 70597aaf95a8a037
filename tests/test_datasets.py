"""Which crop a sample is, in which order they come, and what happens to crops that can't be read."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from utils.align import TEMPLATE
from utils.augment import augmentation
from utils.crops import crop_landmarks
from utils.datasets import (
    EpochBatches,
    FaceDataset,
    ScheduledFaces,
    collate,
    epoch_order,
    make_loader,
    nearest_places,
    read_crop,
    sample_counts,
    validation_batches,
)
from utils.engine import videos_of_sets
from utils.errors import DataError
from utils.faces import Face, write_faces_csv
from utils.lists import (
    Videos,
    crop_numbers,
    find_videos,
    limit_videos,
    read_json_list,
    read_list,
)
from utils.preprocess import Preprocess
from utils.schemas import WSDANConfig

PREPROCESS = Preprocess(96, (0.5,) * 3, (0.4, 0.5, 0.6), (70, 88, 250, 268))


def write_crop(path, value: int) -> None:
    """A smooth picture whose top left pixel is `value`, quick to write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = np.linspace(value, 255 - value, 320).astype(np.uint8)
    image = np.stack([np.tile(row, (320, 1)), np.tile(row[:, None], (1, 320)), np.full((320, 320), value)], 2)
    cv2.imwrite(str(path), image.astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])


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
    return FaceDataset(videos, np.full(len(videos), 2), PREPROCESS, 0, augmentation("bundled"))


class AsIs:
    """Stands in for a Preprocess: leaves the crop as it is."""

    normalise = staticmethod(torch.from_numpy)


def value(sample) -> int:
    return int(sample.image[0, 0, 2])  # blue is the first channel of the file and the last of the sample


def test_validation_frames_are_spread_over_the_video_and_the_nearest_crop_stands_in(videos):
    """Frames 6 * s // 3 = 0, 2, 4; with four samples 0, 1, 3, 4, of which 1 and 3 were not cropped."""
    three, four = validation(videos, 3), validation(videos, 4)
    assert [value(three[0, s]) for s in range(3, 6)] == [value(three[1, s]) for s in range(3, 6)]
    blue = [read_crop(videos.root / "video1" / f"{n:03d}.png")[0][0, 0, 2] for n in (0, 2, 4)]
    assert [value(three[0, s]) for s in range(3, 6)] == blue
    assert [value(four[0, s]) for s in range(4, 8)] == [blue[0], blue[0], blue[1], blue[2]]


def test_crops_of_every_tenth_frame_are_all_within_reach(tmp_path):
    """As make_split.py lists them: n_frame counts the crops, whose numbers go up to 59."""
    numbers = range(9, 60, 10)
    for number in numbers:
        write_crop(tmp_path / "v" / f"{number:03d}.png", number)
    columns = ["name", "is_fake", "n_frame", "set_name"]
    table = pd.DataFrame([("v", 0, len(numbers), "train")], columns=columns)
    strided = find_videos(table, tmp_path, ("train",))[0]
    blue = {read_crop(tmp_path / "v" / f"{n:03d}.png")[0][0, 0, 2] for n in numbers}
    # frames 60 * s // 6 = 0, 10, ... 50, and of them the nearest crops
    assert [value(validation(strided, 6)[0, s]) for s in range(6)] == [9, 9, 19, 29, 39, 49]
    drawn = FaceDataset(strided, np.array([6]), AsIs, 0, lambda image, *_: image.copy())
    assert {int(drawn[epoch, s].image[0, 0, 2]) for epoch in range(8) for s in range(6)} == blue


def test_validation_hands_over_the_crop_itself(videos):
    sample = validation(videos, 1)[0, 0]
    stored = cv2.imread(str(videos.root / "video0" / "000.png"))[..., ::-1]
    assert sample.image.dtype == torch.uint8 and np.array_equal(sample.image.numpy(), stored)
    assert (sample.label, sample.index, sample.broken) == (0, 0, [])


def test_training_frames_are_drawn_from_all_crops_anew_each_epoch(videos):
    seen = {read_crop(videos.root / "video2" / f"{n:03d}.png")[0][0, 0, 2]: n for n in (0, 2, 4)}
    faces = FaceDataset(videos, np.full(6, 1), AsIs(), 0, lambda face, preprocess, rng: face)
    drawn = [seen[value(faces[epoch, 2])] for epoch in range(30)]
    assert set(drawn) == {0, 2, 4}
    assert drawn == [seen[value(faces[epoch, 2])] for epoch in range(30)]


def test_training_without_change_is_what_scoring_sees(videos):
    """Through `resize` and `normalise` as through `Preprocess.batch`, to a grey level."""
    plain = FaceDataset(
        videos, np.full(6, 1), PREPROCESS, 0, lambda face, preprocess, rng: preprocess.resize(face)
    )
    plain.videos.frames[3] = np.array([2])
    scored = PREPROCESS.batch(validation(plain.videos, 1)[0, 3].image[None])[0]
    assert (plain[0, 3].image - scored).abs().max() < 1.01 / 255 / 0.4


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
    order = epoch_order(dataset.labels, seed=3, epoch=1, balance=False)
    state = torch.get_rng_state()
    runs = [list(make_loader(dataset, EpochBatches(order, 1, 4), workers)) for workers in (0, 2)]
    assert torch.equal(state, torch.get_rng_state())
    assert len(runs[0]) == len(runs[1]) == 3
    for alone, parallel in zip(*runs, strict=True):
        assert torch.equal(alone.images, parallel.images) and torch.equal(alone.indices, parallel.indices)
        assert alone.images.shape == (4, 3, 96, 96) and alone.images.dtype == torch.float32


def test_a_resumed_epoch_and_several_processes_see_the_same_batches():
    order = np.random.default_rng(0).permutation(26)
    whole = list(EpochBatches(order, 5, 8))
    assert [len(batch) for batch in whole] == [8, 8, 8]  # two samples fill no batch
    resumed = EpochBatches(order, 5, 8, start=2)
    assert list(resumed) == whole[2:] and len(resumed) == 1
    parts = [list(EpochBatches(order, 5, 8, rank, 2)) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    assert {epoch for batch in whole for epoch, _ in batch} == {5}


def test_fewer_samples_than_a_batch_make_one_small_batch():
    assert [len(batch) for batch in EpochBatches(np.arange(5), 0, 8)] == [5]
    assert [len(batch) for batch in EpochBatches(np.arange(5), 0, 8, rank=1, world=2)] == [2]
    assert list(EpochBatches(np.arange(1), 0, 8, rank=1, world=2)) == []


def test_what_fills_no_batch_can_make_a_smaller_one():
    parts = [list(EpochBatches(np.arange(27), 0, 8, rank, 2, drop_last=False)) for rank in range(2)]
    assert [len(batch) for batch in parts[0]] == [4, 4, 4, 1] == [len(batch) for batch in parts[1]]
    seen = [index for part in parts for batch in part for _, index in batch]
    assert sorted(seen) == list(range(26))  # the 27th can't be shared by two


def test_balance_draws_as_many_fakes_as_reals_anew():
    labels = np.array([0] * 10 + [1] * 90)
    first, again, second = (epoch_order(labels, 0, epoch, balance=True) for epoch in (0, 0, 1))
    assert len(first) == len(set(first)) == 20 and labels[first].sum() == 10
    assert np.array_equal(first, again)
    assert set(first[labels[first] == 0]) == set(range(10))
    assert set(first) != set(second)
    assert sorted(epoch_order(labels, 0, 0, balance=False)) == list(range(100))


def test_validation_is_shared_out_without_a_sample_twice():
    shares = [validation_batches(range(11), 2, rank, 3) for rank in range(3)]
    assert sorted(index for share in shares for batch in share for _, index in batch) == list(range(11))
    assert max(len(batch) for share in shares for batch in share) == 2


def test_a_broken_crop_is_replaced_by_another_of_its_video_then_by_its_like(videos):
    dataset = validation(videos, 1)
    path = videos.root / "video4" / "000.png"
    path.write_bytes(path.read_bytes()[:-30])
    sample = dataset[0, 4]
    others = [read_crop(videos.root / "video4" / name)[0] for name in ("002.png", "004.png")]
    assert any(np.array_equal(sample.image.numpy(), other) for other in others)
    assert sample.label == 1 and len(sample.broken) == 1 and "video4/000.png" in sample.broken[0]

    for name in ("002.png", "004.png"):
        (videos.root / "video4" / name).write_bytes(b"")
    sample = dataset[0, 4]
    alike = [read_crop(path)[0] for path in (videos.root / "video5").glob("*.png")]
    assert any(np.array_equal(sample.image.numpy(), other) for other in alike)
    assert len(sample.broken) == 3

    for path in (videos.root / "video5").glob("*.png"):
        path.unlink()
    sample = dataset[0, 4]
    assert sample.image is None and collate([sample, dataset[0, 0]]).images is None


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


def test_crop_numbers(tmp_path):
    for name in ("010.png", "009.png", "1000.png", "faces.csv", "x.png", "011.jpg", ".012.png.part", "9.png"):
        (tmp_path / name).touch()
    assert crop_numbers(tmp_path).tolist() == [9, 10, 1000]
    assert len(crop_numbers(tmp_path / "absent")) == 0


def test_videos_without_crops_are_told(tmp_path):
    write_crop(tmp_path / "b" / "000.png", 1)
    table = pd.DataFrame({"name": ["a", "b"], "is_fake": [0, 1], "n_frame": [1, 1], "set_name": ["t", "t"]})
    videos, missing = find_videos(table, tmp_path, ("t",))
    assert videos.names == ["b"] and videos.labels.tolist() == [1] and missing == ["a"]
    with pytest.raises(DataError, match="'val'; its sets: t"):
        find_videos(table, tmp_path, ("val",))
    with pytest.raises(DataError, match="data_root"):
        find_videos(table, tmp_path / "elsewhere", ("t",))


def test_a_limit_keeps_both_classes(videos):
    for limit in (2, 3):
        few = limit_videos(videos, limit, seed=0)
        assert set(few.labels) == {0, 1} and len(few) == limit
    assert limit_videos(videos, 100, seed=0) is videos


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "missing"),
        ("", "can't be read"),
        ("name,is_fake\na,0\n", "no column n_frame, set_name"),
        ("name,is_fake,n_frame,set_name\na,2,1,train\n", "is_fake must be 0 or 1"),
        ("name,is_fake,n_frame,set_name\na,1,many,train\n", "n_frame a whole number"),
    ],
)
def test_lists_that_are_none(tmp_path, text, said):
    path = tmp_path / "list.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_list(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def listed(frames: list, labels: list | None = None) -> Videos:
    """Videos that need no files."""
    labels = [0] * len(frames) if labels is None else labels
    names = [f"v{k}" for k in range(len(frames))]
    return Videos(None, names, np.array(labels), np.zeros(len(frames)), [np.array(f) for f in frames])


def frames_of(dataset: ScheduledFaces, epoch: int, indices) -> list[int]:
    """The crops that samples are."""
    numbers = []
    for index in indices:
        candidates = dataset._candidates(
            dataset.video_of[index], dataset._frame(epoch, index, None), np.random.default_rng(0)
        )
        numbers.append(next(candidates)[1])
    return numbers


def test_the_published_schedule_of_frames():
    """Sample s of dataset epoch e is frame 12 * s + e % 12; e = epoch + 2 in training, 1 in validation."""
    videos = listed([range(300)])
    training_set = ScheduledFaces(videos, PREPROCESS, 0, augmentation("bundled"))
    validation_set = ScheduledFaces(videos, PREPROCESS, 0)
    for epoch in (0, 3, 9, 10, 25):
        expected = [12 * s + (epoch + 2) % 12 for s in range(20)]
        assert sorted(frames_of(training_set, epoch, training_set.epoch_order(epoch))) == expected
        expected = [12 * s + 1 for s in range(20)]
        assert frames_of(validation_set, epoch, validation_set.distinct(epoch)) == expected
    twelve = [f for epoch in range(12) for f in frames_of(training_set, epoch, training_set.distinct(epoch))]
    assert sorted(twelve) == list(range(240))


def test_short_videos_give_the_nearest_crop_and_each_once_an_epoch():
    videos = listed([[7], [9, 19, 29], list(range(100)), list(range(9, 300, 10))])
    dataset = ScheduledFaces(videos, PREPROCESS, 0, augmentation("bundled"))
    for epoch in range(13):
        of_video = [frames_of(dataset, epoch, dataset.distinct(epoch, [video])) for video in range(4)]
        assert of_video[0] == [7]
        assert {9, 29} <= set(of_video[1]) <= {9, 19, 29} and len(of_video[1]) == len(set(of_video[1]))
        phase = (epoch + 2) % 12
        assert of_video[2] == sorted({min(12 * s + phase, 99) for s in range(20)})
        assert len(of_video[3]) == len(set(of_video[3])) >= 19  # frames 0 and 12 are both nearest to 9


def test_nearest_places_of_two_at_a_distance_is_the_lower():
    frames = np.array([2, 6, 20])
    assert nearest_places(frames, np.array([0, 2, 4, 5, 13, 14, 99])).tolist() == [0, 0, 0, 1, 1, 2, 2]
    random = np.random.default_rng(0)
    for _ in range(20):
        frames, wanted = np.unique(random.integers(0, 300, 30)), random.integers(0, 300, 20)
        by_hand = [int(np.abs(frames - frame).argmin()) for frame in wanted]
        assert nearest_places(frames, wanted).tolist() == by_hand


def test_an_epoch_holds_all_reals_and_as_many_fakes_drawn_anew():
    labels = [0] * 3 + [1] * 20
    videos = listed([range(300)] * 23, labels)
    dataset = ScheduledFaces(videos, PREPROCESS, 0, augmentation("bundled"))
    orders = [dataset.epoch_order(epoch) for epoch in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1])  # so all processes have the same
    drawn = [set(order // 20) for order in orders]
    for videos_seen in drawn:
        assert {0, 1, 2} <= videos_seen and len(videos_seen) == 6
    assert drawn[0] != drawn[2]
    assert not np.array_equal(orders[0], np.sort(orders[0]))
    few = ScheduledFaces(listed([[1]] * 3, [0, 0, 1]), PREPROCESS, 0, augmentation("bundled"))
    assert sorted(few.epoch_order(0)) == [0, 20, 40]


def test_a_sample_names_its_file(videos):
    dataset = ScheduledFaces(videos, PREPROCESS, 0, augmentation("bundled"))
    assert dataset.file(0, 21) == str(videos.root / "video1" / "004.png")  # frame 14; the last crop is 4


def test_the_json_list(tmp_path):
    path = tmp_path / "dfdc.json"
    path.write_text('{"train": [["a", 0], ["b", 1]], "test": [["c", 1]], "test_all": [["c", 1]]}')
    table = read_json_list(path)
    assert table[["name", "is_fake", "set_name"]].to_numpy().tolist() == [
        ["a", 0, "train"], ["b", 1, "train"], ["c", 1, "test"], ["c", 1, "test_all"]]  # fmt: skip


def test_a_video_in_training_and_validation_is_refused(tmp_path, capsys):
    for name in "ac":
        write_crop(tmp_path / name / "002.png", 1)
    rows = [("a", 0, 1, "train"), ("b", 1, 1, "train"), ("c", 1, 1, "test"), ("c", 1, 1, "test_all")]
    table = pd.DataFrame(rows, columns=["name", "is_fake", "n_frame", "set_name"])
    config = WSDANConfig(datapath=str(tmp_path), train_sets=("train",))
    training_videos, validation_videos = videos_of_sets(table, tmp_path, config)
    assert (training_videos.names, validation_videos.names) == (["a"], ["c"])
    assert "train: 1 listed videos are left out, without crops: b" in capsys.readouterr().out
    config = WSDANConfig(datapath=str(tmp_path), train_sets=("train", "test_all"))
    with pytest.raises(DataError, match="1 videos, such as 'c', are in train_sets"):
        videos_of_sets(table, tmp_path, config)


def test_a_self_blended_sample_is_its_real_face_changed_and_called_fake(videos):
    """Index + length is the sample blended; the same for the same epoch, whoever loads it."""
    faces = FaceDataset(videos, np.full(6, 1), AsIs(), 0, lambda face, preprocess, rng: face)
    plain, blended, again = faces[0, 1], faces[0, 1 + 6], faces[0, 1 + 6]
    assert (plain.label, blended.label, blended.index) == (0, 1, 7)
    assert torch.equal(blended.image, again.image)
    assert not torch.equal(blended.image, faces[1, 7].image)
    name = {faces.file(0, 7).split("/")[-2], faces.file(0, 1).split("/")[-2]}
    assert name == {"video1"}
    stored = [read_crop(videos.root / "video1" / f"{n:03d}.png")[0].astype(int) for n in (0, 2, 4)]
    change = min(np.abs(blended.image.numpy() - image).mean() for image in stored)
    assert 0 < change < 25
    assert faces.labels_of(np.array([0, 1, 4, 6, 7])).tolist() == [0, 0, 1, 1, 1]


def test_scheduled_epochs_hold_the_share_of_self_blended_faces(videos):
    plain = ScheduledFaces(videos, PREPROCESS, 0, augmentation("bundled"))
    half = ScheduledFaces(videos, PREPROCESS, 0, augmentation("bundled"), blended_share=0.5)
    for epoch in range(3):
        order, before = half.epoch_order(epoch), plain.epoch_order(epoch)
        blended = order >= len(half)
        assert blended.sum() == round(0.5 * (plain.labels[before] == 1).sum())
        assert np.array_equal(half.labels_of(order), plain.labels[before])
        assert np.array_equal(order[~blended], before[~blended])
        assert not half.labels[order[blended] % len(half)].any()


def test_landmarks_of_a_crop_come_from_its_faces_csv_or_the_template(tmp_path):
    landmarks = TEMPLATE * 0.5 + (30, 12) + np.array([(0, 0), (0, 6), (-3, 0), (0, 0), (2, 0)])
    write_faces_csv(tmp_path / "faces.csv", [(7, Face(0.9, np.zeros(4), landmarks))])
    found = crop_landmarks(tmp_path / "007.png")
    assert 0.5 < np.abs(found - TEMPLATE).max() < 12 and np.abs(found - TEMPLATE).mean() < 5
    assert np.array_equal(crop_landmarks(tmp_path / "009.png"), TEMPLATE)  # not in the table
    assert np.array_equal(crop_landmarks(tmp_path / "none" / "007.png"), TEMPLATE)
    (tmp_path / "faces.csv").write_text("a,b\n")
    assert np.array_equal(crop_landmarks(tmp_path / "007.png"), TEMPLATE)
