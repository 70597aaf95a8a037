"""A clip looked into: table, chart and pictures are of its faces, and of all networks."""

from dataclasses import replace

import numpy as np
import pytest
from fill import fill
from readers import EveryFrame, write_red_video
from small_config import SMALL as PREPROCESS

from utils.report.explore import Explored
from utils.report.panels import SIDE, SMALL, shrunk
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import Ensemble, Member
from utils.scoring.scorer import score_media
from utils.weights.networks import build_network

NETWORKS = ("xception", "wsdan-xception")


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """Two faces, the second redder than the first."""
    config = SubmissionConfig(ensemble=[(name, f"{name}.safetensors", 0.5) for name in NETWORKS])
    ensemble = Ensemble([Member(fill(build_network(name)), PREPROCESS, 0.5) for name in NETWORKS])
    path = write_red_video(tmp_path_factory.mktemp("clips") / "<red>.mp4", 20)
    [result] = score_media([path], EveryFrame(), ensemble, config, keep=config.face_limit)
    return Explored(result, config, ensemble, None)


def test_the_table_has_a_row_a_face_and_a_column_a_network(explored):
    table = explored.table()
    assert list(table.columns[-3:]) == [*NETWORKS, "ensemble"]
    assert list(table["frame"]) == [9, 19]
    np.testing.assert_array_equal(table[list(NETWORKS)], explored.result.by_network)
    assert table["ensemble"].mean() == pytest.approx(explored.result.probability)


def test_several_people_are_told_apart(explored):
    """The same two faces as two people's."""
    detail = explored.detail
    faces = [replace(face, person=number) for number, face in enumerate(detail.faces, 1)]
    both = replace(explored, result=replace(explored.result, detail=replace(detail, faces=faces)))
    assert list(both.table()["person"]) == [1, 2] and list(explored.table()["person"]) == [1, 1]
    assert both.chart().text.count("<polyline") == 4
    assert both.faces().size == explored.faces().size and both.faces() != explored.faces()


def test_the_extremes_are_those_of_the_table(explored):
    scores = explored.table()["ensemble"]
    assert explored.extremes() == [scores.idxmax(), scores.idxmin()]
    assert sorted(explored.extremes(9)) == [0, 1]


def test_faces_judged_anew_have_their_scores_and_changed_ones_others(explored):
    second = explored.detail.crops[1]
    again = explored.rescored(lambda face: 255 - face if face is second else face)
    apart = (again - explored.table()["ensemble"]).abs()
    assert list(again.index) == [0, 1] and apart[0] < 1e-5 < 1e-3 < apart[1]


def test_pictures_and_chart_have_a_place_for_each(explored):
    chart = explored.chart().text
    assert chart.count("<circle") == 2 and chart.count("<polyline") == 2
    faces, maps = np.asarray(explored.faces()), np.asarray(explored.maps(1))
    np.testing.assert_array_equal(faces[:SMALL, :SMALL], shrunk(explored.detail.crops[0], SMALL))
    np.testing.assert_array_equal(maps[:SIDE, :SIDE], shrunk(explored.detail.crops[1], SIDE))
    assert maps.shape[0] > 3 * SIDE + SMALL and maps.shape[1] >= 8 * SMALL  # eight maps in a row
    assert "<red>.mp4" in explored.answer
