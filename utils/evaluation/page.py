"""A report as one HTML page that asks for nothing: tables and plots, light and dark, on a phone as well."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from utils.core.names import shown
from utils.evaluation.plots import histogram, precision_plot, reliability_plot, roc_plot
from utils.evaluation.report_tables import Table
from utils.evaluation.scores import Judged

MOST_HISTOGRAMS = 12


def page(title: str, command: Sequence[str], tables: Sequence[Table], judged: Sequence[Judged]) -> str:
    """The page as text; judged: what is plotted, a colour each. Names in it are text, whatever they hold."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
    )  # fmt: skip
    curves = [draw(judged) for draw in (roc_plot, precision_plot, reliability_plot)] if judged else []
    return environment.get_template("page.html").render(
        title=title, command=shlex.join(command), tables=tables, names=[one.name for one in judged],
        curves="".join(curves), histograms="".join(histogram(one) for one in judged[:MOST_HISTOGRAMS]),
    )  # fmt: skip
