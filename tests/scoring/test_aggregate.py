"""A clip's result: the mean over its faces, how far the clip was judged, and how many people it shows."""

from pathlib import Path

import numpy as np
import pytest

from utils.scoring.aggregate import Detail, FaceScores, Result, clock, people_in
from utils.scoring.calibrated import ScoreCalibration


def scores_of(probabilities, seconds=(), people=(), persons=()):
    scores = FaceScores(Path("a.mp4"), duration=60.0, expected=len(probabilities), people=list(people))
    for place, probability in enumerate(probabilities):
        at, whose = (values[place] if place < len(values) else None for values in (seconds, persons))
        scores.note(at, 60.0 + place, whose)
        scores.add(probability, [probability, 1 - probability], np.zeros((2, 2, 3), np.uint8))
    return scores


def test_a_result_is_the_mean_and_keeps_what_each_network_said():
    result = scores_of([0.2, 0.6], seconds=[30.0, 2.0]).result("not finite")
    assert result.probability == pytest.approx(0.4) and result.faces == 2 and result.reason == ""
    np.testing.assert_allclose(result.by_network, [[0.2, 0.8], [0.6, 0.4]])
    assert (result.first, result.last, result.duration) == (2.0, 30.0, 60.0)
    assert result.judged == "2 faces from 0:02 to 0:30 of 1:00"


def test_what_gives_no_number_is_undecided():
    result = scores_of([0.2, np.nan]).result("not finite")
    assert (result.probability, result.faces, result.reason) == (0.5, 2, "not finite")
    nobody = FaceScores(Path("a.mp4"), reason="no face", expected=0)
    assert nobody.complete and nobody.result("not finite").people == 0


def test_scores_are_complete_once_all_expected_faces_are_there():
    scores = scores_of([0.2, 0.6])
    scores.expected = None
    assert not scores.complete
    scores.expected = 3
    assert not scores.complete


@pytest.mark.parametrize(
    ("counts", "people"),
    [([], 0), ([1], 1), ([2], 2), ([1, 2], 1), ([2, 2], 2), ([1, 1, 2, 3, 2], 2), ([1] * 20 + [2, 2], 1)],
)
def test_people_count_if_they_are_seen_in_several_frames(counts, people):
    assert people_in(counts) == people


def test_a_second_person_is_remarked_on():
    assert scores_of([0.2] * 3, people=[2, 2, 1]).result("").remark.startswith("2 people")
    assert scores_of([0.2] * 3, people=[1, 1, 2]).result("").remark == ""
    assert scores_of([0.2]).result("").remark == ""


def test_of_several_people_the_highest_score_counts():
    result = scores_of(
        [0.2, 0.8, 0.4, 0.6, 0.9], [0.0, 1.0, 2.0, 3.0, 4.0], [2] * 4, [1, 2, 1, 2, 2]
    ).result("not finite")
    assert [(person.number, person.faces) for person in result.persons] == [(1, 2), (2, 3)]
    assert [person.probability for person in result.persons] == pytest.approx([0.3, 2.3 / 3])
    assert result.probability == result.persons[1].probability and result.faces == 3
    assert (result.first, result.last) == (1.0, 4.0) and result.evidence == result.persons[1].evidence
    assert result.evidence.lowest == 0.6 and result.evidence.eyes == 63 and len(result.by_network) == 5
    assert result.remark == "2 people judged, the higher counts"
    alone = result.of(result.persons[0])
    assert (alone.probability, alone.faces, alone.last) == (pytest.approx(0.3), 2, 2.0)
    assert not alone.persons and not alone.remark
    calibrated = ScoreCalibration(2.0, 0.5).result(result)
    assert calibrated.probability == max(person.probability for person in calibrated.persons)


def test_people_who_are_not_judged_are_said_to_be_there():
    result = scores_of([0.2] * 3, people=[3, 3, 3], persons=[1, 2, 1]).result("")
    assert "2 people judged" in result.remark and "3 people seen" in result.remark
    assert "3 people seen" in scores_of([0.2] * 3, people=[3] * 3, persons=[1] * 3).result("").remark
    assert scores_of([0.2] * 3, people=[1] * 3, persons=[1] * 3).result("").remark == ""
    broken = scores_of([0.2, np.nan], persons=[1, 2]).result("not finite")
    assert (broken.probability, broken.faces, broken.persons) == (0.5, 2, ())


def test_times_are_as_on_a_clock():
    assert [clock(seconds) for seconds in (0, 7.4, 59.6, 754, 3723)] == [
        "0:00",
        "0:07",
        "1:00",
        "12:34",
        "1:02:03",
    ]
    assert Result(Path("a.png"), 0.5, 1).judged == "1 face"
    assert (
        Result(Path("a.mp4"), 0.5, 25, first=0.3, last=9.7, duration=10.0).judged
        == "25 faces from 0:00 to 0:10"
    )


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_crops_are_kept_of_the_most_extreme_faces(most):
    probabilities = np.random.default_rng(most).permutation(9) / 10
    detail = Detail(most)
    for place, probability in enumerate(probabilities):
        detail.add(probability, np.full((2, 2, 3), place, np.uint8))
        assert len(detail.crops) <= 2 * most
    lowest, highest = detail.extremes()
    assert [probabilities[place] for place in lowest] == pytest.approx(np.arange(most) / 10)
    assert [probabilities[place] for place in highest] == pytest.approx(0.8 - np.arange(most) / 10)
    assert all((crop == place).all() for place, crop in detail.crops.items())


def test_a_face_is_one_of_the_highest_or_of_the_lowest():
    detail = Detail(most=3)
    for probability in (0.2, 0.9, 0.4):
        detail.add(probability, np.zeros((2, 2, 3), np.uint8))
    assert detail.extremes() == ([0], [1, 2])
