"""Faces that are kept as a run goes on, and the table of them."""

import os
from dataclasses import replace

import pytest
from reports import kept_result

from utils.core.errors import ConfigError, DataError
from utils.scoring.details import COLUMNS, Details, network_columns, read_faces, write_faces


@pytest.fixture
def clips(tmp_path):
    """{path: name} of two files, whose names are no easy ones, and what came of them."""
    names = {tmp_path / "0.mp4": "a,\n\udcff.mp4", tmp_path / "1.mp4": "b.mp4"}
    for path in names:
        path.write_bytes(b"clip")
    return names, [kept_result(tmp_path, 0, count=3), kept_result(tmp_path, 1, count=2)]


def write_all(output, names, results):
    details = Details(output, "f" * 16)
    for result in results:
        details.append(names[result.path], result, 2.5, [{"place": 1}])
    return details


def test_what_is_kept_comes_back_whole_also_in_the_next_run(tmp_path, clips):
    names, results = clips
    first = write_all(tmp_path / "o.csv", names, results)
    again = Details(tmp_path / "o.csv", "f" * 16)
    assert again.of("b.mp4") is None
    assert again.recall(names) == set(names.values())
    for details in (first, again):
        kept = details.of("a,\n\udcff.mp4")
        assert [face.by_network for face in kept.faces] == [*map(tuple, results[0].by_network.tolist())]
        assert [face.probability for face in kept.faces] == results[0].detail.probabilities
        assert kept.faces[1].place == (50, 2.0, 10.0, 20.0, 110.0, 140.0, 60.0) and kept.faces[1].seconds == 2
        assert (kept.took, kept.looked_at, kept.missed) == (2.5, 5, [3.0, 55.0]) and kept.shown == [
            {"place": 1}
        ]
    again.remove()
    assert list(tmp_path.glob(".*")) == []


def test_a_torn_line_a_changed_file_and_other_weights_are_not_recalled(tmp_path, clips):
    names, results = clips
    path = write_all(tmp_path / "o.csv", names, results).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    details = Details(tmp_path / "o.csv", "f" * 16)
    assert details.recall(names) == {"a,\n\udcff.mp4"}
    details.append("b.mp4", results[1], 2.5, [{"place": 1}])
    assert path.read_bytes() == whole  # goes on behind what was whole
    assert Details(tmp_path / "o.csv", "0" * 16).recall(names) == set()
    os.utime(tmp_path / "1.mp4", (0, 0))
    assert Details(tmp_path / "o.csv", "f" * 16).recall(names) == {"a,\n\udcff.mp4"}
    path.write_text("no JSON\n")
    with pytest.raises(ConfigError, match=path.name):
        Details(tmp_path / "o.csv", "f" * 16).recall(names)


def test_a_new_start_keeps_nothing_of_the_run_before(tmp_path, clips):
    names, results = clips
    write_all(tmp_path / "o.csv", names, results)
    details = write_all(tmp_path / "o.csv", names, results[1:])
    assert details.of("a,\n\udcff.mp4") is None
    assert Details(tmp_path / "o.csv", "f" * 16).recall(names) == {"b.mp4"}


def test_the_table_reads_back_to_the_last_bit(tmp_path, clips):
    names, results = clips
    results[0].detail.faces[1] = replace(results[0].detail.faces[1], person=2)
    details = write_all(tmp_path / "o.csv", names, results)
    order = ["b.mp4", "unknown.mp4", "a,\n\udcff.mp4"]
    assert write_faces(tmp_path / "f.csv", order, details, ["xception", "xception"]) == 5
    columns, faces = read_faces(tmp_path / "f.csv")
    assert columns == ["xception", "xception-2"] and list(faces) == [order[0], order[2]]
    assert [face.person for face in faces[order[2]]] == [None, 2, None]
    for name, rows in faces.items():
        assert rows == details.of(name).faces
    text = (tmp_path / "f.csv").read_text(encoding="utf-8", errors="surrogateescape")
    assert text.splitlines()[0] == ",".join([*COLUMNS, "xception", "xception-2", "ensemble"])


@pytest.mark.parametrize(
    "text",
    [
        "filename,label\na.mp4,0.5\n",
        "",
        None,
        "{header}\na.mp4,1,,0,0,1,1,9,,0.5,1.5\n",
        "{header}\na.mp4,1,,0,0,1,1,9,,0.5\n",
    ],
)
def test_another_table_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "f.csv").write_text(
            text.replace("{header}", ",".join([*COLUMNS, "xception", "ensemble"]))
        )
    with pytest.raises(DataError, match="f.csv"):
        read_faces(tmp_path / "f.csv")


def test_networks_of_one_kind_have_columns_of_their_own():
    kinds = ["xception", "wsdan-xception", "xception", "xception"]
    assert network_columns(kinds) == ["xception", "wsdan-xception", "xception-2", "xception-3"]
