"""The page of evaluate.py in a browser: wide and narrow, light and dark, hostile names, nothing asked for."""

import numpy as np
import pytest

from utils.evaluation.page import page
from utils.evaluation.report_tables import Table
from utils.evaluation.scores import Judged, table_of

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>{{ 7 * 7 }}.csv"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_it_is_drawn(browser, tmp_path, width, scheme):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    judged = [Judged(name, labels, (labels + rng.normal(0, spread, 200)).clip(-2, 3) / 5 + 0.4)
              for name, spread in (("a.csv", 0.5), (HOSTILE, 1.0))]  # fmt: skip
    tables = [table_of({one.name: one.figures() for one in judged}), Table(["file"], [[HOSTILE]], HOSTILE)]
    path = tmp_path / "metrics.html"
    path.write_text(page("Scores, judged", ["evaluate.py", HOSTILE], tables, judged))
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened, complaints = context.new_page(), []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    opened.on("request", lambda asked: asked.url.startswith("file:") or complaints.append(asked.url))
    opened.goto(path.as_uri())
    assert opened.locator("svg").count() == 5 and opened.locator("h2", has_text="onerror").is_visible()
    curves = opened.locator("svg[aria-label=ROC] polyline").evaluate_all(
        "all => all.map(one => [getComputedStyle(one).stroke, one.getBBox().width, one.getBBox().height])"
    )
    assert len({stroke for stroke, _, _ in curves}) == 3  # chance, and a colour each
    assert all(width > 250 and height > 250 for _, width, height in curves)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 380) == (scheme == "light")
    context.close()
    assert complaints == []
