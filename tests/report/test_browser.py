"""The report in a browser: real clips scored by the bundled networks, opened, sorted, filtered, on a phone.

`make test-browser` runs it, in the system's Chromium.
"""

import shutil

import pytest
from scripts import load_script

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>{{ 7 * 7 }}.mp4"
FACE, NOBODY = "single_face.mp4", "no_face.mp4"
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def report(tmp_path_factory, clip, no_face_clip):
    """The report of four files, one with a name that would like to be more than a name."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "in").mkdir()
    moving = clip.parent / "face_noface.mov"
    for path, name in ((clip, FACE), (no_face_clip, NOBODY), (moving, moving.name), (moving, HOSTILE)):
        shutil.copy(path, folder / "in" / name)
    arguments = [folder / "in", "--output", folder / "submission.csv", "--report", "face_limit=6"]
    assert load_script("best-submission.py").main([*map(str, arguments), "--device", "cpu"]) == 0
    return folder / "report.html"


@pytest.fixture(params=SIZES)
def page(request, browser, report):
    """The page, opened; what the console says, what it asks for and what pops up is an error."""
    scheme = "dark" if request.param == "phone" else "light"
    context = browser.new_context(viewport=SIZES[request.param], color_scheme=scheme)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or complaints.append(asked.url))
    page.goto(report.as_uri())
    yield page
    assert complaints == []
    context.close()


def names(page):
    """Of the files that are shown, in their order."""
    return [text.strip() for text in page.locator(".video:visible .name").all_inner_texts()]


def scores(page):
    said = page.locator(".video:visible").evaluate_all("all => all.map(one => one.dataset.probability)")
    return [float(text) for text in said if text]


def test_it_is_sorted(page):
    order = page.get_by_label("Order")
    assert names(page) == sorted(names(page)) and len(names(page)) == 4 and HOSTILE in names(page)
    order.select_option("high")
    assert scores(page) == sorted(scores(page), reverse=True) and names(page)[-1] == NOBODY
    order.select_option("low")
    assert scores(page) == sorted(scores(page)) and names(page)[-1] == NOBODY
    assert len(set(scores(page))) > 1
    order.select_option("name")
    assert names(page)[-1] == FACE


def test_it_is_filtered(page):
    page.get_by_label("Find").fill("NO face found")
    assert names(page) == [NOBODY] and page.locator("#count").inner_text() == "1 of 4 shown"
    page.get_by_label("Find").fill("onerror")
    assert names(page) == [HOSTILE]
    page.get_by_label("Find").fill("")
    boxes = page.locator("[name=word]")
    for box in boxes.all():
        box.uncheck()
    assert names(page) == []
    for box in boxes.all():
        box.check()
    assert len(names(page)) == 4


def test_a_file_is_opened_by_the_keyboard_and_its_faces_are_seen(page):
    details = page.locator(".video", has_text=FACE).locator("> details")
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.evaluate("one => one.open")
    figures = details.locator("figure svg")
    assert figures.count() == 6 * (1 + 1 + 3 + 8)  # the face; Xception's; mean, crop, drop; eight maps
    assert figures.evaluate_all("all => all.every(one => one.getBoundingClientRect().width > 50)")
    loaded = details.evaluate(
        """async (one) => (await Promise.all([...one.querySelectorAll("image")].map(async (image) => {
          const copy = new Image(); copy.src = image.getAttribute("href"); await copy.decode();
          return copy.naturalWidth; }))).every((width) => width > 0)"""
    )
    assert loaded
    assert details.locator("circle").count() == 6 and details.locator("circle").first.is_visible()
    page.get_by_role("button", name="Open all").click()
    assert page.locator("#videos details[open]").count() == 4
    # nothing makes the page wider than the screen
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "49" not in page.locator(".name", has_text="onerror").inner_text()


def test_colours_follow_the_system(browser, report):
    grounds = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(report.as_uri())
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()
    light, dark = (sum(map(int, ground[4:-1].split(","))) for ground in grounds)
    assert light > 600 and dark < 150
