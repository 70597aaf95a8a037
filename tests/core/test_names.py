"""File names from strangers, on a terminal and in tables."""

import os

import pytest

from utils.core.names import cell, name_in, shown


@pytest.mark.parametrize("name", ["a.mp4", "видео.mp4", "映像 1.mp4", "Ünï.mp4", "'quoted' \"twice\".mp4"])
def test_ordinary_names_stay(name):
    assert shown(name) == name == cell(name)


@pytest.mark.parametrize("byte", [*range(32), 127, *range(128, 160)])
def test_nothing_that_a_terminal_obeys_is_shown(byte):
    said = shown(f"a{chr(byte)}b.mp4")
    assert said.isprintable() and said.startswith("a\\") and said.endswith("b.mp4")


def test_undecodable_bytes_and_reversed_letters_are_shown_as_what_they_are():
    assert shown(os.fsdecode(b"a\xff.mp4")) == "a\\udcff.mp4"
    assert shown("photo\u202egpj.exe") == "photo\\u202egpj.exe"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula_and_each_is_still_the_files_name(sign, tmp_path, monkeypatch):
    name = f"{sign}1+cmd|' C'!A0.mp4"
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert cell(name)[0] == "." and os.path.exists(cell(name)) and name_in(cell(name)) == name
    assert name_in("./a.mp4") == "./a.mp4"
