"""The WS-DAN trainer's frames: the published schedule, short videos, and the samples of an epoch."""

from collections import Counter

import numpy as np
import pytest

from utils.augment.recipes import augmentation
from utils.data.datasets import ScheduledFaces, nearest_places
from utils.data.lists import Videos
from utils.data.sampling import Kind, SampleKey
from utils.weights.preprocess import Preprocess

PREPROCESS = Preprocess(96, (0.5,) * 3, (0.5,) * 3)


def listed(frames: list, labels: list | None = None) -> Videos:
    """Videos that need no files."""
    labels = [0] * len(frames) if labels is None else labels
    names = [f"v{k}" for k in range(len(frames))]
    return Videos(None, names, np.array(labels), np.zeros(len(frames)), [np.array(f) for f in frames])


def frames_of(dataset: ScheduledFaces, epoch: int, indices) -> list[int]:
    """The crops that samples are."""
    numbers = []
    for index in indices:
        frame = dataset._frame(SampleKey(epoch, index), None)
        candidates = dataset._candidates(dataset.video_of[index], frame, np.random.default_rng(0))
        numbers.append(next(candidates)[1])
    return numbers


def test_the_published_schedule_of_frames():
    """Sample s of dataset epoch e is frame 12 * s + e % 12; e = epoch + 2 in training, 1 in validation."""
    videos = listed([range(300)])
    training_set = ScheduledFaces(videos, PREPROCESS, 0, augmentation("alike"))
    validation_set = ScheduledFaces(videos, PREPROCESS, 0)
    for epoch in (0, 3, 9, 10, 25):
        expected = [12 * s + (epoch + 2) % 12 for s in range(20)]
        assert sorted(frames_of(training_set, epoch, training_set.epoch_order(epoch)["index"])) == expected
        expected = [12 * s + 1 for s in range(20)]
        assert frames_of(validation_set, epoch, validation_set.distinct(epoch)) == expected
    twelve = [f for epoch in range(12) for f in frames_of(training_set, epoch, training_set.distinct(epoch))]
    assert sorted(twelve) == list(range(240))


def test_short_videos_give_the_nearest_crop_and_each_once_an_epoch():
    videos = listed([[7], [9, 19, 29], list(range(100)), list(range(9, 300, 10))])
    dataset = ScheduledFaces(videos, PREPROCESS, 0, augmentation("alike"))
    for epoch in range(13):
        of_video = [frames_of(dataset, epoch, dataset.distinct(epoch, [video])) for video in range(4)]
        assert of_video[0] == [7]
        assert {9, 29} <= set(of_video[1]) <= {9, 19, 29} and len(of_video[1]) == len(set(of_video[1]))
        phase = (epoch + 2) % 12
        assert of_video[2] == sorted({min(12 * s + phase, 99) for s in range(20)})
        assert len(of_video[3]) == len(set(of_video[3])) >= 19  # frames 0 and 12 are both nearest to 9


@pytest.mark.parametrize("crops", [range(200, 300), range(12, 300), range(12, 40)])
def test_crops_that_begin_late_are_all_drawn_alike(crops):
    """As many as the schedule has frames for, each once in twelve epochs; in validation they are spread."""
    crops = list(crops)[:240]
    training_set = ScheduledFaces(listed([crops]), PREPROCESS, 0, augmentation("alike"))
    drawn = Counter(
        frame for epoch in range(12) for frame in frames_of(training_set, epoch, training_set.distinct(epoch))
    )
    assert all(drawn[frame] == 1 for frame in crops[:-12])
    assert set(drawn) == set(crops)
    validation_set = ScheduledFaces(listed([crops]), PREPROCESS, 0)
    seen = frames_of(validation_set, 0, validation_set.distinct(0))
    assert seen[:-1] == crops[1::12][: len(seen) - 1]


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
    dataset = ScheduledFaces(videos, PREPROCESS, 0, augmentation("alike"))
    orders = [dataset.epoch_order(epoch) for epoch in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1])  # so all processes have the same
    drawn = [set(order["index"] // 20) for order in orders]
    for videos_seen in drawn:
        assert {0, 1, 2} <= videos_seen and len(videos_seen) == 6
    assert drawn[0] != drawn[2]
    assert not np.array_equal(orders[0], np.sort(orders[0]))
    few = ScheduledFaces(listed([[1]] * 3, [0, 0, 1]), PREPROCESS, 0, augmentation("alike"))
    assert sorted(few.epoch_order(0)["index"]) == [0, 20, 40]


def test_the_order_of_an_epoch_is_that_of_runs_that_are_under_way():
    """Pinned: a run that goes on inside an epoch must find the samples of that epoch's start."""
    videos = listed([[0, 9, 30]] * 5, [0, 0, 1, 1, 1])
    order = ScheduledFaces(videos, PREPROCESS, 3, augmentation("alike"), 0.5).epoch_order(1)
    assert order["index"].tolist() == [41, 21, 0, 20, 60, 40, 1, 2, 22, 20, 0, 1]
    assert order["kind"].tolist() == [0] * 9 + [1] * 3


def test_scheduled_epochs_hold_the_share_of_self_blended_faces():
    videos = listed([[0, 2, 4]] * 6, [0] * 4 + [1] * 2)
    plain = ScheduledFaces(videos, PREPROCESS, 0, augmentation("alike"))
    half = ScheduledFaces(videos, PREPROCESS, 0, augmentation("alike"), blended_share=0.5)
    for epoch in range(3):
        order, before = half.epoch_order(epoch), plain.epoch_order(epoch)
        blended = order["kind"] == Kind.SELF_BLENDED
        assert blended.sum() == round(0.5 * (plain.labels[before["index"]] == 1).sum())
        assert plain.labels[before["index"]][blended].all()
        assert np.array_equal(order[~blended], before[~blended])
        assert not half.labels[order["index"][blended]].any()
