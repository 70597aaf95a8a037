"""A time budget: when it lowers the faces of a clip, by how much, and that nothing changes without one."""

from pathlib import Path

import pytest
from readers import EveryFrame, MeanRed, write_red_video

from utils.core.errors import ConfigError
from utils.scoring.budget import Budget
from utils.scoring.config import SubmissionConfig
from utils.scoring.record import fingerprint
from utils.scoring.scorer import score_media


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(seconds, files, cost, ahead=1, limit=25):
    """Score files of so many seconds, `cost(number, faces)` each, `ahead` of them begun before they are due.

    Returns the budget, each file's limit, and the seconds all took.
    """
    clock = Clock()
    budget, given = Budget(seconds, files, limit, clock), []
    for number in range(files):
        while len(given) < min(number + ahead, files):
            given.append(budget.limit_for(Path(str(len(given)))))
        clock.now += cost(number, given[number])
        budget.done(Path(str(number)))
    return budget, given, clock.now - 100


def steady(number, faces):
    """Half of what a clip takes is its faces."""
    return 2.5 + 0.1 * faces


def test_with_time_to_spare_every_clip_has_all_its_faces():
    budget, given, took = run(100 * 5.0 + 1, 100, steady)
    assert given == [25] * 100 and took <= budget.seconds
    assert budget.change() == "" and "fewer" not in budget.summary()


@pytest.mark.parametrize("ahead", [1, 32])
@pytest.mark.parametrize("share", [0.7, 0.85, 0.95])
def test_too_short_a_budget_is_kept_by_fewer_faces(share, ahead):
    budget, given, took = run(share * 400 * 5.0, 400, steady, ahead)
    assert took <= 1.02 * budget.seconds
    assert took >= 0.95 * budget.seconds  # and used
    assert 5 <= min(given) < 25 and given[0] == 25
    assert f"{sum(limit < 25 for limit in given)} of 400" in budget.summary()


def test_a_slow_start_of_the_device_lowers_nothing():
    given = run(500, 40, lambda number, faces: 60 if number == 0 else steady(number, faces))[1]
    assert given == [25] * 40


def test_slow_clips_are_made_up_for_and_faces_come_back():
    """From the 100th to the 150th clip each takes three times as long."""

    def cost(number, faces):
        return steady(number, faces) * (3 if 100 <= number < 150 else 1)

    _, given, took = run(1700, 300, cost)
    assert took <= 1700
    assert given[:100] == [25] * 100 and min(given[100:150]) < 15 and max(given[250:]) == 25


def test_the_floor_holds_and_passing_the_budget_is_said():
    budget, given, took = run(100, 100, steady)
    assert set(given[10:]) == {5} and took > 100
    assert "more than that" in budget.summary() and "floor" in budget.summary()


def test_a_limit_below_the_floor_stays():
    assert set(run(10, 30, steady, limit=2)[1]) == {2}


def test_lines_come_when_it_begins_and_when_the_faces_halve():
    clock = Clock()
    budget, lines = Budget(100, 100, 25, clock), []
    for number in range(30):
        budget.limit_for(Path(str(number)))
        clock.now += 1 + number / 5
        budget.done(Path(str(number)))
        lines.append(budget.change())
    assert not any(lines[:4]) and 2 <= sum(map(bool, lines)) <= 4


def test_scoring_keeps_to_it_and_is_the_same_with_time_to_spare(tmp_path):
    files = [write_red_video(tmp_path / f"{number}.mp4", 85) for number in range(4)]
    config, clock = SubmissionConfig(face_limit=8, batch_size=8), Clock()
    common = EveryFrame(), MeanRed()
    plain = list(score_media(files, *common, config))
    budget = Budget(60, 4, 8, clock)
    clock.now += 61  # nothing is left from the start on
    results = list(score_media(iter(files), *common, config, budget=budget))
    assert [result.path for result in results] == files
    assert [result.faces for result in results] == [5] * 4 and plain[0].faces == 8
    assert "4 of 4" in budget.summary() and "0 file(s) not begun" in budget.change()
    ample = SubmissionConfig(face_limit=8, batch_size=8, time_budget_s=3600)
    assert list(score_media(iter(files), *common, ample)) == plain


def test_few_clips_are_begun_before_it_is_known_how_long_others_take(tmp_path):
    """After three clips of eight nothing is left; those that a decoder is ahead by have all their faces."""
    files = [write_red_video(tmp_path / f"{number}.mp4", 85) for number in range(8)]
    config, clock, counts = SubmissionConfig(face_limit=8, batch_size=8), Clock(), []
    budget = Budget(60, 8, 8, clock)
    for result in score_media(files, EveryFrame(), MeanRed(), config, budget=budget):
        counts.append(result.faces)
        clock.now += 21
    assert counts[:3] == [8] * 3 and counts[-2:] == [5] * 2


def test_frames_are_spread_by_the_faces_there_is_time_for(tmp_path):
    files = [write_red_video(tmp_path / "a.mp4", 85)]
    config, clock = SubmissionConfig(face_limit=8, frames="spread"), Clock()
    budget = Budget(60, 1, 8, clock)
    clock.now += 61
    [result] = score_media(files, EveryFrame(), MeanRed(), config, budget=budget)
    assert result.faces == 5
    assert result.first < result.duration / 5 and result.last > result.duration * 4 / 5


def test_it_is_off_unless_asked_for_and_a_run_may_go_on_with_another():
    assert SubmissionConfig().time_budget_s is None
    assert fingerprint(SubmissionConfig(time_budget_s=60.0)) == fingerprint(SubmissionConfig())
    with pytest.raises(ConfigError, match="time_budget_s"):
        SubmissionConfig(time_budget_s=0)
