"""report.html: what it says, that it asks for nothing and runs nothing but its own script, and its size."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from reports import ABOUT, LIMITS, judged_files, kept_result, lost_file, shown_face

from utils.report.outputs import SHOWN
from utils.report.page import MANY, write_page
from utils.report.sheet import write_sheet
from utils.report.words import Answer, duration, readable, sentence
from utils.scoring.aggregate import Evidence, Person, Result
from utils.scoring.details import Details
from utils.scoring.verdict import verdict_on

THREE = replace(ABOUT, networks=["xception", "wsdan-xception", "wsdan-efficientnet-b3"])
HOSTILE = [
    "<script>alert(1)</script>.mp4", '"><img src=x onerror=alert(1)>.mp4', "{{ 7 * 7 }}.mp4",
    "a\u202egpj.mp4", "\udcff\udcfe.mp4",
    "two\nlines\x1b[31m.mp4", "</article></main>.mp4", "x' onclick='y.mp4",
]  # fmt: skip


class Reader(HTMLParser):
    """Tags and attributes of a page, its text, and its articles' names."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.names = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.names += [dict(attributes)["data-name"]] if tag == "article" else []

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def picture(face):
    return cv2.resize(face, (192, 192), interpolation=cv2.INTER_AREA)


@pytest.fixture
def page(tmp_path, picture):
    """A page of files with hostile names, and one without a face."""
    files, details = judged_files(tmp_path, HOSTILE, picture)
    write_page(tmp_path / "report.html", [*files, lost_file("nobody.mp4")], LIMITS, details, ABOUT)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_hostile_names_are_text(page):
    reader = Reader(page)
    assert reader.names == [*map(readable, HOSTILE), "nobody.mp4"]
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert "img" not in {tag for tag, _ in reader.tags} and "{{ 7 * 7 }}.mp4" in reader.text
    assert "\u202e" not in page and "\\u202egpj" in page and "\\xff\\xfe" in page and "\x1b" not in page


def test_the_page_asks_for_nothing_and_runs_its_own_script_alone(page):
    reader = Reader(page)
    links = [value for _, attributes in reader.tags for key, value in attributes.items()
             if key in ("src", "href", "srcset", "data", "action", "xlink:href")]  # fmt: skip
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "url(" not in page and "@import" not in page and not re.search(r"https?://", page)
    script = page[page.index("<script>") + 8 : page.index("</script>", page.index("<script>"))]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    used = {a["href"][1:] for tag, a in reader.tags if tag == "use"}
    assert len(ids) == len(set(ids)) and used and used <= set(ids)


def test_what_stands_behind_an_answer_is_said(page, tmp_path):
    text = " ".join(Reader(page).text.split())
    assert "9 files" in text and "no face found in 7 frames" in text and ABOUT.weights[0]["sha256"] in text
    assert "27 frames searched, 2 of them without a face" in text and "can't prove" in text
    for places in ("class activation", "attention, mean of 8", "crop by map 3", "drop by map 3", "map 8"):
        assert text.count(places) == 2 * len(HOSTILE)
    result = kept_result(tmp_path, 4)
    said = sentence(Answer("a.mp4", result, verdict_on(result, LIMITS)), LIMITS)
    assert said.startswith(f"{result.probability:.2f}; 25 faces, {result.evidence.lowest:.2f} to ")
    unsure = Result(tmp_path / "a.mp4", 0.56, 25, evidence=Evidence(0.33, 0.21, 0.94, 60.0))
    said = sentence(Answer("a.mp4", unsure, verdict_on(unsure, LIMITS)), LIMITS)
    assert said == "0.56; its 25 faces disagree: 0.21 to 0.94; of 200 real faces 1 in 14 scores as high"


def test_several_people_have_a_row_and_a_line_each(tmp_path, picture):
    result = kept_result(tmp_path, 4, count=6)
    people = [Person(k, p, 3, 0.0, 10.0, result.evidence) for k, p in ((1, 0.1), (2, 0.9))]
    for place, face in enumerate(result.detail.faces):
        result.detail.faces[place] = replace(face, person=1 + place % 2)
    result = replace(result, probability=0.9, faces=3, people=2, persons=tuple(people))
    details = Details(tmp_path / "o.csv", "f" * 16)
    details.append("a.mp4", result, 1.0, [shown_face(picture, place, 0) for place in (0, 3)])
    answer = Answer("a.mp4", result, verdict_on(result, LIMITS))
    write_page(tmp_path / "p.html", [answer], LIMITS, details, replace(ABOUT, faces="all"))
    page = (tmp_path / "p.html").read_text()
    text = " ".join(Reader(page).text.split())
    assert "2 people judged, the higher counts" in text and "2, who counts" in text and "of person 2" in text
    assert page.count("<polyline") == 4 and page.count('class=" other"') + page.count("shown other") == 3
    assert "person 1, " in text and "person 2, " in text and "Only the largest face" not in text
    assert write_sheet(tmp_path / "r.png", [answer], LIMITS, details, 2) == 1


def test_without_limits_no_verdict_and_without_kept_faces_it_is_said(tmp_path):
    result = Result(tmp_path / "a.mp4", 0.2, 5)
    _, details = judged_files(tmp_path, [], np.zeros((8, 8, 3), np.uint8))
    write_page(tmp_path / "p.html", [Answer("a.mp4", result, verdict_on(result, None))], None, details, ABOUT)
    text = " ".join(Reader((tmp_path / "p.html").read_text()).text.split())
    assert "no verdict" in text and "Nothing is kept of its faces" in text


@pytest.mark.parametrize(("most", "either_way"), SHOWN)
def test_so_many_files_fit_into_20_megabytes(tmp_path, picture, monkeypatch, most, either_way):
    """With three networks, as the published ensemble has, and their maps of 10x10."""
    monkeypatch.setattr("utils.report.page.MANY", 2 if most <= MANY else 0)  # as of so many files
    files, details = judged_files(tmp_path, ["a.mp4", "b.mp4"], picture, 2 * either_way, 10, networks=3)
    sizes = []
    for count in (1, 2):
        write_page(tmp_path / "report.html", files[:count], LIMITS, details, THREE)
        sizes.append((tmp_path / "report.html").stat().st_size)
    assert 10e3 < sizes[1] - sizes[0] < (20e6 - sizes[0]) / most


@pytest.mark.slow
def test_400_files_stay_below_20_megabytes_and_have_a_sheet(tmp_path, picture):
    names = [f"{k}.mp4" for k in range(400)]
    files, details = judged_files(tmp_path, names, picture, 2, 10, networks=3)
    write_page(tmp_path / "report.html", files, LIMITS, details, THREE)
    assert 4e6 < (tmp_path / "report.html").stat().st_size < 20e6
    assert write_sheet(tmp_path / "r.png", files, LIMITS, details, 3) == 400
    sheet = cv2.imread(str(tmp_path / "r.png"))
    assert sheet.shape[0] < 25_000 and (tmp_path / "r.png").stat().st_size < 60e6


def test_the_sheet_shows_each_file_and_its_faces(tmp_path, picture):
    files, details = judged_files(tmp_path, HOSTILE, picture)
    shown = write_sheet(tmp_path / "r.png", [*files, lost_file("nobody.mp4")], LIMITS, details, 2)
    sheet = cv2.imread(str(tmp_path / "r.png"))[..., ::-1].astype(int)
    assert shown == 9 and sheet.shape[1] >= 640
    height = (sheet.shape[0] - 32) // 9
    tiles = [sheet[32 + k * height : 32 + (k + 1) * height] for k in range(9)]
    drawn = [(tile.min(axis=2) < 250).mean() for tile in tiles]
    assert min(drawn[:8]) > 3 * drawn[8] > 0  # the last has no face, but words
    first = tiles[0][88:192, 16:120]
    assert np.abs(first - cv2.resize(picture, (104, 104), interpolation=cv2.INTER_AREA)).mean() < 8


def test_times_and_names_are_readable():
    assert [duration(value) for value in (3.21, 45.4, 59.7, 125, 3780)] == [
        "3.2 s", "45 s", "1 min 0 s", "2 min 5 s", "1 h 3 min"
    ]  # fmt: skip
    assert readable("Ünïcode 日本 🙂.mp4") == "Ünïcode 日本 🙂.mp4"
