"""Files whose names hold newlines, escape codes, quotes and formulas: one line each, in and out of tables."""

import csv
import os

import pytest

import make_dataset
from utils.core.names import name_in

NAMES = [
    b"new\nline.mp4", b"\x1b[31mred\x07.mp4", b"=1+1.mp4", b"-rf.mp4", b"@sum.mp4", b"it's \"so\", said.mp4",
    b"bytes\xff\xfe.mp4", b"a\rb.mp4", b"$(touch harm).mp4", b"%s%n{0}.mp4", b"x" * 251 + b".mp4",
    b"failures.csv.mp4", b"\xe2\x80\xaegpj.mp4",
    b"a;=1+1.mp4",
]  # fmt: skip


@pytest.fixture
def strange(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in NAMES:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(b"no video")
    return folder


def assert_no_formula(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = list(csv.reader(file))
    assert not [cell for row in table for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    return table


def assert_harmless(said: str) -> None:
    assert all(letter.isprintable() for line in said.split("\n") for letter in line.replace("\r", ""))
    assert "\x1b" not in said and "\\x1b[31mred" in said and "new\\nline.mp4" in said


def test_scoring(main, strange, config, tmp_path):
    output = tmp_path / "out" / "o.csv"
    code, out, err = main(strange, "--config", config, "--output", output)
    assert code == 1
    assert_harmless(out)
    assert_harmless(err.replace("█", ""))
    names = {name_in(row[0]) for row in assert_no_formula(output)} - {"filename"}
    assert names == set(map(os.fsdecode, NAMES))
    assert len(assert_no_formula(tmp_path / "out" / "o.errors.csv")) == len(NAMES) + 1
    assert {path.name for path in tmp_path.iterdir()} == {"videos", "out", "conf.py"}
    assert {path.name for path in output.parent.iterdir()} == {"o.csv", "o.errors.csv"}


def test_extraction(strange, tmp_path, capsys):
    out_dir = tmp_path / "out"
    assert make_dataset.main([str(strange), str(out_dir)]) == 1
    said = capsys.readouterr()
    assert_harmless(said.out)
    assert_harmless(said.err.replace("█", ""))
    table = assert_no_formula(out_dir / "failures.csv")
    assert len(table) == len(NAMES) + 1
    assert make_dataset.main([str(strange), str(out_dir)]) == 1
    assert assert_no_formula(out_dir / "failures.csv") == table  # the names are known again
    assert {path.name for path in tmp_path.iterdir()} == {"videos", "out"}


def test_a_sample_keeps_its_names_and_may_be_a_submission_of_ours(main, strange, config, tmp_path):
    names = {"as they are": "=1+1.mp4", "ours": "./=1+1.mp4"}
    for how, name in names.items():
        sample, output = tmp_path / f"{how}.csv", tmp_path / how / "submission.csv"
        sample.write_text(f"filename,label\n-rf.mp4,0.5\n{name},0.5\n@gone.mp4,0.5\n")
        run = strange, "--config", config, "--output", output, "--sample-submission", sample
        assert main(*run)[0] == 1  # nothing in it can be judged
        lines = output.read_text().splitlines()
        assert [line.split(",")[0] for line in lines] == ["filename", "-rf.mp4", name, "@gone.mp4"]
        errors = assert_no_formula(output.with_name("submission.errors.csv"))
        assert "no such file" in errors[-1][1] and "no such file" not in errors[-2][1]
        assert main(*run)[0] == 1  # the same files: nothing would be lost
