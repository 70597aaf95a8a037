"""Which frames are judged: spread over the whole clip, at the cost of its start, and more where needed."""

import numpy as np
import pytest
from readers import EveryFrame

from utils.core.errors import MediaError
from utils.faces.frames import SpreadFrames, StrideFrames, nearest, plan
from utils.faces.stream import Clip, face_stream


class TimedReader:
    """A reader of made-up frames, `rate` of them a second: `number(frame)` tells which one it is.

    Of its `count` frames `readable` are there; `decoded` counts those that a decoder would have to decode.
    """

    def __init__(self, seconds, rate=25, key_every=250, every=10, readable=None, duration=True):
        self.rate, self.every, self.count = rate, every, round(seconds * rate)
        self.readable = self.count if readable is None else readable
        self.announced, self.warning = self.count, None
        self.duration = seconds if duration else None
        self.readable_share = self.readable / self.count
        self.key_times = [k / rate for k in range(0, self.count, key_every)]
        self.frame_times = [k / rate for k in range(self.readable)]
        self.decoded, self.given = 0, []

    def frame(self, k):
        self.given.append(k)
        frame = np.zeros((160, 160, 3), np.uint8)
        frame[:] = k >> 16, k >> 8 & 255, k & 255
        return frame

    def __iter__(self):
        for k in range(self.every - 1, self.readable, self.every):
            yield k, self.frame(k)

    def at(self, times):
        at, last = 0, -1  # where the decoder stands
        for time in times:
            k = int(np.ceil(time * self.rate - 1e-6))
            if k >= self.readable or k == last:
                continue
            key = max(round(t * self.rate) for t in self.key_times if t * self.rate <= k + 1e-6)
            self.decoded += k + 1 - max(key, at)
            at, last = k + 1, k
            yield k / self.rate, self.frame(k)
        if last < 0:
            raise MediaError("no frame of it can be decoded")


def number(frame):
    return int(frame[0, 0] @ [1 << 16, 1 << 8, 1])


def watch(frames, has_face=lambda frame: True, limit=25):
    """The seconds of the faces that are found, and the clip once it has ended."""
    seconds, clip = [], Clip(frames)
    for step in face_stream([clip], EveryFrame(has_face), limit):
        seconds += [found.seconds for _, found in step.faces]
    return seconds, clip


def test_a_plan_is_sorted_and_spread_evenly_where_all_may_be_decoded():
    np.testing.assert_allclose(plan(10, [0], 5, 2), [1, 3, 5, 7, 9])
    np.testing.assert_allclose(plan(10, [0], 2, 0.4), [2.5, 7.5])  # a short one may, whatever it costs
    np.testing.assert_allclose(plan(100, [], 5, 0.4), [10, 30, 50, 70, 90])  # where key frames are is unknown


def test_the_nearest_frame_is_read_without_going_back_over_a_key_frame():
    times = nearest([0.0, 1.0, 2.0, 2.01], [0.0, 2.0], 0.04)
    np.testing.assert_allclose(times, [0, 0.98, 2.0, 2.0], atol=1e-3)
    reader = TimedReader(120, rate=30, key_every=250)  # key frames at 0, 8.33, ...: at none of the middles
    watch(SpreadFrames(reader, 25))
    assert reader.decoded <= 250


@pytest.mark.parametrize("key_every", [1, 12, 50, 100, 250])
@pytest.mark.parametrize("seconds", [5, 10, 30, 60, 600, 7200])
def test_a_whole_clip_is_judged_and_costs_no_more_than_the_start(seconds, key_every):
    reader = TimedReader(seconds, key_every=key_every)
    found, clip = watch(SpreadFrames(reader, 25))
    assert len(found) == 25 and found == sorted(found) and len(set(found)) == 25
    holes = np.diff([0, *found, seconds])
    assert holes.max() <= max(2 * seconds / 25, key_every / 25) + 0.5
    assert reader.decoded <= 1.5 * 250 + 25  # the published rule decodes 250
    assert clip.looked_at == 25


def test_behind_a_far_key_frame_all_is_decoded():
    """A clip with a single key frame: what lies behind isn't left out, though that costs more."""
    found, _ = watch(SpreadFrames(TimedReader(60, key_every=10**6), 25))
    assert found[0] < 3 and found[-1] > 57


def test_frames_between_are_asked_for_where_faces_are_missing():
    """Faces in the second half alone, and in one frame of eight: all of the clip is searched more finely."""
    def late(frame):
        return number(frame) >= 30 * 25

    reader = TimedReader(60, key_every=25)
    found, clip = watch(SpreadFrames(reader, 25), late)
    assert len(found) == 25 and len(set(found)) == 25 and min(found) >= 30
    assert 25 < clip.looked_at <= 100 and len(set(reader.given)) == len(reader.given)

    def rare(frame):
        return number(frame) % 8 == 0

    found, clip = watch(SpreadFrames(TimedReader(60, key_every=25), 25), rare)
    assert 10 <= len(found) <= 25 and max(found) > 50
    _, clip = watch(SpreadFrames(TimedReader(600, key_every=25), 25), lambda frame: False)
    assert 150 <= clip.looked_at <= 175


def test_a_short_clip_without_faces_is_not_searched_for_ever():
    _, clip = watch(SpreadFrames(TimedReader(10, key_every=25), 25), lambda frame: False)
    assert 25 < clip.looked_at <= 75


def test_a_short_clip_gives_each_of_its_frames_once():
    reader = TimedReader(0.32)  # of 8 frames
    found, clip = watch(SpreadFrames(reader, 25))
    assert sorted(reader.given) == list(range(8)) and clip.looked_at == len(found) == 8
    reader = TimedReader(20)
    watch(SpreadFrames(reader, 100_000), limit=100_000)  # so does a long one asked for more
    assert sorted(reader.given) == list(range(500))
    assert clip.failure is clip.warning is None


def test_without_a_length_or_with_a_wrong_one_the_stride_takes_over():
    reader = TimedReader(20, duration=False)
    found, clip = watch(SpreadFrames(reader, 25))
    assert reader.given == list(range(9, 250, 10)) and found == [None] * 25

    class WrongTimes(TimedReader):
        def at(self, times):
            raise MediaError("no frame of it can be decoded")
            yield

    reader = WrongTimes(20)
    found, clip = watch(SpreadFrames(reader, 25))
    assert reader.given == list(range(9, 250, 10)) and clip.failure is None


class Unreadable(TimedReader):
    @property
    def duration(self):
        raise MediaError("empty file")

    @duration.setter
    def duration(self, value):
        pass


def test_a_length_that_cannot_be_read_leaves_the_frames_without_times():
    found, clip = watch(StrideFrames(Unreadable(10)), limit=2)
    assert found == [None, None] and clip.failure is None


def test_what_cannot_be_read_fails_as_by_stride():
    _, clip = watch(SpreadFrames(Unreadable(10), 25))
    assert clip.failure == "empty file"


def test_a_truncated_clip_is_judged_on_what_is_there():
    reader = TimedReader(60, key_every=50, readable=600)
    found, clip = watch(SpreadFrames(reader, 25))
    assert len(found) == clip.looked_at == 25 and 20 < max(found) < 24
    assert clip.failure is None and "40%" in clip.warning


def test_frames_that_are_far_from_the_last_one_begin_a_new_track():
    """At a stride of ten every eighth frame is looked at as a whole; so is what is that far from a look."""
    frames = SpreadFrames(TimedReader(600, key_every=25), 25)
    watch(frames)
    assert frames.far == set(range(25))
    frames = SpreadFrames(TimedReader(10, every=10), 25)  # a frame every 0.4 s, as by stride
    watch(frames)
    assert frames.far == {0, 8, 16, 24}
    assert not StrideFrames(TimedReader(10)).far


def test_by_stride_the_time_of_a_frame_follows_from_its_number():
    found, clip = watch(StrideFrames(TimedReader(60)), limit=25)
    np.testing.assert_allclose(found, np.arange(9, 250, 10) / 25)
    found, _ = watch(StrideFrames(TimedReader(60, duration=False)), limit=2)
    assert found == [None, None]


@pytest.mark.parametrize("duration", [True, False])
def test_frames_have_the_numbers_that_they_have_in_the_clip(duration):
    for kind in (StrideFrames, lambda reader: SpreadFrames(reader, 25)):
        frames = kind(TimedReader(40, rate=30, duration=duration))
        given = [(frames.number_of(index), number(frame)) for index, frame in frames]
        assert given and all(said == true for said, true in given)
