"""Verdicts: their limits come from the weights' metadata and from measured rates; doubts leave them open."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import xception
from utils.core.errors import WeightsError
from utils.scoring import verdict
from utils.scoring.aggregate import Evidence, Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.verdict import FAKE, OPEN, REAL, Limits, limits_for, limits_from, verdict_on
from utils.weights.checkpoint import read_state_dict, save_state_dict, save_weights

REALS = np.linspace(0, 0.8, 401)
FAKES = np.linspace(0.2, 1, 401)
LIMITS = limits_from({"real faces": REALS}, {"fakes": FAKES})
EVIDENCE = Evidence(spread=0.1, lowest=0.7, highest=0.99, eyes=60.0)
CLIP = Result(Path("a.mp4"), 0.9, 20, evidence=EVIDENCE)


def test_limits_are_where_the_measured_shares_are():
    assert (REALS > LIMITS.fake_at).mean() == pytest.approx(verdict.ALARMS, abs=0.005)
    assert (FAKES < LIMITS.real_at).mean() == pytest.approx(verdict.MISSES, abs=0.005)
    apart = limits_from({"": REALS / 10}, {"": 1 - REALS / 10})  # told apart without an error
    assert apart.fake_at == 0.5 and 0.49 < apart.real_at < 0.5
    mixed = limits_from({"": FAKES}, {"": REALS})
    assert mixed.real_at < 0.5 < mixed.fake_at


def test_limits_are_read_from_every_file_of_the_ensemble(tmp_path):
    net = xception(num_classes=2)
    other = replace(LIMITS, fake_at=0.99)

    def read(*stated: Limits | None) -> Limits | None:
        ensemble = []
        for number in range(len(stated)):
            path = tmp_path / f"{number}.safetensors"
            save_weights(net, path, {})
            ensemble.append(("xception", str(path), 1 / len(stated)))
        config = SubmissionConfig(ensemble=ensemble)
        of = verdict.ensemble_of([(path, share) for _, path, share in ensemble], config.combine, False)
        for limits, (_, path, _) in zip(stated, ensemble, strict=True):
            noted = {} if limits is None else {verdict.VERDICT_KEY: replace(limits, of=of).to_metadata()}
            save_weights(net, path, noted)
        limits = limits_for(config)
        return limits and replace(limits, of=None)

    assert read(LIMITS) == read(LIMITS, LIMITS) == LIMITS
    assert read(None) is read(LIMITS, None) is read(LIMITS, other) is None
    assert verdict_on(CLIP, LIMITS).word == FAKE and verdict_on(CLIP, read(other)).word == OPEN
    with pytest.raises(WeightsError, match="none.safetensors"):
        limits_for(SubmissionConfig(ensemble=[("xception", str(tmp_path / "none.safetensors"), 1.0)]))


def test_limits_hold_for_the_measured_ensemble_alone(tmp_path, capsys):
    one, two = (str(tmp_path / f"{number}.safetensors") for number in (1, 2))
    for path in (one, two):
        save_weights(xception(num_classes=2), path, {})
    shares = [(one, 0.7), (two, 0.3)]
    stated = replace(LIMITS, of=verdict.ensemble_of(shares, "logits", False)).to_metadata()
    for path in (one, two):
        state, _ = read_state_dict(path)
        save_state_dict(state, path, {verdict.VERDICT_KEY: stated})
    config = SubmissionConfig(ensemble=[("xception", *share) for share in shares], combine="logits")
    assert limits_for(config).fake_at == LIMITS.fake_at and not capsys.readouterr().err
    others = (
        {"combine": "probabilities"}, {"flip": True}, {"ensemble": [("xception", one, 1.0)]},
        {"ensemble": [("xception", one, 0.3), ("xception", two, 0.7)]},
    )  # fmt: skip
    for change in others:
        assert limits_for(replace(config, **change)) is None
        assert "another ensemble" in capsys.readouterr().err


def test_limits_that_state_no_ensemble_hold_for_none(tmp_path):
    path = tmp_path / "own.safetensors"
    save_weights(xception(num_classes=2), path, {verdict.VERDICT_KEY: LIMITS.to_metadata()})
    assert limits_for(SubmissionConfig(ensemble=[("xception", str(path), 1.0)])) is None


@pytest.mark.parametrize("change", [{"fake_at": "x"}, {"real_at": 0.9, "fake_at": 0.6}, {"reals": {}},
                                    {"fakes": {"sets": [[2, ""]], "scores": [1, 0]}},
                                    {"fakes": {"count": 1, "what": "", "quantiles": [1, 0]}}])  # fmt: skip
def test_limits_that_are_none_are_an_error(change):
    text = json.dumps(json.loads(LIMITS.to_metadata()) | change)
    for wrong in (text, "", "[]"):
        with pytest.raises(WeightsError, match=verdict.VERDICT_KEY):
            Limits.from_metadata(wrong)


def test_the_word_follows_the_score_and_says_how_often_it_is_wrong():
    assert verdict_on(CLIP, LIMITS).word == FAKE
    high = verdict_on(replace(CLIP, probability=LIMITS.fake_at), LIMITS)
    assert high.word == FAKE and "1 in " in high.why and "401 real faces" in high.why
    low = verdict_on(replace(CLIP, probability=LIMITS.real_at), LIMITS)
    assert low.word == REAL and "401 fakes" in low.why
    between = verdict_on(replace(CLIP, probability=0.6), LIMITS)
    assert between.word == OPEN and "1 in 4" in between.why
    assert verdict_on(CLIP, None).word == ""


@pytest.mark.parametrize("change, said", [
    ({"evidence": replace(EVIDENCE, eyes=24.0)}, "24"), ({"faces": 4}, "4"),
    ({"evidence": replace(EVIDENCE, spread=0.31)}, "0.70 to 0.99"), ({"reason": "none"}, "none"),
])  # fmt: skip
def test_doubts_leave_it_open_whatever_the_score(change, said):
    for probability in (0.99, 0.01):
        answer = verdict_on(replace(CLIP, probability=probability, **change), LIMITS)
        assert answer.word == OPEN and said in answer.why


def test_a_picture_is_one_face_and_a_record_of_before_knows_no_evidence():
    picture = replace(CLIP, path=Path("a.JPG"), faces=1, evidence=replace(EVIDENCE, spread=0.0))
    assert verdict_on(picture, LIMITS).word == FAKE
    assert verdict_on(replace(picture, path=CLIP.path), LIMITS).word == OPEN
    assert verdict_on(replace(CLIP, evidence=None), LIMITS).word == FAKE


def test_two_of_251_above_the_limit_are_two_of_251():
    faces, clips = np.linspace(0.02, 0.4, 240), np.linspace(0.02, 0.4, 11)
    faces[[3, 7]] = 0.9, 0.6
    sets = {"real faces of one set": faces, "real clips": clips}
    limits = Limits.from_metadata(limits_from(sets, {"fakes": FAKES}).to_metadata())
    assert limits.fake_at == 0.5 and limits.reals.count == 251
    assert limits.shares(limits.reals)[2] == pytest.approx(2 / 251)
    why = verdict_on(replace(CLIP, probability=0.5), limits).why
    assert "240 real faces of one set and 11 real clips" in why and "1 in 126" in why
    assert "1 in 251" in verdict_on(replace(CLIP, probability=0.9), limits).why
    assert "none" in verdict_on(replace(CLIP, probability=0.91), limits).why


def test_limits_of_before_hold_quantiles():
    quantiles = np.quantile(REALS, np.linspace(0, 1, 201)).round(4).tolist()
    before = {"count": 401, "quantiles": quantiles, "what": "real faces"}
    text = json.dumps({"real_at": 0.2, "fake_at": 0.7, "reals": before, "fakes": before})
    limits = Limits.from_metadata(text)
    assert limits.reals.name == "401 real faces" and limits.reals.count == 401 and limits.of is None
    shares = [(REALS <= 0.2).mean(), (REALS >= 0.7).mean()]
    assert limits.shares(limits.reals)[::2] == pytest.approx(shares, abs=0.01)
    assert Limits.from_metadata(limits.to_metadata()) == limits


def test_the_shares_of_the_words_are_those_of_the_scores():
    reals, fakes = np.linspace(0, 0.6, 601).round(3), np.linspace(0.2, 1, 801).round(3)
    limits = limits_from({"reals": reals}, {"fakes": fakes})
    real, undecided, fake = limits.shares(limits.fakes)
    assert real == pytest.approx((fakes <= limits.real_at).mean())
    assert fake == pytest.approx((fakes >= limits.fake_at).mean())
    assert real + undecided + fake == pytest.approx(1) and limits.shares(limits.reals)[2] < 0.05
