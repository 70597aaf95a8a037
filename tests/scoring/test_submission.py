"""What a submission is written with: its record for --resume, fingerprint, names, table and files."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from utils.core.errors import ConfigError
from utils.faces.video import UNREADABLE
from utils.scoring import submission
from utils.scoring.aggregate import Evidence, Person, Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.record import Record, fingerprint
from utils.scoring.submission import name_files, table, write_submission
from utils.scoring.verdict import OPEN, Verdict, limits_from, verdicts_on_persons


def test_the_record_survives_a_torn_line_and_a_changed_video(tmp_path):
    files = {}
    for name in ("a.mp4", 'b "quoted", ü\n.mp4', "c.mp4"):
        (tmp_path / name).write_text(name)
        files[tmp_path / name] = name
    record = Record(tmp_path / "o.csv", "f" * 16)
    results = [Result(path, 0.125 * k, k, f"reason {k}", "warning") for k, path in enumerate(files)]
    for result in results:
        record.append(files[result.path], result)
    assert list(Record(tmp_path / "o.csv", "f" * 16).recall(files).values()) == results

    record.path.write_bytes(record.path.read_bytes()[:-6])  # killed while it wrote the third row
    again = Record(tmp_path / "o.csv", "f" * 16)
    assert list(again.recall(files).values()) == results[:2]
    again.append("c.mp4", results[2])
    assert list(Record(tmp_path / "o.csv", "f" * 16).recall(files).values()) == results

    (tmp_path / "a.mp4").write_text("another video")
    assert list(Record(tmp_path / "o.csv", "f" * 16).recall(files).values()) == results[1:]
    record.path.write_text("some,other,table\n1,2,3\n")
    with pytest.raises(ConfigError, match="not a file that --resume can read"):
        Record(tmp_path / "o.csv", "f" * 16).recall(files)


def test_a_record_keeps_what_scores_stand_on_and_one_of_before_is_read(tmp_path):
    files = {tmp_path / name: name for name in ("a.mp4", "b.mp4")}
    for path in files:
        path.write_text("x")
    record = Record(tmp_path / "o.csv", "f" * 16)
    evidence = Evidence(0.125, 0.25, 0.75, 60.5)
    for path in files:
        record.append(path.name, Result(path, 0.5, 3, evidence=evidence))
    recalled = Record(tmp_path / "o.csv", "f" * 16).recall(files)
    assert [result.evidence for result in recalled.values()] == [evidence] * 2
    lines = [line.split(",")[:8] for line in record.path.read_text().splitlines()]
    record.path.write_text("".join(",".join(line) + "\n" for line in lines[:2]))  # of before, a row to come
    again = Record(tmp_path / "o.csv", "f" * 16)
    assert [result.evidence for result in again.recall(files).values()] == [None]
    again.append("b.mp4", Result(tmp_path / "b.mp4", 0.5, 3, evidence=evidence))
    recalled = Record(tmp_path / "o.csv", "f" * 16).recall(files)
    assert [result.evidence for result in recalled.values()] == [None, evidence]


def test_what_could_not_be_read_is_tried_again_and_what_holds_no_face_is_not(tmp_path):
    files = {tmp_path / name: name for name in ("gone.mp4", "faceless.mp4")}
    (tmp_path / "faceless.mp4").write_text("x")
    record = Record(tmp_path / "o.csv", "f" * 16)
    for path, reason in zip(files, (f"{UNREADABLE} (Input/output error)", "no face found"), strict=True):
        record.append(path.name, Result(path, 0.5, 0, reason))
    assert [path.name for path in record.recall(files)] == ["faceless.mp4"]


def test_one_hidden_record_is_there_until_all_is_scored(tmp_path):
    record = Record(tmp_path / "o.csv", "f" * 16)
    record.check_absent()
    record.append("a.mp4", Result(tmp_path / "a.mp4", 0.5, 1))
    assert [path.name for path in tmp_path.iterdir()] == [".o.scored.csv"]
    with pytest.raises(ConfigError, match="o.scored.csv"):
        Record(tmp_path / "o.csv", "f" * 16).check_absent()
    record.remove()
    record.remove()
    assert not list(tmp_path.iterdir())


def test_a_record_keeps_how_far_a_clip_was_judged(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("x")
    result = Result(path, 0.5, 3, first=0.4, last=8.321, duration=60.0, people=2)
    Record(tmp_path / "o.csv", "f" * 16).append("a.mp4", result)
    [recalled] = Record(tmp_path / "o.csv", "f" * 16).recall({path: "a.mp4"}).values()
    assert recalled == result and recalled.judged == result.judged and recalled.remark


def two_people(path):
    """What came of a clip of a real person and a fake one."""
    persons = tuple(
        Person(number, score, 12, 0.5, last, Evidence(0.1, 0.0, 0.9, 60.5))
        for number, score, last in ((1, 0.125, None), (2, 0.75, 9.5))
    )
    return Result(path, 0.75, 12, first=0.5, last=9.5, duration=10.0, people=2, persons=persons,
                  evidence=persons[1].evidence)  # fmt: skip


def test_a_record_keeps_its_persons(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("x")
    Record(tmp_path / "o.csv", "f" * 16).append("a.mp4", two_people(path))
    [recalled] = Record(tmp_path / "o.csv", "f" * 16).recall({path: "a.mp4"}).values()
    assert recalled == two_people(path) and recalled.persons == two_people(path).persons
    record = tmp_path / ".o.scored.csv"
    record.write_text(record.read_text().replace("[[1,", "[[[1,"))
    with pytest.raises(ConfigError, match="a.mp4"):
        Record(tmp_path / "o.csv", "f" * 16).recall({path: "a.mp4"})


def test_the_table_of_persons_has_a_row_each(tmp_path):
    result, alone = two_people(tmp_path / "a.mp4"), Result(tmp_path / "b.mp4", 0.5, 0, "no face")
    limits = limits_from({"reals": np.linspace(0, 0.6, 200)}, {"fakes": np.linspace(0.05, 1, 200)})
    verdicts = {"a.mp4": verdicts_on_persons(result, limits), "b.mp4": []}
    write_submission(tmp_path / "o.csv", [("a.mp4", result), ("b.mp4", alone)], of_persons=verdicts)
    table = pd.read_csv(tmp_path / "o.persons.csv")
    assert table["filename"].tolist() == ["a.mp4"] * 2 and table["person"].tolist() == [1, 2]
    assert table["probability"].tolist() == [0.125, 0.75] and table["faces"].tolist() == [12, 12]
    assert table["verdict"].tolist() == ["can't tell", "likely fake"] and table["eyes"].tolist() == [60.5] * 2
    assert np.isnan(table["last"][0]) and table["last"][1] == 9.5
    write_submission(tmp_path / "submission.csv", [("b.mp4", alone)], of_persons=verdicts)
    assert (tmp_path / "persons.csv").is_file() and not (tmp_path / "verdicts.csv").exists()


def test_the_fingerprint_holds_what_auto_became(monkeypatch):
    def of(precision, device="cpu", **keys):
        return fingerprint(SubmissionConfig(precision=precision, **keys), device)

    becomes = {}
    for name in ("bf16", "fp32"):
        monkeypatch.setattr("utils.scoring.record.pick_precision", lambda device, precision, name=name: name)
        becomes[name] = of("auto")
        assert of("auto", runtime="onnxruntime") == of("fp32", runtime="onnxruntime")
    assert becomes["fp32"] == of("fp32") and len({*becomes.values(), of("bf16")}) == 3


def test_names_with_a_carriage_return_stay_whole_in_the_tables(tmp_path):
    names = ["a\rb.mp4", "c\r\nd.mp4", "e\nf.mp4", 'g",h.mp4']
    write_submission(tmp_path / "o.csv", [(name, Result(Path(name), 0.25, 1)) for name in names])
    assert pd.read_csv(tmp_path / "o.csv")["filename"].tolist() == names


def test_fingerprint_is_of_contents_and_settings_not_of_places(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)

    def of(name, **keys):
        return fingerprint(SubmissionConfig(ensemble=[("xception", str(tmp_path / name), 1.0)], **keys))

    assert of("a") == of("b") == of("a", batch_size=1)
    assert len({of("a"), of("c"), of("a", frame_stride=5), of("a", precision="bf16")}) == 4


def test_names_are_base_names_and_relative_paths_where_two_share_one():
    root, other = Path("in"), Path("else")
    files = {root / "a" / "x.mp4": root, root / "x.mp4": root, root / "a" / "y.mp4": root}
    assert list(name_files(files).values()) == ["a/x.mp4", "x.mp4", "y.mp4"]
    files = {root / "x.mp4": root, other / "x.mp4": other}
    assert list(name_files(files).values()) == ["in/x.mp4", "else/x.mp4"]


def test_a_sample_name_that_two_files_share_is_explained():
    root = Path("in")
    names = name_files({root / "a" / "x.mp4": root, root / "b" / "x.mp4": root})
    chosen, missing = submission.apply_sample(names, ["x.mp4", "a/x.mp4"])
    assert list(chosen.values()) == ["a/x.mp4"]
    assert list(missing) == ["x.mp4"] and "relative path" in missing["x.mp4"]


def test_a_sample_name_of_a_file_of_another_kind_is_not_called_absent():
    left_out = [Path("in/a/notes.doc")]
    _, missing = submission.apply_sample({}, ["notes.doc", "gone.mp4", "../x", "a\0b"], left_out)
    assert "no such file" not in missing["notes.doc"]
    assert all("no such file" in missing[name] for name in ("gone.mp4", "../x", "a\0b"))


def test_a_long_table_shows_both_ends_and_the_count():
    results = [(f"{k:03}.mp4", Result(Path("x"), k / 1000, 25)) for k in range(120)]
    lines = table(results).splitlines()
    assert len(lines) == 52 and "70 more of 120" in lines[26]
    assert lines[1].startswith("000.mp4") and lines[25].startswith("024.mp4")
    assert lines[27].startswith("095.mp4") and lines[-1].split() == ["119.mp4", "0.119000", "25", "faces"]
    assert len(table(results[:50]).splitlines()) == 51


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_names_that_are_not_utf8_are_written_as_they_are(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    write_submission(tmp_path / "o.csv", [(name, Result(Path(name), 0.5, 0, "its name"))])
    assert (tmp_path / "o.csv").read_bytes() == b"filename,label\ncaf\xe9.mp4,0.500000\n"
    assert (tmp_path / "o.errors.csv").read_bytes() == b"filename,reason\ncaf\xe9.mp4,its name\n"


def test_tables_of_an_earlier_run_do_not_stay_beside_a_submission_without_them(tmp_path):
    output, result = tmp_path / "submission.csv", Result(Path("a.mp4"), 0.5, 1)
    write_submission(output, [("a.mp4", result)], {"a.mp4": Verdict(OPEN)}, {"a.mp4": []})
    tables = [tmp_path / "verdicts.csv", tmp_path / "persons.csv"]
    assert all(path.exists() for path in tables)
    write_submission(output, [("a.mp4", result)])
    assert not any(path.exists() for path in tables) and output.exists()
