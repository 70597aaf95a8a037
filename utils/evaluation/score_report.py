"""What is said of score files whose labels are known: figures, sources, differences, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from utils.core.metrics import CLIP
from utils.evaluation.paired import Difference, difference_table, differences
from utils.evaluation.report_tables import Table, escaped
from utils.evaluation.score_files import Scored, counts, listed
from utils.evaluation.scores import reliability, table_across, table_of

OF_SOURCE = ("files", "reals", "fakes", "auc", "average_precision", "eer", "log_loss_clipped", "accuracy",
             "false_alarms", "misses")  # fmt: skip

MOST_ROWS = 1000  # of a table of wrong files, that the page stays light


class ScoreReport:
    """The figures of score files, made once; clip: bounds of the clipped log loss."""

    def __init__(self, files: Sequence[Scored], clip: tuple[float, float] = CLIP):
        self.files, self.clip = list(files), clip
        self.judged = [scored.part(scored.judged) for scored in files]
        self.sources = {str(scored.path): scored.by_source() for scored in files}
        self.figures = {one.name: one.figures(clip) for one in self.judged}
        self.of_sources = {
            name: {source: part.figures(clip) for source, part in parts.items()}
            for name, parts in self.sources.items() if parts
        }  # fmt: skip
        self.differences = [self._less_first(scored) for scored in files[1:]]

    def _less_first(self, scored: Scored) -> tuple[Scored, int, list[Difference]]:
        """A file, how many are judged in it and in the first one, and its figures less that one's."""
        first = self.files[0]
        here = set(scored.judged)
        names = [name for name in first.judged if name in here]
        if not names:
            return scored, 0, []
        base, other = first.part(names), scored.part(names)
        return scored, len(names), differences(base.labels, base.scores, other.scores, clip=self.clip)

    def tables(self) -> list[Table]:
        """Figures, then sources, then differences."""
        low, high = self.clip
        note = (
            f"Clipped: to {low:g} and {high:g}. The interval is the bootstrap's, of files. Real: up to 0.5."
        )
        tables = [replace(table_of(self.figures), note=note)]
        for name, rows in self.of_sources.items():
            tables.append(table_across(rows, OF_SOURCE, "source", f"By source, {name}"))
        for scored, count, found in self.differences:
            tables.append(difference_table(str(scored.path), str(self.files[0].path), count, found))
        return tables

    def wrong(self, whole: bool) -> str:
        """Lines of files: of a single score file, or of all where the whole list is asked for."""
        if len(self.files) == 1:
            return listed(self.files[0], whole)
        parts = []
        for scored in self.files:
            lines = listed(scored, whole) if whole else "\n".join(counts(scored))
            parts.append(f"{escaped(str(scored.path))}\n{lines}")
        return "\n\n".join(parts)

    def wrong_tables(self) -> list[Table]:
        """For the page: what is wrong, not judged or missing in each file."""
        tables = []
        for scored in self.files:
            rows = []
            for kind, label in (("real, called fake", 0), ("fake, called real", 1)):
                rows += [[name, kind, f"{scored.score(name):.4f}"] for name in scored.wrong(label)]
            data = scored.as_data()
            rows += [[name, f"not judged: {reason}", "-"] for name, reason in data["not judged"].items()]
            rows += [[name, f"not in {scored.path.name}", "-"] for name in scored.missing]
            rows += [[name, "without a label", f"{scored.scores[name]:.4f}"] for name in scored.extra]
            if rows:
                more = len(rows) - MOST_ROWS
                note = f"and {more} more, which the report as JSON names" if more > 0 else ""
                title = f"Wrong or missing, {scored.path}"
                tables.append(Table(["file", "", "score"], rows[:MOST_ROWS], title, note))
        return tables

    def as_data(self) -> dict:
        """All of it as plain data; NaN = undefined."""
        return {
            "clip": list(self.clip),
            "figures": self.figures,
            "by_source": self.of_sources,
            "reliability": {one.name: [part._asdict() for part in reliability(one.labels, one.scores)]
                            for one in self.judged},
            "differences": [_difference_data(self.files[0], *row) for row in self.differences],
            "files": {str(scored.path): scored.as_data() for scored in self.files},
        }  # fmt: skip


def _difference_data(first: Scored, scored: Scored, count: int, found: Sequence[Difference]) -> dict:
    rows = {part.figure: {"difference": part.value, "low": part.low, "high": part.high,
                          "verdict": part.verdict} for part in found}  # fmt: skip
    return {"of": str(scored.path), "less": str(first.path), "files": count, "figures": rows}
